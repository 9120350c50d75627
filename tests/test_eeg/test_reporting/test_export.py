"""Exported files contain what was written to them, and nothing else."""

import csv
import json
import os
from copy import deepcopy
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import edfio
import jsonschema
import mne
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eeg.detector.conformal import Answer, Conformal
from eeg.detector.detector import Decision
from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.explain import Check, Explanation
from eeg.explanation.faithfulness import Faithfulness
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import Neighbour, SimilarWindows
from eeg.labels import LABEL_MODES
from eeg.preprocessing.recording import Recording
from eeg.reporting.analysis import ModelSummary, RecordingAnalysis
from eeg.reporting.export.bids import write_derivative, write_events
from eeg.reporting.export.edf import write_annotated_edf
from eeg.reporting.export.json import build_result, write_json
from eeg.reporting.export.szcore import write_szcore
from tests.test_eeg.helpers import SCHEMA
from trainers.errors import DataError
from trainers.files import replacing

CHANNELS = ["Fp1", "T7", "O2"]
SEGMENTS = (
    Segment(7.25, 0.5, ("T7", "O2"), attribution=0.41, change=0.12, stability=0.85),
    Segment(2.0, 1.0, ("Fp1",), attribution=-0.2, change=-0.03),
    Segment(4.5, 0.25, (), attribution=0.1, change=0.004),
)


def recording(sfreq: float = 128.0, n_times: int = 1280, channels: list[str] = CHANNELS) -> mne.io.RawArray:
    """A recording with everything in its header that may identify a person."""
    rng = np.random.default_rng(0)
    data = 50e-6 * rng.standard_normal((len(channels), n_times))
    data[0] += 4200e-6  # an Emotiv has such an offset
    info = mne.create_info(channels, sfreq, "eeg")
    info["subject_info"] = {
        "his_id": "PAT4711",
        "first_name": "Jane",
        "last_name": "Doe",
        "birthday": date(1971, 5, 6),
    }
    info["description"] = "Jane Doe"
    info["experimenter"] = "House"
    info["device_info"] = {"type": "SerialNo99"}
    raw = mne.io.RawArray(data, info, verbose="ERROR").set_meas_date(
        datetime(2019, 3, 4, 11, 12, 13, tzinfo=UTC)
    )
    return raw.set_annotations(
        mne.Annotations([1.0], [0.0], ["House spoke with Jane"], raw.info["meas_date"])
    )


def test_edf_keeps_the_signals_to_half_a_step(tmp_path: Path) -> None:
    raw = recording()
    write_annotated_edf(Recording.scan(raw), SEGMENTS, tmp_path / "copy.edf")
    copy = mne.io.read_raw_edf(tmp_path / "copy.edf", verbose="ERROR")
    assert copy.ch_names == raw.ch_names
    assert copy.info["sfreq"] == raw.info["sfreq"]
    step = np.ptp(raw.get_data(), axis=1, keepdims=True) / (2**16 - 2)
    # The range is written with 8 characters (4375.123): steps are a little wider than asked for.
    assert np.all(np.abs(copy.get_data() - raw.get_data()) <= 0.51 * step)


@pytest.mark.parametrize("offset", [0.0, -99e-6, 0.2, -0.2])
def test_edf_holds_whatever_offset_an_amplifier_has(offset: float, tmp_path: Path) -> None:
    raw = recording()
    raw._data[:] = np.clip(raw.get_data(), -1e-6, 1e-6) + offset
    raw._data[2] = offset
    write_annotated_edf(Recording.scan(raw), (), tmp_path / "copy.edf")
    copy = mne.io.read_raw_edf(tmp_path / "copy.edf", verbose="ERROR")
    np.testing.assert_allclose(copy.get_data(), raw.get_data(), rtol=0, atol=0.02e-6)


def test_edf_is_the_same_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = recording(128.0, 1300)
    write_annotated_edf(Recording.scan(raw), SEGMENTS, tmp_path / "whole.edf")
    monkeypatch.setattr("eeg.reporting.export.edf._BLOCK", 3)
    write_annotated_edf(Recording.scan(raw), SEGMENTS, tmp_path / "blocks.edf")
    assert (tmp_path / "blocks.edf").read_bytes() == (tmp_path / "whole.edf").read_bytes()
    assert len(edfio.read_edf(tmp_path / "blocks.edf").signals[0].data) == 11 * 128


def test_edf_has_the_unit_microvolt(tmp_path: Path) -> None:
    write_annotated_edf(Recording.scan(recording()), (), tmp_path / "copy.edf")
    header = (tmp_path / "copy.edf").read_bytes()[256:]
    n_signals = len(CHANNELS) + 1  # and the annotations
    units = header[n_signals * (16 + 80) :][: 8 * len(CHANNELS)]
    assert units.decode().split() == ["uV"] * len(CHANNELS)


def test_edf_keeps_the_segments_with_their_channels(tmp_path: Path) -> None:
    write_annotated_edf(Recording.scan(recording()), SEGMENTS, tmp_path / "copy.edf")
    marks = mne.io.read_raw_edf(tmp_path / "copy.edf", verbose="ERROR").annotations
    found = {
        text: (onset, duration, set(channels))
        for text, onset, duration, channels in zip(
            marks.description, marks.onset, marks.duration, marks.ch_names, strict=True
        )
    }
    assert found == {
        "model attribution #1 (+0.12)": (7.25, 0.5, {"T7", "O2"}),
        "model attribution #2 (-0.03)": (2.0, 1.0, {"Fp1"}),
        "model attribution #3 (+0.00)": (4.5, 0.25, set()),
    }
    assert b"model attribution #1 (+0.12)@@T7" in (tmp_path / "copy.edf").read_bytes()


def test_another_reader_finds_each_mark_on_its_channel(tmp_path: Path) -> None:
    write_annotated_edf(Recording.scan(recording()), SEGMENTS, tmp_path / "copy.edf")
    marks = {(a.onset, a.duration, a.text) for a in edfio.read_edf(tmp_path / "copy.edf").annotations}
    assert marks == {
        (7.25, 0.5, "model attribution #1 (+0.12)@@T7"),
        (7.25, 0.5, "model attribution #1 (+0.12)@@O2"),
        (2.0, 1.0, "model attribution #2 (-0.03)@@Fp1"),
        (4.5, 0.25, "model attribution #3 (+0.00)"),
    }


def test_edf_names_no_one(tmp_path: Path) -> None:
    raw = recording()
    write_annotated_edf(Recording.scan(raw), SEGMENTS, tmp_path / "copy.edf")
    content = (tmp_path / "copy.edf").read_bytes()
    for secret in (b"Jane", b"Doe", b"PAT4711", b"House", b"SerialNo99"):
        assert secret not in content
    header = content[: 256 * (len(CHANNELS) + 2)]
    assert header[8:88].split() == [b"X"] * 4
    assert header[88:168].split() == [b"Startdate", b"01-JAN-1985", b"X", b"X", b"X"]
    assert header[168:184] == b"01.01.8500.00.00"
    assert raw.annotations.description[0] == "House spoke with Jane", "the caller's recording is untouched"


@pytest.mark.parametrize(("sfreq", "n_times"), [(128.0, 1300), (173.61, 1000), (500.0, 777)])
def test_edf_of_any_length_and_rate(tmp_path: Path, sfreq: float, n_times: int) -> None:
    raw = recording(sfreq, n_times)
    write_annotated_edf(Recording.scan(raw), SEGMENTS[:1], tmp_path / "copy.edf")
    copy = mne.io.read_raw_edf(tmp_path / "copy.edf", verbose="ERROR")
    assert copy.info["sfreq"] == pytest.approx(sfreq, rel=1e-6)
    np.testing.assert_allclose(copy.get_data(stop=n_times), raw.get_data(), atol=0.1e-6)
    (made_up,) = [mark for mark in copy.annotations if mark["description"] == "BAD_ACQ_SKIP"]
    assert made_up["onset"] == pytest.approx(n_times / sfreq)
    assert made_up["onset"] + made_up["duration"] == pytest.approx(copy.n_times / sfreq)


@pytest.mark.skipif("HEBBIAN_DATA" not in os.environ, reason="HEBBIAN_DATA is not set")
def test_edf_of_a_real_recording(tmp_path: Path) -> None:
    source = Path(os.environ["HEBBIAN_DATA"]) / "eeg" / "eegmat" / "Subject00_1.edf"
    raw = mne.io.read_raw_edf(source, verbose="ERROR")
    write_annotated_edf(
        Recording.scan(raw), [Segment(33.2, 0.5, ("EEG T3",), 0.4, 0.1)], tmp_path / "copy.edf"
    )
    copy = mne.io.read_raw_edf(tmp_path / "copy.edf", verbose="ERROR")
    assert copy.annotations.ch_names[0] == ("EEG T3",)
    assert copy.info["meas_date"] == datetime(1985, 1, 1, tzinfo=UTC)
    step = np.ptp(raw.get_data(), axis=1, keepdims=True) / (2**16 - 2)
    assert np.all(np.abs(copy.get_data(stop=raw.n_times) - raw.get_data()) <= 0.51 * step)


@pytest.mark.parametrize(
    ("channels", "value", "message"),
    [
        (["Fp1", "T7", "an-uncommonly-long-name"], 0.0, "an-uncommonly-long-name"),
        (CHANNELS, np.nan, "O2"),
        (CHANNELS, np.inf, "O2"),
    ],
)
def test_edf_refuses_what_it_cannot_hold(
    tmp_path: Path, channels: list[str], value: float, message: str
) -> None:
    raw = recording(channels=channels)
    raw._data[2, 5] = value
    with pytest.raises(DataError, match=message):
        write_annotated_edf(Recording.scan(raw), (), tmp_path / "copy.edf")
    assert not any(tmp_path.iterdir())


def test_edf_refuses_channels_of_another_recording(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Cz"):
        write_annotated_edf(
            Recording.scan(recording()), [Segment(0.0, 1.0, ("Cz", "T7"), 0.1, 0.1)], tmp_path / "copy.edf"
        )


numbers = st.floats(-1e4, 1e4) | st.sampled_from([np.nan, np.inf])
segments_anywhere = st.lists(
    st.builds(
        Segment,
        onset=st.floats(0, 1e5),
        duration=st.floats(0, 1),
        channels=st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple),
        attribution=numbers,
        change=numbers,
        stability=st.floats(0, 1),
    ),
    max_size=6,
)


@given(segments=segments_anywhere)
@settings(max_examples=40)
def test_events_come_back(tmp_path_factory: pytest.TempPathFactory, segments: list[Segment]) -> None:
    path = tmp_path_factory.mktemp("events") / "sub-1_events.tsv"
    write_events(segments, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [float(row["onset"]) for row in rows] == sorted(float(row["onset"]) for row in rows)
    assert sorted(int(row["rank"]) for row in rows) == list(range(1, len(segments) + 1))
    for row in rows:
        segment = segments[int(row["rank"]) - 1]
        assert row["trial_type"] == "model_attribution"
        assert row["channel"] == (",".join(segment.channels) if segment.channels else "n/a")
        for column in ("onset", "duration", "attribution", "change", "stability"):
            expected = getattr(segment, column)
            if np.isfinite(expected):
                assert float(row[column]) == pytest.approx(expected, abs=1e-6)
            else:
                assert row[column] == "n/a"


def test_the_sidecar_describes_every_column_and_defines_its_tag(tmp_path: Path) -> None:
    write_events(SEGMENTS, tmp_path / "sub-1_events.tsv")
    columns = (tmp_path / "sub-1_events.tsv").read_text().splitlines()[0].split("\t")
    sidecar = json.loads((tmp_path / "sub-1_events.json").read_text())
    definition = sidecar.pop("hed_definitions")["HED"]["model_attribution"]
    assert columns[:2] == ["onset", "duration"], "BIDS wants these first"
    assert list(sidecar) == columns
    assert all(column["Description"] for column in sidecar.values())
    assert sidecar["onset"]["Units"] == sidecar["duration"]["Units"] == "s"
    assert NOT_A_FINDING in sidecar["trial_type"]["Description"]
    assert sidecar["trial_type"]["HED"] == {"model_attribution": "Def/Model-attribution"}
    assert definition.startswith("(Definition/Model-attribution, (")
    for finding in ("Spike", "Sharp", "Epileptiform", "Interictal", "Seizure"):
        assert finding.lower() not in definition.lower()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "sub-01_ses-2_task-rest_run-03_eeg",
            "sub-01/ses-2/eeg/sub-01_ses-2_task-rest_run-03_desc-attribution_events",
        ),
        ("sub-01_task-rest", "sub-01/eeg/sub-01_task-rest_desc-attribution_events"),
        (
            "recording-1a2b3c4d",
            "sub-recording1a2b3c4d/eeg/sub-recording1a2b3c4d_task-unknown_desc-attribution_events",
        ),
    ],
)
def test_a_derivative_is_placed_as_bids_specifies(tmp_path: Path, name: str, place: str) -> None:
    made = write_derivative(SEGMENTS, name, tmp_path)
    assert made == tmp_path / f"{place}.tsv"
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {"dataset_description.json", f"{place}.tsv", f"{place}.json"}
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert {"Name", "BIDSVersion", "HEDVersion"} <= set(description)
    assert description["GeneratedBy"][0]["Name"] == "hebbian-eeg"
    assert RESEARCH_USE in description["GeneratedBy"][0]["Description"]


def test_szcore_columns_state_that_no_mark_is_a_seizure(tmp_path: Path) -> None:
    write_szcore(SEGMENTS, 10.0, tmp_path / "szcore.tsv")
    with (tmp_path / "szcore.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0]) == [
        *("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
    ]
    assert [row["onset"] for row in rows] == ["2", "4.5", "7.25"]
    assert [row["confidence"] for row in rows] == ["1", "1", "0.85"]
    assert [row["channels"] for row in rows] == ["Fp1", "n/a", "T7,O2"]
    assert {row["eventType"] for row in rows} == {"model_attribution"}
    assert {(row["dateTime"], row["recordingDuration"]) for row in rows} == {("n/a", "10")}


MODEL = ModelSummary(
    name="tvgg",
    rule="backprop",
    montage="average reference",
    channels=("Fp1", "T7"),
    training="simulated",
    simulated=True,
    n_subjects=64,
    calibration="Platt",
    labels="events",
    warnings=(),
)


def document(folder: Path, interval: tuple[float, float] | None = (0.5, 0.875)) -> dict[str, Any]:
    """The document of a case with all optional parts, or with none where ``interval`` is None."""
    onset, logit = np.arange(3) * 2.0, np.array([-1.5, 0.25, 3.0], dtype=np.float32)
    answer = Answer("control", 0.1, 20, 0.9)
    decision = Decision(np.float32(0.75), 0.5, 1.0986, onset, logit, 2.0, answer, interval)
    check = Check(2.5, 0.25, "phase") if interval else None
    explanation = Explanation(
        "occlusion",
        SEGMENTS if check else (),
        np.arange(4.0),
        np.zeros(4),
        check=check,
        contribution=np.array([0.0, 0.25, 1.0]) if check else None,
    )
    window = np.zeros((3, 256), np.float32)
    like = SimilarWindows(window, 0.5, Neighbour(2, window, 0.75), Neighbour(1, window, -0.5))
    case = RecordingAnalysis(
        raw=recording(),
        decision=decision,
        explanation=explanation,
        model=MODEL,
        card="",
        score=0.5,
        calibrated=Conformal(),
        recording=Recording.scan(recording()),
        measures={"occlusion": Faithfulness(0.25, 0.75, 0.5, 0.125, 0.9)} if check else None,
        comparisons=(like,) * len(SEGMENTS) if check else None,
    )
    write_json(build_result(case), folder / "result.json")
    read: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return read


def test_result_survives_json(tmp_path: Path) -> None:
    read = document(tmp_path)
    assert read["schema"]["version"] == 2
    assert {RESEARCH_USE, NORMAL_EEG} <= set(read["statements"])
    assert (read["score"], read["prevalence"], read["logit"]) == (0.75, 0.5, 1.0986)
    assert read["interval"] == [0.5, 0.875]
    assert read["windows"] == {
        "length": 2.0,
        "onset": [0, 2, 4],
        "logit": [-1.5, 0.25, 3.0],
        "contribution": [0, 0.25, 1],
    }
    assert read["explanation"]["faithfulness"]["occlusion"]["sensitivity"] == 0.125
    assert read["explanation"]["segments"][2]["most_similar"] == {
        "epilepsy": {"prototype": 2, "similarity": 0.75},
        "control": {"prototype": 1, "similarity": -0.5},
    }
    assert read["explanation"]["check"] == {
        "lost": 2.5,
        "by_chance": 0.25,
        "baseline": "phase",
        "passed": True,
    }
    assert [entry["rank"] for entry in read["explanation"]["segments"]] == [1, 2, 3]
    assert read["explanation"]["segments"][0]["channels"] == ["T7", "O2"]
    assert read["explanation"]["segments"][0]["stability"] == 0.85
    assert read["model"] == {**asdict(MODEL), "channels": ["Fp1", "T7"], "warnings": []}


def test_result_keeps_to_its_published_schema(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document(tmp_path), SCHEMA)
    jsonschema.validate(document(tmp_path, interval=None), SCHEMA)
    assert set(LABEL_MODES) <= set(SCHEMA["properties"]["model"]["properties"]["labels"]["enum"])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("score",), 1.5),
        (("statements",), []),
        (("answer", "group"), "epileptic"),
        (("windows", "onset", 0), "0:00"),
        (("explanation", "segments", 0, "rank"), 0),
        (("schema", "version"), 1),
        (("explanation", "segments", 0, "most_similar", "control", "similarity"), 1.5),
        (("finding",), "spike"),
    ],
)
def test_the_schema_refuses_what_is_not_a_result(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    wrong = deepcopy(document(tmp_path))
    part: Any = wrong
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_json_holds_no_invalid_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json({"score": float("nan")}, tmp_path / "result.json")
    assert not any(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half of the n")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(DataError, match=str(folder)):
            write_annotated_edf(Recording.scan(recording()), SEGMENTS, folder / "copy.edf")
        with pytest.raises(DataError, match=str(folder)):
            write_events(SEGMENTS, folder / "events.tsv")
    with pytest.raises(DataError, match=str(tmp_path / "file")):
        write_derivative(SEGMENTS, "sub-1", tmp_path / "file" / "derivatives")
