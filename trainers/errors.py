"""What can go wrong in the trainer.

TrainerError
├── ConfigError       an impossible setting: names the key, the value and what is allowed
├── DataError         unusable data: names the file, the class or the row
└── DivergedError     a loss or weight is no longer finite
"""


class TrainerError(Exception):
    """An error that the user can fix; its text is readable and is stored with the failed trial."""


class ConfigError(TrainerError):
    """A setting is not possible."""


class DataError(TrainerError):
    """The data cannot be used."""


class DivergedError(TrainerError):
    """A loss or weight is no longer finite."""
