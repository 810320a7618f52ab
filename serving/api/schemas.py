"""What a request may hold and what an answer holds; JSON names as clients see them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

LabelMapEncoding = Literal["array", "rle", "png"]


IMAGE = (
    "An image file (PNG, JPEG, BMP, TIFF or WebP) as base64, with or without `data:` prefix; a URL "
    "if the server was started with URL input on."
)


class Options(BaseModel):
    """What a request may ask besides naming images."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    visualize: bool | None = Field(
        default=None,
        description="Whether the answer holds `image`, the picture of the verdict. null: the "
        "server's setting, which is true by default.",
    )
    label_map: LabelMapEncoding = Field(
        default="array",
        alias="labelMap",
        description="`array`: one number per pixel, row by row, 0 or 255. `rle`: lengths of the "
        "runs in the same order, starting with 0s. `png`: a base64 PNG.",
    )
    alpha: float | None = Field(
        default=None, gt=0, lt=1, description="Target false alarm rate for this request."
    )
    threshold: float | None = Field(
        default=None,
        ge=-1e30,
        le=1e30,
        description="Threshold of the score for this request.",
    )
    min_area: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        alias="minArea",
        description="Smallest defect: regions of fewer pixels of the image neither raise the alarm "
        "nor are marked. A region is larger than its defect. At least the value that the model is "
        "calibrated for.",
    )


class AnalyseRequest(Options):
    """The body of `POST /image-anomaly-detection`, read as JSON whatever the Content-Type."""

    image: Annotated[str, Field(min_length=1)] = Field(description=IMAGE)


class BatchRequest(Options):
    """The body of `POST /image-anomaly-detection/batch`."""

    images: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = Field(
        description=IMAGE
    )


File = Annotated[str, Field(json_schema_extra={"format": "binary"})]


class Upload(Options):
    """The same as a form: `curl -F image=@part.png`."""

    image: File = Field(description="An image file.")


class BatchUpload(Options):
    """The same as a form: `curl -F images=@1.png -F images=@2.png`."""

    images: list[File] = Field(description="Image files.")


class Region(BaseModel):
    """One connected region that the label map marks: where to look, larger than the defect."""

    box: tuple[int, int, int, int] = Field(
        description="x, y, width and height in the image's own pixels."
    )
    area: int = Field(description="Marked pixels.")
    score: float = Field(description="The largest score in the region.")
    centre: tuple[float, float] = Field(description="x and y of the mean of its pixels.")


class ZoneVerdict(BaseModel):
    """A zone of the image with an alpha of its own."""

    name: str
    score: float = Field(description="The anomaly map's maximum in the zone.")
    threshold: float = Field(
        description="The zone raises the alarm if its score is above this value."
    )
    alpha: float = Field(description="Out of the image's alpha.")
    is_anomalous: bool = Field(alias="isAnomalous")


class Result(BaseModel):
    """What was found in one image."""

    label_map: list[int] | str = Field(alias="labelMap")
    size: tuple[int, int] = Field(description="Height and width of the image, in pixels.")
    image: str | None = Field(default=None, description="Base64 JPEG: the picture of the verdict.")
    score: float = Field(description="Higher = more anomalous.")
    threshold: float = Field(
        description="An image is anomalous when its score is above this value."
    )
    map_threshold: float = Field(
        alias="mapThreshold",
        description="The label map marks pixels whose value in the anomaly map is above this.",
    )
    alpha: float = Field(description="The false alarm rate of the whole image.")
    requested_alpha: float | None = Field(
        default=None,
        alias="requestedAlpha",
        description="The rate that was asked for, if the calibration images can only guarantee "
        "the larger `alpha`; null otherwise.",
    )
    min_area: int = Field(
        alias="minArea",
        description="Smallest defect in pixels: smaller regions neither raise the alarm nor are "
        "marked. 0: no limit.",
    )
    p_value: float = Field(alias="pValue", description="Small = unusual among good images.")
    is_anomalous: bool = Field(alias="isAnomalous")
    raised_by: str | None = Field(
        alias="raisedBy",
        description="What raised the alarm: `student`, `memory`, `whole image` or `zone NAME`; "
        "null: no alarm. With `whole image` the label "
        "map may mark nothing: something is missing, extra or in the wrong place.",
    )
    zones: list[ZoneVerdict] = Field(
        description="What the zones with an alpha of their own say. Empty: there are none."
    )
    regions: list[Region] = Field(
        description="The marked regions, largest score first; at most 100. Empty: nothing marked."
    )
    regions_omitted: int = Field(
        alias="regionsOmitted", description="How many more marked regions there are."
    )
    model_version: str = Field(alias="modelVersion")
    warnings: list[str] = Field(
        description="Why the score may mean nothing: how the image differs from those that the "
        "model was calibrated on. Empty: nothing is known."
    )


class Answer(BaseModel):
    """The envelope of every answer; an error has no `result` and its HTTP status as code."""

    log_id: str = Field(alias="logId")
    error_code: int = Field(alias="errorCode")
    error_msg: str = Field(alias="errorMsg")


class Analysed(Answer):
    """The envelope around a result."""

    result: Result


class BatchItem(BaseModel):
    """One image of several: its result, or why it has none."""

    error_code: int = Field(alias="errorCode")
    error_msg: str = Field(alias="errorMsg")
    result: Result | None = None


class BatchAnalysed(Answer):
    """The envelope around one item an image, in the request's order."""

    result: list[BatchItem]


def envelope(log_id: str, status: int, message: str, result: Any = None) -> bytes:
    """The answer as JSON; numpy arrays in `result` are written as lists."""
    values = {"logId": log_id, "errorCode": status, "errorMsg": message}
    if result is not None:
        values["result"] = result
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)


def batch_envelope(log_id: str, items: Sequence[bytes]) -> bytes:
    """The answer around the items of a batch, each of them one or more items as JSON."""
    head, tail = envelope(log_id, 0, "Success", []).rsplit(b"]", 1)
    return b"".join((head, b",".join(items), b"]", tail))
