"""Mutations of files: of any bytes, of numbers and words, and of texts that do not concern the signal."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tests.fuzz.seeds import Files

_NUMBERS = b"0 -1 1 2 7 99999999 -9999999 1e30 nan inf 0.0001 1e-30 4294967296 +5 1,5 0x10 1e --1".split()
_NUMBERS += [b"", b"\xb2", b"  3", b"1 2", b"18446744073709551616"]
_WORDS = rb"mV V Fp1 .. /etc/passwd -99 boundary n/a EDF+D BDF+D ' <b> %s%n {}".split()
_WORDS += [b"", b"\0", b"\xff\xfe", b"\xb5V", b"\xc2\xb5V", b"\n\n", b"\t", b"A" * 300, b"\x1b[31m", b'"']
_HEAD = 6000  # bytes of a file that are taken for its header


def _at(g: np.random.Generator, data: bytes) -> int:
    """Return a position, half of the time in the header."""
    return int(g.integers(min(len(data), _HEAD) if g.random() < 0.5 else len(data)))


def _flip(g: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(int(g.integers(1, 9))):
        out[_at(g, data)] ^= 1 << int(g.integers(8))
    return bytes(out)


def _overwrite(g: np.random.Generator, data: bytes) -> bytes:
    at, size = _at(g, data), int(2 ** g.integers(1, 11))
    fill = [b"\0" * size, b"\xff" * size, b" " * size, g.bytes(size)][int(g.integers(4))]
    return data[:at] + fill + data[at + size :]


def _cut(g: np.random.Generator, data: bytes) -> bytes:
    return data[: _at(g, data)]


def _append(g: np.random.Generator, data: bytes) -> bytes:
    return data + g.bytes(int(2 ** g.integers(0, 14)))


def _remove(g: np.random.Generator, data: bytes) -> bytes:
    at = _at(g, data)
    return data[:at] + data[at + int(2 ** g.integers(0, 12)) :]


def _insert(g: np.random.Generator, data: bytes) -> bytes:
    at, start = _at(g, data), _at(g, data)
    return data[:at] + data[start : start + int(2 ** g.integers(0, 12))] + data[at:]


def _swap(g: np.random.Generator, data: bytes) -> bytes:
    size = int(2 ** g.integers(2, 9))
    a, b = sorted((_at(g, data), _at(g, data)))
    if a + size > b:
        return _flip(g, data)
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def _replace(pattern: bytes, values: list[bytes]) -> Callable[[np.random.Generator, bytes], bytes]:
    def mutate(g: np.random.Generator, data: bytes) -> bytes:
        spots = list(re.finditer(pattern, data[:_HEAD]))
        if not spots:
            return _flip(g, data)
        spot = spots[int(g.integers(len(spots)))]
        value = values[int(g.integers(len(values)))]
        if g.random() < 0.7:  # fields of fixed width keep their width
            width = spot.end() - spot.start()
            value = value[:width].ljust(width)
        return data[: spot.start()] + value + data[spot.end() :]

    return mutate


_MUTATIONS = (
    _flip,
    _flip,
    _overwrite,
    _cut,
    _append,
    _remove,
    _insert,
    _swap,
    _replace(rb"[-+]?\d+(\.\d+)?", _NUMBERS),
    _replace(rb"[-+]?\d+(\.\d+)?", _NUMBERS),
    _replace(rb"[A-Za-z][A-Za-z0-9+]+", _WORDS),
)


def mutate(g: np.random.Generator, content: Files) -> Files:
    """Return a copy with one to three mutations, or with a file missing or empty."""
    out = dict(content)
    for _ in range(int(g.integers(1, 4))):
        name = list(out)[int(g.integers(len(out)))]
        chance = g.random()
        if chance < 0.03 and name != next(iter(content)):
            del out[name]
        elif chance < 0.05 or not out[name]:
            out[name] = b""
        else:
            out[name] = _MUTATIONS[int(g.integers(len(_MUTATIONS)))](g, out[name])
    return out


def _edf_texts(g: np.random.Generator, data: bytes) -> bytes:
    """Change the fields of an EDF or BDF that say nothing about the signal."""
    channels = int(data[252:256])
    out = bytearray(data)
    transducer = 256 + 16 * channels
    spans = [(8, 88), (transducer, transducer + 80 * channels)]
    for start, stop in spans:
        size = int(g.integers(1, stop - start))
        out[start : start + size] = bytes(g.integers(32, 127, size, dtype=np.uint8))
    return bytes(out)


def _line_ends(g: np.random.Generator, data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _comments(g: np.random.Generator, data: bytes) -> bytes:
    word = bytes(g.integers(65, 91, 40, dtype=np.uint8))
    return data.replace(b"[Channel Infos]", b"; " + word + b"\n[Channel Infos]")


_KEEPS: dict[str, tuple[Callable[[np.random.Generator, bytes], bytes], ...]] = {
    "edf": (_edf_texts,),
    "bdf": (_edf_texts,),
    "brainvision": (_line_ends, _comments),
    "persyst": (_line_ends,),
}


def keeps_signal(kind: str) -> bool:
    """Return whether there are mutations of this kind that keep the signal."""
    return kind in _KEEPS


def mutate_texts(g: np.random.Generator, kind: str, content: Files) -> Files:
    """Return a copy whose first file says the same of the signal by other bytes."""
    name = next(iter(content))
    ways = _KEEPS[kind]
    return {**content, name: ways[int(g.integers(len(ways)))](g, content[name])}
