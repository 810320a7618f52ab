"""Keep the figures of an evaluation with what was evaluated, also one command at a time.

A registered version gets them in MLflow. Those of a bundle's folder wait under UAD_HOME until the
bundle is registered.
"""

import json
from pathlib import Path

from uad.bundle import MANIFEST, sha256
from uad.errors import RegistryError
from uad.evaluation import Report
from uad.hot_reload import BundleStore
from uad.registry import ModelRegistry, ModelVersion, is_address
from uad.storage.atomic_writes import write_file
from uad.storage.paths import evaluations_dir


def open_version(bundle: str) -> tuple[Path, ModelVersion | None]:
    """The bundle's folder and, for an address, the version that it stands for now."""
    if not is_address(bundle):
        return Path(bundle), None
    registry = ModelRegistry()
    version = registry.resolve(bundle)
    return BundleStore().ensure(version, registry.fetch), version


def keep_figures(
    bundle: Path, version: ModelVersion | None, report: Report, dataset: str
) -> str | None:
    """Keep them; returns a sentence for the user, None where there is nothing to say.

    A registry that refuses (no rights, no answer) spoils no evaluation: that is the sentence then.
    """
    if version is None:
        facts = {"dataset": dataset, "figures": report.metrics()}
        write_file(_file(bundle), json.dumps(facts))
        return None
    try:
        ModelRegistry().record_figures(version, report.metrics(), dataset)
    except RegistryError as exc:
        return f"The figures are not in MLflow: {exc}"
    return f"The figures are now in MLflow, on version {version.version} of {version.name}."


def kept_figures(bundle: Path) -> dict[str, float]:
    """What `keep_figures` kept for a bundle's folder; empty if it was not evaluated."""
    try:
        facts = json.loads(_file(bundle).read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in facts["figures"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _file(bundle: Path) -> Path:
    """Named by the bundle's content: a bundle that was trained again has no figures yet."""
    return evaluations_dir() / f"{sha256(bundle / MANIFEST)[:16]}.json"
