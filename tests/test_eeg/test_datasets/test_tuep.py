"""The TUH EEG Epilepsy Corpus cannot be shipped: these tests write files in its layout, naming and quirks."""

import json
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np
import pytest

from eeg.datasets import Entry, open_corpus, read_seizures
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.workflows.corpus import usable
from eeg.workflows.inspect import format_inspection, inspect_corpus
from tests.helpers import without_numbers
from trainers.errors import DataError

# The electrodes in the order and the spelling of the corpus, and the other channels of its files.
SCALP = ("FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6")
SCALP += ("FZ", "CZ", "PZ")
MODERN = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "FP1": "Fp1", "FP2": "Fp2", "FZ": "Fz", "CZ": "Cz"}
MODERN |= {"PZ": "Pz"}
OTHERS = ("EEG A1-{0}", "EEG A2-{0}", "EEG T1-{0}", "EEG T2-{0}", "EEG EKG1-{0}", "EMG-{0}", "PHOTIC-{0}")
SLOW = ("IBI", "BURSTS", "SUPPR")  # one sample a second
REFERENCE = {"01_tcp_ar": "REF", "02_tcp_le": "LE", "03_tcp_ar_a": "REF", "04_tcp_le_a": "LE"}
PATIENT = "{0} F 01-JAN-1960 {0} Age:43"

V1 = "v1.0.0/edf/epilepsy/01_tcp_ar/084/00008476/s003_2012_10_22/00008476_s003_t003.edf"
V2 = "v2.0.1/00_epilepsy/aaaaaanr/s001_2003/02_tcp_le/aaaaaanr_s001_t001.edf"
CONTROL = {
    V1: "v1.0.0/edf/no_epilepsy/03_tcp_ar_a/012/00001234/s001_2009_01_05/00001234_s001_t000.edf",
    V2: "v2.0.1/01_no_epilepsy/aaaaabdo/s002_2005/04_tcp_le_a/aaaaabdo_s002_t000.edf",
}


def microvolts(rate: int, seconds: int = 4) -> np.ndarray:
    return 30 * np.random.default_rng(rate).standard_normal((len(SCALP), rate * seconds))


def write(path: Path, rate: int = 256, reference: str = "REF", patient: str | None = None) -> Path:
    """Write a recording as the corpus has them: header of plain EDF, four sampling rates in one file."""
    scalp = microvolts(rate)
    seconds = scalp.shape[1] // rate
    names = [f"EEG {name}-{reference}" for name in SCALP]
    signals = [signal(row, rate, name) for row, name in zip(scalp, names, strict=True)]
    ramp = np.linspace(-1000, 1000, 4 * rate * seconds)  # faster than the EEG, as some photic channels
    signals += [signal(ramp, 4 * rate, name.format(reference)) for name in OTHERS]
    signals += [signal(np.arange(seconds, dtype=float), 1, name) for name in SLOW]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, data_record_duration=1).write(path)
    content = bytearray(path.read_bytes())
    subject = path.name.split("_")[0]
    content[8:88] = (patient or PATIENT.format(subject)).ljust(80).encode("latin-1")
    content[88:168] = f"Startdate 01-JAN-2003 {path.stem} X Nicolet".ljust(80).encode()
    content[168:184] = b"01.01.0312.34.56"
    path.write_bytes(content)
    return path


def signal(values: np.ndarray, rate: int, label: str) -> edfio.EdfSignal:
    limits = (-5000, 5000.3)
    return edfio.EdfSignal(
        values,
        rate,
        label=label,
        physical_dimension="uV",
        physical_range=limits,
        prefiltering="HP:0.000 Hz LP:0.0 Hz N:0.0",
    )


SEIZURES = """\
# version = csv_v1.0.0
# bname = aaaaaanr_s001_t001
# duration = 301.0000 secs
# montage_file = $NEDC_NFC/lib/nedc_eas_default_montage.txt
#
channel,start_time,stop_time,label,confidence
"""


# --- the layout


@pytest.mark.parametrize(
    ("epilepsy", "expected"),
    [
        (V1, [("00008476", 1, "s003", "01_tcp_ar"), ("00001234", 0, "s001", "03_tcp_ar_a")]),
        (V2, [("aaaaaanr", 1, "s001", "02_tcp_le"), ("aaaaabdo", 0, "s002", "04_tcp_le_a")]),
        (
            V2.replace("v2.0.1", "v3.0.0"),
            [("aaaaaanr", 1, "s001", "02_tcp_le"), ("aaaaabdo", 0, "s002", "04_tcp_le_a")],
        ),
    ],
)
def test_every_version(epilepsy: str, expected: list[tuple[str, int, str, str]], tmp_path: Path) -> None:
    version = epilepsy.split("/")[0]
    control = CONTROL.get(epilepsy, CONTROL[V2]).replace("v2.0.1", version)
    for file in (epilepsy, control):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    parent_of_classes = tmp_path / ("v1.0.0/edf" if epilepsy == V1 else version)
    for folder in (tmp_path, tmp_path / version, parent_of_classes):
        corpus = open_corpus(folder)
        assert [(e.subject, e.label, e.session, e.montage) for e in corpus.entries] == expected
        assert [e.path for e in corpus.entries] == [tmp_path / epilepsy, tmp_path / control]
    assert corpus.name == "TUH EEG Epilepsy Corpus"
    assert not corpus.simulated


@pytest.mark.parametrize(
    "place",
    [
        "00_epilepsy/aaaaaanr/s001_2003/05_tcp_xx/aaaaaanr_s001_t001.edf",  # no montage of the corpus
        "00_epilepsy/aaaaaanr/s001_2003/02_tcp_le/aaaaaaba_s001_t001.edf",  # of another patient
        "00_epilepsy/aaaaaanr/s001_2003/02_tcp_le/aaaaaanr_s002_t001.edf",  # of another session
        "00_epilepsy/aaaaaanr_s001_t001.edf",
    ],
)
def test_a_recording_in_another_place_costs_no_other(place: str, tmp_path: Path) -> None:
    right = "00_epilepsy/aaaaaaab/s001_2003/02_tcp_le/aaaaaaab_s001_t001.EDF"
    for file in (place, right):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    found = {entry.path: entry for entry in open_corpus(tmp_path).entries}
    misplaced, other = found[tmp_path / place], found[tmp_path / right]
    assert (misplaced.label, other.label, other.problem) == (None, 1, None)
    assert "not where TUEP has recordings" in str(misplaced.problem)
    with pytest.raises(DataError, match="not where TUEP has recordings"):
        usable(open_corpus(tmp_path))


def test_two_versions_would_put_one_patient_on_both_sides(tmp_path: Path) -> None:
    for version in ("v2.0.0", "v2.0.1"):
        (tmp_path / version / "00_epilepsy").mkdir(parents=True)
    with pytest.raises(DataError, match="several versions"):
        open_corpus(tmp_path)


def test_an_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "00_epilepsy").mkdir()
    with pytest.raises(DataError, match="no recording"):
        open_corpus(tmp_path)


# --- the recordings


@pytest.mark.parametrize("rate", [250, 256, 400, 512])
@pytest.mark.parametrize("montage", REFERENCE)
def test_electrodes_keep_their_rate_beside_other_channels(rate: int, montage: str, tmp_path: Path) -> None:
    path = write(tmp_path / "aaaaaanr_s001_t001.edf", rate, REFERENCE[montage])
    raw = read_recording(path)
    assert raw.ch_names == [MODERN.get(name, name) for name in SCALP]
    assert set(raw.ch_names) == set(TEN_TWENTY)
    assert raw.info["sfreq"] == rate
    step = 10000.3 / 2**16  # µV
    np.testing.assert_allclose(raw.get_data() * 1e6, microvolts(rate), rtol=0, atol=0.51 * step)


def test_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "aaaaaanr_s001_t001.edf", 400, "LE")
    facts = entry_header(Entry(path, "aaaaaanr", 1))
    assert (facts.sfreqs, facts.sfreq, facts.duration) == ((400.0,), 400.0, 4.0)
    assert (facts.reference, facts.units) == ("LE", ("uV",))
    assert facts.filters == "HP:0.000 Hz LP:0.0 Hz N:0.0"
    assert (facts.sex, facts.age, facts.device) == ("F", 43.0, "Nicolet")
    assert facts.recorded == datetime(2003, 1, 1, 12, 34, 56)
    assert len(facts.channels) == len(SCALP) + len(OTHERS) + len(SLOW)
    assert set(facts.electrodes) == set(TEN_TWENTY)


def test_corpus_facts_take_precedence_over_the_header(tmp_path: Path) -> None:
    entry = Entry(write(tmp_path / "a.edf"), "aaaaaanr", 1, sex="M", age=0.0, recorded=datetime(2020, 5, 1))
    facts = entry_header(entry)
    assert (facts.sex, facts.age, facts.recorded) == ("M", 0.0, datetime(2020, 5, 1))
    own = entry_header(replace(entry, sex=None, age=None, recorded=None))
    assert (own.sex, own.age) == ("F", 43.0)


@pytest.mark.parametrize(
    "patient", ["X X X X", "aaaaaanr", "", "00008476 Mueller Anna  unknown", "\x00" * 80, "\xfc" * 40]
)
def test_a_patient_field_without_facts(patient: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf", patient=patient or " ")
    facts = entry_header(Entry(path, "a", 1))
    assert (facts.sex, facts.age) == (None, None)
    assert len(read_recording(path).ch_names) == 19


# --- seizures


def test_seizures_of_all_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.csv_bi"
    path.write_text(
        SEIZURES
        + "TERM,0.0000,36.8868,bckg,1.0000\nTERM,36.8868,183.3055,seiz,1.0000\n"
        + "TERM,183.3055,301.0000,bckg,1.0000\n"
    )
    onset, duration = read_seizures(path)
    np.testing.assert_allclose(onset, [36.8868])
    np.testing.assert_allclose(duration, [146.4187])


def test_seizures_of_several_channels_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        SEIZURES
        + "FP1-F7,200.0,210.0,gnsz,1.0\nFP1-F7,10.0,20.0,fnsz,1.0\nF7-T3,15.0,30.5,fnsz,1.0\n"
        + "T3-T5,16.0,18.0,cpsz,1.0\nT5-O1,40.0,50.0,bckg,1.0\nF7-T3,30.5,31.0,tcsz,1.0\n"
    )
    onset, duration = read_seizures(path)
    np.testing.assert_allclose(onset, [10, 200])
    np.testing.assert_allclose(duration, [21, 10])


def test_no_seizure(tmp_path: Path) -> None:
    path = tmp_path / "a.csv_bi"
    path.write_text(SEIZURES + "TERM,0.0000,301.0000,bckg,1.0000\n")
    assert [values.shape for values in read_seizures(path)] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("TERM,20.0,10.0,seiz,1.0\n", "stops before it starts"),
        ("TERM,soon,10.0,seiz,1.0\n", "the start_time of an event is not a number"),
        ("TERM,1.0,10.0\n", "row 2: 3 cells, expected 5"),
    ],
)
def test_malformed_annotations(rows: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv_bi"
    path.write_text(SEIZURES + rows)
    with pytest.raises(DataError, match=words) as caught:
        read_seizures(path)
    assert str(path) in str(caught.value)


# As the guidelines print it, of version 1: one level, and a probability for each symbol.
LBL = """\
version = lbl_v1.0.0

montage =  0, FP1-F7: EEG FP1-REF --  EEG F7-REF
montage =  1, F7-T3: EEG F7-REF --  EEG T3-REF

number_of_levels = 1

level[0] = 1

symbols[0] = {0: '(null)', 1: 'bckg', 2: 'seiz', 3: 'fnsz', 4: 'gnsz'}

label = {0, 0, 0.0000, 10.0000, 0, [0.0, 1.0, 0.0, 0.0, 0.0]}
label = {0, 0, 10.0000, 30.5000, 0, [0.0, 0.0, 0.0, 1.0, 0.0]}
label = {0, 0, 10.0000, 31.0000, 1, [0.0, 0.1, 0.2, 0.0, 0.7]}
label = {0, 0, 31.0000, 200.0000, 1, [0.0, 1.0, 0.0, 0.0, 0.0]}
label = {0, 0, 200.0000, 210.0000, 1, [0.0, 0.0, 1.0, 0.0, 0.0]}
"""
TSE = """\
version = tse_v1.0.0

0.0000 10.0000 bckg 1.0000
10.0000 31.0000 cpsz 1.0000
31.0000 200.0000 bckg 1.0000
200.0000 210.0000 {seizure} 0.9000
"""


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("tse", TSE.format(seizure="gnsz")),
        ("tse_bi", TSE.format(seizure="seiz")),
        ("lbl", LBL),
        ("lbl_bi", LBL),
    ],
)
def test_seizures_of_version_1(ending: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / V1
    file.parent.mkdir(parents=True)
    file.touch()
    file.with_suffix(f".{ending}").write_text(content)
    table = open_corpus(tmp_path).entries[0].seizures
    assert table == file.with_suffix(f".{ending}")
    onset, duration = read_seizures(table)
    np.testing.assert_allclose(onset, [10, 200])
    np.testing.assert_allclose(duration, [21, 10])


def test_annotations_of_all_channels_take_precedence(tmp_path: Path) -> None:
    file = tmp_path / V1
    file.parent.mkdir(parents=True)
    file.touch()
    assert open_corpus(tmp_path).entries[0].seizures is None
    for ending in ("lbl", "lbl_bi", "tse", "tse_bi", "csv", "csv_bi"):
        file.with_suffix(f".{ending}").touch()
        assert open_corpus(tmp_path).entries[0].seizures == file.with_suffix(f".{ending}")


@pytest.mark.parametrize(
    ("ending", "content", "words"),
    [
        ("tse", "version = tse_v1.0.0\n0.0 10.0 seiz\n", "a line of 3 words; expected start, stop, label"),
        ("tse", "20.0 10.0 seiz 1.0\n", "an annotation stops before it starts, at 20 s"),
        ("tse", "soon 10.0 seiz 1.0\n", "the start_time of an event is not a number"),
        ("lbl", LBL.replace("symbols", "# symbols"), "expected symbols, then label"),
        ("lbl", LBL.replace("{0: '(null)',", "{0: (null),"), "expected symbols, then label"),
        ("lbl", LBL.replace("4: 'gnsz'", "7: 'gnsz'"), "expected symbols, then label"),
        ("lbl", LBL.replace(", 1.0, 0.0]}", "]"), "expected symbols, then label"),
        ("lbl", LBL.replace("30.5000", "soon"), "the stop_time of an event is not a number"),
        ("lbl", "\x00\xff\xfe", None),
    ],
)
def test_malformed_files_of_version_1(ending: str, content: str, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=words) as caught:
        read_seizures(path)
    assert str(path) in str(caught.value)


# --- all of it, looked at


def test_inspect_reports_facts_but_no_names(tmp_path: Path) -> None:
    write(tmp_path / V2, 250, "LE")
    (tmp_path / V2).with_suffix(".csv_bi").write_text(SEIZURES + "TERM,1.0,2.0,seiz,1.0\n")
    write(tmp_path / CONTROL[V2], 256, "LE", patient="aaaaabdo M 02-FEB-1950 Mueller_Anna Age:55")
    found = inspect_corpus(tmp_path, progress=False)
    assert found.subjects == {"epilepsy": 1, "control": 1, "unknown": 0}
    first, second = found.recordings
    assert (first.group, first.sfreq, first.reference, first.seizures) == ("epilepsy", 250.0, "LE", 1)
    assert (second.group, second.sfreq, second.montage) == ("control", 256.0, "04_tcp_le_a")
    assert first.missing == second.missing == ()
    assert first.problems == second.problems == ("4.0 s long; the default filter needs 6.6 s",)
    assert len(first.others) == len(OTHERS) + len(SLOW)
    for text in (format_inspection(found), json.dumps(asdict(found))):
        for secret in ("aaaaaanr", "aaaaabdo", "Mueller", "2003", "s001", str(tmp_path)):
            assert secret not in without_numbers(text)
    shown = format_inspection(inspect_corpus(tmp_path, show_ids=True, progress=False))
    assert "subject aaaaaanr" in shown
    assert "recorded 2003-01-01T12:34:56" in shown
