"""The whole chain on generated images, up to an answer over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.retrain import Retraining, retrain
from flows.server import LOOPBACK, answers, free_port, stop
from uad.client import Client, Prediction
from uad.config import TrainingConfig
from uad.errors import FlowError, ServingError
from uad.evaluation import Report, read_report
from uad.storage.names import ProductName

START_SECONDS = 300.0


@dataclass(frozen=True)
class DemoAnswer:
    """What the server said about one image."""

    image: Path
    picture: Path
    """The image under its heat map, with the verdict."""
    prediction: Prediction


def train_category(folder: Path, config: TrainingConfig) -> tuple[Retraining, Report]:
    """Run the chain on one category of demo images.

    Raises:
        FlowError: the run left no report or no champion to serve.
    """
    outcome = retrain(str(folder), ProductName(folder.name), config=config)
    if outcome.report is None:
        raise FlowError(f"{folder} has no test images: delete the folder and run the demo again")
    return outcome, read_report(Path(outcome.report))


@contextmanager
def serving(addresses: Sequence[str], log: Path) -> Iterator[str]:
    """Run `uad serve` on a free port of the loopback interface; yields its URL.

    Raises:
        ServingError: it ended or was not ready in time; with its last words.
    """
    port = free_port()
    models = [word for address in addresses for word in ("--model", address)]
    command = [sys.executable, "-m", "uad", "serve", *models, "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--set", "notice_seconds=0"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(os.environ),
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        if not answers(process, f"{url}/readyz", START_SECONDS):
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise ServingError(
                f"the server did not start ({' '.join(last) or 'no word'}): see {log}"
            )
        yield url
    finally:
        stop(process)


def ask(url: str, image: Path, picture: Path) -> DemoAnswer:
    """Send one image to the server and save the picture that it draws."""
    with Client(url) as client:
        prediction = client.predict(image)
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(prediction.picture or b"")
    return DemoAnswer(image, picture, prediction)


def typical_defect(folder: Path, report: Report) -> Path:
    """The defective test image with the median score, so not the easiest one."""
    defective = sorted((i for i in report.images if i.label), key=lambda image: image.score)
    return folder / defective[len(defective) // 2].name
