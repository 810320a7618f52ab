"""The page that shows the suspects to a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from uad.data import Dataset
from uad.evaluation.gallery import tile
from uad.evaluation.pages import Tile, render, write_page
from uad.images import read
from uad.storage.names import place_of
from uad.storage.paths import reports_dir
from uad.training.suspects.find import Ranking, Suspicion
from uad.visualization import heatmap_overlay

SHOWN = 60
ORDINARY = 8
"""The next ones below the limit, to compare with."""


def write_suspects_page(
    dataset: Dataset, ranking: Ranking, teacher_id: str, file: Path | None = None
) -> Path:
    """Write the page; under `UAD_HOME` unless `file` is named. Returns its file."""
    file = file or place_of(reports_dir(), dataset.name) / f"suspects-{dataset.version}.html"
    return write_page(file, _page(dataset, ranking, teacher_id))


@dataclass(frozen=True)
class _Shown:
    """A row of the page."""

    tiles: Sequence[Tile]
    name: str
    score: float


def _page(dataset: Dataset, ranking: Ranking, teacher_id: str) -> str:
    suspects = ranking.suspects
    others = ranking.images[len(suspects) :][:ORDINARY]
    return render(
        "suspects.html",
        title=f"Suspects among the good images of {dataset.name}",
        subtitle=f"version {dataset.version}, {len(ranking.images)} images, teacher {teacher_id}",
        images=len(ranking.images),
        count=len(suspects),
        limit=ranking.limit,
        suspects=[_shown(each, ranking.limit) for each in suspects[:SHOWN]],
        others=[_shown(each, ranking.limit) for each in others],
    )


def _shown(suspicion: Suspicion, limit: float) -> _Shown:
    image = read(suspicion.sample.path)
    size = (image.shape[1], image.shape[0])
    full = cv2.resize(suspicion.unlikeness, size, interpolation=cv2.INTER_LINEAR)
    heat = heatmap_overlay(image, np.asarray(full, np.float32), limit)
    tiles = [("image", tile(image)), ("where it differs from the others", tile(heat))]
    return _Shown(tiles, suspicion.sample.name, suspicion.score)
