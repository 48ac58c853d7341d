"""What can go wrong in the trainer.

TrainerError
├── ConfigError       a setting that cannot be: names the key, the value and what is allowed
├── DataError         data that cannot be used: names the file, the class or the row
└── DivergedError     a loss or weight that is no longer finite
"""


class TrainerError(Exception):
    """Anything a user can mend; its text is one readable sentence and is stored with the failed trial."""


class ConfigError(TrainerError):
    """A setting is not possible."""


class DataError(TrainerError):
    """The data cannot be used as asked."""


class DivergedError(TrainerError):
    """Training left the finite numbers."""
