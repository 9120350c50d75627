"""The file of a detector: weights and settings in one safetensors file, validated before they are used."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eeg.detector.detector import Detector, DetectorSettings
from eeg.detector.prototypes import Prototypes
from eeg.detector.provenance import LONGEST
from eeg.models.local_readout import build_network
from eeg.models.registry import MODELS, find_model, is_user_code
from trainers.data.batches import tensor_digest
from trainers.errors import DataError
from trainers.files import replacing
from trainers.provenance import from_plain, parse_json, to_plain

FORMAT = 6
"""Version of the file's layout; other versions are refused."""

_KEY, _DIGEST = "eeg.detector", "sha256"
_PROTOTYPES = ("prototypes.epilepsy", "prototypes.control")
_CODE = re.compile(r"[\w.]+:[\w.]+")


def save_detector(detector: Detector, path: str | Path) -> None:
    """Write a detector as one safetensors file, whole or not at all; the settings are JSON in its header.

    Raises
    ------
    ValueError
        If the model has no name to load it by: one in `eeg.models.registry.MODELS`, or
        ``package.module:function``.
    DataError
        If the file cannot be written.
    """
    if not is_user_code(detector.model) and detector.model not in MODELS:  # could not be loaded again
        raise ValueError(
            f"the network is named {detector.model!r}, which cannot be loaded again; to save the detector, "
            "make it with name='package.module:function', a function that returns the network"
        )
    settings = {f.name: getattr(detector, f.name) for f in fields(DetectorSettings)}
    facts = {"format": FORMAT, **to_plain(settings)}
    _check_text(facts)
    tensors = {k: v.contiguous() for k, v in detector.network.state_dict().items()}
    if (kept := detector.prototypes) is not None:
        tensors |= dict(zip(_PROTOTYPES, (kept.epilepsy, kept.control), strict=True))
    header = json.dumps({_DIGEST: _digest(facts, tensors), **facts})
    with replacing(Path(path)) as part:
        save_file(tensors, part, metadata={_KEY: header})  # one key: the order of several is random


def _digest(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of settings and tensors, in hex, which detects damage but is not a signature."""
    names = sorted(tensors)
    content = [facts, *names, tensor_digest(tensors[name] for name in names)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_text(facts: Any) -> None:
    """Refuse texts that could act on a terminal or change how a line reads, and endless ones."""
    rest = [("settings", "settings", facts)]
    for name, place, value in rest:  # to which the inner values are added
        inner = list(value.items()) if isinstance(value, dict) else []
        for text in (value, *(key for key, _ in inner)):
            if isinstance(text, str) and not (text.isprintable() and len(text) <= LONGEST):
                raise ValueError(f"{place}: expected text of at most {LONGEST} printable characters")
        rest += [(key, f"{name}.{key}", item) for key, item in inner]
        rest += [(name, place, item) for item in value] if isinstance(value, list) else []


def load_detector(path: str | Path, network: str | None = None) -> Detector:
    """Read a detector; runs no code from the file.

    Parameters
    ----------
    path
        What `save_detector` wrote, or a folder that `eeg train` wrote.
    network
        The code ``package.module:function`` that may be run where the file names it as its network.

    Raises
    ------
    DataError
        If the file is missing, is not a detector, has another format version, or names user code other than
        ``network``.
    """
    path = Path(path)
    if path.is_dir():
        path /= "model.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a model written by `eeg train`")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        raise DataError(f"{path}: not a safetensors file; expected a model written by `eeg train`") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if _KEY not in metadata:
        raise DataError(f"{path}: contains weights but no detector; expected a model written by `eeg train`")
    try:
        return _rebuild(parse_json(metadata[_KEY]), tensors, network)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}; copy it or train it again") from None


def _rebuild(facts: Any, tensors: Mapping[str, Tensor], allowed: str | None) -> Detector:
    """Return the detector; nothing of the size of its tensors is made before its settings fit these."""
    if not isinstance(facts, dict):
        raise ValueError("expected settings with named fields")
    if (version := facts.get("format")) != FORMAT or type(version) is not int:
        raise DataError(f"detector format {_quote(version)}, this version reads {FORMAT}; train it again")
    _check_text(facts)
    digest, content = facts.pop(_DIGEST, None), dict(facts)
    del facts["format"]
    settings = from_plain(DetectorSettings, facts)
    _refuse_gaps(facts, to_plain(settings))
    _refuse_code(settings.model, allowed)
    weights = {name: value for name, value in tensors.items() if name not in _PROTOTYPES}
    _check_weights(settings, weights)
    prototypes = _prototypes(tensors, settings.shape)
    if digest != _digest(content, tensors):
        raise ValueError("the SHA-256 of its settings and weights is not the one in the file")
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise ValueError(f"{name}: expected finite values")
    network = build_network(settings.model, settings.readout, *settings.shape)
    network.load_state_dict(weights)
    return Detector(network=network.eval(), prototypes=prototypes, **vars(settings))


def _refuse_gaps(facts: Any, whole: Any, field: str = "settings") -> None:
    """Refuse settings without a field that the settings built from them have: a default is not used."""
    if isinstance(whole, dict):
        for name, value in whole.items():
            if name not in facts:
                raise ValueError(f"{field}.{name}: missing")
            _refuse_gaps(facts[name], value, f"{field}.{name}")
    elif isinstance(whole, list):
        for value, part in zip(facts, whole, strict=True):
            _refuse_gaps(value, part, field)


def _quote(version: object) -> str:
    """Return a version as a message quotes it."""
    return str(version) if isinstance(version, int | None) and abs(version or 0) < 1000 else "unknown"


def _refuse_code(model: str, allowed: str | None) -> None:
    """Refuse a model that is neither registered nor code that the user allows."""
    if model in MODELS:
        return
    if not _CODE.fullmatch(model):
        raise ValueError(f"model: expected package.module:function or one of {', '.join(MODELS)}")
    if model != allowed:
        raise DataError(
            f"its network is {model}, code that is not in the file; "
            f"if you trust that code, add network={model!r} (--network {model})"
        )
    try:
        find_model(model)
    except ValueError as error:
        raise DataError(error) from error


def _check_weights(settings: DetectorSettings, weights: Mapping[str, Tensor]) -> None:
    """Compare the weights with those of the network that the settings describe, which takes no memory."""
    with torch.device("meta"):
        network = build_network(settings.model, settings.readout, *settings.shape)
    expected = {name: (value.dtype, value.shape) for name, value in network.state_dict().items()}
    found = {name: (value.dtype, value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if not wrong:
        return
    if is_user_code(settings.model):
        raise DataError(
            f"its weights do not fit the network that {settings.model} returns now; "
            "use the code that it was trained with, or train it again"
        )
    described = [
        "none" if at is None else f"{at[0]} of shape {tuple(at[1])}"
        for at in (found.get(wrong[0]), expected.get(wrong[0]))
    ]
    raise ValueError(f"weights {wrong[0]!r}: {described[0]}, expected {described[1]}")


def _prototypes(tensors: Mapping[str, Tensor], shape: tuple[int, int]) -> Prototypes | None:
    stored = [tensors[name] for name in _PROTOTYPES if name in tensors]
    if not stored:
        return None
    fits = [len(windows) and windows.shape[1:] == shape for windows in stored if windows.dim() == 3]
    if fits != [True, True] or any(windows.dtype != torch.float32 for windows in stored):
        raise ValueError(f"prototypes: expected windows of shape {shape} of both classes, float32")
    return Prototypes(*stored)
