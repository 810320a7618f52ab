"""What a pipeline's first argument stands for: a name, a YAML file, a bundle or an address."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from uad.config.loading import read_yaml
from uad.config.pipeline import (
    ANOMALY_DETECTION,
    DEFAULT_MODEL,
    PipelineConfig,
    parse_pipeline,
)
from uad.errors import ConfigError, RegistryError
from uad.registry import ModelAddress, ModelRegistry, named_model
from uad.registry.named_model import NO_PRODUCTS, is_bundle
from uad.storage.names import ProductName

ALSO = f" A pipeline can also be {ANOMALY_DETECTION} or a YAML file."


def shipped_config(name: str) -> str:
    """The text of a shipped pipeline's YAML.

    Raises:
        ConfigError: there is no pipeline of that name.
    """
    if name != ANOMALY_DETECTION:
        raise ConfigError(f"There is no pipeline '{name}'. The only one is {ANOMALY_DETECTION}.")
    return files("uad").joinpath("configs", "pipelines", f"{name}.yaml").read_text("utf-8")


def read_pipeline(
    pipeline: str | Path | None, config: Mapping[str, Any] | None, registry: ModelRegistry
) -> PipelineConfig:
    """Settings whose `model` is a bundle's folder or a registry address.

    Args:
        pipeline: `anomaly_detection`, a YAML file, a bundle's folder, an address, or a product.
        config: the content of a pipeline's YAML; overrides `pipeline`.
        registry: asked for the products where a name stands for one.
    """
    settings, folder = _settings(pipeline, config)
    return settings.model_copy(update={"model": _model(settings.model, folder, registry)})


def names_model(pipeline: str) -> bool:
    """Whether it is a model, and no settings that name one."""
    return pipeline != ANOMALY_DETECTION and not pipeline.lower().endswith((".yaml", ".yml"))


def _settings(
    pipeline: str | Path | None, config: Mapping[str, Any] | None
) -> tuple[PipelineConfig, Path]:
    """The settings, and the folder that relative paths in them may start from."""
    here = Path()
    if config is not None:
        return parse_pipeline(config, origin="config"), here
    if pipeline is None:
        raise ConfigError(
            f"No pipeline was given. Write {ANOMALY_DETECTION}, a YAML file, or a model."
        )
    text = str(pipeline)
    if text == ANOMALY_DETECTION:
        import yaml

        return parse_pipeline(yaml.safe_load(shipped_config(text)), origin=text), here
    if not names_model(text):
        return parse_pipeline(read_yaml(Path(text)), origin=text), Path(text).parent
    return PipelineConfig(model=text), here


def _model(model: str, folder: Path, registry: ModelRegistry) -> str:
    paths = (Path(), folder)
    if model == DEFAULT_MODEL and not any(is_bundle(path / model) for path in paths):
        return str(ModelAddress.champion(_only([] if registry.is_new else registry.products())))
    return named_model(model, registry, folders=paths, also=ALSO).place


def _only(products: list[ProductName]) -> ProductName:
    if not products:
        raise RegistryError(NO_PRODUCTS)
    if len(products) > 1:
        raise RegistryError(
            f"{ANOMALY_DETECTION} (model {DEFAULT_MODEL}) could be any of {len(products)} "
            f"products: {', '.join(products)}. Name the one you mean, for example {products[0]}."
        )
    return products[0]
