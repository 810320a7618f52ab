"""Ask a running server about images: `Client(url).predict(image)`.

Needs no engine and no model, only httpx.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from uad.errors import ImageError, RequestRefused, ServingError
from uad.images import Image
from uad.network import http_client
from uad.scoring.conformal import unmet_alpha_sentence
from uad.scoring.regions import Regions
from uad.scoring.verdicts import Verdict, regions_of
from uad.scoring.zone_alpha import ZoneVerdict

PATH = "/image-anomaly-detection"
FEEDBACK_PATH = "/feedback"
BUSY = (429, 503)


@dataclass(frozen=True)
class Prediction:
    """What the server found in one image."""

    label_map: NDArray[np.uint8]
    """(H, W) at the image's own size: 255 where something looks wrong, else 0."""
    score: float
    """Higher = more anomalous."""
    threshold: float
    """The image is anomalous if its score is above this value."""
    p_value: float
    """Small = unusual among good images."""
    is_anomalous: bool
    picture: bytes | None
    """A JPEG file that shows the verdict; None when it was not asked for."""
    alpha: float
    """The false alarm rate of the threshold."""
    requested_alpha: float | None
    """The rate asked for, if the calibration images can only guarantee the larger `alpha`."""
    map_threshold: float
    """The label map marks pixels whose value in the anomaly map is above this value."""
    raised_by: str | None
    """What raised the alarm: `student`, `memory`, `whole image` or `zone NAME`; None: no alarm, or
    an older server."""
    zones: tuple[ZoneVerdict, ...]
    """Of the zones with an alpha of their own; none from an older server."""
    regions: Regions
    """The marked regions, largest score first; none from an older server."""
    model_version: str
    log_id: str
    """Under which the server logged the request."""
    warnings: tuple[str, ...]
    """Why the score may mean nothing; none from an older server."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.label_map.shape[0], self.label_map.shape[1]

    def verdict(self, name: str) -> Verdict:
        """The facts for a printed line or a CSV row about the image `name`.

        The server does not say how many captures its calibration images show.
        """
        asked, zones = self.requested_alpha, len(self.zones)
        return Verdict(
            name=name,
            is_anomalous=self.is_anomalous,
            score=self.score,
            threshold=self.threshold,
            alpha=self.alpha,
            requested_alpha=asked,
            shortfall="" if asked is None else unmet_alpha_sentence(asked, self.alpha, zones),
            p_value=self.p_value,
            raised_by=self.raised_by,
            zones=self.zones,
            regions=self.regions,
            model_version=self.model_version,
            warnings=self.warnings,
            extra={
                "size": list(self.size),
                "anomalous_pixels": int(np.count_nonzero(self.label_map)),
                "log_id": self.log_id,
            },
        )


class Client:
    """A connection to one server, to be closed or used in a `with` statement.

    Args:
        url: of the server (`http://line4:8080`), or with the path of one of its products.
        api_key: sent with every request, if the server needs one.
        timeout_seconds: for one attempt.
        deadline_seconds: for all attempts together while the server says that it is busy.
        transport: how requests travel; httpx's own by default.
        sleep: waits between attempts.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        deadline_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = _endpoint(url)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        self._http = http_client(headers=headers, timeout=timeout_seconds, transport=transport)
        self._deadline_seconds = deadline_seconds
        self._sleep = sleep
        self._clock = clock

    def predict(
        self,
        image: str | Path | bytes | Image,
        *,
        visualize: bool = True,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> Prediction:
        """Send one image and wait for the verdict.

        Args:
            image: a file, the bytes of a file, an (H, W, 3) uint8 BGR array, or a URL that the
                server may fetch.
            visualize: whether to ask for the picture.
            alpha: target false alarm rate for this image, in (0, 1).
            threshold: of the score, for this image; not together with `alpha`.
            min_area: smallest defect that raises the alarm, in pixels of the image; at least the
                one that the model is calibrated for.

        Raises:
            RequestRefused: the server refused; its status and its words.
            ServingError: no answer, or one that is not a uad server's.
            ImageError: the file cannot be read.
        """
        request = {
            "image": _encoded(image),
            "visualize": visualize,
            "labelMap": "png",
            "alpha": alpha,
            "threshold": threshold,
            "minArea": min_area,
        }
        body = {name: value for name, value in request.items() if value is not None}
        return _prediction(self._answer(body, self.url), self.url)

    def feedback(
        self, log_id: str, verdict: Literal["good", "defective"], *, who: str = "", note: str = ""
    ) -> None:
        """Say what an image that the server judged and kept really is.

        Args:
            log_id: the `log_id` of its `Prediction`.
            verdict: what a person says: `good` or `defective`.
            who: the person.
            note: why, for those who read it later.

        Raises:
            RequestRefused: the server refused: it did not keep that image, for example.
            ServingError: no answer, or one that is not a uad server's.
        """
        said = {"logId": log_id, "verdict": verdict, "who": who, "note": note}
        self._answer(said, str(httpx.URL(self.url).copy_with(path=FEEDBACK_PATH, query=None)))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, body: Mapping[str, Any], url: str) -> dict[str, Any]:
        end = self._clock() + self._deadline_seconds
        while True:
            response = self._post(body, url)
            wait = _wait_seconds(response)
            if wait is None or self._clock() + wait > end:
                return _envelope(response, url)
            self._sleep(wait)

    def _post(self, body: Mapping[str, Any], url: str) -> httpx.Response:
        try:
            return self._http.post(url, json=body)
        except httpx.TimeoutException as exc:
            raise ServingError(
                f"{url} did not answer in time. Try again, or raise timeout_seconds."
            ) from exc
        except httpx.HTTPError as exc:
            raise ServingError(
                f"{url} cannot be reached ({exc}). Is `uad serve` running there? "
                "--url names another address."
            ) from exc


def _endpoint(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ServingError(f"'{url}' is not a URL. Write http://HOST:PORT") from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ServingError(f"'{url}' is not the URL of a server. Write http://HOST:PORT")
    return str(parsed.copy_with(path=PATH) if parsed.path in ("", "/") else parsed)


def _encoded(image: str | Path | bytes | Image) -> str:
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        return image
    if isinstance(image, np.ndarray):
        image = _png(image)
    elif not isinstance(image, bytes):
        image = _file(Path(image))
    return base64.b64encode(image).decode("ascii")


def _png(image: Image) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            f"An array must be (H, W, 3) uint8 BGR, not {image.shape} {image.dtype}. Convert it "
            "first."
        )
    return cv2.imencode(".png", image)[1].tobytes()


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ImageError(f"{path} could not be read: {exc.strerror or exc}") from exc


def _wait_seconds(response: httpx.Response) -> float | None:
    """How long a busy server asks to wait (RFC 9110, 10.2.3); None if it is not busy."""
    asked = response.headers.get("retry-after")
    if response.status_code not in BUSY or (asked is None and response.status_code != 429):
        return None
    if asked is None:
        return 1.0
    try:
        return max(0.0, float(asked))
    except ValueError:
        return _until(asked)


def _until(date: str) -> float:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return 1.0


def _envelope(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        answer = response.json()
        code, message = int(answer["errorCode"]), str(answer["errorMsg"])
    except (ValueError, TypeError, KeyError) as exc:
        raise ServingError(
            f"{url} answered with status {response.status_code}, but not in uad's JSON form. Is "
            "it a uad server, and is the path right?"
        ) from exc
    if code != 0:
        raise RequestRefused(code, f"{url} answered {code}: {message}")
    return dict(answer)


def _prediction(answer: Mapping[str, Any], url: str) -> Prediction:
    try:
        result = answer["result"]
        picture = result.get("image")
        return Prediction(
            label_map=_label_map(result["labelMap"], result["size"]),
            score=float(result["score"]),
            threshold=float(result["threshold"]),
            p_value=float(result["pValue"]),
            is_anomalous=bool(result["isAnomalous"]),
            picture=None if picture is None else base64.b64decode(picture),
            alpha=float(result["alpha"]),
            requested_alpha=result.get("requestedAlpha"),
            map_threshold=float(result.get("mapThreshold", result["threshold"])),
            raised_by=result.get("raisedBy"),
            zones=tuple(_zone(each) for each in result.get("zones", ())),
            regions=regions_of(result.get("regions", ()), result.get("regionsOmitted", 0)),
            model_version=str(result["modelVersion"]),
            log_id=str(answer["logId"]),
            warnings=tuple(str(each) for each in result.get("warnings", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as exc:
        raise ServingError(
            f"{url} answered in a form that this client does not know ({exc!r}). Do both run the "
            "same version of uad?"
        ) from exc


def _zone(value: Mapping[str, Any]) -> ZoneVerdict:
    numbers = (float(value[key]) for key in ("score", "threshold", "alpha"))
    return ZoneVerdict(str(value["name"]), *numbers)


def _label_map(value: Any, size: Any) -> NDArray[np.uint8]:
    if not isinstance(value, str):  # one number a pixel
        return np.asarray(value, np.uint8).reshape(size)
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(value), np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None or list(decoded.shape) != list(size):
        raise ValueError("labelMap is not a PNG of the image's size")
    return np.asarray(decoded, np.uint8)
