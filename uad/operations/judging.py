"""Judge a new version against the champion; the figures become tags of the version."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from uad.bundle import CalibrationEntry
from uad.errors import RegistryUnreachableError, UadError
from uad.evaluation import Report, compare, read_report
from uad.hot_reload import open_bundle
from uad.inference.detector import load_detector
from uad.operations.inputs import EvaluationImages
from uad.registry import CHALLENGER, ModelAddress, ModelRegistry
from uad.registry.gate import GateRule, GateVerdict, Mode, decide
from uad.scoring.conformal import guaranteed_rate
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName


@dataclass(frozen=True)
class Candidate:
    """A registered version that is to be compared with the champion."""

    product: ProductName
    version: ModelVersionNumber
    images: EvaluationImages
    folder: Path
    """Where the reports of the comparison go."""
    report: str | None = None
    """Its report.json on the test images; None if there are none."""
    recent: str | None = None
    """A folder of recent good images, on which false alarms are compared."""
    mode: Mode = "gate"
    rule: GateRule | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.product} version {self.version}"

    def address_of(self, version: ModelVersionNumber) -> str:
        """A version of the same product."""
        return str(ModelAddress(self.product, version=version))


class Evidence(BaseModel):
    """What the gate judges by: report.json files, by path."""

    model_config = ConfigDict(frozen=True)

    report: str | None = None
    """The new version's on the test images; None if there are none."""
    champion_report: str | None = None
    champion_error: str | None = None
    """Why the champion could not be evaluated."""
    recent: str | None = None
    """The new version's on recent normal images."""
    champion_recent: str | None = None


def judge(
    candidate: Candidate, champion: ModelVersionNumber | None, evidence: Evidence
) -> GateVerdict:
    """Apply the gate's rule; the verdict and its figures become tags `gate.*` of the version.

    The version is fetched from the registry as a server would, and must give its golden scores.
    """
    own, other = _read(evidence.report), _read(evidence.champion_report)
    registry, address = ModelRegistry(), candidate.address_of(candidate.version)
    wrong, entry = _checked(address)
    verdict = decide(
        own,
        other,
        candidate.rule,
        differences=compare(own, other) if own and other else None,
        recent=_read(evidence.recent),
        champion_recent=_read(evidence.champion_recent),
        champion_version=champion,
        champion_error=evidence.champion_error,
        golden_error=wrong,
        calibration=entry,
        champion_alpha=_alpha(registry, candidate.product, champion),
        dataset=candidate.images.address,
    )
    registry.set_tags(registry.version(candidate.product, candidate.version), verdict.tags())
    return verdict


def promote_if(candidate: Candidate, verdict: GateVerdict) -> bool:
    """Make the version champion if verdict and mode say so, else keep it as challenger.

    Raises:
        RegistryError: another version became champion since the verdict.
    """
    registry, mode = ModelRegistry(), candidate.mode
    wins = verdict.promotes(mode)
    reason = verdict.reason if mode == "gate" else verdict.told(mode)
    name, version = candidate.product, candidate.version
    if wins:
        registry.promote(name, version, reason=reason, expected=verdict.champion)
    else:
        registry.promote(name, version, alias=CHALLENGER, reason=reason)
    return wins


def champion_of(product: ProductName) -> ModelVersionNumber | None:
    """The version that serves; None before the first promotion."""
    champion = ModelRegistry().champion(product)
    return None if champion is None else champion.version


def trained_on(product: ProductName, champion: ModelVersionNumber | None) -> DatasetAddress | None:
    """The dataset that the champion learned from; None if there is none, or it does not say so."""
    return None if champion is None else ModelRegistry().version(product, champion).dataset


def _checked(address: str) -> tuple[str | None, CalibrationEntry | None]:
    """Why what the registry hands out does not give its golden scores here, else its calibration.

    Raises:
        RegistryUnreachableError: the registry does not answer.
    """
    try:
        with closing(load_detector(open_bundle(address))) as detector:
            return None, detector.bundle.manifest.reference_calibration
    except RegistryUnreachableError:
        raise
    except UadError as exc:
        return str(exc), None


def _alpha(
    registry: ModelRegistry, product: ProductName, version: ModelVersionNumber | None
) -> float | None:
    """The false alarm rate that a version guarantees; None for versions that do not say it."""
    if version is None:
        return None
    figures = registry.version(product, version).metrics
    captures = int(figures["n_captures"]) if "n_captures" in figures else None
    return guaranteed_rate(figures["alpha"], captures) if "alpha" in figures else None


def _read(file: str | None) -> Report | None:
    return read_report(Path(file)) if file else None
