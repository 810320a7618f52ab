"""Peak memory and disk of a training on many images of 1024 x 1024.

Run by hand: `python tests/bench/memory.py [--whole] [--set SETTING] [IMAGES ...]`, by default 1000
and 10000. It runs `uad train` and ends it a little after its first steps: what grows with the
images is made before them, and an epoch of 10,000 images takes 20 minutes. `--whole` lets it end by
itself after one epoch, so that the memory, the score and the threshold are in it too.

Anonymous memory is what the process needs; mapped files are the disk's cache, which the system
takes back when others need it.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

SIDE = 1024
KINDS = 200
STEP_SECONDS = 45.0
PHASES = ("decode", "teacher", "train", "memory", "calibrate")
SHORT = ["training.epochs=1", "training.min_steps=0", "export.int8=off"]


@dataclass
class Peaks:
    """In bytes; memory by phase."""

    anonymous: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    mapped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cache: int = 0


def main(counts: list[int], whole: bool, settings: list[str]) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            written = _draw(folder / "photos" / "train" / "good", count)
            print(f"{count} images of {SIDE} x {SIDE}, {written / 1e6:.0f} MB of JPEG", flush=True)
            started = time.monotonic()
            peaks = _train(folder, whole, settings)
            for phase, anonymous in peaks.anonymous.items():
                print(
                    f"  {phase}: {anonymous / 1e6:.0f} MB, "
                    f"and {peaks.mapped[phase] / 1e6:.0f} MB of mapped files"
                )
            print(
                f"  cache on the disk {peaks.cache / 1e6:.0f} MB; "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )


def _draw(folder: Path, count: int) -> int:
    """Parts with a scratch each; beyond `KINDS` the pixels repeat, the files' bytes do not."""
    folder.mkdir(parents=True)
    rng, encoded = np.random.default_rng(0), []
    for _ in range(min(KINDS, count)):
        coarse = rng.integers(60, 200, (16, 16, 3), np.uint8)
        part = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        start, end = (tuple(map(int, rng.integers(0, SIDE, 2))) for _ in range(2))
        cv2.line(part, start, end, (0, 0, 0), 3)
        encoded.append(cv2.imencode(".jpg", part)[1].tobytes())
    for index in range(count):
        data = encoded[index % KINDS] + f"{index:08}".encode()
        (folder / f"{index:06}.jpg").write_bytes(data)
    return sum(file.stat().st_size for file in folder.iterdir())


def _train(folder: Path, whole: bool, settings: list[str]) -> Peaks:
    settings = [*SHORT, *settings]
    command = [sys.executable, "-m", "uad", "train", "--data", str(folder / "photos")]
    command += ["--output", str(folder / "bundle")]
    command += [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "UAD_HOME": str(folder / "home"), "FORCE_COLOR": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    shown = _Shown(process)
    peaks, begun = Peaks(), None
    while process.poll() is None:
        _measure(process.pid, shown.phase, folder / "home", peaks)
        if shown.phase == "train" and begun is None:
            begun = time.monotonic()
        if not whole and begun and time.monotonic() > begun + STEP_SECONDS:
            process.send_signal(signal.SIGTERM)
            process.wait()
        time.sleep(0.2)
    if process.returncode not in (0, -signal.SIGTERM):
        raise SystemExit(shown.text[-2000:])
    return peaks


class _Shown:
    """What the command shows: the name of its last bar is its phase."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.phase, self.text = "check", ""
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        while data := os.read(self._process.stderr.fileno(), 65536):
            self.text = (self.text + data.decode(errors="replace"))[-10_000:]
            seen = {self.text.rfind(f"{phase} "): phase for phase in PHASES}
            if max(seen) >= 0:
                self.phase = seen[max(seen)]


def _measure(pid: int, phase: str, home: Path, peaks: Peaks) -> None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return
    facts = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    if not facts:
        return  # it has just ended
    peaks.anonymous[phase] = max(peaks.anonymous[phase], int(facts["RssAnon"]) * 1024)
    peaks.mapped[phase] = max(peaks.mapped[phase], int(facts["RssFile"]) * 1024)
    files = [file for file in home.glob("cache/training-*/*") if file.is_file()]
    peaks.cache = max(peaks.cache, sum(file.stat().st_blocks * 512 for file in files))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    asked = parser.parse_args()
    main(asked.images, asked.whole, asked.settings)
