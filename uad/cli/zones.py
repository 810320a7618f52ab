"""`uad zones`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.console import console
from uad.errors import ConfigError

if TYPE_CHECKING:
    from uad.data import DatasetVersion


MUCH = 0.5
"""Whoever ignores more than this share of the image may have painted the mask inverted."""


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
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="A YAML file with all zones: regions to ignore, and zones with their own alpha.",
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
    """Set regions of the image to ignore, and zones with their own false alarm rate.

    Ignore for example glare on a tray, a date stamp or the background. Use a zone with its own
    alpha for a logo that must be perfect (a larger alpha) or a rim that may be rough (a smaller
    one). A zone's alpha is part of the product's alpha, so the false alarm rate of the whole image
    stays as guaranteed.

    Zones are stored with the dataset. A change makes a new version of the dataset: retrain on it.
    The model that serves now does not change. Images that are ingested later get the zones too. If
    only zones with an alpha changed, `uad calibrate` on the bundle is enough.

    The YAML file has the keys `ignore`, a list of polygons, and `zones`, a list of name, alpha and
    polygons. A polygon is a list of corners, a corner is two numbers from 0 to 1. You can draw
    them on the page of `uad serve`.

        uad zones cookie --ignore mask.png --show zones.png
        uad zones cookie --file zones.yaml
        uad zones cookie --show zones.png
        uad retrain --data cookie --name cookie
    """
    from uad.data.versions import read_version, with_zones
    from uad.scoring.zone_files import read_areas, read_zones
    from uad.scoring.zones import described, share

    if sum((ignore is not None, file is not None, clear)) > 1:
        raise ConfigError("give one of --ignore, --file and --clear")
    version = read_version(product)
    areas, own = version.ignore, version.zones
    sizes = [(image.image.height, image.image.width) for image in version.images]
    if clear:
        areas, own = (), ()
    elif ignore is not None:
        areas = read_areas(ignore, sizes)
    elif file is not None:
        areas, own = read_zones(file, sizes)
    only_alpha = areas == version.ignore
    changed = not only_alpha or own != version.zones
    if changed:
        version = with_zones(version, areas, own)
    typer.echo(f"{version.address}: zones: {described(areas, own)}")
    if share(areas) > MUCH:
        console().print(
            "warning: More than half of the image is ignored: no defect there is ever found. In a "
            "mask white is ignored. If yours is the other way round, invert it.",
            style="yellow",
        )
    if show is not None:
        _show(version, show)
        console().print(f"picture: {show}", soft_wrap=True)
    if changed:
        _tell_next(version.name, only_alpha=only_alpha)


def _tell_next(name: str, *, only_alpha: bool) -> None:
    name = shlex.quote(name)
    console().print(
        f"next: uad retrain --data {name} --name {name} (add --quick for a quick model)",
        soft_wrap=True,
    )
    if only_alpha:
        console().print(
            f"or set the thresholds of a bundle that has it: uad calibrate BUNDLE --data {name}, "
            f"then uad register BUNDLE --name {name}",
            soft_wrap=True,
        )


def _show(version: "DatasetVersion", file: Path) -> None:
    """Draw the zones over the first good image of the most common size."""
    from collections import Counter

    import cv2

    from uad.images import read
    from uad.storage.atomic_writes import write_file
    from uad.visualization import draw_hatching, draw_zones

    good = [image for image in version.images if not image.label]
    (size, _), *_ = Counter((one.image.height, one.image.width) for one in good).most_common(1)
    chosen = next(one for one in good if (one.image.height, one.image.width) == size)
    picture = read(chosen.sample.path)
    draw_zones(picture, version.zones)
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
