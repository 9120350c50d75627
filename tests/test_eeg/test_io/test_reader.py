import csv
import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
import scipy.io
from hypothesis import given, strategies as st

from eeg.datasets import Entry
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.electrodes import TEN_TWENTY, electrodes, harmonise, reference
from eeg.io.reader import amplitude, read_recording, read_with_header
from eeg.preprocessing.interpolation import complete_channels
from eeg.preprocessing.pipeline import Preprocessing
from tests.test_eeg.helpers import windows_from
from tests.test_eeg.recordings import DATA, needs_data
from trainers.errors import DataError

RATE = 128
NAMES = ("Fp1", "T7", "Cz", "O2")
OLD_NAMES = ("FP1", "T3", "Cz", "O2", "ECG")
MICROVOLTS = 50 * np.random.default_rng(0).standard_normal((len(NAMES), 4 * RATE))
EPOC = ("AF3", "AF4", "F3", "F4", "F7", "F8", "FC5", "FC6", "O1", "O2", "P7", "P8", "T7", "T8")
SCALP_19 = ["Fp1", "Fp2", "F3", "F4", "F7", "F8", "T7", "T8", "C3", "C4", "P7", "P8", "P3", "P4", "O1", "O2"]
SCALP_19 += ["Fz", "Cz", "Pz"]


# --- names


@pytest.mark.parametrize(
    ("written", "modern"),
    [
        ("Fp1", "Fp1"),
        ("fp1", "Fp1"),
        ("FP1", "Fp1"),
        ("Fp1.", "Fp1"),
        ("Fc5.", "FC5"),
        ("C5..", "C5"),
        (" CZ ", "Cz"),
        ("EEG FP1-REF", "Fp1"),
        ("EEG Fp2-Ref", "Fp2"),
        ("EEG O2-LE", "O2"),
        ("EEG PZ-AR", "Pz"),
        ("EEG Cz - AVG", "Cz"),
        ("EEG Fpz", "Fpz"),
        ("EEG-F7", "F7"),
        ("T3", "T7"),
        ("EEG T4-LE", "T8"),
        ("EEG T5-REF", "P7"),
        ("t6", "P8"),
        ("FP1-A2", "Fp1"),
        ("EEG Fp1-M2", "Fp1"),
        ("Fp1-AVG", "Fp1"),
        ("EEG T3-A1A2", "T7"),
        ("C3-(A1+A2)/2", "C3"),
        ("POL T5", "P7"),
        ("EEG POL O1-Ref", "O1"),
        ("Oz_REF", "Oz"),
        ("EEG F4-Ref1", "F4"),
        *((f"Fp1{reference}", "Fp1") for reference in ("-G2", "-G19", "-GND", "-COM", "-Nz", "-Org", "/REF")),
        ("T3-LinkedEars", "T7"),
        ("Cz-Linked Mastoids", "Cz"),
        ("[Fp1]", "Fp1"),
        ("EEG [T5]-G2", "P7"),
        ("EEG Fp1-0", "Fp1"),
    ],
)
def test_common_spellings_become_modern_names(written: str, modern: str) -> None:
    assert harmonise(written) == modern


@pytest.mark.parametrize(
    "name",
    [
        "EEG A2-A1",
        "A1",
        "M2",
        "Fp1-F7",
        "EEG Fp1-Fp2",
        "EEG T1-REF",
        "PHOTIC-REF",
        "ECG ECG",
        "EKG1",
        "Status",
        "EEG",
        "EEG 001",
        "01",  # a channel's number, as long as nothing else is known
        "",
        "-REF",
    ],
)
def test_other_channels_keep_their_names(name: str) -> None:
    assert harmonise(name) == name


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=16))
def test_harmonising_twice_is_harmonising_once(name: str) -> None:
    assert harmonise(harmonise(name)) == harmonise(name)


@given(
    electrode=st.sampled_from(SCALP_19 + list(EPOC)),
    prefix=st.sampled_from(["", "EEG ", "EEG-", "eeg "]),
    suffix=st.sampled_from(["", "-REF", "-LE", "-Ar", "-avg"]),
    dots=st.sampled_from(["", ".", ".."]),
    spell=st.sampled_from([str, str.upper, str.lower]),
)
def test_decoration_and_case_do_not_matter(
    electrode: str, prefix: str, suffix: str, dots: str, spell: Callable[[str], str]
) -> None:
    assert harmonise(prefix + spell(electrode) + suffix + dots) == electrode


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Fp1-Cz", "EEG T3-CZ", "ECG"], ["Fp1", "T7"]),
        (["Fp1-CPz", "F3 - CPz", "CPz-CPz"], ["Fp1", "F3", "CPz"]),
        (["C3/Fz", "C4/Fz", "Fz"], ["C3", "C4", "Fz"]),
        (["Fp1-F7", "F7-T3", "T3-Cz"], []),  # several second electrodes: derivations
        (["C3-Cz", "ECG"], []),  # a single one: too
        (["C3-Cz", "C4-Cz", "O1"], ["O1"]),  # beside an electrode against something else: too
        (["01", "EEG 02-REF", "T3"], ["O1", "O2", "T7"]),
        (["01-Cz", "02-Cz", "Pz-Cz"], ["O1", "O2", "Pz"]),
        (["01", "02", "03", "ECG"], []),  # numbers
    ],
)
def test_electrodes_identified_by_all_names_together(names: list[str], found: list[str]) -> None:
    assert list(electrodes(names).values()) == found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["EEG FP1-REF", "EEG T3-REF"], "REF"),
        (["EEG FP1-LE", "EEG T3-Le"], "LE"),
        (["Fp1", "T7."], ""),
        (["Fp1-A1", "Fp2-A2"], "A1/A2"),
        (["Fp1-M2", "ECG", "Fp1-F7"], "M2"),  # channels other than electrodes are ignored
        (["Fp1", "Cz-REF"], "?/REF"),
        (["Fp1-Cz", "F3-CZ", "ECG"], "CZ"),
        ([], ""),
    ],
)
def test_the_reference_in_channel_names(names: list[str], expected: str) -> None:
    assert reference(names) == expected


# --- formats: the same four channels and an ECG, written by another library or by hand


def write_fif(path: Path) -> Path:
    info = mne.create_info(["EEG Fp1-REF", "T3", "CZ", "O2", "ECG"], RATE, "eeg")
    raw = mne.io.RawArray(np.vstack([MICROVOLTS, MICROVOLTS[:1]]) * 1e-6, info, verbose="error")
    raw.set_annotations(mne.Annotations(1.5, 0.25, "spike"))
    raw.save(path / "a_raw.fif", verbose="error")
    return path / "a_raw.fif"


def write_edf(
    path: Path, labels: tuple[str, ...] = ("EEG Fp1-REF", "EEG T3-REF", "EEG CZ-REF", "EEG O2-REF")
) -> Path:
    signals = [
        edfio.EdfSignal(row, RATE, label=label, physical_dimension="uV")
        for row, label in zip(np.vstack([MICROVOLTS, MICROVOLTS[:1]]), (*labels, "ECG"), strict=True)
    ]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(1.5, 0.25, "spike")]).write(path / "a.EDF")
    return path / "a.EDF"


def write_bdf(path: Path) -> Path:
    signals = [
        edfio.BdfSignal(row, RATE, label=label, physical_dimension="uV")
        for row, label in zip(np.vstack([MICROVOLTS, MICROVOLTS[:1]]), OLD_NAMES, strict=True)
    ]
    edfio.Bdf(signals, annotations=[edfio.EdfAnnotation(1.5, 0.25, "spike")]).write(path / "a.bdf")
    return path / "a.bdf"


def write_brainvision(path: Path) -> Path:
    channels = "\n".join(
        f"Ch{i}={name},,1,µV" for i, name in enumerate(("FP1", "T3", "Cz", "O2", "ECG"), start=1)
    )
    (path / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n"
        "[Common Infos]\nCodepage=UTF-8\nDataFile=a.eeg\n"
        "MarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=5\n"
        f"SamplingInterval={1e6 / RATE}\n\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    (path / "a.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n"
        "[Common Infos]\nCodepage=UTF-8\nDataFile=a.eeg\n\n"
        f"[Marker Infos]\nMk1=Comment,spike,{int(1.5 * RATE) + 1},{RATE // 4},0\n",
        encoding="utf-8",
    )
    np.vstack([MICROVOLTS, MICROVOLTS[:1]]).T.astype("<f4").tofile(path / "a.eeg")
    return path / "a.vhdr"


def write_eeglab(path: Path) -> Path:
    locations = [
        {"labels": name, "X": np.nan, "Y": np.nan, "Z": np.nan} for name in ("FP1", "T3", "Cz", "O2", "ECG")
    ]
    event = [{"type": "spike", "latency": 1.5 * RATE + 1, "duration": RATE / 4}]
    data = np.vstack([MICROVOLTS, MICROVOLTS[:1]]).astype(np.float32)
    header = {
        "nbchan": 5,
        "trials": 1,
        "pnts": data.shape[1],
        "srate": RATE,
        "xmin": 0,
        "xmax": 1,
        "epoch": [],
    }
    structure = {"data": data, "chanlocs": locations, "event": event, **header}
    scipy.io.savemat(path / "a.set", {"EEG": structure})
    return path / "a.set"


@pytest.mark.parametrize("write", [write_fif, write_edf, write_bdf, write_brainvision, write_eeglab])
def test_every_format_gives_the_same_recording(
    write: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = read_recording(write(tmp_path))
    assert tuple(raw.ch_names) == NAMES  # and not the ECG
    assert set(raw.get_channel_types()) == {"eeg"}
    assert raw.info["sfreq"] == RATE
    # 16 bit over the signal's own range of about 400 µV: half a step is 0.003 µV
    np.testing.assert_allclose(raw.get_data() * 1e6, MICROVOLTS, rtol=0, atol=0.005)
    assert [(a["onset"], a["duration"], a["description"].split("/")[-1]) for a in raw.annotations] == [
        (1.5, 0.25, "spike")
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("write", [write_fif, write_edf, write_bdf, write_brainvision, write_eeglab])
def test_signals_may_stay_in_the_file(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    lazy = read_recording(path, preload=False)
    np.testing.assert_array_equal(lazy[:, 100:200][0], read_recording(path)[:, 100:200][0])
    assert write is write_eeglab or not lazy.preload  # MNE reads a .set with its signals inside at once


def test_bad_channels_of_bids_are_marked(tmp_path: Path) -> None:
    path = write_edf(tmp_path).rename(tmp_path / "sub-1_task-rest_eeg.edf")
    table = "name\ttype\tunits\tstatus\nEEG T3-REF\tEEG\tuV\tbad\nCz\tEEG\tuV\tgood\nECG\tECG\tuV\tbad\n"
    (tmp_path / "sub-1_task-rest_channels.tsv").write_text(table)
    assert read_recording(path).info["bads"] == ["T7"]


def test_bad_channels_of_the_file_itself_are_marked(tmp_path: Path) -> None:
    path = write_fif(tmp_path)
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    raw.info["bads"] = ["T3", "ECG"]
    raw.save(path, overwrite=True, verbose="error")
    assert read_recording(path).info["bads"] == ["T7"]


def test_electrodes_have_their_montage_positions(tmp_path: Path) -> None:
    places = read_recording(write_edf(tmp_path)).get_montage().get_positions()["ch_pos"]
    left, right, vertex = places["T7"], places["O2"], places["Cz"]
    assert left[0] < 0 < right[0]  # x points right
    assert right[1] < vertex[1] < places["Fp1"][1]  # y points ahead
    assert vertex[2] > max(left[2], right[2])  # z points up


def emotiv_rows(samples: int) -> list[list[object]]:
    offset = np.linspace(3800, 4700, len(EPOC))[:, None]
    signal = offset + 30 * np.random.default_rng(1).standard_normal((len(EPOC), samples))
    return [[i + 1, *column, i % 129] for i, column in enumerate(signal.T)]


def write_emotiv(path: Path, samples: int = 256) -> Path:
    with gzip.open(path / "signal-1.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([["", *EPOC, "COUNTER"], *emotiv_rows(samples)])
    return path / "signal-1.csv.gz"


def test_only_the_emotiv_offset_is_removed(tmp_path: Path) -> None:
    raw = read_recording(write_emotiv(tmp_path))
    assert raw.info["sfreq"] == 128
    written = {name: [row[i] for row in emotiv_rows(256)] for i, name in enumerate(EPOC, start=1)}
    for name, volts in zip(raw.ch_names, raw.get_data(), strict=True):
        microvolts = np.array(written[name], dtype=float)
        np.testing.assert_allclose(np.diff(volts) * 1e6, np.diff(microvolts), atol=1e-9)
        assert abs(np.median(volts)) < 1e-12


def test_samples_that_the_counter_of_emotiv_shows_as_lost(tmp_path: Path) -> None:
    path = write_emotiv(tmp_path)
    assert read_with_header(path)[1].notes == ()
    rows = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(rows[:100] + rows[110:])))
    (note,) = read_with_header(path)[1].notes
    assert note == "samples are lost at 1 place(s) by its counter, such as at 0.8 s"


def test_bonn_is_one_channel_in_microvolts(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(-200, 200, 4097)
    (tmp_path / "Z001.txt").write_text("\n".join(map(str, numbers)) + "\n")
    raw = read_recording(tmp_path / "Z001.txt")
    assert (raw.ch_names, raw.info["sfreq"]) == (["EEG"], pytest.approx(173.61))
    np.testing.assert_allclose(raw.get_data()[0] * 1e6, numbers)


@pytest.mark.parametrize("write", [write_fif, write_edf, write_bdf, write_brainvision, write_eeglab])
def test_every_format_has_the_same_header(write: Callable[[Path], Path], tmp_path: Path) -> None:
    facts = entry_header(Entry(write(tmp_path), "a", None))
    assert (facts.sfreqs, facts.duration, facts.electrodes) == ((RATE,), 4.0, NAMES)
    assert len(facts.channels) == len(NAMES) + 1
    assert (facts.sex, facts.age, facts.device, facts.filters) == (None, None, None, "")


def test_the_header_of_fif(tmp_path: Path) -> None:
    path = write_fif(tmp_path)
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    raw.set_meas_date(datetime(2011, 3, 1, 14, 33, tzinfo=UTC))
    raw.info["subject_info"] = {"sex": 2, "birthday": date(1980, 3, 1), "last_name": "Mueller"}
    raw.info["device_info"] = {"type": "Nihon", "serial": "1234"}
    raw.filter(1, 40, verbose="error").save(path, overwrite=True, verbose="error")
    facts = entry_header(Entry(path, "a", None))
    assert (facts.sex, facts.age, facts.device) == ("F", pytest.approx(31, abs=0.01), "Nihon")
    assert (facts.recorded, facts.filters) == (datetime(2011, 3, 1, 14, 33), "HP:1Hz LP:40Hz")
    assert "Mueller" not in repr(facts)


# --- amplitude, and channels that are interpolated


def ten_twenty(seconds: int = 20) -> mne.io.RawArray:
    """White noise and a smooth field over the head, which rises from left to right."""
    rng = np.random.default_rng(1)
    montage = mne.channels.make_standard_montage("colin27_1020")
    x = np.array([montage.get_positions()["ch_pos"][name][0] for name in TEN_TWENTY])
    field = x[:, None] / x.max() * rng.standard_normal(seconds * RATE)
    raw = mne.io.RawArray(30e-6 * field, mne.create_info(list(TEN_TWENTY), RATE, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(1, 2, "spike"))
    return raw.set_montage(montage, verbose="error")


def test_amplitude_is_robust_to_drift_offset_and_artefacts() -> None:
    volts = 20e-6 * np.random.default_rng(0).standard_normal((3, 120 * RATE))
    volts[1] += np.linspace(0.1, 0.2, volts.shape[1])  # a DC amplifier
    volts[2, : 20 * RATE] += 5e-3 * np.sign(np.sin(np.arange(20 * RATE)))  # a sixth of the time
    raw = mne.io.RawArray(volts, mne.create_info(3, RATE, "eeg"), verbose="error")
    # In the mean over seconds the sd of a normal; drift adds 0.8 mV within each second to channel 1.
    assert amplitude(raw)[0] == pytest.approx(20e-6, rel=0.03)
    assert amplitude(raw)[2] == pytest.approx(20e-6, rel=0.08)


def test_a_smooth_field_is_interpolated_accurately() -> None:
    whole = ten_twenty()
    made_up = complete_channels(whole.copy().drop_channels(["T8", "P3"]), TEN_TWENTY)
    assert tuple(made_up.ch_names) == TEN_TWENTY
    for name in ("T8", "P3"):
        (truth,), (found,) = whole.get_data(name), made_up.get_data(name)
        assert np.corrcoef(truth, found)[0, 1] > 0.98
        assert np.std(found - truth) < 0.4 * np.std(truth)


def test_missing_and_bad_channels_are_interpolated_alike() -> None:
    whole = ten_twenty()
    whole.info["bads"] = ["T8", "P3"]
    half = whole.copy().drop_channels(["T8"])
    peer = whole.copy().interpolate_bads(verbose="error")
    for raw in (whole, half):
        found = complete_channels(raw, TEN_TWENTY)
        np.testing.assert_allclose(found.get_data(), peer.get_data(TEN_TWENTY), rtol=0, atol=1e-12)
        assert found.info["bads"] == []
        assert len(found.annotations) == 1
    assert whole.info["bads"] == ["T8", "P3"]  # as it was


def test_channels_are_reordered_and_unchanged_if_none_is_missing() -> None:
    whole = ten_twenty()
    found = complete_channels(whole, ("Pz", "Fp1"))
    assert found.ch_names == ["Pz", "Fp1"]
    np.testing.assert_array_equal(found.get_data(), whole.get_data(["Pz", "Fp1"]))


@pytest.mark.parametrize(
    ("missing", "bad", "wanted"),
    [
        (["T8", "P3", "Cz"], [], TEN_TWENTY),  # three of 19
        (["T8", "P3"], ["Cz"], TEN_TWENTY),
        (["T8", "P3"], [], (*TEN_TWENTY[:13], "T8")),  # two of fourteen
        ([], [], (*TEN_TWENTY[:18], "Nowhere")),  # one of 19, but of unknown position
    ],
)
def test_too_many_missing_channels_are_refused(
    missing: list[str], bad: list[str], wanted: tuple[str, ...]
) -> None:
    raw = ten_twenty().drop_channels(missing)
    raw.info["bads"] = bad
    with pytest.raises(DataError, match=r"lacks the channels .* may be interpolated"):
        complete_channels(raw, wanted)


# --- bad input: one line that names the file


def expect_one_line(path: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_recording(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def test_missing_file(tmp_path: Path) -> None:
    expect_one_line(tmp_path / "gone.edf", "no such file")


@pytest.mark.parametrize(
    "suffix", ["edf", "bdf", "fif", "vhdr", "set", "csv", "csv.gz", "txt", "docx", "cnt", "gdf"]
)
@pytest.mark.parametrize("content", [b"", b"Dear colleague,\nplease find attached\n", bytes(range(256)) * 8])
def test_a_file_that_is_not_eeg(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"letter.{suffix}"
    path.write_bytes(content)
    expect_one_line(path)


def test_a_folder_is_not_eeg(tmp_path: Path) -> None:
    (tmp_path / "a.edf").mkdir()
    expect_one_line(tmp_path / "a.edf", "a folder; give recordings (files)")


@pytest.mark.parametrize("write", [write_edf, write_bdf])
def test_truncated_edf_and_bdf(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    expect_one_line(path, "truncated", "3 of the 4 announced data records")


def test_truncated_fif_and_gz(tmp_path: Path) -> None:
    for path in (write_fif(tmp_path), write_emotiv(tmp_path)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        expect_one_line(path)


def test_an_unfinished_edf_is_read_up_to_its_end(tmp_path: Path) -> None:
    path = write_edf(tmp_path)
    content = bytearray(path.read_bytes())
    content[236:244] = b"-1      "  # the standard's sign for a number of records not yet known
    path.write_bytes(content)
    assert read_recording(path).n_times == MICROVOLTS.shape[1]


def test_pieces_that_were_joined_in_brainvision(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    with (tmp_path / "a.vmrk").open("a") as file:
        file.write("Mk2=New Segment,,1,1,0\n")  # as every recording begins
    assert read_recording(path).n_times == MICROVOLTS.shape[1]
    with (tmp_path / "a.vmrk").open("a") as file:
        file.write(f"Mk3=New Segment,,{2 * RATE + 1},1,0\n")
    expect_one_line(path, "joined from pieces, such as at 2.0 s")


def test_pieces_that_were_joined_in_mne_and_eeglab(tmp_path: Path) -> None:
    path = write_fif(tmp_path)
    piece = mne.io.read_raw_fif(path, preload=True, verbose="error")
    mne.concatenate_raws([piece, piece.copy()], verbose="error").save(path, overwrite=True, verbose="error")
    expect_one_line(path, "joined from pieces, such as at 4.0 s")
    path = write_eeglab(tmp_path)
    content = scipy.io.loadmat(path, squeeze_me=False)["EEG"]
    content[0, 0]["event"][0, 0]["type"][:] = "boundary"
    scipy.io.savemat(path, {"EEG": content})
    expect_one_line(path, "joined from pieces, such as at 1.5 s")


@pytest.mark.parametrize("content", ["1\n" * 4096, "1 2\n" * 4097, "one\n" * 4097, ""])
def test_a_text_that_is_not_a_segment_of_bonn(content: str, tmp_path: Path) -> None:
    (tmp_path / "S100.txt").write_text(content)
    expect_one_line(tmp_path / "S100.txt")


@pytest.mark.parametrize("labels", [("EEG Fp1-REF", "Fp1", "Cz", "O2"), ("Fp1", "Fp1", "Cz", "O2")])
def test_one_electrode_twice(labels: tuple[str, ...], tmp_path: Path) -> None:
    expect_one_line(write_edf(tmp_path, labels), "several channels for Fp1;")


def test_old_and_new_name_of_one_electrode(tmp_path: Path) -> None:
    expect_one_line(write_edf(tmp_path, ("T3", "T7", "Cz", "O2")), "several channels for T7;")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.edf").touch()
    expect_one_line(tmp_path / "a.edf", "empty, 0 bytes")


def test_no_scalp_channel(tmp_path: Path) -> None:
    expect_one_line(
        write_edf(tmp_path, ("A1", "EMG", "CH-1", "Resp")), "no scalp electrode among its 5 channel(s)"
    )


@pytest.mark.parametrize(
    "labels", [("EEG Fp1-F7", "F7-T3", "T3-T5", "T5-O1"), ("A1-A2", "Cz-Pz", "EMG", "x")]
)
def test_a_bipolar_montage(labels: tuple[str, ...], tmp_path: Path) -> None:
    expect_one_line(
        write_edf(tmp_path, labels), "but differences of two; export it against one common reference"
    )


def test_a_scalp_electrode_as_common_reference(tmp_path: Path) -> None:
    path = write_edf(tmp_path, ("FP1-Cz", "T3-Cz", "02-Cz", "A1-Cz"))
    raw = read_recording(path, ears=True)
    assert raw.ch_names == ["Fp1", "T7", "O2", "A1"]
    np.testing.assert_allclose(raw.get_data() * 1e6, MICROVOLTS, atol=0.01)
    assert entry_header(Entry(path, "", None)).electrodes == ("Fp1", "T7", "O2")


@pytest.mark.parametrize("zeros", [False, True])
def test_the_electrode_of_the_reference_is_interpolated(zeros: bool, tmp_path: Path) -> None:
    """As if it were missing; splines keep what is the same everywhere, and the average takes it out."""
    volts = 5e-5 * np.random.default_rng(0).standard_normal((19, 10 * RATE))

    def prepared(name: str, data: np.ndarray, labels: list[str]) -> np.ndarray:
        path = tmp_path / f"{name}_raw.fif"
        info = mne.create_info(labels, RATE, "eeg")
        mne.io.RawArray(data, info, verbose="error").save(path, fmt="double", verbose="error")
        return windows_from(read_recording(path), Preprocessing(TEN_TWENTY, scale=1e6), 2.0).data

    cz = TEN_TWENTY.index("Cz")
    others = [i for i in range(19) if i != cz]
    kept = list(range(19)) if zeros else others
    missing = prepared("missing", volts[others], [f"{TEN_TWENTY[i]}-REF" for i in others])
    against = prepared("against", (volts - volts[cz])[kept], [f"{TEN_TWENTY[i]}-Cz" for i in kept])
    np.testing.assert_allclose(against, missing, atol=1e-3)


def test_another_csv_names_the_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("Fp1,Fp2\n1,2\n")
    expect_one_line(path, "Emotiv EPOC", "AF3")


def test_a_csv_without_samples(tmp_path: Path) -> None:
    expect_one_line(write_emotiv(tmp_path, samples=0), "contains no sample")


def test_a_csv_with_a_cell_that_is_not_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join((*EPOC, "COUNTER")) + "\n" + "4200," * 13 + "NA,0\n")
    expect_one_line(path, "a cell is not a number in line 2")


# --- real recordings


@needs_data
@pytest.mark.parametrize("number", ["00", "03", "07", "12", "19", "28"])
def test_eegmat(number: str) -> None:
    path = DATA / "eegmat" / f"Subject{number}_1.edf"
    raw = read_recording(path)
    assert raw.ch_names == SCALP_19  # without A2-A1 and ECG
    peer = edfio.read_edf(path)
    for signal, volts in zip(peer.signals, raw.get_data(), strict=False):
        np.testing.assert_allclose(volts * 1e6, signal.data, atol=1e-6)


@needs_data
def test_eegmmidb_keeps_annotations() -> None:
    raw = read_recording(DATA / "eegmmidb" / "S001R03.edf")
    assert len(raw.ch_names) == 64
    peer = edfio.read_edf(DATA / "eegmmidb" / "S001R03.edf")
    assert [a["description"] for a in raw.annotations] == [a.text for a in peer.annotations]


@needs_data
def test_bonn() -> None:
    path = DATA / "bonn" / "setE" / "S001.txt"
    numbers = [float(line) for line in path.read_text().split()]
    np.testing.assert_allclose(read_recording(path).get_data()[0] * 1e6, numbers)


@needs_data
def test_guinea_bissau_against_python_csv() -> None:
    path = DATA / "guinea_bissau" / "EEGs_Guinea-Bissau" / "signal-1.csv.gz"
    raw = read_recording(path)
    assert set(raw.ch_names) == set(EPOC)
    with gzip.open(path, "rt") as file:
        slow = np.array([float(row["FC5"]) for row in islice(csv.DictReader(file), 500)])
    fast = raw.get_data("FC5")[0, :500] * 1e6
    np.testing.assert_allclose(np.diff(fast), np.diff(slow), atol=1e-8)
    assert np.abs(fast).max() < 1000  # the offset of about 4200 µV is gone
