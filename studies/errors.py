"""What can go wrong with a study and its database.

StudyError
├── StudyNotFoundError       no study of that name; the text lists the existing ones
├── TrialNotFoundError       no trial of that number
├── StudyMismatchError       the name is taken by another space, or by a study of another program
├── StudyLockedError         another driver has the study; the text says which
├── ResultError              a result does not fit its job, or a reading cannot be stored
├── NewerSchemaError         the database was written by a newer release
└── StorageUnavailableError  the database does not answer, or cannot be read or written
    ├── MovedDatabaseError   its file, or its lock's, was removed, moved or replaced while it was in use
    └── OlderSchemaError     it was written by an older release, and cannot be migrated now
"""


class StudyError(Exception):
    """An error that the user can fix; its text is readable and shows no password."""


class StudyNotFoundError(StudyError):
    """There is no study of that name."""


class TrialNotFoundError(StudyError):
    """There is no trial of that number in the study."""


class StudyMismatchError(StudyError):
    """The name is taken by something else."""


class StudyLockedError(StudyError):
    """Another driver has the study."""


class ResultError(StudyError):
    """A result does not fit its job, or a reading cannot be stored."""


class NewerSchemaError(StudyError):
    """The database was written by a newer release."""


class StorageUnavailableError(StudyError):
    """The database does not answer, or cannot be read or written."""


class MovedDatabaseError(StorageUnavailableError):
    """The file of the database, or of its lock, is no longer the one at its path."""


class OlderSchemaError(StorageUnavailableError):
    """The database was written by an older release, and cannot be migrated now."""
