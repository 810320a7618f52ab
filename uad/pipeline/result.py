"""What a pipeline says of one image, with PaddleX's methods."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image

from uad.errors import ConfigError
from uad.images import Image
from uad.inference.detector import Detection
from uad.pipeline.inputs import InputImage
from uad.scoring.verdicts import Verdict, regions_of

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


class _Content(dict[str, Any]):
    """`json["pred"]`, as PaddleX documents it, and `json["res"]["pred"]`, as its code has it."""

    def __missing__(self, key: str) -> Any:
        if key == "res":
            return self
        raise KeyError(key)


class Result(dict[str, Any]):
    """A dict with the verdict on one image.

    Keys:
        input_path: path or URL as given; None for an array.
        pred: label map, (H, W) uint8 at the image's own size: 255 anomalous, 0 normal.
        anomaly_map: (H, W) float32; higher = more anomalous.
        score: higher = more anomalous.
        threshold: the image is anomalous if its score is above this value.
        map_threshold: `pred` marks where `anomaly_map` is above this value.
        raised_by: what raised the alarm, `student`, `memory`, `whole image` or `zone NAME`; None
            if there is none. Of the whole image `pred` may be empty.
        zones: of each zone with an alpha of its own a dict with `name`, `score`, `threshold`,
            `alpha` and `is_anomalous`. `score` and `anomaly_map` count them on the image's scale.
        alpha: the false alarm rate of the whole image.
        requested_alpha: the rate asked for, if the calibration images can only guarantee the larger
            `alpha`; None otherwise.
        min_area: smaller regions neither raise the alarm nor are marked; in pixels, 0: any.
        p_value: (1 + number of calibration scores >= score) / (n + 1).
        is_anomalous: the verdict.
        regions: the marked regions, largest score first, at most 100: each a dict with `box`
            [x, y, width, height] and `area` in pixels, `score` (the map's maximum there) and
            `centre` [x, y].
        regions_omitted: how many more there are.
        model_version: which version answered.
        warnings: why the score may mean nothing: sentences about how the image differs from those
            that the model was calibrated on, such as a grey image for a model of colour images.
    """

    def __init__(
        self, item: InputImage, stem: str, image: Image, detection: Detection, version: str
    ) -> None:
        """`stem` is what its files are called; unlike that of any other image of the call."""
        super().__init__(
            input_path=item.path,
            pred=detection.label_map,
            anomaly_map=detection.anomaly_map,
            score=detection.score,
            threshold=detection.threshold,
            map_threshold=detection.map_threshold,
            raised_by=detection.raised_by,
            zones=[zone.as_json() for zone in detection.zone_verdicts],
            alpha=detection.alpha,
            requested_alpha=detection.requested_alpha,
            min_area=detection.min_area,
            p_value=detection.p_value,
            is_anomalous=detection.is_anomalous,
            regions=[region.as_json() for region in detection.regions.listed],
            regions_omitted=detection.regions.omitted,
            model_version=version,
            warnings=list(detection.warnings),
        )
        self._shortfall = detection.shortfall
        self._image = image
        self._ignore = detection.ignore
        self._zones = detection.zones
        self._zone_verdicts = detection.zone_verdicts
        self._stem = stem
        self._suffix = item.suffix

    @property
    def verdict(self) -> Verdict:
        """The facts that a line or a row about the image holds."""
        label_map = self["pred"]
        return Verdict(
            name=self["input_path"] or self._stem,
            is_anomalous=self["is_anomalous"],
            score=self["score"],
            threshold=self["threshold"],
            alpha=self["alpha"],
            requested_alpha=self["requested_alpha"],
            shortfall=self._shortfall,
            p_value=self["p_value"],
            raised_by=self["raised_by"],
            zones=self._zone_verdicts,
            regions=regions_of(self["regions"], self["regions_omitted"]),
            model_version=self["model_version"],
            warnings=tuple(self["warnings"]),
            extra={
                "size": list(label_map.shape),
                "anomalous_pixels": int(np.count_nonzero(label_map)),
            },
        )

    @property
    def json(self) -> dict[str, Any]:
        """Plain values: all keys but the anomaly map, `pred` as a list of rows."""
        return _Content(self._facts(), pred=self["pred"].tolist())

    @property
    def img(self) -> dict[str, PIL.Image.Image]:
        """`{"res": picture}`: image, heat map, contour, boxes, score and verdict, RGB."""
        return {"res": PIL.Image.fromarray(self._picture()[:, :, ::-1])}

    @property
    def mask(self) -> PIL.Image.Image:
        """The label map as a grey picture: 255 anomalous, 0 normal."""
        return PIL.Image.fromarray(self["pred"])

    def print(self, format_json: bool = True, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Write the verdict to standard output; the label map is left out, as `...`."""
        facts = {**self._facts(), "pred": "..."}
        text = (
            json.dumps(facts, indent=indent, ensure_ascii=ensure_ascii)
            if format_json
            else str(facts)
        )
        sys.stdout.write(text + "\n")

    def save_to_json(
        self, save_path: str | Path, indent: int | None = 4, ensure_ascii: bool = False
    ) -> Path:
        """Write `json` to the file `save_path`, or into that folder as `<name>_res.json`.

        Returns:
            The file.
        """
        file = self._file(save_path, (".json",), ".json", "save_to_json")
        # One line per row of the label map would be thousands of lines.
        facts = {**self._facts(), "pred": "..."}
        text = json.dumps(facts, indent=indent, ensure_ascii=ensure_ascii)
        rows = json.dumps(self["pred"].tolist(), separators=(",", ":"))
        whole = text.replace('"pred": "..."', f'"pred": {rows}') + "\n"
        file.write_text(whole, encoding="utf-8", errors="replace")  # a name may not be UTF-8
        return file

    def save_to_img(self, save_path: str | Path, *, mask_only: bool = False) -> Path:
        """Write the picture to the file `save_path`, or into that folder as `<name>_res.<suffix>`.

        Args:
            save_path: a file with a picture's suffix, or a folder, made if it is not there.
            mask_only: write the label map instead, losslessly as PNG in a folder.

        Returns:
            The file.
        """
        suffix = ".png" if mask_only else self._suffix
        file = self._file(save_path, PICTURES, suffix, "save_to_img")
        picture = self["pred"] if mask_only else self._picture()
        done, data = cv2.imencode(file.suffix.lower(), picture)
        if not done:
            raise ConfigError(f"cannot write {file}: choose another suffix, for example .png")
        file.write_bytes(data.tobytes())
        return file

    def save_all(self, save_path: str | Path) -> None:
        """Picture and JSON into a folder."""
        self.save_to_img(save_path)
        self.save_to_json(save_path)

    def _facts(self) -> dict[str, Any]:
        return {key: value for key, value in self.items() if not isinstance(value, np.ndarray)}

    def _picture(self) -> Image:
        from uad.visualization import picture

        return picture(
            self._image,
            self["anomaly_map"],
            self["score"],
            self["threshold"],
            self["is_anomalous"],
            [region["box"] for region in self["regions"]],
            map_threshold=self["map_threshold"],
            raised_by=self["raised_by"],
            min_area=self["min_area"],
            ignore=self._ignore,
            zones=self._zones,
        )

    def _file(
        self, save_path: str | Path | None, suffixes: tuple[str, ...], suffix: str, method: str
    ) -> Path:
        if save_path is None:
            raise ConfigError(f"{method} needs save_path: a folder, or a file ending in {suffix}")
        path = Path(save_path)
        if path.suffix.lower() not in suffixes or path.is_dir():
            path = path / f"{self._stem}_res{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
