"""The errors that the commands report in one line: bad data, a divergence (exit code 1), bad settings (2)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from traceback import extract_tb

_PACKAGES = ("eeg", "trainers", "visualizers", "hebbian")
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


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Convert any exception, of any type, to a `DataError` that names a file.

    Those of ours that name it, or another file in its folder, stay as they are.  What processes many files
    uses this for each, so that one file never costs another.
    """
    try:
        yield
    except SettingsError:
        raise
    except DataError as error:
        if any(name and name in str(error) for name in (path.name, path.parent.name)):
            raise
        raise DataError(f"{path}: {error}") from error
    except Exception as error:
        raise DataError(f"{path}: {describe_unexpected(error)}") from error


@contextmanager
def concerning(option: str) -> Iterator[None]:
    """Begin the message of an error with the option of the command that it concerns.

    >>> with concerning("--folds 5"):
    ...     raise DataError("expected 5 subjects of each class, found 3")
    Traceback (most recent call last):
    trainers.errors.DataError: --folds 5: expected 5 subjects of each class, found 3

    Raises
    ------
    DataError
        For a `DataError`.
    SettingsError
        For any other `ValueError` or `TypeError`, which mean here that the option's value is at fault.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{option}: {error}") from error
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{option}: {error}") from error


def describe_unexpected(error: Exception) -> str:
    """Return what happened and where in the code, without the text of the error: it may quote the data.

    >>> describe_unexpected(MemoryError())
    'not enough memory'
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    places = [(_of_ours(frame.filename), frame.lineno) for frame in extract_tb(error.__traceback__)]
    ours = [f" in {file}, line {line}" for file, line in places if file]
    return f"unexpected {type(error).__name__}{ours[-1] if ours else ''}; --debug shows its traceback"


def describe_unreadable(error: Exception) -> str:
    """Return why a file cannot be read, in the words of the operating system or of its format.

    >>> describe_unreadable(FileNotFoundError(2, "No such file or directory"))
    'no such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding} text"
    if isinstance(error, JSONDecodeError):
        return (
            f"not JSON, line {error.lineno}: {error.msg[:1].lower()}{error.msg[1:]}" if error.doc else "empty"
        )
    return str(error)


def _of_ours(file: str) -> str | None:
    """Return a file of our packages as ``eeg/io/reader.py``, None for any other."""
    root, path = Path(__file__).parents[1], Path(file)
    ours = any(path.is_relative_to(root / package) for package in _PACKAGES)
    return path.relative_to(root).as_posix() if ours else None
