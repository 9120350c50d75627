"""The one error that a user's data can cause; the commands turn it into one line and exit code 1."""


class DataError(ValueError):
    """Bad input: the message names the file, what was found, what was expected and what to do."""
