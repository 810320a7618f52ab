"""`uad bench`: measurements that anyone can run again."""

from pathlib import Path
from typing import Annotated

import typer

from uad.cli import MODEL_HELP, place_of_model
from uad.config import TrainingConfig, load_settings
from uad.console import console, print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    bench = typer.Typer(
        no_args_is_help=True, help="Measure how well uad detects and how fast it is."
    )
    bench.command()(quality)
    bench.command()(inference)
    app.add_typer(bench, name="bench")


def quality(
    data: Annotated[
        list[str], typer.Option(help="A dataset with labelled test images. May be repeated.")
    ],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="published, default, quick, or a YAML file. May be repeated. The others are "
            "compared with the first one.",
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Teachers to compare. With several teachers, give one recipe."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of splits and initialisations.")] = 3,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for the bundles. Bundles that are already there are not trained again."
        ),
    ] = Path("output/quality"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Setting for all recipes: section.key=value.")
    ] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Also write all results to this file.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device to train on: cpu, gpu:0, or several: gpu:0,1.")
    ] = "cpu",
) -> None:
    """Train by several recipes on the same splits and compare what they detect.

    Prints mean and standard deviation over the seeds, and for each seed the 95 % interval of the
    difference to the first recipe, by a paired bootstrap over the test images.

        uad bench quality --data cookie --recipe published --recipe default --teacher imagenet
    """
    chosen = [
        (f"{_label(name)}{suffix}", _settings(name, set_ or []), weights)
        for name in recipe or ["published", "default"]
        for weights, suffix in _teachers(teacher or ["imagenet"])
    ]

    from uad.bench import quality as measure

    recipes = [measure.Recipe(*parts) for parts in chosen]
    outcomes = measure.run(data, recipes, range(seeds), output, device=device)
    figures = (
        *("image AUROC", "pixel AUROC", "AUPRO", "F1", "recall", "false alarms"),
        *("minutes", "ms per image"),
    )
    print_table("quality", ["data", "recipe", "seeds", *figures], measure.summary(outcomes))
    rows = [
        (name, d.a, d.b, f"{d.difference:+.4f}", f"{d.low:+.4f} .. {d.high:+.4f}")
        for name, d in measure.differences(outcomes, recipes[0].name)
    ]
    if rows:
        columns = ["", "this", recipes[0].name, "difference", "95 % interval"]
        print_table(f"minus {recipes[0].name}, paired bootstrap", columns, rows)
    if json_ is not None:
        json_.write_text(measure.as_json(outcomes, recipes[0].name), encoding="utf-8")
        console().print(f"written: {json_}")


def inference(
    bundle: Annotated[
        str | None,
        typer.Option(help=f"The model to run. {MODEL_HELP} Default: random weights."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="engine/precision, for example openvino/int8. May be repeated. "
            "Default: all that are installed.",
        ),
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="Input side in pixels. May be repeated.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Images per inference. May be repeated.")
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Threads per inference. May be repeated. Default: 1 and all cores."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each engine is measured.")] = 10,
    pause: Annotated[
        float, typer.Option(min=0, help="Seconds of pause after each measurement.")
    ] = 0.0,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Also write all results to this file.")
    ] = None,
) -> None:
    """Measure how fast and how exact the engines are, and how much memory they need.

    Each engine runs in its own process. The engines take turns, so the ratios are right on a busy
    machine too. It also compares N workers of one thread with one worker of N threads, and prints
    the lower bound: the time of the network's arithmetic at this machine's peak speed for
    convolutions.

        uad bench inference --bundle bundles/cookie --json inference.json
        uad bench inference --engine openvino/int8 --engine onnxruntime/fp32 --size 256 --size 512
    """
    from uad.bench import inference as measure
    from uad.bench.tables import cost, floors, parts, speed, workers
    from uad.bundle import read_bundle
    from uad.hot_reload import open_bundle
    from uad.inference.engines.base import physical_cores

    cores = physical_cores()
    found = measure.run(
        read_bundle(open_bundle(place_of_model(bundle))) if bundle else None,
        engines=engine,
        sizes=size or [256],
        batches=batch or [1, 8],
        threads=threads or sorted({1, cores}),
        rounds=rounds,
        pause_seconds=pause,
    )
    console().print(found.processor)
    print_table("inference, the engines take turns", *speed(found))
    print_table("cost, and difference from fp32", *cost(found))
    if found.parts:
        print_table("what the parts cost, one image", *parts(found))
    if found.throughput:
        print_table(
            "throughput: N workers with 1 thread each, or 1 worker with N threads", *workers(found)
        )
    print_table(
        "lower bound: one image at this processor's peak speed for convolutions", *floors(found)
    )
    if json_ is not None:
        json_.write_text(found.to_json(), encoding="utf-8")
        console().print(f"written: {json_}")


def _settings(name: str, overrides: list[str]) -> TrainingConfig:
    from importlib.resources import as_file, files

    if Path(name).suffix in {".yaml", ".yml"}:
        return load_settings(TrainingConfig, Path(name), overrides)
    with as_file(files("uad").joinpath("configs", "training", f"{name}.yaml")) as file:
        return load_settings(TrainingConfig, file, overrides)


def _label(name: str) -> str:
    return Path(name).stem


def _teachers(names: list[str]) -> list[tuple[str, str]]:
    if len(names) == 1:
        return [(names[0], "")]
    return [(name, f"-{Path(name).stem[:12]}") for name in names]
