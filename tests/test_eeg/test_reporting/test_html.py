"""The report and its figures: required contents, no external resources, no personal data."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mne
import numpy as np
import pytest
from hypothesis import given, strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eeg.detector.conformal import Answer, Conformal
from eeg.detector.detector import Decision
from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.explain import Check, Explanation
from eeg.explanation.faithfulness import Faithfulness, RemovalCurves
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import Neighbour, SimilarWindows
from eeg.preprocessing.quality import EXCLUDED, Kind, Policy
from eeg.preprocessing.recording import Recording
from eeg.preprocessing.windows import Windows
from eeg.reporting.analysis import ModelSummary, RecordingAnalysis
from eeg.reporting.figures import page_starts
from eeg.reporting.html import write_report
from eeg.reporting.tensorboard import write_recording
from trainers.errors import DataError
from visualizers.traces import MarkedSpan

CHANNELS = ["O2", "Cz", "T7", "Fp1"]
SEGMENTS = (
    Segment(33.2, 0.5, ("T7",), attribution=0.41, change=0.125),
    Segment(12.0, 1.0, ("Fp1", "T7"), attribution=-0.2, change=-0.03),
)
MODEL = ModelSummary(
    name="tvgg-gap",
    rule="backprop",
    montage="average reference",
    channels=("Fp1", "T7", "Cz", "O2"),
    training="a cohort <of no one>",
    simulated=False,
    n_subjects=64,
    calibration="temperature",
    labels="events",
    warnings=("Line noise & more",),
)


def recording(seconds: float = 60.0) -> mne.io.RawArray:
    info = mne.create_info(CHANNELS, 128.0, "eeg")
    info["subject_info"] = {"his_id": "PAT4711", "last_name": "Doe"}
    data = 20e-6 * np.random.default_rng(0).standard_normal((4, round(128 * seconds)))
    raw = mne.io.RawArray(data, info, verbose="ERROR").set_meas_date(datetime(1999, 3, 4, tzinfo=UTC))
    return raw.set_annotations(mne.Annotations([1.0], [0.0], ["Doe awake"], raw.info["meas_date"]))


def case(
    segments: tuple[Segment, ...] = SEGMENTS, check: Check | None = None, **facts: Any
) -> RecordingAnalysis:
    onset = np.arange(0, 60, 2.0)
    answer = Answer("epilepsy", 0.1, 20, 0.8)
    decision = Decision(0.934, 0.25, 2.6, onset, np.sin(onset), 2.0, answer, interval=(0.871, 0.962))
    times = np.arange(0, 60, 0.125)
    fall = np.linspace(1, 0, 17)
    return RecordingAnalysis(
        raw=recording(),
        decision=decision,
        explanation=Explanation(
            "occlusion",
            segments,
            times,
            np.cos(times),
            check=check,
            effects=np.ones((len(segments), len(CHANNELS))),
        ),
        recording=Recording.scan(recording()),
        model=replace(MODEL, **facts),
        card="# The card\n\n| what | <b>figure |\n|---|---|\n| ROC-AUC | 0.9 |",
        score=1.5,
        calibrated=Conformal((1.0, 2.0, 3.0), (-1.0, 0.0)),
        removal=RemovalCurves(fall**2, 1 - fall**2, fall, 1 - fall) if segments else None,
    )


def compared() -> RecordingAnalysis:
    """A case of a model that stores training windows, with all measurements."""
    window = 5 * np.random.default_rng(1).standard_normal((4, 256)).astype(np.float32)
    like = SimilarWindows(window, 0.5, Neighbour(3, window, 0.97, (0.25, 0.5)), Neighbour(1, -window, 0.42))
    own, chance = Faithfulness(0.21, 0.83, 0.125, 0.375, 0.9), Faithfulness(0.52, 0.56, 1.0, 0.75, 0.01)
    found = case(check=Check(2.99, 0.24, "phase"))
    return replace(
        found,
        explanation=replace(found.explanation, contribution=np.sin(np.arange(0, 60, 2.0)) / 30),
        measures={"occlusion": own, "random": chance},
        comparisons=(like, like),
    )


def report(
    path: Path, segments: tuple[Segment, ...] = SEGMENTS, name: str = "A recording", **facts: Any
) -> str:
    write_report(replace(case(segments, **facts), name=name), path)
    return path.read_text(encoding="utf-8")


class Resources(HTMLParser):
    """What a browser fetches when it opens a page, and which sections it shows closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.closed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.fetched += [named["src"]] if "src" in named else []
        self.fetched += [named["href"]] if tag == "link" else []
        self.fetched += [tag] if tag in {"script", "iframe", "object", "embed"} else []
        if (tag == "details" and "open" not in named) or "hidden" in named:
            self.closed.append(tag)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(tmp_path_factory.mktemp("report") / "secret-name.html")


def body(page: str) -> str:
    """The text that ``page`` shows."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page[page.index("<body") :])))


def test_the_score_is_stated_with_its_prevalence_and_limits(page: str) -> None:
    text = body(page)
    expected = "Score for epilepsy-like EEG 0.93 (95 % interval 0.87 to 0.96) at a stated prevalence of 0.25"
    assert expected in text
    for statement in (RESEARCH_USE, NORMAL_EEG, NOT_A_FINDING):
        assert statement in text


@pytest.mark.usefixtures("without_figures")
def test_excluded_windows_are_counted(tmp_path: Path) -> None:
    windows = Windows(np.zeros((5, 4, 256)), np.arange(5.0), 2.0, None, None, flawed=11, ictal=12, short=13)
    write_report(replace(case(), windows=windows), tmp_path / "report.html")
    text = body((tmp_path / "report.html").read_text(encoding="utf-8"))
    for count in ("no clean EEG11", "within a seizure12", "stretches between gaps shorter than a window13"):
        assert f"Excluded: {count} " in text


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("policy", "kinds"), [*EXCLUDED.items()])
def test_the_quality_policy_of_the_model_is_stated(
    policy: Policy, kinds: tuple[Kind, ...], tmp_path: Path
) -> None:
    windows = Windows(np.zeros((5, 4, 256)), np.arange(5.0), 2.0, None, None)
    write_report(replace(case(), windows=windows, policy=policy), tmp_path / "report.html")
    text = body((tmp_path / "report.html").read_text(encoding="utf-8"))
    (statement,) = re.findall(r"(?:No window|Windows that touch)[^.]*excluded[^.]*\.", text)
    assert {kind for kind in EXCLUDED["strict"] if kind in statement} == set(kinds)


def test_segments_are_listed_in_rank_order_and_drawn(page: str) -> None:
    text = body(page)
    first, second = text.index("33.20 s (0:33)"), text.index("12.00 s (0:12)")
    assert first < second
    assert "+0.125" in text
    assert "-0.030" in text
    assert "EEG 0:28 to 0:38, segments marked: 1" in text
    assert "EEG 0:07 to 0:17, segments marked: 2" in text
    assert page.count('role="img"') == 5, "calibration, overview, two pages, curves"


def test_a_report_has_the_same_bytes_again(page: str, tmp_path: Path) -> None:
    assert report(tmp_path / "report.html") == page


def test_the_card_is_shown_and_its_html_is_text(page: str) -> None:
    assert "<td>ROC-AUC</td>" in page
    assert "&lt;b&gt;figure" in page


@pytest.mark.usefixtures("without_figures")
def test_a_hostile_card_adds_no_address_and_no_element(tmp_path: Path) -> None:
    card = "\n\n".join(
        [
            "[link](javascript:alert(1)) ![image](https://example.org/x.png)",
            "<https://example.org> <b>bold</b>",
            "[one][1] ![two][1] [1] <me@example.org>",
            "[1]: https://example.org",
            "<script>alert(1)</script>",
        ]
    )
    write_report(replace(case(), card=card), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8").split('<div class="card">')[1]
    for element in ("<a", "<img", "<b>", "<script"):
        assert element not in page
    assert "[link](javascript:alert(1))" in page
    assert "&lt;script&gt;" in page


@pytest.mark.usefixtures("without_figures")
@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("change", [4e-4, -6e-4])
def test_a_report_does_not_claim_more_of_segments_than_the_numbers_do(change: float, tmp_path: Path) -> None:
    segments = tuple(replace(segment, change=change) for segment in SEGMENTS)
    text = body(report(tmp_path / "r.html", segments=segments, check=Check(0.5, 0.1, "phase")))
    assert ("The score does not depend on any one of these segments" in text) == (change == 4e-4)
    assert ("The decision depends on these segments" in text) == (change != 4e-4)
    assert "reduces the recording's logit by 0.5" in text


@pytest.mark.usefixtures("without_figures")
def test_an_explanation_that_failed_its_check_is_reported_and_not_shown(tmp_path: Path) -> None:
    page = report(tmp_path / "r.html", segments=(), check=Check(0.1, 0.5, "phase"))
    assert "The explanation failed its check and is not shown" in body(page)
    assert "No segment of this recording stands out." not in page


def test_segments_are_shown_beside_similar_training_windows(tmp_path: Path) -> None:
    write_report(compared(), tmp_path / "r.html")
    text = body((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Training windows similar to segment 1" in text
    assert "Training windows similar to segment 2" in text
    assert "eeg train --prototypes" not in text


@pytest.mark.usefixtures("without_figures")
def test_a_model_without_training_windows_explains_how_to_store_them(page: str, tmp_path: Path) -> None:
    assert "eeg train --prototypes 8" in body(page)
    assert "--prototypes" not in body(report(tmp_path / "r.html", segments=())), "nothing could be compared"


@pytest.mark.usefixtures("without_figures")
def test_faithfulness_is_stated_in_numbers_beside_chance(tmp_path: Path) -> None:
    write_report(compared(), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    rows = [
        [re.sub("<.*?>", "", cell).strip() for cell in row.split("</td>")[1:4]]
        for row in page.split("Faithfulness in numbers")[-1].split("<tr><td>")[1:7]
    ]
    assert rows == [
        ["0.21", "0.52", "lower"],
        ["0.83", "0.56", "higher"],
        ["0.12", "1.00", "lower"],
        ["0.38", "0.75", "lower"],
        ["0.90", "0.01", "higher"],
        ["2.99", "0.24", "higher"],
    ]


def test_nothing_is_fetched_and_every_section_is_open(page: str) -> None:
    resources = Resources()
    resources.feed(page)
    assert not [address for address in resources.fetched if not address.startswith("data:")]
    assert not re.search(r"url\(\s*[\"']?\s*(https?:)?//", page)
    assert not re.search(r"@import\s+(url|[\"'])", page)
    assert not resources.closed


def test_no_one_is_named(page: str) -> None:
    for secret in ("Doe", "PAT4711", "1999", "secret-name"):
        assert not re.search(rf"\b{secret}\b", body(page))


@pytest.mark.usefixtures("without_figures")
def test_texts_are_escaped(page: str, tmp_path: Path) -> None:
    assert "a cohort &lt;of no one&gt;" in page
    assert "Line noise &amp; more" in page
    assert "<b>title" not in report(tmp_path / "r.html", segments=(), name="<b>title")


@pytest.mark.usefixtures("without_figures")
def test_the_banner_is_shown_only_where_the_training_was_simulated(page: str, tmp_path: Path) -> None:
    assert 'role="alert"' not in page
    simulated = report(tmp_path / "r.html", segments=(), simulated=True)
    assert simulated.count('role="alert"') == 1
    assert simulated.index("trained on simulated EEG") < simulated.index("Score for epilepsy-like EEG")
    assert "No segment of this recording stands out." in simulated


def test_no_pyplot_figure_is_left(page: str) -> None:
    assert page
    assert plt.get_fignums() == []


def test_a_board_has_the_same_pictures_one_tag_each(tmp_path: Path) -> None:
    write_recording(compared(), tmp_path)
    found = EventAccumulator(str(tmp_path)).Reload()
    tags = found.Tags()["images"]
    assert sorted(tags) == [
        f"recording/{name}"
        for name in (
            *("deletion and insertion", "overview", "page 1", "page 2", "score distribution"),
            *("training windows similar to segment 1", "training windows similar to segment 2"),
        )
    ]
    assert all(len(found.Images(tag)) == 1 for tag in tags), "TensorBoard keeps ten a tag"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        report(tmp_path / "missing" / "r.html", segments=())


spans = st.lists(st.builds(MarkedSpan, onset=st.floats(0, 299), duration=st.floats(0.01, 1)), max_size=12)


@given(spans=spans)
def test_pages_show_the_strongest_segments_whole(spans: list[MarkedSpan]) -> None:
    starts = page_starts(spans, 300.0)
    assert len(starts) <= 5
    assert all(0 <= start <= 290 for start in starts)
    whole = [
        any(start <= span.onset and span.onset + span.duration <= start + 10 for start in starts)
        for span in spans
    ]
    assert all(whole[:5])
    assert len(starts) == 5 or all(whole)


def test_a_recording_shorter_than_a_page_has_one_page() -> None:
    assert page_starts([MarkedSpan(1.0, 0.5), MarkedSpan(5.5, 0.5)], 6.0) == [0.0]
