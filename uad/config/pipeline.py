"""The pipeline's YAML, in both forms that PaddleX has, and what they mean."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from uad.config.loading import Settings, validate
from uad.errors import ConfigError

ANOMALY_DETECTION = "anomaly_detection"
DEFAULT_MODEL = "STFPM"


class PipelineConfig(Settings):
    """What a pipeline runs and how; null means the model's or the engine's own."""

    # `model_name` and `model_dir` are PaddleX's keys.
    model_config = ConfigDict(protected_namespaces=())

    model: str = DEFAULT_MODEL
    """A bundle's folder, a registry address, or STFPM: the champion of the only product."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    device: str | None = None
    use_hpip: bool = False
    """Prefer the fastest engine that the model is calibrated for."""
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    min_area: Annotated[int, Field(ge=0)] | None = None
    engine: str = "auto"
    precision: str | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    visualize: bool | None = None
    """Whether a server answers with the picture when a request does not say."""


class _Section(PipelineConfig):
    """`Pipeline:` of the first form."""


class _SubModule(Settings):
    """`SubModules.AnomalyDetection:` of the second form."""

    model_config = ConfigDict(protected_namespaces=())

    module_name: Literal["anomaly_detection"] = "anomaly_detection"
    model_name: str = DEFAULT_MODEL
    model_dir: str | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    min_area: Annotated[int, Field(ge=0)] | None = None
    engine: str = "auto"
    precision: str | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None


class _SubModules(Settings):
    AnomalyDetection: _SubModule


class _Global(Settings):
    pipeline_name: Literal["anomaly_detection"] = "anomaly_detection"
    input: str | None = None


class _Serving(Settings):
    """`Serving:`, read by a server alone."""

    visualize: bool | None = None


class _First(Settings):
    Global: _Global = _Global()
    Pipeline: _Section
    Serving: _Serving = _Serving()


class _Second(Settings):
    pipeline_name: Literal["anomaly_detection"] = "anomaly_detection"
    device: str | None = None
    use_hpip: bool = False
    SubModules: _SubModules
    Serving: _Serving = _Serving()


def parse_pipeline(values: Mapping[str, Any], *, origin: str) -> PipelineConfig:
    """Read either form.

    Raises:
        ConfigError: it is neither, or a key is unknown or of the wrong type; named by its path.
    """
    if "SubModules" in values:
        return _from_second(validate(_Second, values, origin=origin))
    if "Pipeline" in values:
        file = validate(_First, values, origin=origin)
        section = file.Pipeline.model_dump(exclude={"visualize"})
        return PipelineConfig(**section, visualize=file.Serving.visualize)
    raise ConfigError(
        f"{origin} does not describe a pipeline. It needs a section 'Pipeline' with 'model', or "
        "'SubModules' with 'AnomalyDetection'. `uad --get_pipeline_config anomaly_detection` "
        "writes one."
    )


def _from_second(file: _Second) -> PipelineConfig:
    section = file.SubModules.AnomalyDetection
    shared = section.model_dump(exclude={"module_name", "model_name", "model_dir"})
    return PipelineConfig(
        model=section.model_dir or section.model_name,
        device=file.device,
        use_hpip=file.use_hpip,
        visualize=file.Serving.visualize,
        **shared,
    )
