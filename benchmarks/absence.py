"""An SQLite study database, or the home around it, that is taken from its place and put back later."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.launches import Place

MOVED, RENAMED = "database moved to another folder", "database renamed"  # with its log
OLDER, EMPTY = "older copy in its place", "empty file in its place"
HOME, ANEW = "home renamed", "home renamed and another study begun in its place"
WAYS = (MOVED, RENAMED, OLDER, EMPTY, HOME, ANEW)
FILES = ("studies.db", "studies.db-wal", "studies.db-shm")

Stamp = tuple[int, str]  # inode, and of a database or log its SHA-256


@dataclass(frozen=True)
class Absence:
    """What was taken from a home, and what lay there right after."""

    home: Path
    moves: Mapping[Path, Path]  # from where to where
    left: Mapping[str, Stamp]

    @property
    def home_now(self) -> Path:
        """Where the home is, which may have been left in its place."""
        return self.moves.get(self.home, self.home)

    def made(self) -> list[str]:
        """Databases, logs and locks that have come to the old place since, or are not what they were."""
        now = stamps(self.home)
        return sorted(name for name in {*now, *self.left} if now.get(name) != self.left.get(name))

    def put_back(self) -> None:
        """Everything lies where it was; what came to its place is removed."""
        if self.home in self.moves:
            shutil.rmtree(self.home, ignore_errors=True)  # mostly there is none
        else:
            for name in FILES:
                (self.home / name).unlink(missing_ok=True)
        for origin, other in self.moves.items():
            other.rename(origin)


def take_away(way: str, place: Place, *, older: Path) -> Absence:
    """Takes a home's database away in this way; `older` is the copy to leave instead where one is."""
    home = place.home
    moves = _moves(way, place)
    for origin, other in moves.items():
        origin.rename(other)
    if way == OLDER:
        shutil.copyfile(older, home / FILES[0])
    elif way == EMPTY:
        (home / FILES[0]).touch()
    return Absence(home, moves, stamps(home))


def _moves(way: str, place: Place) -> dict[Path, Path]:
    home, elsewhere = place.home, Path(tempfile.mkdtemp(prefix="away-", dir=place.folder))
    if way in (HOME, ANEW):
        return {home: elsewhere / home.name}
    there = [home / name for name in FILES if (home / name).exists()]
    if way == MOVED:
        return {path: elsewhere / path.name for path in there}
    return {path: path.with_name(path.name.replace("studies", "kept")) for path in there}


def stamps(home: Path) -> dict[str, Stamp]:
    """The database, its log unless that is empty, and the locks, which their drivers write on."""
    return {
        path.name: (path.stat().st_ino, "" if path.suffix == ".lock" else hashlib.sha256(path.read_bytes()).hexdigest())
        for path in home.glob(f"{FILES[0]}*")
        if path.suffix in (".db", ".lock") or (path.name == FILES[1] and path.stat().st_size)
    }


def copy_of(database: Path, copy: Path) -> None:
    """A whole copy of a database that is in use."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30.0)) as source:
        copy.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(copy)) as target:
            source.backup(target)
