"""What can go wrong in the trainer.

TrainerError
├── ConfigError       an impossible setting: names the key, the value and what is allowed
├── DataError         unusable data: names the file, the class or the row
│   ├── BadImageError     an image that cannot be decoded
│   └── DeepImageError    an image of more than 8 bits, for which no black and white are known
└── DivergedError     a loss or weight is no longer finite
"""


class TrainerError(Exception):
    """An error that the user can fix; its text is readable and is stored with the failed trial."""


class ConfigError(TrainerError):
    """A setting is not possible."""


class DataError(TrainerError):
    """The data cannot be used."""


class BadImageError(DataError):
    """An image cannot be decoded: its name, why, and what to do."""

    def __init__(self, name: str, reason: str, advice: str) -> None:
        super().__init__(name, reason, advice)  # all three, so that it can be pickled

    def __str__(self) -> str:
        name, reason, advice = self.args
        return f"{name}: the image cannot be decoded ({reason}); {advice}"

    @property
    def reason(self) -> str:
        """Why, without the image's name."""
        return str(self.args[1])


class DeepImageError(DataError):
    """An image has more than 8 bits, and no black and white are known for it."""


class DivergedError(TrainerError):
    """A loss or weight is no longer finite."""
