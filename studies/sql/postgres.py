"""Connections to PostgreSQL that time out.

A stopped server, or a network that drops packets, leaves the socket open without an error. So each wait for an answer
has a time limit here. TCP keepalives make the server drop a vanished client, which would otherwise hold its locks for
two hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect
from sqlalchemy.engine import URL

_WAIT_SHARE = 0.5  # of the patience, for one wait: leaves time for another connection
_LOCK_SHARE = 0.8  # of that, for locks: the server gives up before the client does
_LONGEST_CONNECT = 10.0  # seconds
_SHORTEST_CONNECT = 2.0  # libpq and psycopg round up to it
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}

RV = TypeVar("RV")


class SilenceError(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection that waits at most `silence` seconds for an answer. Raises SilenceError."""

    silence: float = float("inf")

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """Waits for an answer, as psycopg does."""
        try:
            return super().wait(_heard(gen, self.silence), *arguments, **named)
        except SilenceError:
            self.pgconn.finish()  # a late answer would be taken for that of the next query
            raise


def connector(
    url: URL, *, patience: float, json_serializer: Callable[[Any], str] | None = None, **fixed: str
) -> Callable[[], PatientConnection]:
    """SQLAlchemy's `creator` of connections. `fixed` are parameters of libpq that the URL cannot change."""
    made: Any = url.get_dialect()  # psycopg's: its JSON goes through a context among the parameters
    dialect: Dialect = made(dbapi=psycopg, json_serializer=json_serializer)
    arguments, parameters = dialect.create_connect_args(url)
    silence = _WAIT_SHARE * patience
    timeout = int(max(_SHORTEST_CONNECT, min(_LONGEST_CONNECT, silence)))
    parameters = {"connect_timeout": timeout, **parameters, **fixed}

    def connect() -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **parameters)
        connection.silence = silence
        _settle(connection, lock_timeout=f"{max(1, int(1000 * _LOCK_SHARE * silence))}ms", **_KEEPALIVES)
        return connection

    return connect


def _heard(gen: PQGen[RV], limit: float) -> PQGen[RV]:
    """The same exchange, broken off after `limit` seconds without an answer."""
    since = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted  # 0: psycopg's interval is over, and nothing came
            if ready:
                since = time.monotonic()
            elif time.monotonic() - since > limit:
                raise SilenceError(f"the server has said nothing for {limit:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


def _settle(connection: PatientConnection, **settings: str) -> None:
    """Sets options of the session. Not in the connection string, where PgBouncer refuses them."""
    try:
        made = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {made}".encode(), [word for setting in settings.items() for word in setting])
        connection.commit()
    except BaseException:
        connection.close()
        raise
