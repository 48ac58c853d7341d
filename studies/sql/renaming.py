"""Renames a study in place: Optuna's row and the name in the study's space, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from search_spaces import SpaceError, loads
from search_spaces.problems import shown
from search_spaces.schema import STUDY_NAME
from studies.errors import StudyLockedError, StudyMismatchError, StudyNotFoundError
from studies.locks.study_lock import holder, study_lock
from studies.sql import optuna_rows, versions
from studies.sql.database import Database
from studies.sql.retries import GLANCE
from studies.sql.tables import StudyTable


def rename_study(database: Database, study_id: int, name: str) -> None:
    """Renames a study and keeps everything else, including its id.

    Raises StudyMismatchError for a name that is invalid or taken, StudyLockedError while a driver runs the study,
    StudyNotFoundError.
    """
    if re.fullmatch(STUDY_NAME, name) is None:
        raise StudyMismatchError(
            "a study's name must be 1 to 64 letters, digits, '_', '.' or '-', and begin with a letter or digit, but "
            f"got {shown(name)}"
        )
    with without_driver(database, study_id, deed="renamed") as before:
        if name == before:
            return
        with study_lock(database.url, name, patience=GLANCE):
            database.write(lambda session: _rename_rows(session, study_id, before, name))


@contextmanager
def without_driver(database: Database, study_id: int, *, deed: str) -> Iterator[str]:
    """Holds the study's lock and yields its name. Raises StudyLockedError, StudyNotFoundError."""
    name = database.read(lambda session: optuna_rows.find_name(session, study_id))
    if name is None:
        raise StudyNotFoundError(f"there is no study of number {study_id}; another window may have deleted it")
    driver = holder(database.url, name, patience=GLANCE)
    if driver is not None:
        raise StudyLockedError(
            f"study {name!r} cannot be {deed} while a driver runs it ({driver}); end that first: tuner stop {name}"
        )
    with study_lock(database.url, name, patience=GLANCE):
        yield name


def _rename_rows(session: Session, study_id: int, before: str, name: str) -> None:
    versions.take_turns(session.connection())  # as `make_or_find_study` does
    if optuna_rows.find_name(session, study_id) != before:
        raise StudyNotFoundError(f"study {before!r} was renamed or deleted a moment ago")
    if optuna_rows.find_study_id(session, name) is not None:
        raise StudyMismatchError(f"there is a study {name!r} already; choose another name")
    study = session.get(StudyTable, study_id)
    if study is not None:
        study.space_yaml = _renamed(study.space_yaml, name)  # `tuner resume` takes the name from it
    optuna_rows.set_study_name(session, study_id, name)


def _renamed(space_yaml: str, name: str) -> str:
    try:
        return loads(space_yaml, name=name).to_yaml()
    except SpaceError as error:
        raise StudyMismatchError(
            f"only the release that wrote the study's search space can rename it; this one says: {error.problems[0]}"
        ) from error
