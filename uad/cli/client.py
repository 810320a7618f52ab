"""`uad client`."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uad.console import console
from uad.errors import ImageError, RequestRefused, ServingError

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
        str, typer.Option(help="The server, or the path of one of its products.")
    ] = "http://localhost:8080",
    save_path: Annotated[
        Path | None,
        typer.Option("--save_path", "--save-path", help="Folder for the pictures of the verdicts."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Target false alarm rate for these images.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold of the score for these images.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="UAD_API_KEY", help="If the server wants one.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one answer.")] = 30.0,
) -> None:
    """Ask a running server about images.

    Prints a line an image: name, verdict, score, threshold, p-value, and the
    model version that answered. A server that is busy is asked again for up to
    a minute. The exit status is 1 if any image got no verdict.

        uad client part.png
        uad client --url http://line4:8080 --save_path out photos/ extra.jpg
        uad client --json *.png | jq .score
    """
    from uad.client import Client

    failures: list[str] = []
    names = _expanded(images)
    with Client(url, api_key=api_key, timeout_seconds=timeout) as asked:
        for name, file in zip(names, _pictures(names, save_path), strict=True):
            try:
                found = asked.predict(
                    name, visualize=file is not None, alpha=alpha, threshold=threshold
                )
            except (ImageError, RequestRefused) as exc:
                failures.append(name)
                console().print(f"{name}: {exc}", style="red", markup=False, highlight=False)
                continue
            typer.echo(_line(name, found, as_json))
            _save(found, file)
    if failures:
        raise ServingError(f"{len(failures)} of {len(names)} images got no verdict; see above why")


def _expanded(names: list[str]) -> list[str]:
    from uad.images import SUFFIXES

    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        inside = [str(file) for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]
        if not inside:
            raise ServingError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
        found += inside
    return found


def _line(name: str, found: "Prediction", as_json: bool) -> str:
    if as_json:
        return json.dumps({"input": name, **_values(found)})
    verdict = "anomalous" if found.is_anomalous else "normal"
    return (
        f"{name}\t{verdict}\tscore {found.score:.6g}\tthreshold {found.threshold:.6g}"
        f"\tp {found.p_value:.3g}\tversion {found.model_version}"
    )


def _values(found: "Prediction") -> dict[str, Any]:
    return {
        "is_anomalous": found.is_anomalous,
        "score": found.score,
        "threshold": found.threshold,
        "p_value": found.p_value,
        "size": list(found.size),
        "anomalous_pixels": int((found.label_map > 0).sum()),
        "model_version": found.model_version,
        "log_id": found.log_id,
    }


def _pictures(names: list[str], folder: Path | None) -> list[Path | None]:
    """A file a picture, none twice although images of two folders may share a name."""
    if folder is None:
        return [None] * len(names)
    seen: Counter[str] = Counter()
    files: list[Path | None] = []
    for name in names:
        stem = Path(name.split("?")[0]).stem
        seen[stem] += 1
        files.append(folder / f"{stem}_res{'' if seen[stem] == 1 else f'_{seen[stem]}'}.jpg")
    return files


def _save(found: "Prediction", file: Path | None) -> None:
    if file is None or found.picture is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(found.picture)
    except OSError as exc:
        raise ServingError(f"cannot write {file}: {exc.strerror or exc}") from exc
