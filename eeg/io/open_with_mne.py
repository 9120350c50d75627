"""A program that opens recordings with MNE: a path a line on standard input, answers on standard output.

`eeg.io.isolated` runs it, so that a damaged file takes neither the memory nor the life of its caller.  An
answer is its number of bytes, in eight, and a pickled tuple: the recording and the texts of MNE's warnings,
or the class, the text and the number of an error.
"""

import builtins
import json
import os
import pickle
import sys
import time
import warnings
from typing import Any
from unittest import mock

import mne

_OPEN = open
_PARSED = (".set", ".mat", ".cnt", ".mefd")  # whose samples are read by parsers in C, as their headers are
_MOST_SAMPLES = 1 << 28  # 2 GiB of memory; of longer recordings the caller reads parts


def main() -> None:
    """Open the recording of each line, within the memory (bytes) and processor time (s) that it allows."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # some readers print
    for line in sys.stdin:
        path, memory, seconds = json.loads(line)
        _limit(memory, seconds)
        answer = _opened(path)
        answers.write(len(answer).to_bytes(8, "big") + answer)
        answers.flush()


def _limit(memory: int, seconds: float) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    used = int(time.process_time())
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, used + int(seconds) + 1)):
        _, highest = resource.getrlimit(kind)
        resource.setrlimit(
            kind, (limit if highest == resource.RLIM_INFINITY else min(limit, highest), highest)
        )


def _opened(path: str) -> bytes:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = _read(path)
            if path.lower().endswith(_PARSED) and raw.n_times * len(raw.ch_names) < _MOST_SAMPLES:
                raw.load_data(verbose="warning")
            if path.lower().endswith((".vhdr", ".ahdr")):
                _correct_microvolts(raw)
            return _pickled(raw, [str(one.message) for one in caught])
        except Exception as error:
            number = error.errno if isinstance(error, OSError) else None
            return pickle.dumps((type(error).__name__, str(error), number))


def _correct_microvolts(raw: Any) -> None:
    """Scale what is in µV with the Greek letter: MNE knows the unit, but of BrainVision takes it for V."""
    units = raw._orig_units or {}
    wrong = [
        one["ch_name"] for one in raw.info["chs"] if units.get(one["ch_name"]) == "µV" and one["range"] == 1
    ]
    if wrong:
        raw.load_data(verbose="warning").apply_function(
            lambda volts: 1e-6 * volts, picks=wrong, verbose="error"
        )


def _read(path: str) -> Any:
    """Read a recording; texts that are not UTF-8, as MNE expects of some, are Latin-1."""
    try:
        return mne.io.read_raw(path, verbose="warning")
    except UnicodeDecodeError:
        with mock.patch.object(builtins, "open", _open_latin_1):
            return mne.io.read_raw(path, verbose="warning")
    except TypeError as error:
        if "buffer is too small" not in str(error):  # as SciPy reports it of the texts of a .set
            raise
        return mne.io.read_raw(path, uint16_codec="latin1", verbose="warning")


def _open_latin_1(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    return _OPEN(file, mode, *args, **kwargs if "b" in mode else kwargs | {"encoding": "latin-1"})


def _pickled(raw: Any, texts: list[str]) -> bytes:
    try:
        return pickle.dumps((raw, texts), protocol=5)
    except Exception:  # some readers keep open files
        copy = mne.io.RawArray(raw.get_data(), raw.info, raw.first_samp, verbose="error")
        copy.set_annotations(raw.annotations, verbose="error").filenames = list(raw.filenames[:1])
        return pickle.dumps((copy, texts), protocol=5)


if __name__ == "__main__":
    main()
