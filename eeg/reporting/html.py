"""The analysis of a recording as one HTML file that opens offline.  Research use only."""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import punctuation

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown import Markdown
from markupsafe import Markup

from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.faithfulness import RANDOM
from eeg.labels import LABEL_MODES
from eeg.reporting import figures
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.figures import Picture
from trainers.errors import describe_unexpected
from trainers.files import replacing
from visualizers.traces import clock

Draw = Callable[[RecordingAnalysis], Iterator[Picture]]

_UNSAFE = (
    *("html", "link", "image_link", "image_reference", "reference", "short_reference"),
    *("short_image_ref", "autolink", "automail"),
)
"""Rules for HTML and links in Markdown, disabled in a report."""


def write_report(analysis: RecordingAnalysis, path: Path) -> None:
    """Write the score, its explanation and their limits as an HTML file.

    It contains the name of the analysis and the signals of the recording, but no date or header field.

    Raises
    ------
    DataError
        If the folder of ``path`` cannot be written.
    """
    page = _environment().get_template("report.html.j2").render(analysis=analysis)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("eeg.reporting"),
        extensions=["jinja2.ext.do"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clock=clock, markdown=_render_markdown)
    environment.globals.update(
        css=Markup(files("eeg.reporting").joinpath("report.css").read_text("utf-8")),
        draw=_draw,
        figures=figures,
        label_modes=LABEL_MODES,
        normal_eeg=NORMAL_EEG,
        not_a_finding=NOT_A_FINDING,
        random=RANDOM,
        research_use=RESEARCH_USE,
    )
    return environment


def _draw(draw: Draw, analysis: RecordingAnalysis) -> Iterator[tuple[Picture | None, Markup]]:
    """Yield pictures as SVG; a fault in one becomes a line without a picture and does not cost the report."""
    try:
        for picture in draw(analysis):
            yield picture, Markup(picture.drawing.svg(picture.title))
    except Exception as error:
        yield None, Markup("A figure cannot be drawn: ") + describe_unexpected(error)


def _render_markdown(text: str) -> Markup:
    """Return Markdown from a model file as HTML, in which elements and links remain text."""
    converter = Markdown(extensions=["tables", "fenced_code"])
    converter.ESCAPED_CHARS = [*punctuation]  # as in CommonMark
    converter.preprocessors.deregister("html_block")
    for pattern in _UNSAFE:
        converter.inlinePatterns.deregister(pattern)
    return Markup(converter.convert(text))
