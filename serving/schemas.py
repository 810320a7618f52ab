"""What a request may hold and what an answer holds; JSON names as clients see them."""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uad.errors import RequestRefused

LabelMapEncoding = Literal["array", "rle", "png"]


class AnalyseRequest(BaseModel):
    """The body of `POST /image-anomaly-detection`, read as JSON whatever the Content-Type."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    image: str = Field(
        min_length=1,
        description="An image file (PNG, JPEG, BMP, TIFF or WebP) as base64, with or without "
        "`data:` prefix; a URL if the server was started with URL input on.",
    )
    visualize: bool | None = Field(
        default=None,
        description="Whether the answer holds `image`, the picture of the verdict; null: as the "
        "server is set, which is to hold it.",
    )
    label_map: LabelMapEncoding = Field(
        default="array",
        alias="labelMap",
        description="`array`: one number a pixel, row by row, 0 or 255. `rle`: lengths of the "
        "runs in the same order, starting with 0s. `png`: a base64 PNG.",
    )
    alpha: float | None = Field(
        default=None, gt=0, lt=1, description="Target false alarm rate for this request."
    )
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="Threshold of the score for this request."
    )


class Result(BaseModel):
    """What was found in one image."""

    label_map: list[int] | str = Field(alias="labelMap")
    size: tuple[int, int] = Field(description="Height and width of the image, in pixels.")
    image: str | None = Field(default=None, description="Base64 JPEG: the picture of the verdict.")
    score: float = Field(description="Higher = more anomalous.")
    threshold: float = Field(description="An image is anomalous when its score lies above.")
    alpha: float = Field(description="The false alarm rate that the threshold stands for.")
    p_value: float = Field(alias="pValue", description="Small = unusual among good images.")
    is_anomalous: bool = Field(alias="isAnomalous")
    model_version: str = Field(alias="modelVersion")


class Answer(BaseModel):
    """The envelope of every answer; an error has no `result` and its HTTP status as code."""

    log_id: str = Field(alias="logId")
    error_code: int = Field(alias="errorCode")
    error_msg: str = Field(alias="errorMsg")


class Analysed(Answer):
    """The envelope around a result."""

    result: Result


WANTED = {
    "image": "an image file as base64 text",
    "visualize": "true or false",
    "labelMap": '"array", "rle" or "png"',
    "alpha": "a number between 0 and 1",
    "threshold": "a finite number",
}


def parse_json(body: bytes) -> AnalyseRequest:
    """Read a request body.

    Raises:
        RequestRefused: 400 when it is no JSON, 422 when a field is missing, unknown or wrong.
    """
    try:
        values = orjson.loads(body)
    except ValueError as exc:
        raise RequestRefused(400, 'the body is no JSON; send {"image": "<base64>"}') from exc
    if not isinstance(values, dict):
        raise RequestRefused(422, 'the body must be a JSON object like {"image": "<base64>"}')
    return validated(values)


def validated(values: dict[str, Any]) -> AnalyseRequest:
    """Check the fields of a request; problems are named by field, in our own words."""
    try:
        request = AnalyseRequest.model_validate(values)
    except ValidationError as exc:
        raise RequestRefused(422, _sentence(exc)) from exc
    if request.alpha is not None and request.threshold is not None:
        raise RequestRefused(422, "give alpha or threshold, not both")
    return request


def envelope(log_id: str, status: int, message: str, result: Any = None) -> bytes:
    """The answer as JSON; numpy arrays in `result` are written as lists."""
    values = {"logId": log_id, "errorCode": status, "errorMsg": message}
    if result is not None:
        values["result"] = result
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)


def _sentence(exc: ValidationError) -> str:
    error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(error["loc"][0])
    if name not in WANTED:
        return f"unknown field; known are {', '.join(WANTED)}"
    if error["type"] == "missing":
        return f"'{name}' is missing: it must be {WANTED[name]}"
    return f"'{name}' must be {WANTED[name]}"
