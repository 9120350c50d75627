"""The errors that the commands report in one line: bad data, a divergence (exit code 1), bad settings (2)."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


class DataError(ValueError):
    """Bad input: the message states the file, its content, what was expected and what to do.

    Control characters, which quoted parts of a file may contain, become spaces: the message is one line.
    """

    def __init__(self, message: object) -> None:
        super().__init__(_CONTROL.sub(" ", str(message)))


class SettingsError(ValueError):
    """Settings that are unknown or exclude each other; the commands turn it into one line and exit code 2."""


class DivergenceError(DataError, FloatingPointError):
    """The numbers of a training are not finite or too large; the message names data, or layer and step."""
