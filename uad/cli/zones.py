"""`uad zones`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.console import console
from uad.errors import ConfigError

if TYPE_CHECKING:
    from uad.data import DatasetVersion


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(zones)


def zones(
    product: Annotated[
        str,
        typer.Argument(help="The product's dataset: NAME (its latest version) or NAME@VERSION."),
    ],
    ignore: Annotated[
        Path | None,
        typer.Option(
            "--ignore",
            help="A mask (white = ignore), or a YAML file with polygons in fractions of width and "
            "height.",
        ),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all zones. The whole image counts again.")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option("--show", help="Save a picture of the zones over a good image to this file."),
    ] = None,
) -> None:
    """Regions of the image to ignore: glare on a tray, a date stamp, the background.

    They are kept with the dataset. Changing them makes a new version of the dataset: train on it,
    and the new model leaves the regions out in training, threshold, evaluation and serving. The
    model that serves now does not change. Images that are ingested later keep the zones.

    The YAML file has the key `ignore`: a list of polygons, each a list of corners, each corner two
    numbers from 0 to 1. The page of `uad serve` draws one.

        uad zones cookie --ignore mask.png --show zones.png
        uad zones cookie --ignore zones.yaml
        uad zones cookie --show zones.png
        uad retrain --data cookie --name cookie
    """
    from uad.data.versions import read_version, with_zones
    from uad.scoring.zones import described, read_areas

    if ignore is not None and clear:
        raise ConfigError("give --ignore or --clear, not both")
    version = read_version(product)
    areas = version.ignore
    if clear:
        areas = ()
    elif ignore is not None:
        sizes = [(image.image.height, image.image.width) for image in version.images]
        areas = read_areas(ignore, sizes)
    changed = areas != version.ignore
    if changed:
        version = with_zones(version, areas)
    typer.echo(f"{version.address}: zones: {described(areas)}")
    if show is not None:
        _show(version, show)
        console().print(f"picture: {show}", soft_wrap=True)
    if changed:
        name = version.name
        console().print(f"next: uad retrain --data '{name}' --name '{name}'", soft_wrap=True)


def _show(version: "DatasetVersion", file: Path) -> None:
    """Draw the zones over the first good image of the most common size."""
    from collections import Counter

    import cv2

    from uad.images import read
    from uad.storage.atomic_writes import write_file
    from uad.visualization import draw_hatching

    good = [image for image in version.images if not image.label]
    (size, _), *_ = Counter((one.image.height, one.image.width) for one in good).most_common(1)
    chosen = next(one for one in good if (one.image.height, one.image.width) == size)
    picture = read(chosen.sample.path)
    draw_hatching(picture, version.ignore)
    suffix = file.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".bmp", ".webp"):
        raise ConfigError(f"{file}: choose a name that ends in .png or .jpg for --show")
    _, data = cv2.imencode(suffix, picture)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, data.tobytes())
    except OSError as exc:
        raise ConfigError(f"{file} could not be written: {exc.strerror or exc}.") from exc
