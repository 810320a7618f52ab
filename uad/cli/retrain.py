"""`uad retrain` and `uad deploy`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uad.cli import prepare_training
from uad.cli.data import Defects, Masks, Normal, folder_settings
from uad.cli.train import QUICK, quick_settings
from uad.config import TrainingConfig, load_settings
from uad.config.choices import Mode
from uad.console import console, print_table

if TYPE_CHECKING:
    from flows.retrain import Retraining
    from flows.schedule import Schedule
    from uad.data import FolderRoles
    from uad.registry.gate import GateRule, GateVerdict


Data = Annotated[
    str,
    typer.Option(help="Folder or manifest of images, or a stored dataset: NAME or NAME@VERSION."),
]
Name = Annotated[str, typer.Option("--name", help="The product: the name of the registered model.")]
Teacher = Annotated[str, typer.Option(help="embedded, imagenet, or a weight file.")]
Config = Annotated[
    Path | None,
    typer.Option(help="YAML file of training settings. `uad config show` prints the defaults."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, as section.key=value; may be repeated."),
]
Device = Annotated[str, typer.Option(help="Device to train on: cpu, gpu:0, or several: gpu:0,1.")]
Alpha = Annotated[float | None, typer.Option(help="Target false alarm rate, above 0 and below 1.")]
PromoteOption = Annotated[
    Mode,
    typer.Option(
        help=(
            "Who promotes the new version. gate: the gate's rule decides. always: promote "
            "without checks. never: a person runs `uad promote`. ask: the run pauses in Prefect "
            "until a person decides."
        )
    ),
]
Gate = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with the gate's rule. `uad config show gate` prints the defaults."
    ),
]
Recent = Annotated[
    str | None,
    typer.Option(help="Folder of recent good images. The gate compares the false alarms on them."),
]
Settle = Annotated[
    float,
    typer.Option(
        min=0, help="Skip files modified less than N seconds ago. The next run takes them."
    ),
]
WithFeedback = Annotated[
    bool,
    typer.Option(
        "--with-feedback",
        help="Add what people said about judged images: see `uad feedback`.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help=QUICK)]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(retrain)
    app.command()(deploy)


def retrain(
    data: Data,
    name: Name,
    teacher: Teacher = "embedded",
    config: Config = None,
    set_: Set = None,
    device: Device = "cpu",
    promote: PromoteOption = "gate",
    gate: Gate = None,
    recent: Recent = None,
    alpha: Alpha = None,
    settle: Settle = 0.0,
    with_feedback: WithFeedback = False,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
    quick: Quick = False,
) -> None:
    """Ingest, fine-tune, evaluate, register, and promote if the gate passes, in one run.

    The gate: the first version is promoted if its own checks pass. With labelled test images, image
    AUROC and AUPRO must not be more than 0.01 below the champion's on the same images. With more
    false alarms or more missed defects than the champion has, or with normal images only, the new
    version becomes [b]challenger[/b] and a person decides.

    The run is one Prefect flow run and one MLflow run. No server is needed. To use your servers,
    set PREFECT_API_URL and MLFLOW_TRACKING_URI.

        uad retrain --data ./photos/cookie --name cookie
        uad retrain --data ./photos/cookie --name cookie --quick
        uad retrain --data cookie --name cookie --set training.min_steps=400 --promote never
        uad retrain --data ./photos/cookie --name cookie --with-feedback
    """
    folders = folder_settings(data, normal, defects, masks)
    set_ = [*quick_settings(quick=quick), *(set_ or []), *folders]
    parameters = _parameters(teacher, config, set_, device, promote, gate, recent, alpha, settle)
    parameters["with_feedback"] = with_feedback
    prepare_training(*_needed(parameters))
    _check_images(data, name, parameters)
    outcome = _run({"data": data, "product": name, **parameters})
    _print_outcome(outcome, promote)


def deploy(
    name: Name,
    data: Data,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between runs. The first run starts at once.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="Start times as a cron line: minute hour day month weekday.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of --cron. Default: this machine's.")
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(help="Seconds between checks of the folder. New images start a run.", min=1),
    ] = None,
    drift: Annotated[
        float | None,
        typer.Option(help="Seconds between checks of the scores. Drift starts a run.", min=1),
    ] = None,
    teacher: Teacher = "embedded",
    config: Config = None,
    set_: Set = None,
    device: Device = "cpu",
    promote: PromoteOption = "gate",
    gate: Gate = None,
    recent: Recent = None,
    alpha: Alpha = None,
    settle: Settle = 0.0,
    with_feedback: WithFeedback = False,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
    quick: Quick = False,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the Prefect server that is started here. Default: 4200 if it is free."
        ),
    ] = None,
) -> None:
    """Retrain on a schedule, on new images or on drift, until Ctrl-C. Same steps as `uad retrain`.

    If images, settings and teacher are those of an earlier version, a run ends without training. If
    runs were missed (the machine was off, a training took longer than the interval), one of them is
    run. With PREFECT_API_URL the schedule is stored on that server. Otherwise a Prefect server is
    started here, and its page shows all runs.

    With --watch a run starts when the folder has changed and then stayed the same for half a
    minute. With --drift a run starts when the scores of the served images are no longer like those
    of calibration. The cause may be defects, so its version becomes challenger and a person
    decides. Other programs can start a run: send Prefect the event [b]uad.new-data[/b] of
    [b]uad.product.NAME[/b].

        uad deploy --name cookie --data ./photos/cookie --interval 3600
        uad deploy --name cookie --data ./photos/cookie --cron "0 3 * * *"
        uad deploy --name cookie --data /mnt/camera --watch 60 --drift 3600
    """
    folders = folder_settings(data, normal, defects, masks)
    set_ = [*quick_settings(quick=quick), *(set_ or []), *folders]
    parameters = _parameters(teacher, config, set_, device, promote, gate, recent, alpha, settle)
    parameters["with_feedback"] = with_feedback
    prepare_training(*_needed(parameters))
    _check_folder(data, parameters)
    from uad.operations.images import images_sentence

    console().print(images_sentence(data))
    _prepare()
    from flows.deployments import (
        deployment,
        drift_deployment,
        scheduler,
        serve_until_stopped,
        watch_deployment,
    )
    from flows.schedule import local_timezone

    schedule = _schedule(interval, cron, timezone or local_timezone(), watch or drift)
    times = [f"{time:%Y-%m-%d %H:%M:%S}" for time in schedule.next(3)] if schedule else []
    console().print(
        "Connecting to Prefect. If a server has to be started, this takes 10 to 20 seconds."
    )
    with scheduler(port) as api_url:
        made = [deployment(name, schedule, {"data": _absolute(data), **parameters})]
        if watch:
            made.append(watch_deployment(name, _absolute(data), watch, settle))
        if drift:
            made.append(drift_deployment(name, drift))
        rows = [
            ("product", name),
            ("images", Path(_absolute(data))),
            ("schedule", schedule),
            ("next runs", ", ".join(times) or None),
            ("checks the folder", f"every {watch:g} s" if watch else None),
            ("checks the scores", f"every {drift:g} s" if drift else None),
            ("runs and logs", api_url.removesuffix("/api")),
            (
                "stop",
                (
                    "Press Ctrl-C. The same command continues the schedule and makes up for one "
                    "missed run."
                ),
            ),
        ]
        print_table(f"deployment retrain/{name}", ["", ""], rows)
        serve_until_stopped(made, at_once=made[0] if interval else None)
    console().print(f"Stopped. retrain/{name} runs again when you start this command again.")


def _check_images(data: str, name: str, parameters: dict[str, Any]) -> None:
    """Refuse a mistyped path or name before Prefect's engine starts. The start takes a while."""
    from uad.operations.images import check_images

    check_images(data, name, _roles(parameters))


def _check_folder(data: str, parameters: dict[str, Any]) -> None:
    """Refuse a folder that no run could read. An empty folder is allowed: images may come later."""
    from uad.data.layouts import find
    from uad.images.folders import image_files

    path = Path(data).expanduser()
    if path.is_dir() and image_files(path):
        find(path, _roles(parameters))


def _roles(parameters: dict[str, Any]) -> "FolderRoles":
    from uad.config import SplitConfig
    from uad.data import roles_of

    return roles_of(SplitConfig.model_validate(parameters["config"]["data"]))


def _needed(parameters: dict[str, Any]) -> list[str]:
    """Additional packages that the training needs: Paddle, unless there is no student."""
    return ["paddle"] if parameters["config"]["detector"]["student"] else []


def _schedule(
    interval: float | None, cron: str | None, timezone: str, events: float | None
) -> "Schedule | None":
    """None if only events start runs."""
    from flows.schedule import Schedule

    if events and interval is None and cron is None:
        return None
    return Schedule(interval, cron, timezone)


def _parameters(
    teacher: str,
    config: Path | None,
    set_: list[str] | None,
    device: str,
    promote: Mode,
    gate: Path | None,
    recent: str | None,
    alpha: float | None,
    settle: float,
) -> dict[str, Any]:
    """The chain's parameters as JSON holds them, checked before anything starts."""
    overrides = [*(set_ or []), *([f"data.alpha={alpha}"] if alpha is not None else [])]
    settings = load_settings(TrainingConfig, config, overrides)
    if settings.detector.student:
        _check_device(device)
    rule = gate_rule(gate)
    return {
        "teacher": _absolute(teacher),
        "config": settings.model_dump(mode="json"),
        "device": device,
        "promote": promote,
        "rule": rule.model_dump(mode="json") if rule else None,
        "recent": _absolute(recent) if recent else None,
        "settle_seconds": settle,
    }


def _check_device(device: str) -> None:
    if device != "cpu":  # Paddle takes seconds to load
        from uad.training.distributed import check_devices, training_devices

        check_devices(training_devices(device))


def gate_rule(file: Path | None) -> "GateRule | None":
    """The rule of a file; None for the defaults."""
    if file is None:
        return None
    from uad.registry.gate import GateRule

    return load_settings(GateRule, file)


def _absolute(text: str) -> str:
    """An existing path is made absolute, because a scheduled run may start in another folder."""
    path = Path(text).expanduser()
    return str(path.absolute()) if path.exists() else text


def _prepare() -> None:
    from flows import environment

    environment.prepare()


def _run(parameters: dict[str, Any]) -> "Retraining":
    from flows.engine import running_flows
    from uad.operations.images import read_ahead
    from uad.operations.training import get_ready, stopped_sentence

    name = parameters["product"]

    def meanwhile() -> None:
        get_ready(name)
        roles, settle = _roles(parameters), parameters["settle_seconds"]
        read_ahead(parameters["data"], roles, settle_seconds=settle)

    stopped = stopped_sentence(has_student=parameters["config"]["detector"]["student"])
    with running_flows(stopped, doing=f"Retraining {name}", meanwhile=meanwhile):
        from flows.retrain import retrain as chain

        outcome: Retraining = chain(**parameters)
        return outcome


def _print_outcome(outcome: "Retraining", mode: Mode) -> None:
    name, version = outcome.product, outcome.version
    if outcome.unchanged:
        console().print(f"Nothing new: version {version} was already trained on {outcome.dataset}.")
        return
    if outcome.verdict:
        _print_verdict(f"gate: {name} version {version}", outcome.verdict)
    rows = [
        ("dataset", outcome.dataset),
        *_learned(outcome.bundle),
        ("new version", f"{version} ({'champion' if outcome.promoted else 'challenger'})"),
        ("verdict", _verdict(outcome, mode)),
        ("bundle", outcome.bundle and Path(outcome.bundle)),
        ("report", _page(outcome.report)),
        ("MLflow run", outcome.run_id),
        ("next", _next(outcome)),
    ]
    print_table(f"retrained {name}", ["", ""], rows)


def _learned(bundle: str | None) -> list[tuple[str, object]]:
    """How many good images did what, and the false alarm rate that they allow."""
    if bundle is None or not Path(bundle).is_dir():
        return []
    from uad.bundle import read_bundle
    from uad.scoring.conformal import percent

    manifest = read_bundle(Path(bundle)).manifest
    entry = manifest.reference_calibration
    rows: list[tuple[str, object]] = []
    if data := manifest.dataset:
        shares = f"{data.train} to learn from, {data.selection} to choose, {data.calibration}"
        of = f" ({entry.n_captures} captures)" if entry and entry.n_captures else ""
        rows.append(("good images", f"{shares} for the threshold{of}"))
    if entry:
        kept = (
            f"at most {percent(entry.guaranteed_rate)} on average, threshold {entry.threshold:.6g}"
        )
        rows.append(("false alarm rate", kept))
    return rows


def _print_verdict(title: str, verdict: "GateVerdict") -> None:
    from uad.registry.gate import COLUMNS

    print_table(title, COLUMNS, verdict.rows())


def _verdict(outcome: "Retraining", mode: Mode) -> str:
    return outcome.verdict.told(mode) if outcome.verdict else "-"


def _page(report: str | None) -> Path | str:
    if report is None:
        return "none: there are no test images"
    page = Path(report).with_name("report.html")
    return page if page.is_file() else Path(report)


def _next(outcome: "Retraining") -> str:
    from uad.registry import ModelAddress

    if outcome.promoted:
        return shlex.join(["uad", "serve", "--model", str(ModelAddress.champion(outcome.product))])
    return shlex.join(["uad", "promote", outcome.product, outcome.version])
