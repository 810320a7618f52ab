"""`uad bench`: measurements that anyone can run again."""

from pathlib import Path
from typing import Annotated

import typer

from uad.config import TrainingConfig, load_settings
from uad.console import console, print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    bench = typer.Typer(no_args_is_help=True, help="Measure: what it detects, how fast it is.")
    bench.command()(quality)
    app.add_typer(bench, name="bench")


def quality(
    data: Annotated[list[str], typer.Option(help="A dataset with labelled test images; repeat.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="published, default, or a YAML file; repeat. The first is compared with."
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Teachers to compare; with several, one recipe.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many splits and initialisations.")] = 3,
    output: Annotated[
        Path, typer.Option(help="Keeps bundles: what is there is not redone.")
    ] = Path("output/quality"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Setting for all recipes: section.key=value.")
    ] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write everything here too.")] = None,
    device: Annotated[str, typer.Option(help="Where to train: cpu, gpu:0, ...")] = "cpu",
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
    figures = ("image AUROC", "pixel AUROC", "AUPRO", "F1", "recall", "false alarms", "minutes")
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
