"""A PostgreSQL server of one's own, from the machine's programs, for the tests and the kill campaign."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url


class PostgresServer:
    """A server in a folder of its own, on a Unix socket; never as root, which it refuses."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._rights: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(u for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody"))
            shutil.chown(folder, user.pw_uid, user.pw_gid)
            self._rights = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-D", "data", "-U", "tuner", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Returns once the server answers."""
        fast = [f"-c{name}=off" for name in ("fsync", "full_page_writes")]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", "data", "-k", self._folder, "-clisten_addresses=", *fast],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._rights,
        )  # fmt: skip
        for _ in range(600):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("pg_isready", "-h", str(self._folder))
                return
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self) -> None:
        """Ends the server at once, and with it all connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the caller's own, each statement of which is a transaction."""
        return psycopg.connect(host=str(self._folder), user="tuner", dbname=database, autocommit=True)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"db_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://tuner:not-asked-for@/{name}?host={self._folder}"

    def without_studies(self, url: str) -> str:
        """The URL again, once all its studies are gone."""
        with self.connect(str(make_url(url).database)) as connection:
            connection.execute("TRUNCATE studies RESTART IDENTITY CASCADE")
        return url

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments], cwd=self._folder, check=True, capture_output=True, **self._rights
        )


def postgres_programs() -> Path | None:
    """The folder of the server's programs: on the path, or where Debian puts them."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    needed = ("initdb", "postgres", "pg_isready")
    return next((folder for folder in folders if all((folder / name).exists() for name in needed)), None)
