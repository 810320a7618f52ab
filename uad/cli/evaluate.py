"""`uad evaluate`."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli import MODEL_HELP, place_of_model
from uad.cli.data import Defects, Masks, Normal, split_with
from uad.config import SplitConfig
from uad.config.choices import ENGINE_NAMES, PRECISION_NAMES
from uad.console import console, print_table
from uad.errors import DataError

if TYPE_CHECKING:
    from uad.bundle import DatasetRef
    from uad.evaluation import Report


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(evaluate)


def evaluate(
    bundle: Annotated[str, typer.Argument(help=MODEL_HELP)],
    data: Annotated[
        str | None,
        typer.Option(
            help="A dataset that was ingested (NAME or NAME@VERSION), or a folder.",
            show_default="the dataset that the model learned from",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for a report: report.html, figures, scores.csv."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Another model. The report then compares both on the same images."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="False alarm rate for the threshold. Default: the bundle's."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help=f"Engine that runs the model: auto, fastest, {ENGINE_NAMES}.")
    ] = "auto",
    precision: Annotated[
        str | None, typer.Option(help=f"{PRECISION_NAMES}.", show_default="the engine's own")
    ] = None,
    device: Annotated[str, typer.Option(help="Device: cpu, gpu:0, ...")] = "cpu",
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Images per inference. 1 measures the time of a single request."),
    ] = 1,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
) -> None:
    """Measure on test images how well a bundle finds defects.

    You need good and defective images: test/good and test/<defect>, or folders such as good and
    scratch. Good images that the model learned from do not count. Masks (ground_truth/<defect>) add
    pixel figures. Test images are never used to choose anything. The figures of a registered
    version are stored in MLflow if it has none, or if they are of its own dataset. Those of a
    bundle's folder are stored there by `uad register`.

        uad evaluate cookie
        uad evaluate bundles/cookie --data cookie --report report
        uad evaluate cookie --data ./new-images --json figures.json
        uad evaluate bundles/new --compare cookie --data cookie --report report
    """
    if compare and not report:
        raise DataError("--compare needs a folder for the page: add --report DIR")

    from uad.bundle import read_bundle
    from uad.data import load_test_set
    from uad.evaluation import evaluate as run
    from uad.evaluation import write_comparison, write_report
    from uad.hot_reload import open_bundle
    from uad.inference.detector import load_detector
    from uad.operations.evaluation import keep_figures, open_version

    load = partial(load_detector, engine=engine, precision=precision, device=device, alpha=alpha)
    folder, version = open_version(place_of_model(bundle))
    other = open_bundle(place_of_model(compare)) if compare else None
    learned = [read_bundle(place).manifest.dataset for place in (folder, other) if place]
    data = data or _own_dataset(learned[0])
    dataset = load_test_set(
        data,
        split_with(SplitConfig(), data, normal, defects, masks),
        trained_on=[each.address for each in learned if each],
    )
    samples = dataset.test
    with closing(load(folder)) as detector:
        found = run(detector, samples, progress=True, batch_size=batch_size)
        _show(found, bundle, data)
        if alpha is None and engine == "auto" and precision is None:  # as the version serves
            told = keep_figures(folder, version, found, dataset.address)
            if told:
                console().print(told, soft_wrap=True, highlight=False, markup=False)
        if json:
            _write_json(found, json)
        if report:
            files = write_report(found, report, detector, samples, normals=dataset.normals)
            _tell(files["report.html"])
        if compare and other and report:
            with closing(load(other)) as second:
                others = run(second, samples, progress=True, batch_size=batch_size)
                pages = write_comparison(
                    *(found, others, report / "comparison"),
                    names=_names(bundle, compare),
                    detectors=(detector, second),
                    samples=samples,
                )
            _tell(pages["comparison.html"])


def _own_dataset(learned: "DatasetRef | None") -> str:
    """The stored dataset that a bundle learned from.

    Raises:
        DataError: there is none on this machine.
    """
    from uad.data.versions import is_stored

    if learned is None or not is_stored(learned.address):
        which = f" ({learned.address})" if learned else ""
        raise DataError(
            f"This machine does not have the dataset that the model learned from{which}. Say which "
            "images to evaluate on: --data NAME, or --data FOLDER"
        )
    return learned.address


def _show(found: "Report", bundle: str, data: str) -> None:
    from uad.evaluation.explanations import defect_rows, figures, sentences

    print_table(f"{bundle} on {data}", ("figure", "", "meaning"), figures(found))
    if found.defects:
        head = ("defect", "images", "found", "recall", "image AUROC", "pixel AUROC", "AUPRO")
        print_table("by kind of defect", head, [row[:7] for row in defect_rows(found.defects)])
    for sentence in sentences(found):
        typer.echo(sentence)


def _names(one: str, two: str) -> tuple[str, str]:
    """The names of two bundles on the page: the folder's last part, unless both are the same."""
    from uad.registry import is_address

    short = [name if is_address(name) else Path(name).name for name in (one, two)]
    return (short[0], short[1]) if short[0] != short[1] else (one, two)


def _write_json(found: "Report", file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found.to_json(), encoding="utf-8")
    except OSError as exc:
        raise DataError(
            f"{file} could not be written: {exc.strerror}. Choose another file for --json."
        ) from exc
    console().print(f"figures: {file}")


def _tell(page: Path) -> None:
    console().print(f"report: {page} (open it in a browser)")
