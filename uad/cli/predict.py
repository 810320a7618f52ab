"""`uad predict`, and PaddleX's flags on `uad` itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli import MODEL_HELP, place_of_model, show_version
from uad.config.choices import ENGINE_NAMES, PRECISION_NAMES
from uad.console import console
from uad.errors import ConfigError, ImageError
from uad.storage.paths import NAME_ERRORS

if TYPE_CHECKING:
    from uad.pipeline import Result
    from uad.scoring.verdicts import Verdict, VerdictFile

PIPELINE_HELP = (
    f"{MODEL_HELP} Or anomaly_detection (the champion, if there is only one product), or a YAML "
    "file."
)
PADDLEX = "PaddleX's form: uad --pipeline anomaly_detection --input PATH"

Input = Annotated[
    list[str] | None, typer.Option("--input", "-i", help="A picture, a folder, or a URL.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, gpu:0, ...", show_default="cpu")]
SavePath = Annotated[
    Path | None,
    typer.Option(
        "--save_path",
        "--save-path",
        help="Folder for results: one picture and one JSON file per image.",
    ),
]
Hpip = Annotated[
    bool,
    typer.Option(
        "--use_hpip", "--use-hpip", help="Use the fastest engine that this model can run on."
    ),
]

Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write one line per image into this CSV file, as soon as the image is judged.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per image, each on its own line.")
]


def register(app: typer.Typer) -> None:
    """Add the command and the flags of `uad` itself."""
    app.command()(predict)
    app.callback(invoke_without_command=True)(root)


def predict(
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help=PIPELINE_HELP)],
    inputs: Input = None,
    save_path: SavePath = None,
    device: Device = None,
    use_hpip: Hpip = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help=f"Engine that runs the model: auto, fastest, {ENGINE_NAMES}.", show_default="auto"
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help=f"{PRECISION_NAMES}.", show_default="the engine's own")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch_size", "--batch-size", help="Images per inference.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Target false alarm rate.", show_default="the model's own"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Use this score as the threshold instead of a false alarm rate."),
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(
            "--min-area",
            min=0,
            help="Smallest region that raises the alarm, in pixels. At least the model's own.",
            show_default="the model's own",
        ),
    ] = None,
    mask_only: Annotated[
        bool,
        typer.Option("--mask_only", "--mask-only", help="Save label maps instead of pictures."),
    ] = False,
    csv: Csv = None,
    as_json: AsJson = False,
) -> None:
    """Judge pictures: one line each, with score, verdict and marked regions.

    If a picture cannot be read, it is reported, the others are judged, and the exit status is 1.

        uad predict --pipeline cookie --input photos/ --save_path out
        uad predict --pipeline models:/cookie/3 --input part.png --alpha 0.01
        uad predict --pipeline cookie --input photos/ --csv verdicts.csv
    """
    from uad.pipeline import create_pipeline
    from uad.pipeline.source import ALSO, names_model
    from uad.scoring.verdicts import verdict_file

    if not inputs:
        raise ConfigError("No input was given. Add --input PICTURE, FOLDER or URL.")
    if names_model(pipeline):
        pipeline = place_of_model(pipeline, also=ALSO)
    errors: list[ImageError] = []
    loaded = create_pipeline(
        pipeline,
        device=device,
        use_hpip=use_hpip or None,
        engine=engine,
        precision=precision,
        batch_size=batch_size,
        alpha=alpha,
        threshold=threshold,
        min_area=min_area,
    )
    with loaded, verdict_file(csv) as table:
        counts = [0, 0]
        printer = VerdictPrinter(table, as_json=as_json)
        for result in loaded.predict(
            inputs, on_bad_image=lambda error: _report(error, errors, table)
        ):
            printer.tell(result.verdict)
            counts[result["is_anomalous"]] += 1
            if save_path is not None:
                error = _save(result, save_path, mask_only=mask_only)
                if error is not None:
                    _report(error, errors, table)
    _summary(counts, errors, save_path)


class VerdictPrinter:
    """Prints verdicts, and writes them into the CSV file if there is one."""

    def __init__(self, table: "VerdictFile | None", *, as_json: bool) -> None:
        from uad.scoring.looks import ToldOnce

        self.table = table
        self._as_json = as_json
        self._told = False
        self._warnings = ToldOnce()

    def tell(self, verdict: "Verdict") -> None:
        """Print the verdict on one image.

        On standard error it says once why alpha cannot be guaranteed, and each reason for which
        scores may mean nothing, with the first image that it is true of.
        """
        if verdict.shortfall and not self._told:
            console().print(f"warning: {verdict.shortfall}", style="yellow")
            self._told = True
        for sentence in self._warnings.new(verdict.warnings):
            told = f"warning: {verdict.short_name}: {sentence} (Shown once.)"
            console().print(told, style="yellow", markup=False, highlight=False)
        typer.echo(verdict.as_json() if self._as_json else verdict.line())
        if self.table is not None:
            self.table.add(verdict)


def root(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Option("--pipeline", help=PIPELINE_HELP)] = None,
    inputs: Input = None,
    save_path: SavePath = None,
    device: Device = None,
    use_hpip: Hpip = False,
    get_pipeline_config: Annotated[
        str | None,
        typer.Option(
            "--get_pipeline_config", help="Write the YAML file of this pipeline to --save_path."
        ),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve --pipeline over HTTP.")] = False,
    host: Annotated[str | None, typer.Option("--host", help="Only with --serve.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Only with --serve.")] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Replaced by the application's help."""
    used = any((pipeline, inputs, save_path, device, use_hpip, get_pipeline_config, serve))
    if context.invoked_subcommand is not None:
        if used:
            raise ConfigError(
                f"The options before '{context.invoked_subcommand}' belong to {PADDLEX}. Write "
                f"them after '{context.invoked_subcommand}'."
            )
    elif get_pipeline_config is not None:
        _write_config(get_pipeline_config, save_path or Path())
    elif pipeline is None:
        raise ConfigError(f"--pipeline is missing ({PADDLEX})" if used else "give a command")
    elif serve:
        _serve(pipeline, device, host, port)
    else:
        predict(pipeline, inputs, save_path, device, use_hpip)


def _report(error: ImageError, errors: list[ImageError], table: "VerdictFile | None") -> None:
    errors.append(error)
    from uad.scoring.verdicts import one_line

    typer.secho(f"error: {one_line(str(error))}", fg="red", err=True)
    if table is not None:
        table.add_error(error.image or "", str(error))


def _save(result: "Result", folder: Path, *, mask_only: bool) -> ImageError | None:
    """Write the picture and the JSON; returns the error if the disk refuses the name."""
    try:
        result.save_to_img(folder, mask_only=mask_only)
        result.save_to_json(folder)
    except OSError as exc:
        if exc.errno not in NAME_ERRORS:
            raise
        name = result.verdict.name
        error = ImageError(f"{name} was judged, but its files cannot be written: {exc.strerror}")
        error.image = name
        return error
    return None


def _summary(counts: list[int], errors: list[ImageError], save_path: Path | None) -> None:
    judged, anomalous = sum(counts), counts[1]
    if judged or len(errors) > 1:  # one path that cannot be read has said all
        saved = f"; saved in {save_path}" if save_path is not None and judged else ""
        console().print(f"{judged} judged, {anomalous} anomalous{saved}")
        if errors:
            console().print(f"{len(errors)} could not be read or saved. The reasons are above.")
    if errors:
        raise typer.Exit(1)


def _write_config(name: str, folder: Path) -> None:
    from uad.pipeline.source import shipped_config

    text = shipped_config(name)
    file = folder / f"{name}.yaml"
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{file} exists and is different. Move it away or choose another --save_path."
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    typer.echo(str(file))


def _serve(pipeline: str, device: str | None, host: str | None, port: int | None) -> None:
    import json

    from serving.run import run
    from serving.settings import ServerSettings
    from uad.config import load_settings
    from uad.pipeline.source import read_pipeline
    from uad.registry import ModelRegistry

    settings = read_pipeline(pipeline, None, ModelRegistry())
    given = {
        "models": [settings.model],
        "host": host,
        "port": port,
        "device": device or settings.device,
        "engine": settings.engine,
        "precision": settings.precision,
        "alpha": settings.alpha,
        "threshold": settings.threshold,
        "min_area": settings.min_area,
        "visualize": settings.visualize,
    }
    typed = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    run(load_settings(ServerSettings, None, typed))
