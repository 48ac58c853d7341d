"""Connections to PostgreSQL that do not wait for ever.

A server that is stopped, or a network that swallows packets, leaves the socket open: nothing comes, and the kernel has
nothing to complain of. So silence is measured here, at each wait for an answer. The other side is told to let go of a
client that has vanished, which would else hold its locks for two hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect
from sqlalchemy.engine import URL

_SHARE = 0.5  # of the patience that one wait may take, so that there is time for another connection
_LOCK_SHARE = 0.8  # of that, for locks: the server answers before the client gives it up
_LONGEST_CONNECT = 10.0  # seconds
_SHORTEST_CONNECT = 2.0  # as libpq and psycopg round
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}

RV = TypeVar("RV")


class SilenceError(psycopg.OperationalError):
    """The server said nothing for too long. The connection is closed."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection on which no wait for the server lasts longer than `silence` seconds. Raises SilenceError."""

    silence: float = float("inf")

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """Waits for an answer, as psycopg does."""
        try:
            return super().wait(_heard(gen, self.silence), *arguments, **named)
        except SilenceError:
            self.pgconn.finish()  # an answer that comes later would be taken for that of another question
            raise


def connector(
    url: URL, *, patience: float, json_serializer: Callable[[Any], str] | None = None, **fixed: str
) -> Callable[[], PatientConnection]:
    """What SQLAlchemy calls for a new connection. `fixed` are parameters of libpq that the URL cannot change."""
    made: Any = url.get_dialect()  # psycopg's: its JSON goes through a context among the parameters
    dialect: Dialect = made(dbapi=psycopg, json_serializer=json_serializer)
    arguments, parameters = dialect.create_connect_args(url)
    silence = _SHARE * patience
    timeout = int(max(_SHORTEST_CONNECT, min(_LONGEST_CONNECT, silence)))
    parameters = {"connect_timeout": timeout, **parameters, **fixed}

    def connect() -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **parameters)
        connection.silence = silence
        _settle(connection, lock_timeout=f"{max(1, int(1000 * _LOCK_SHARE * silence))}ms", **_KEEPALIVES)
        return connection

    return connect


def _heard(gen: PQGen[RV], limit: float) -> PQGen[RV]:
    """The same dialogue, broken off when the server has been silent for `limit` seconds."""
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
    """Makes settings for as long as the connection lasts. Not in the connection string: PgBouncer refuses it there."""
    try:
        made = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {made}".encode(), [word for setting in settings.items() for word in setting])
        connection.commit()
    except BaseException:
        connection.close()
        raise
