import errno
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config

from eeg.datasets import Corpus, Entry
from eeg.datasets.fingerprint import hash_content
from eeg.preprocessing import cache, loading
from eeg.preprocessing.loading import load_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from tests.test_eeg.recordings import write_fif
from trainers.errors import DataError

CHANNELS = ("Fp1", "T7", "Cz", "O2")
SETTINGS = Preprocessing(CHANNELS)


def write(path: Path, seed: int) -> Path:
    volts = 2e-5 * np.random.default_rng(seed).standard_normal((4, 30 * 128))
    volts[1, 1000:1100] = 0
    return write_fif(path, volts, CHANNELS)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    events = tmp_path / "events.tsv"
    events.write_text("onset\tduration\ttrial_type\n2.1\t0.2\tdischarge\n")
    first = Entry(write(tmp_path / "a_raw.fif", 0), "a", 1, events=events)
    return Corpus("two", (first, Entry(write(tmp_path / "b_raw.fif", 1), "b", 0)))


def loaded(corpus: Corpus, folder: Path | None, **how: object) -> list[Windows]:
    return [*load_windows(corpus, SETTINGS, 2.0, folder=folder, progress=False, **how).values()]  # type: ignore[arg-type]


def same(ones: list[Windows], others: list[Windows]) -> bool:
    return len(ones) == len(others) and all(
        np.array_equal(one.data, other.data)
        and np.array_equal(one.onset, other.onset)
        and one.account() == other.account()
        and (one.label, one.positive is None) == (other.label, other.positive is None)
        for one, other in zip(ones, others, strict=True)
    )


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("prepared again")


def test_what_is_cached_is_what_would_be_prepared(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, fresh = tmp_path / "cache", loaded(corpus, None)
    assert [w.flawed for w in fresh] == [2, 2]
    assert same(loaded(corpus, folder), fresh)
    monkeypatch.setattr("eeg.preprocessing.loading.read_windows", refuse)
    again = loaded(corpus, folder)
    assert same(again, fresh)
    relabelled = Corpus(
        "two", tuple(replace(entry, label=1 - (entry.label or 0)) for entry in corpus.entries)
    )
    assert [w.label for w in loaded(relabelled, folder)] == [0, 1]


@pytest.mark.parametrize(
    "change", ["signal", "settings", "policy", "seizures", "the same seizures", "bad channels"]
)
def test_a_changed_file_or_setting_is_prepared_again(
    change: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(corpus, tmp_path / "cache")
    entry, settings, policy = corpus.entries[0], SETTINGS, "exclude"
    if change == "signal":
        write(entry.path, seed=5)
    elif change == "settings":
        settings = replace(SETTINGS, high=40.0)
    elif change == "policy":
        policy = "keep"
    elif change == "the same seizures":  # a file beside the recording, used or not
        (tmp_path / "a.csv_bi").write_text("start_time,stop_time,label\n0,1,seiz\n")
        loaded(corpus, tmp_path / "cache")
        entry = replace(entry, seizures=tmp_path / "a.csv_bi")
    elif change == "seizures":
        (tmp_path / "a.csv_bi").write_text("start_time,stop_time,label\n0,1,seiz\n")
        entry = replace(entry, seizures=tmp_path / "a.csv_bi")
    else:
        (tmp_path / "a_raw_channels.tsv").write_text("name\tstatus\nCz\tgood\n")
    monkeypatch.setattr("eeg.preprocessing.loading.read_windows", refuse)
    with pytest.raises(DataError, match="unexpected AssertionError"):  # of `refuse`
        load_windows(
            Corpus("one", (entry,)),
            settings,
            2.0,
            folder=tmp_path / "cache",
            policy=policy,  # type: ignore[arg-type]
            progress=False,
        )


def test_names_are_of_content_and_not_of_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("signal")
    shutil.copy(one, other)
    assert hash_content([one], {"high": 45}) == hash_content([other], {"high": 45})
    assert hash_content([one], {"high": 45}) != hash_content([one], {"high": 40})
    other.write_text("another")
    assert hash_content([one], {}) != hash_content([other], {})


def test_what_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.json" / "occupied").mkdir(parents=True)
    with pytest.raises(DataError):
        cache.write_cached(tmp_path, "x", np.arange(3), {})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    "damage",
    ["cut", "emptied", "no facts", "half the facts", "a bit of the data", "another onset", "another entry"],
)
def test_damage_is_nothing_but_a_miss(damage: str, tmp_path: Path) -> None:
    array = np.arange(1000.0)
    cache.write_cached(tmp_path, "x", array, {"onset": [1]})
    found = cache.read_cached(tmp_path, "x")
    assert found is not None
    np.testing.assert_array_equal(found[0], array)
    data, facts = tmp_path / "x.npy", tmp_path / "x.json"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:-10])
    elif damage == "emptied":
        data.write_bytes(b"")
    elif damage == "no facts":
        facts.unlink()
    elif damage == "a bit of the data":
        whole = bytearray(data.read_bytes())
        whole[-3] ^= 1
        data.write_bytes(whole)
    elif damage == "another onset":
        facts.write_text(facts.read_text().replace("[1]", "[2]"))
    elif damage == "another entry":
        cache.write_cached(tmp_path, "y", array + 1, {"onset": [1]})
        (tmp_path / "y.npy").replace(data)
        (tmp_path / "y.json").replace(facts)
    else:
        facts.write_text(facts.read_text()[:5])
    assert cache.read_cached(tmp_path, "x") is None


def test_damaged_entries_are_prepared_again(corpus: Corpus, tmp_path: Path) -> None:
    folder, fresh = tmp_path / "cache", loaded(corpus, None)
    loaded(corpus, folder)
    for path in folder.glob("*.npy"):
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 64
        path.write_bytes(whole)
    assert same(loaded(corpus, folder), fresh)


@pytest.mark.parametrize("fault", ["full", "no folder"])
def test_a_cache_that_cannot_be_written_costs_no_recording(
    fault: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, messages, fresh = tmp_path / "cache", [], loaded(corpus, None)

    def full(path: Path, array: np.ndarray, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if fault == "full":
        monkeypatch.setattr(np, "save", full)
    else:
        folder.touch()
    assert same(loaded(corpus, folder, on_message=messages.append), fresh)
    assert len(messages) == 1
    assert messages[0].startswith("Not cached, and prepared again next time: ")
    assert "\n" not in messages[0]
    assert fault == "full" or "cache: cannot be created (" in messages[0]
    assert fault != "full" or not any(folder.iterdir())


def test_leftovers_of_killed_programs_are_removed(corpus: Corpus, tmp_path: Path) -> None:
    partial = tmp_path / "cache" / ".partial-of-another-entry.npy-x"
    partial.mkdir(parents=True)
    (partial / "of-another-entry.npy").write_bytes(b"half")
    loaded(corpus, tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".npy", ".json"}


STORE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from eeg.preprocessing.cache import write_cached
while True:
    write_cached(Path(sys.argv[1]), "x", np.full(200_000, 7.0), {"whole": True})
"""


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """Killed at random moments, it leaves the complete files or none."""
    for delay in (0.0, 0.003, 0.011):
        writer = subprocess.Popen([sys.executable, "-c", STORE_FOR_EVER, tmp_path])
        while not (tmp_path / "x.json").exists():
            time.sleep(0.001)
        time.sleep(delay)
        writer.kill()
        writer.wait()
        found = cache.read_cached(tmp_path, "x")
        assert found is None or ((found[0] == 7).all() and found[1] == {"whole": True})
    cache.write_cached(tmp_path, "x", np.full(3, 7.0), {})
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "x.json"}  # and later ones clean up


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the cluster's own
def test_a_dask_cluster_prepares_the_same(corpus: Corpus, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    fresh = loaded(corpus, None)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        parallel_config("dask"),
    ):
        assert same(loaded(corpus, None, jobs=2), fresh)
        assert same(loaded(corpus, tmp_path / "cache", jobs=2), fresh)


def test_windows_of_several_lengths_are_cached_from_one_preparation(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lengths = tmp_path / "cache", (2.0, 5.0)
    fresh = [[*load_windows(corpus, SETTINGS, length, progress=False).values()] for length in lengths]
    prepared = []
    original = loading.Recording.scan
    monkeypatch.setattr(loading.Recording, "scan", lambda raw: prepared.append(raw) or original(raw))
    loading.cache_windows(corpus, SETTINGS, lengths, folder)
    assert len(prepared) == len(corpus.entries)
    for length, expected in zip(lengths, fresh, strict=True):
        cached = load_windows(corpus, SETTINGS, length, folder=folder, progress=False)
        assert same([*cached.values()], expected)
    assert len(prepared) == len(corpus.entries)


def test_windows_beyond_the_limit_are_mapped_from_files(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = loaded(corpus, None)
    monkeypatch.setattr("eeg.large_arrays.WINDOWS_IN_MEMORY", fresh[0].data.nbytes)
    moved = loaded(corpus, None, overflow=tmp_path)
    assert [isinstance(w.data, np.memmap) for w in moved] == [False, True]
    assert same(moved, fresh)
    assert not any(isinstance(w.data, np.memmap) for w in loaded(corpus, None))
    cached = [loaded(corpus, tmp_path / "cache", overflow=tmp_path / "missing") for _ in range(2)]
    assert same(cached[1], fresh)  # already mapped from the cache, so nothing is moved
    with pytest.raises(DataError, match=r"cannot be written .*free space there, or specify --cache"):
        loaded(corpus, None, overflow=tmp_path / "missing")
