"""Evaluate a bundle on test images or recent images of the line, and keep the figures with it.

A registered version gets its figures in MLflow. Those of a bundle's folder wait under UAD_HOME
until the bundle is registered.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from uad.bundle import MANIFEST, sha256
from uad.data import Sample, unseen
from uad.data.checks import scan
from uad.errors import RegistryError
from uad.evaluation import Report, evaluate, write_report
from uad.hot_reload import BundleStore, open_bundle
from uad.inference.detector import load_detector
from uad.registry import ModelRegistry, ModelVersion, is_address
from uad.storage.atomic_writes import write_file
from uad.storage.names import DatasetAddress, name_of
from uad.storage.paths import evaluations_dir


def evaluate_into(
    bundle: str | Path,
    samples: Sequence[Sample],
    folder: Path,
    *,
    normals: Sequence[Sample] = (),
    progress: bool = False,
) -> Path | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without images.

    Its golden inputs are checked either way. `normals` are the dataset's other good images, of
    which the report shows the one that decides the threshold.
    """
    with closing(load_detector(open_bundle(bundle))) as detector:
        if not samples:
            return None
        report = evaluate(detector, samples, progress=progress)
        return write_report(report, folder, detector, samples, normals=normals)["report.json"]


def unseen_normals(
    folder: str, trained_on: Iterable[DatasetAddress], *, progress: bool = False
) -> tuple[list[Sample], int]:
    """Good images of a folder that no detector which was trained on these datasets learned from.

    Returns:
        They, and how many good images the folder has in all.
    """
    found = scan(Path(folder).expanduser(), progress=progress).entries
    normals = [entry.sample for entry in found if not entry.label]
    return unseen(normals, trained_on), len(normals)


def open_version(bundle: str) -> tuple[Path, ModelVersion | None]:
    """The bundle's folder and, for an address, the version that it stands for now."""
    if not is_address(bundle):
        return Path(bundle), None
    registry = ModelRegistry()
    version = registry.resolve(bundle)
    return BundleStore().ensure(version, registry.fetch), version


def keep_figures(
    bundle: Path, version: ModelVersion | None, report: Report, dataset: DatasetAddress
) -> str | None:
    """Keep them; returns a sentence for the user, None if there is nothing to say.

    A registered version that has figures of its own dataset keeps them: those of other images do
    not take their place. If the registry refuses (no rights, no answer), the evaluation is still
    valid. The sentence says so.
    """
    if version is None:
        facts = {"dataset": dataset, "figures": report.metrics()}
        write_file(_file(bundle), json.dumps(facts))
        return None
    if _has_figures(version) and version.dataset and name_of(version.dataset) != name_of(dataset):
        return (
            f"Version {version.version} of {version.name} learned from {version.dataset}, and "
            "these are other images. So its figures in MLflow stay as they are. To keep these, add "
            "--json FILE."
        )
    try:
        ModelRegistry().record_figures(version, report.metrics(), dataset)
    except RegistryError as exc:
        return f"The figures are not in MLflow: {exc}"
    return f"The figures are now in MLflow, on version {version.version} of {version.name}."


def _has_figures(version: ModelVersion) -> bool:
    return not {"recall", "false_alarm_rate"}.isdisjoint(version.metrics)


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
