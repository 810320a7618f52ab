"""`create_pipeline`: from a name, file or address to a loaded pipeline."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from uad.bundle import read_bundle
from uad.config.choices import parse_devices
from uad.config.loading import validate
from uad.config.pipeline import PipelineConfig
from uad.errors import ConfigError, ServingError
from uad.hot_reload import AliasWatcher, BundleStore, ModelSlot, Served
from uad.inference.detector import Detector, load_detector
from uad.pipeline.multi_device import AnyDetector, MultiDeviceDetector
from uad.pipeline.pipeline import Pipeline
from uad.pipeline.source import read_pipeline
from uad.registry import ModelRegistry, is_address


def create_pipeline(
    pipeline: str | Path | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | None = None,
    follow: bool = False,
    interval_seconds: float = 5.0,
    batch_size: int | None = None,
    alpha: float | None = None,
    threshold: float | None = None,
    min_area: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    registry: ModelRegistry | None = None,
) -> Pipeline:
    """Load a model, ready to judge images.

    Args:
        pipeline: `anomaly_detection` (the champion of the only product), a YAML file in either of
            PaddleX's forms, a bundle's folder, `models:/cookie@champion`, `models:/cookie/3`, or a
            product's name (its champion).
        config: the content of such a YAML; overrides `pipeline`.
        device: `cpu`, `gpu:0`, or several (`gpu:0,1`), which share each batch: give a `batch_size`
            of at least their number. This and all following arguments override the YAML.
        use_hpip: prefer the fastest engine that the model is calibrated for.
        hpi_config: PaddleX's; not supported, see `engine` and `precision`.
        follow: keep up with promotions while the program runs, without losing an image.
        interval_seconds: between two looks at the registry, with `follow`.
        batch_size: images in one inference.
        alpha: target false alarm rate; the model's own by default.
        threshold: instead, the score above which an image is anomalous.
        min_area: smallest defect that raises the alarm, in pixels of the image; at least the one
            that the model is calibrated for.
        engine: `auto`, `fastest`, or one of `uad.config.choices.PRECISIONS`.
        precision: one of the engine's there; its own by default.
        threads: of one inference; by default one per physical core.
        registry: where addresses are looked up.

    Raises:
        ConfigError: an unknown key or value.
        RegistryError: no such product, version or champion, or the registry does not answer.
        BundleError: the model is altered, incomplete, or computes something else here.
        EngineError: the engine or device cannot be had here.
    """
    if hpi_config:
        raise ConfigError("hpi_config is not supported. Use engine and precision instead.")
    registry = registry or ModelRegistry()
    settings = read_pipeline(pipeline, config, registry)
    given = {
        "device": device,
        "use_hpip": use_hpip,
        "batch_size": batch_size,
        "alpha": alpha,
        "threshold": threshold,
        "min_area": min_area,
        "engine": engine,
        "precision": precision,
        "threads": threads,
    }
    settings = _with(settings, {key: value for key, value in given.items() if value is not None})
    if is_address(settings.model):
        if follow:
            return _following(settings, registry, interval_seconds)
        return _from_registry(settings, registry)
    if follow:
        raise ConfigError(
            f"follow=True needs an address such as models:/cookie@champion, not {settings.model}."
        )
    bundle = read_bundle(Path(settings.model))
    served = Served(_load(bundle.path, settings), bundle.id, bundle.path.resolve().name)
    return Pipeline(ModelSlot(served), batch_size=settings.batch_size)


def _with(settings: PipelineConfig, given: Mapping[str, Any]) -> PipelineConfig:
    """The caller's values override the file's. The caller's alpha also overrides its threshold."""
    values = settings.model_dump()
    if "alpha" in given or "threshold" in given:
        values.update(alpha=None, threshold=None)
    return validate(PipelineConfig, {**values, **given}, origin="create_pipeline")


def _from_registry(settings: PipelineConfig, registry: ModelRegistry) -> Pipeline:
    version = registry.resolve(settings.model)
    detector = _load(BundleStore().ensure(version, registry.fetch), settings)
    slot = ModelSlot(Served(detector, version.version, version.name))
    return Pipeline(slot, batch_size=settings.batch_size)


def _following(
    settings: PipelineConfig, registry: ModelRegistry, interval_seconds: float
) -> Pipeline:
    watcher = AliasWatcher(
        settings.model,
        registry,
        BundleStore(),
        lambda path: _load(path, settings),
        interval_seconds=interval_seconds,
        note_external=registry.note_external,
    )
    watcher.start()
    if watcher.slot.current is None:
        watcher.stop()
        raise ServingError(watcher.status().last_error or f"{settings.model} cannot be loaded")
    return Pipeline(watcher.slot, batch_size=settings.batch_size, watcher=watcher)


def _load(path: Path, settings: PipelineConfig) -> AnyDetector:
    """One detector, or one per device if the settings name several."""
    loaded: list[AnyDetector] = []
    with ExitStack() as if_one_fails:
        for device in parse_devices(settings.device or "cpu"):
            detector = _detector(path, settings, device)
            if_one_fails.callback(detector.close)
            loaded.append(detector)
        if_one_fails.pop_all()
    return loaded[0] if len(loaded) == 1 else MultiDeviceDetector(loaded)


def _detector(path: Path, settings: PipelineConfig, device: str) -> Detector:
    hurry = settings.use_hpip and settings.engine == "auto"
    return load_detector(
        path,
        engine="fastest" if hurry else settings.engine,
        device=device,
        precision=settings.precision,
        threads=settings.threads,
        alpha=settings.alpha,
        threshold=settings.threshold,
        min_area=settings.min_area,
    )
