"""The error that bad data raise; the commands report it in one line, with exit code 1."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


class DataError(ValueError):
    """Bad input: the message states the file, its content, what was expected and what to do.

    Control characters, which quoted parts of a file may contain, become spaces: the message is one line.
    """

    def __init__(self, message: object) -> None:
        super().__init__(_CONTROL.sub(" ", str(message)))
