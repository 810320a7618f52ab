"""The page that shows the suspects to a person."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from uad.data import Dataset
from uad.evaluation.gallery import tile
from uad.evaluation.page import Tile, gallery, page, section, write_page
from uad.images import read
from uad.paths import reports_dir
from uad.suspects.find import Ranking, Suspicion
from uad.visualization import heatmap_overlay

SHOWN = 60
ORDINARY = 8
"""The next ones below the limit, to compare with."""


def write_suspects_page(
    dataset: Dataset, ranking: Ranking, teacher_id: str, file: Path | None = None
) -> Path:
    """Write the page; under `UAD_HOME` unless `file` is named. Returns its file."""
    file = file or reports_dir() / dataset.name / f"suspects-{dataset.version}.html"
    return write_page(file, _page(dataset, ranking, teacher_id))


def _page(dataset: Dataset, ranking: Ranking, teacher_id: str) -> str:
    suspects = ranking.suspects
    others = ranking.images[len(suspects) :][:ORDINARY]
    title = f"Suspects among the good images of {dataset.name}"
    subtitle = f"version {dataset.version}, {len(ranking.images)} images, teacher {teacher_id}"
    return page(
        title,
        subtitle,
        section("What this is", _words(len(suspects), len(ranking.images))),
        section(f"Suspects ({len(suspects)})", _gallery(suspects[:SHOWN], ranking.limit)),
        section("The next ones, below the limit", _gallery(others, ranking.limit)),
    )


def _words(suspects: int, images: int) -> str:
    return (
        f"<p>Each of the {images} images was compared with its nearest fellows by what the teacher "
        f"network sees; {suspects} are far more unlike them than the rest. That is no verdict: a "
        "rare but good part is unlike the others too. Where one is a defect, take it out of the "
        "good images; where it is good, keep it, and add more like it. Coloured in the right "
        "picture: where it differs most.</p>"
    )


def _gallery(shown: Sequence[Suspicion], limit: float) -> str:
    if not shown:
        return "<p>None.</p>"
    return gallery(_rows(shown, limit), style="pairs")


def _rows(shown: Sequence[Suspicion], limit: float) -> Iterator[tuple[list[Tile], str]]:
    for suspicion in shown:
        image = read(suspicion.sample.path)
        size = (image.shape[1], image.shape[0])
        full = cv2.resize(suspicion.unlikeness, size, interpolation=cv2.INTER_LINEAR)
        heat = heatmap_overlay(image, np.asarray(full, np.float32), limit)
        caption = (
            f"<b>{escape(suspicion.sample.name)}</b><br>score {suspicion.score:.3g}, "
            f"{suspicion.score / limit:.2f} x the limit"
        )
        yield [("image", tile(image)), ("where it is unlike the others", tile(heat))], caption
