"""The one error that a user's data can cause; the commands turn it into one line and exit code 1."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


class DataError(ValueError):
    """Bad input: the message names the file, what was found, what was expected and what to do.

    It is one line, whatever a file holds that it quotes: control characters become spaces.
    """

    def __init__(self, message: object) -> None:
        super().__init__(_CONTROL.sub(" ", str(message)))
