"""`uad demo`: the whole system on generated images."""

import os
import shutil
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli import prepare_training
from uad.console import console, print_table
from uad.storage.names import ProductName

if TYPE_CHECKING:
    from flows.demo import DemoAnswer
    from flows.retrain import Retraining
    from uad.evaluation import Report

FOREIGN = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="A different seed makes different images.")] = 0,
) -> None:
    """Run everything on generated images: train, evaluate, register, promote, serve, ask.

    It makes two products, a woven fabric and a gear, each with good images for training and
    defective images for testing. Everything is stored under --output, also the models. Your own
    datasets, models and servers are not touched. It takes a few minutes and needs no network and no
    account.

        uad demo
        uad demo --output /tmp/uad-demo
    """
    began, output = monotonic(), output.absolute()
    os.environ["UAD_HOME"] = str(output / ".uad")
    for name in FOREIGN:
        os.environ.pop(name, None)
    prepare_training("paddle")
    say = console().print

    say(f"1/4 making images under {output / 'images'}")
    from uad.data import make_demo_images

    folders = make_demo_images(output / "images", seed=seed)
    results = _train(folders)
    _keep_reports(results, output)
    say("4/4 starting the server and sending it one defective image of each kind")
    answers = _ask(results, output)
    _print(results, answers, output)
    say(f"done in {monotonic() - began:.0f} s")


def _train(folders: list[Path]) -> "dict[Path, tuple[Retraining, Report]]":
    from flows.engine import running_flows
    from uad.config import TrainingConfig, load_settings
    from uad.operations.training import get_ready, stopped_sentence

    config = load_settings(TrainingConfig, Path(str(files("uad"))) / "configs/training/demo.yaml")
    stopped = stopped_sentence(has_student=config.detector.student)
    first = ProductName(folders[0].name)
    say = console().print
    results = {}
    with running_flows(stopped, meanwhile=lambda: get_ready(first)):
        from flows.demo import train_category

        for step, folder in enumerate(folders, start=2):
            say(f"{step}/4 {folder.name}: ingest, fine-tune, evaluate, register, promote")
            results[folder] = train_category(folder, config)
    return results


def _keep_reports(results: "dict[Path, tuple[Retraining, Report]]", output: Path) -> None:
    for folder, (outcome, _) in results.items():
        source = Path(str(outcome.report)).parent
        shutil.copytree(source, output / "reports" / folder.name, dirs_exist_ok=True)


def _ask(results: "dict[Path, tuple[Retraining, Report]]", output: Path) -> "list[DemoAnswer]":
    from flows.demo import ask, serving, typical_defect
    from uad.registry import ModelAddress
    from uad.storage.names import ProductName

    addresses = [str(ModelAddress.champion(ProductName(folder.name))) for folder in results]
    with serving(addresses, output / "server.log") as url:
        return [
            ask(
                f"{url}/models/{folder.name}/image-anomaly-detection",
                typical_defect(folder, report),
                output / f"{folder.name}.jpg",
            )
            for folder, (_, report) in results.items()
        ]


def _print(
    results: "dict[Path, tuple[Retraining, Report]]", answers: "list[DemoAnswer]", output: Path
) -> None:
    rows = [
        (
            folder.name,
            report.image_auroc,
            report.pixel_auroc,
            report.aupro,
            report.recall,
            report.false_alarm_rate,
            f"{outcome.version} ({'champion' if outcome.promoted else 'challenger'})",
        )
        for folder, (outcome, report) in results.items()
    ]
    columns = [
        "product",
        "image AUROC",
        "pixel AUROC",
        "AUPRO",
        "recall",
        "false alarms",
        "version",
    ]
    print_table("trained and registered, figures on the test images", columns, rows)
    print_table(
        "answers over HTTP",
        ["image", "score", "threshold", "p-value", "verdict"],
        [
            (
                answer.image.relative_to(output),
                answer.prediction.score,
                answer.prediction.threshold,
                answer.prediction.p_value,
                "anomalous" if answer.prediction.is_anomalous else "normal",
            )
            for answer in answers
        ],
    )
    files = [
        *(
            (answer.picture, "the server's picture: heat map, outline, verdict")
            for answer in answers
        ),
        *((output / "reports" / folder.name / "report.html", "evaluation") for folder in results),
        (output / "images", "the images, in the MVTec AD layout"),
        (output / "server.log", "the server's log"),
        (output / ".uad", "datasets, models, runs; you can delete it"),
    ]
    print_table("files", ["file", "what it is"], [(_shown(file), what) for file, what in files])
    home = f"UAD_HOME={_shown(output / '.uad')}"
    name = next(iter(results)).name
    typer.echo(
        f"look around: {home} uad ui\n             {home} uad serve --model models:/{name}@champion"
    )


def _shown(path: Path) -> Path:
    """Relative to the working directory where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
