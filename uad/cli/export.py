"""`uad calibrate`, `uad export` and `uad import`: for other engines, devices and programs."""

from pathlib import Path
from typing import Annotated

import typer

from uad.cli import MODEL_HELP, folder_to_change, place_of_model
from uad.cli.data import Defects, Masks, Normal, split_with
from uad.config.choices import ENGINE_NAMES, PRECISION_NAMES
from uad.console import console, print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(calibrate)
    app.command()(export)
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_group)
    group.command()(paddlex)
    app.add_typer(group, name="import")


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder. The bundle is changed.")],
    data: Annotated[
        str,
        typer.Option(
            help="The dataset it was trained on, or good images that the model has not seen."
        ),
    ],
    engine: Annotated[
        str, typer.Option(help=f"Engine that will run it: {ENGINE_NAMES}.")
    ] = "onnxruntime",
    precision: Annotated[str, typer.Option(help=f"{PRECISION_NAMES}.")] = "fp32",
    alpha: Annotated[
        float | None, typer.Option(help="False alarm rate. Default: the one chosen in training.")
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(
            "--min-area",
            min=0,
            help="Smallest region that raises the alarm, in pixels. Default: the one chosen in "
            "training.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device that will run it: cpu, gpu:0, ...")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="Threads per inference. Default: all cores.")
    ] = None,
    requantise: Annotated[
        bool, typer.Option(help="Make the 8-bit model again, even if the bundle has one.")
    ] = False,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
) -> None:
    """Set the threshold of a bundle for one engine and precision. Then it can serve there.

    Engines round differently. So each has its own threshold, set by the calibration images, and
    golden scores that it must reproduce wherever it serves. For int8 the 8-bit model is first made
    from training images. It is refused if its scores differ too much from those of the float32
    model.

        uad calibrate bundles/cookie --data cookie --engine openvino --precision int8
        uad calibrate bundles/cookie --data cookie --alpha 0.01
        uad calibrate bundles/cookie --data cookie --min-area 40
    """
    from uad.bundle import read_bundle
    from uad.data import load_dataset
    from uad.inference.export import prepare
    from uad.inference.prepare import split_of

    found = read_bundle(folder_to_change(bundle))
    ready = prepare(
        found,
        load_dataset(data, split_with(split_of(found), data, normal, defects, masks)),
        engine=engine,
        precision=precision,
        device=device,
        alpha=alpha,
        min_area=min_area,
        threads=threads,
        requantise=requantise,
        progress=True,
    )
    rows = [
        (key, entry.threshold, entry.alpha, len(entry.scores))
        for key, entry in ready.manifest.calibration.items()
    ]
    print_table(f"calibrations of {bundle}", ("engine", "threshold", "alpha", "images"), rows)
    agreement = (ready.manifest.int8 or {}).get(engine)
    if precision == "int8" and agreement:
        image, pixel = agreement.image_auroc, agreement.pixel_auroc
        console().print(
            f"int8 compared with fp32: scores change by {agreement.noise:.2f} of their spread; on "
            f"planted defects the image AUROC is {image.int8:.4f} instead of {image.fp32:.4f}, "
            f"the pixel AUROC {pixel.int8:.4f} instead of {pixel.fp32:.4f}"
        )


def export(
    bundle: Annotated[str, typer.Argument(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    target: Annotated[
        str, typer.Option(help="edge: an 8-bit model with its score, and a C++ program.")
    ] = "edge",
) -> None:
    """Write a folder for devices without Python.

    The folder holds the 8-bit model with all post-processing in the graph, the threshold, and a C++
    program of one file. The program needs only ONNX Runtime's shared library. Calibrate for int8
    first:

        uad calibrate bundles/cookie --data cookie --engine onnxruntime --precision int8
        uad export bundles/cookie --target edge --output device
        uad export cookie --output device
    """
    from uad.bundle import read_bundle
    from uad.errors import EngineError
    from uad.hot_reload import open_bundle
    from uad.inference.export import export_edge

    if target != "edge":
        raise EngineError(f"'{target}' is not a target. The only target is edge.")
    written = export_edge(read_bundle(open_bundle(place_of_model(bundle))), output)
    rows = [(file.name, f"{file.stat().st_size / 1e6:.2f} MB") for file in written]
    print_table(f"device folder written: {output}", ("file", "size"), rows)
    console().print(f"next: see {output / 'README.md'}")


def _group() -> None:
    """Import a model that another program trained."""


def paddlex(
    file: Annotated[
        Path, typer.Argument(help="model.pdparams of an STFPM that PaddleX or PaddleSeg trained.")
    ],
    calibrate: Annotated[
        str,
        typer.Option(
            help="Good images that it was not trained on: a folder or the name of a dataset."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The bundle's folder.")],
    alpha: Annotated[float, typer.Option(help="Target false alarm rate.")] = 0.05,
    size: Annotated[int, typer.Option(help="Side of its training images in pixels.")] = 256,
) -> None:
    """Make a bundle of an STFPM that PaddleX or PaddleSeg trained.

    The file's pickle is not run. PaddleX has no calibrated threshold (it uses 0.01 for every
    product), so good images must set one. Use as many as you can, but none that the model was
    trained on: it knows those too well.

        uad import paddlex model.pdparams --calibrate photos/good --output bundle
        uad predict --pipeline bundle --input part.png
    """
    from uad.bundle import REFERENCE
    from uad.data import load_dataset
    from uad.inference.export.paddlex_import import import_stfpm

    normals = load_dataset(calibrate)
    bundle = import_stfpm(file, normals, output, alpha=alpha, size=(size, size), progress=True)
    entry = bundle.manifest.calibration[REFERENCE]
    rows = [
        ("teacher", bundle.manifest.teacher.sha256[:12]),
        ("calibration images", len(entry.scores)),
        ("false alarm rate alpha", entry.alpha),
        ("threshold", f"{entry.threshold:.6g}"),
    ]
    print_table(f"bundle {bundle.path}", ["", ""], rows)
    console().print(
        f"next: uad evaluate {output} --data DATA, or uad register {output} --name NAME"
    )
