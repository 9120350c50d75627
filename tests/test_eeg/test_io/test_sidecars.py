"""The inheritance principle of BIDS, compared with MNE-BIDS where that has an opinion."""

from pathlib import Path

import numpy as np
import pytest
from mne_bids import BIDSPath

from eeg.io.reader import read_recording
from eeg.io.sidecars import find_sidecar
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

RECORDING = "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-1_eeg.edf"
NEAREST_FIRST = [
    "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-1_channels.tsv",
    "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_channels.tsv",
    "sub-01/ses-a/sub-01_ses-a_task-rest_channels.tsv",
    "sub-01/sub-01_task-rest_channels.tsv",
    "task-rest_channels.tsv",
    "channels.tsv",
]
OTHERS = [
    "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-2_channels.tsv",
    "sub-01/ses-a/eeg/sub-01_ses-a_task-sleep_channels.tsv",
    "sub-02/sub-02_task-rest_channels.tsv",
    "task-sleep_channels.tsv",
]


@pytest.mark.parametrize("missing", range(len(NEAREST_FIRST) + 1))
def test_the_nearest_file_that_applies(missing: int, tmp_path: Path) -> None:
    for name in (RECORDING, *NEAREST_FIRST[missing:], *OTHERS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("name\tstatus\nCz\tBAD\n")
    expected = tmp_path / NEAREST_FIRST[missing] if missing < len(NEAREST_FIRST) else None
    assert find_sidecar(tmp_path / RECORDING, "channels.tsv") == expected
    if missing in (0, 2, 3):  # else MNE-BIDS finds several candidates, or files of other entities
        place = BIDSPath(
            subject="01",
            session="a",
            task="rest",
            run="1",
            suffix="eeg",
            extension=".edf",
            datatype="eeg",
            root=tmp_path,
        )
        assert place.find_matching_sidecar("channels", ".tsv", on_error="ignore") == expected


def test_beside_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    assert find_sidecar(tmp_path / f"{'n' * 250}.edf", "channels.tsv") is None


def test_two_that_apply_equally(tmp_path: Path) -> None:
    folder = (tmp_path / RECORDING).parent
    folder.mkdir(parents=True)
    for name in ("sub-01_run-1_channels.tsv", "sub-01_task-rest_channels.tsv"):
        (folder / name).touch()
    with pytest.raises(DataError, match=r"run-1_channels\.tsv and .* apply equally"):
        find_sidecar(tmp_path / RECORDING, "channels.tsv")


@pytest.mark.parametrize("status", ["bad", "Bad", "BAD ", " bad"])
def test_bad_channels_of_a_shared_table(status: str, tmp_path: Path) -> None:
    (tmp_path / RECORDING).parent.mkdir(parents=True)
    noise = 20 * np.random.default_rng(0).standard_normal((2, 640))
    path = write_edf(tmp_path / RECORDING, noise, ("T3", "Cz"))
    (tmp_path / "task-rest_channels.tsv").write_text(f"name\tstatus\nT3\t{status}\nCz\tgood\n")
    assert read_recording(path).info["bads"] == ["T7"]
