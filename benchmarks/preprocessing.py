"""Memory and time of preparing long recordings: python benchmarks/preprocessing.py --hours 1 4 24.

EDFs of 64 channels at 256 Hz of noise that repeats every minute (118 MB an hour) are written, each is read,
examined, cleaned, scaled and cut into windows of 10 s, all in a process of its own, and removed. Prints the
peak of private memory (RssAnon), the peak with file pages (VmHWM), which the system can reclaim, and
seconds of processor time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import mne
import numpy as np
from edfio import Edf, EdfSignal

from eeg.io.electrodes import MONTAGE, electrode
from eeg.io.reader import read_recording
from eeg.preprocessing.loading import prepare
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.recording import Recording

CHANNELS, RATE, WINDOW = 64, 256, 10.0


def names() -> list[str]:
    """Return 64 scalp electrodes."""
    every = mne.channels.make_standard_montage(MONTAGE).ch_names
    return list(dict.fromkeys(name for name in every if electrode(name) == name))[:CHANNELS]


def write(path: Path, hours: float) -> None:
    """Write a minute of noise by edfio and repeat its records."""
    rng = np.random.default_rng(0)
    minute = np.cumsum(rng.standard_normal((CHANNELS, 60 * RATE)), axis=1)
    minute -= np.linspace(0, 1, 60 * RATE) * minute[:, -1:]
    signals = [
        EdfSignal(x, RATE, label=n, physical_dimension="uV") for x, n in zip(minute, names(), strict=True)
    ]
    Edf(signals).write(path)
    whole = path.read_bytes()
    header = 256 * (CHANNELS + 1)
    times = round(60 * hours)
    with path.open("wb") as file:
        file.write(whole[:236] + str(60 * times).ljust(8).encode() + whole[244:header])
        for _ in range(times):
            file.write(whole[header:])


def status(field: str) -> float:
    """Return a memory value of this process, MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1000


def measure(path: Path, results: multiprocessing.Queue[tuple[float, float, float, int]]) -> None:
    """Prepare one recording and sample the memory every 10 ms."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    recording = Recording.scan(read_recording(path, preload=False))
    windows = prepare(recording, Preprocessing(tuple(names())), WINDOW).windows
    seconds = time.process_time() - start
    done.set()
    watcher.join()
    results.put((peak[0], status("VmHWM"), seconds, len(windows.data)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 4.0])
    hours: list[float] = parser.parse_args().hours
    spawn = multiprocessing.get_context("spawn")
    print("hours  private MB  with files MB  seconds  windows")
    for length in hours:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "long.edf"
            write(path, length)
            results = spawn.Queue()
            process = spawn.Process(target=measure, args=(path, results))
            process.start()
            own, all_of_it, seconds, number = results.get()
            process.join()
        print(f"{length:5g}  {own:6.0f}  {all_of_it:13.0f}  {seconds:7.1f}  {number:7d}", flush=True)


if __name__ == "__main__":
    main()
