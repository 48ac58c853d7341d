"""The study database for the rest of the service: open, record, finish, fail, read; one transaction per call."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from studies.errors import StudyNotFoundError
from studies.records import (
    BackboneRow,
    ClassRow,
    EpochRow,
    Failure,
    HeadRequest,
    JobKind,
    JobRow,
    JobState,
    PosthocRow,
    ProgressRow,
    ReadingRow,
    SpaceRow,
    StudyRow,
    StudyState,
    TrialRow,
    WaitingRow,
)
from studies.sql import optuna_rows, progress, reads, spaces, versions, waiting, writes
from studies.sql.database import Database
from studies.sql.engines import look
from studies.sql.retries import GLANCE, PATIENCE
from studies.sql.urls import masked
from trainers.config import Scalar
from trainers.results import BackboneResult, HeadFailure, HeadResult, JobResult

if TYPE_CHECKING:
    import optuna

    from studies.locks.study_lock import StudyLock

T = TypeVar("T")
StopWish = Literal["soft", "now"]


def study_names(url: str, *, patience: float = GLANCE) -> list[str]:
    """Names of the studies in a database, oldest first; empty when there is no database, which is not made.

    Raises StorageUnavailableError, NewerSchemaError.
    """
    return look(url, _study_names, patience=patience) or []


class Store:
    """One study in its database. Close it, or use it as a context manager.

    Every method waits up to `patience` seconds for a database that is locked or restarting, then raises
    StorageUnavailableError. A failed call has written everything or nothing, and may be retried. Raises
    StudyNotFoundError when the study was deleted meanwhile, MovedDatabaseError when its file was moved.
    """

    def __init__(self, database: Database, *, name: str, study_id: int) -> None:
        self.database = database
        self.name = name
        self._study_id = study_id

    @classmethod
    def create_or_open(
        cls,
        url: str,
        *,
        name: str,
        space_yaml: str,
        space_sha256: str,
        objective: str | Sequence[str],
        patience: float = PATIENCE,
        held: StudyLock | None = None,
        grow: bool = False,
        data_fingerprint: str | None = None,
    ) -> Store:
        """Opens the study of that name; makes the database and the study if they do not exist.

        With the `held` lock of the study, nothing is written once another driver could hold it. Raises
        StudyMismatchError when the name belongs to another space, or to other data than `data_fingerprint`. If the same
        space comes with another text (a larger budget), the new text is stored. With `grow` the space may be a wider
        one, from which the next trials are drawn.
        """
        opened = functools.partial(
            writes.make_or_find_study,
            name=name,
            space_yaml=space_yaml,
            space_sha256=space_sha256,
            objective=objective,
            grow=grow,
            data_fingerprint=data_fingerprint,
        )
        return cls._open(Database(url, patience=patience, held=held), name, lambda database: database.write(opened))

    @classmethod
    def open(cls, url: str, name: str, *, patience: float = GLANCE) -> Store:
        """Opens a study read-only, also while a driver runs it; makes and migrates nothing.

        Raises StudyNotFoundError with the existing names, OlderSchemaError when the tables must be migrated first.
        """
        names = study_names(url, patience=patience)
        if name not in names:
            there = f"it has: {', '.join(names)}" if names else "it has no study yet; make one with: tuner launch"
            raise StudyNotFoundError(f"no study {name!r} in {masked(url)}; {there}")
        find = functools.partial(optuna_rows.find_study_id, name=name)
        return cls._open(Database(url, patience=patience, looking=True), name, lambda database: database.read(find))

    @classmethod
    def _open(cls, database: Database, name: str, find: Callable[[Database], int | None]) -> Store:
        try:
            study_id = find(database)
            if study_id is None:
                raise StudyNotFoundError(f"study {name!r} was deleted a moment ago")
        except BaseException:
            database.close()
            raise
        return cls(database, name=name, study_id=study_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the study stays as it is."""
        self.database.close()

    def confirm(self) -> None:
        """Makes sure that database and lock are still the files at their paths.

        Raises MovedDatabaseError, StudyLockedError.
        """
        self.database.confirm()

    def optuna_study(self) -> optuna.Study:
        """The study as Optuna sees it, on the same engine: for its dashboard and plots."""
        import optuna  # noqa: PLC0415

        return optuna.load_study(study_name=self.name, storage=self.database.storage)

    # -- the study itself ---------------------------------------------------------------------------------------

    def study(self) -> StudyRow:
        """The study's row."""
        return self._read(reads.study, name=self.name)

    def spaces(self) -> list[SpaceRow]:
        """The spaces that the study has had, first to newest."""
        return self._read(spaces.spaces)

    def set_state(self, state: StudyState) -> None:
        """Sets the study's state."""
        self._change(state=state)

    def set_spent(self, seconds: float) -> None:
        """Sets the total time that drivers have worked on the study."""
        self._change(spent_seconds=seconds)

    def set_trainers(self, versions: Sequence[int]) -> None:
        """Sets the versions of the trainer that gave the study its results."""
        self._change(trainers=list(versions))

    def set_backbones_per_gpu(self, number: int) -> None:
        """Sets how many backbones train at a time on one GPU; it decides which proposals are pending together."""
        self._change(backbones_per_gpu=number)

    def request_stop(self, *, now: bool = False) -> None:
        """Asks the driver to stop after its current epochs, or at once. A soft request does not replace one for now."""

        def wish(session: Session, study_id: int) -> None:
            study = reads.find_study(session, study_id)
            study.stop_requested = "now" if now or study.stop_requested == "now" else "soft"

        self._write(wish)

    def stop_requested(self) -> StopWish | None:
        """The stop request to the driver, if any."""
        return self._read(_wish)

    def clear_stop(self) -> None:
        """Removes the stop request, when a driver starts."""
        self._change(stop_requested=None)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def record_job(self, kind: JobKind, *, backbone_index: int, round: int, heads: Sequence[HeadRequest]) -> JobRow:
        """Writes a job and one RUNNING Optuna trial per head. Raises ValueError for a parameter outside its range."""
        token = uuid.uuid4().hex  # the same for all retries of this call, so that they write one job

        def record(session: Session, study_id: int) -> JobRow:
            job_id = writes.record_job(
                session, study_id, token=token, kind=kind, backbone_index=backbone_index, round=round, heads=heads
            )
            session.flush()
            return _one_job(session, study_id, job_id)

        return self._write(record)

    def finish_job(self, job_id: int, result: JobResult) -> bool:
        """Writes a job's result; writes nothing and returns False if the job has already ended.

        A head with a finite objective becomes COMPLETE; any other FAIL, with its reason. Raises ResultError.
        """
        return self._write(writes.finish_job, job_id, result)

    def fail_job(self, job_id: int, failure: Failure) -> bool:
        """Fails a job and its RUNNING trials; returns False if it has already ended. Raises ResultError."""
        return self._write(writes.fail_job, job_id, failure)

    def retry_job(self, job_id: int) -> JobRow:
        """Counts one more attempt of a running job. Raises ResultError when there is no such job."""
        attempts = self._read(_one_job, job_id).attempts + 1

        def retry(session: Session, study_id: int) -> JobRow:
            writes.find_job(session, study_id, job_id).attempts = attempts  # set, not added: it may be retried
            session.flush()
            return _one_job(session, study_id, job_id)

        return self._write(retry)

    def jobs(self, state: JobState | None = None) -> list[JobRow]:
        """Jobs in the order of their creation."""
        return self._read(reads.jobs, state=state)

    # -- points that wait to be tried -----------------------------------------------------------------------------

    def enqueue(self, params: Mapping[str, Scalar]) -> int:
        """Puts a point into Optuna's own queue of the study, also while a driver runs it; returns its trial's number.

        Does not check it against the space.
        """
        return self._write(waiting.enqueue, params=params)

    def waiting(self) -> list[WaitingRow]:
        """The enqueued trials that nobody has begun, in order."""
        return self._read(waiting.read)

    def taken_up(self) -> frozenset[int]:
        """Numbers of the trials whose points came from the queue."""
        return self._read(waiting.taken_up)

    def refuse(self, number: int, reason: str) -> bool:
        """Fails a waiting trial that cannot be run; returns False if it waits no longer."""
        return self._write(waiting.refuse, number=number, reason=reason)

    # -- for watchers ---------------------------------------------------------------------------------------------

    def keep_progress(self, row: ProgressRow) -> None:
        """Replaces the stored progress of the driver."""
        self._write(progress.write, row)

    def progress(self) -> ProgressRow | None:
        """The driver's last stored progress; None when there is none."""
        return self._read(progress.read)

    # -- results ------------------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRow]:
        """All trials by number."""
        return self._read(reads.trials)

    def others_trials(self) -> int:
        """How many trials other programs have made themselves, with Optuna's `ask` or `add_trial`.

        The service ignores them: it does not run, count, learn from or report them. They only take up numbers.
        """
        return self._read(waiting.count_others)

    def backbones(self) -> list[BackboneRow]:
        """All backbones in the order in which they were recorded."""
        return self._read(reads.backbones)

    def epochs(self, *, number: int | None = None, backbone: str | None = None) -> list[EpochRow]:
        """All epochs, those of one trial's stage 2, or those of one backbone's stage 1."""
        return self._read(reads.epochs, number=number, backbone=backbone)

    def classes(self, number: int) -> list[ClassRow]:
        """How a trial classified each class of each split; empty when it has no result."""
        return self._read(reads.classes, number=number).get(number, [])

    def classes_by_trial(self) -> dict[int, list[ClassRow]]:
        """The same for every trial with a result, by number."""
        return self._read(reads.classes)

    def posthoc(self) -> list[PosthocRow]:
        """All post-hoc classifiers, backbone by backbone."""
        return self._read(reads.posthoc)

    def record_reading(
        self,
        role: str,
        config: Mapping[str, Scalar],
        head: HeadResult | HeadFailure,
        *,
        backbone: BackboneResult,
        number: int | None = None,
    ) -> bool:
        """Writes a reading of test data: `head`, on `backbone`, under a role.

        Writes nothing and returns False if the role and configuration were read before. Raises ResultError for a head
        that failed or has no test results.
        """
        return self._write(
            writes.record_reading,
            role=role,
            config=config,
            head=head,
            backbone=backbone,
            number=number,
        )

    def readings(self) -> list[ReadingRow]:
        """All readings of test data, in the order in which they were made."""
        return self._read(reads.readings)

    # -- transactions -------------------------------------------------------------------------------------------

    def _read(self, question: Callable[..., T], *args: Any, **named: Any) -> T:
        def read(session: Session) -> T:
            self._find(session)
            return question(session, self._study_id, *args, **named)

        return self.database.read(read)

    def _write(self, deed: Callable[..., T], *args: Any, **named: Any) -> T:
        """Runs a write under a lock on the study's row: a lost try may still be running when its retry starts."""

        def write(session: Session) -> T:
            self._find(session)
            reads.find_study(session, self._study_id, locked=True)
            return deed(session, self._study_id, *args, **named)

        return self.database.write(write)

    def _find(self, session: Session) -> None:
        """Raises StudyNotFoundError when the study was deleted, even if another one has its id now."""
        if optuna_rows.find_study_id(session, self.name) != self._study_id:
            raise StudyNotFoundError(reads.DELETED)

    def _change(self, **values: Any) -> None:
        def change(session: Session, study_id: int) -> None:
            study = reads.find_study(session, study_id)
            for name, value in values.items():
                setattr(study, name, value)

        self._write(change)


def _study_names(connection: Connection) -> list[str]:
    revision = versions.revision_of(connection)
    versions.refuse_newer(revision)
    return [] if revision is None else reads.our_study_names(connection)


def _one_job(session: Session, study_id: int, job_id: int) -> JobRow:
    writes.find_job(session, study_id, job_id)
    return reads.jobs(session, study_id, job_id=job_id)[0]


def _wish(session: Session, study_id: int) -> StopWish | None:
    match reads.find_study(session, study_id).stop_requested:
        case "soft" | "now" as wish:
            return wish
        case _:
            return None
