"""`uad client`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.cli.predict import AsJson, Csv, VerdictPrinter
from uad.console import console
from uad.errors import ImageError, RequestRefused, ServingError
from uad.storage.paths import NAME_ERRORS

if TYPE_CHECKING:
    from uad.client import Prediction


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(client)


def client(
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of images, or URLs for the server.")
    ],
    url: Annotated[
        str, typer.Option(help="Address of the server, or of one of its products.")
    ] = "http://localhost:8080",
    save_path: Annotated[
        Path | None,
        typer.Option(
            "--save_path", "--save-path", help="Folder for the pictures that the server draws."
        ),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Target false alarm rate for these images.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold of the score for these images.")
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option("--min-area", min=0, help="Smallest region that raises the alarm, in pixels."),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="UAD_API_KEY", help="API key, if the server asks for one.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Longest time to wait for an answer, in seconds.")
    ] = 30.0,
) -> None:
    """Ask a running server about images.

    Prints one line per image: name, verdict, score, threshold, p-value, marked
    regions, and the model version that answered. If the server is busy, it is asked again for up to
    a minute. The exit status is 1 if any image got no verdict.

        uad client part.png
        uad client --url http://line4:8080 --save_path out photos/ extra.jpg
        uad client --csv verdicts.csv photos/
        uad client --json *.png | jq .score
    """
    from uad.client import Client
    from uad.scoring.verdicts import one_line, verdict_file

    failures: list[str] = []
    unsaved: list[str] = []
    names = _expanded(images)
    with (
        Client(url, api_key=api_key, timeout_seconds=timeout) as asked,
        verdict_file(csv) as table,
    ):
        printer = VerdictPrinter(table, as_json=as_json)
        for name, file in zip(names, _pictures(names, save_path), strict=True):
            try:
                found = asked.predict(
                    name,
                    visualize=file is not None,
                    alpha=alpha,
                    threshold=threshold,
                    min_area=min_area,
                )
            except (ImageError, RequestRefused) as exc:
                failures.append(name)
                console().print(one_line(f"{name}: {exc}"), style="red")
                if table is not None:
                    table.add_error(name, str(exc))
                continue
            printer.tell(found.verdict(name))
            try:
                _save(found, file)
            except OSError as exc:
                if exc.errno not in NAME_ERRORS:
                    raise ServingError(f"cannot write {file}: {exc.strerror or exc}") from exc
                unsaved.append(name)
                told = f"{name} was judged, but {file} cannot be written: {exc.strerror}"
                console().print(one_line(told), style="red")
    if failures:
        raise ServingError(
            f"{len(failures)} of {len(names)} images have no verdict. The reasons are above."
        )
    if unsaved:
        raise ServingError(f"{len(unsaved)} pictures were not saved. The reasons are above.")


def _expanded(names: list[str]) -> list[str]:
    from uad.images.folders import list_files, no_images, told_unreadable, without_results

    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        files = list_files(folder)
        if not files.images:
            raise ServingError(no_images(folder, files))
        if unreadable := told_unreadable(files):
            console().print(f"{folder}: {unreadable}", markup=False, highlight=False)
        found += [str(file) for file in without_results(files).images]
    return found


def _pictures(names: list[str], folder: Path | None) -> list[Path | None]:
    """One file name per picture, all different, even if two images have the same name."""
    if folder is None:
        return [None] * len(names)
    from uad.scoring.verdicts import FileNames

    free = FileNames()
    return [folder / f"{free.free(Path(name.split('?')[0]).stem)}_res.jpg" for name in names]


def _save(found: "Prediction", file: Path | None) -> None:
    if file is None or found.picture is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(found.picture)
