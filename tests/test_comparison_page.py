"""The page of the comparison is what its stored results say."""

import importlib.util

import pytest

from tests.helpers import ROOT
from trainers.comparison.compare import Comparison
from trainers.comparison.experiment import Result
from trainers.comparison.results import open_folder, write_results
from trainers.data.batches import Split
from trainers.data.images import load_images


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_comparison", ROOT / "docs" / "make_comparison.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    if not generator.RESULTS.exists():
        pytest.skip("no results are stored: run the command that docs/make_comparison.py names")
    assert generator.PAGE.read_text(encoding="utf-8") == generator.current(), "run `make docs`"


def test_the_page_shows_each_rule_with_its_figures(generator, tmp_path):
    digits = load_images("digits")
    small = Split(*(tensor[:20] for tensor in digits.tensors))
    run = Comparison(("dfa", "softhebb"), seeds=(0, 1)).as_record("compare", small)
    open_folder(tmp_path / "a", run)
    results = [Result("dfa", s, 0.5 + 0.1 * s, seconds=2.0, memory=400.0, updated=7510) for s in (0, 1)]
    results += [Result("softhebb", s, reason="its process was ended: SIGKILL") for s in (0, 1)]
    write_results(tmp_path / "a", results)
    rows = [line for line in generator.page(run, tmp_path / "a").splitlines() if line.startswith("|")]
    assert rows[2].startswith("| dfa | 55.00 ± 63.53 | 2.0 | 400 | 7,510 | uniform | yes | 2 |")  # t = 12.706
    assert rows[3].startswith("| softhebb |  |  |  |  | gaussian | readout | 0 | 2: its process was ended")
