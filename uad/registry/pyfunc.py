"""The registered model in MLflow's own form, so that its other tools can run it.

`mlflow.pyfunc.load_model("models:/cookie@champion")` and `mlflow models serve` call
`_load_pyfunc` below with the bundle that lies among the model's files: code of the installed uad,
no pickle.
"""

import base64
import binascii
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from uad import __version__
from uad.bundle import Bundle
from uad.errors import ImageError
from uad.images import Image, decode
from uad.inference.detector import Detection, Detector, load_detector

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "image"


def available() -> bool:
    """Whether MLflow's model formats can be written: mlflow-skinny alone lacks pandas."""
    return find_spec("pandas") is not None


def write_model(folder: Path, bundle: Bundle) -> None:
    """Write an MLflow model to `folder`, which must not exist: MLmodel, example, the bundle."""
    with warnings.catch_warnings():
        # At import MLflow warns of type hints of its own.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
        import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    golden = bundle.golden()
    example = [base64.b64encode(_png(image)).decode("ascii") for image in golden[:1]]
    number, text, truth = DataType.double, DataType.string, DataType.boolean
    answer = {
        "score": number,
        "threshold": number,
        "p_value": number,
        "map_threshold": number,
        "raised_by": text,
        "is_anomalous": truth,
        "label_map": text,
        "regions": text,
    }
    mlflow.pyfunc.save_model(
        str(folder),
        loader_module=__name__,
        data_path=str(bundle.path),
        signature=ModelSignature(
            Schema([ColSpec(text, COLUMN)]),
            Schema([ColSpec(kind, name) for name, kind in answer.items()]),
        ),
        input_example={COLUMN: example} if example else None,
        pip_requirements=[f"uad[serving]=={__version__}", "pandas"],
    )


class PyfuncModel:
    """The object that MLflow calls. It takes encoded images, never paths: its servers are open."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def predict(
        self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None
    ) -> "pd.DataFrame":
        """Judge images.

        Args:
            model_input: column `image`: encoded files (PNG, JPEG, ...), bytes or base64 text.
            params: `alpha` or `threshold`, and `min_area`, for this call.

        Returns:
            A row an image: score, threshold, p_value, map_threshold, raised_by (empty: no alarm),
            is_anomalous, label_map, a base64 PNG of the image's own size, 255 anomalous, 0 normal,
            and regions, a JSON list of the marked regions.
        """
        import pandas as pd

        images = [_image(value) for value in _values(model_input[COLUMN])]
        chosen = {key: (params or {}).get(key) for key in ("alpha", "threshold", "min_area")}
        found: Sequence[Detection] = [
            detection for image in images for detection in self.detector.detect([image], **chosen)
        ]
        return pd.DataFrame([_row(detection) for detection in found])


def _load_pyfunc(data_path: str) -> PyfuncModel:
    """MLflow's entry point, named in MLmodel."""
    return PyfuncModel(load_detector(Path(data_path)))


def _values(column: Iterable[Any]) -> Iterator[str | bytes]:
    """The cells; a dict of lists comes from MLflow as one cell with a list."""
    for cell in column:
        if isinstance(cell, (str, bytes)):
            yield cell
        else:
            yield from cell


def _image(value: str | bytes) -> Image:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except (binascii.Error, ValueError) as exc:
        raise ImageError("an image must be bytes of a file, or base64 text of them") from exc
    return decode(data)


def _png(picture: Image) -> bytes:
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise ImageError(f"an array of shape {np.shape(picture)} cannot be written as PNG")
    return data.tobytes()


def _row(detection: Detection) -> dict[str, Any]:
    return {
        "score": detection.score,
        "threshold": detection.threshold,
        "p_value": detection.p_value,
        "map_threshold": detection.map_threshold,
        "raised_by": detection.raised_by or "",
        "is_anomalous": detection.is_anomalous,
        "label_map": base64.b64encode(_png(detection.label_map)).decode("ascii"),
        "regions": json.dumps([region.as_json() for region in detection.regions.listed]),
    }
