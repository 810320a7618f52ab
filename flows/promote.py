"""Compare a new version with the champion, and move the alias if the gate says so."""

import re
import shlex
from pathlib import Path

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows import logs
from flows.approval import WAIT_HOURS, ask, require_server
from flows.steps import evaluate_bundle, evaluate_recent
from flows.tracking import REGISTRY
from uad.errors import RegistryError, RegistryUnreachableError, UadError
from uad.operations import judging
from uad.operations.inputs import EvaluationImages
from uad.operations.judging import Candidate, Evidence
from uad.registry import ModelAddress
from uad.registry.gate import GateRule, GateVerdict, Mode
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName

ATTEMPTS = 3
"""How often a new version is judged again because the champion changed meanwhile."""


@task(name="find champion", task_run_name="find champion of {product}", **REGISTRY)
def find_champion(product: ProductName) -> ModelVersionNumber | None:
    """The version that serves; None before the first promotion."""
    return judging.champion_of(product)


@task(name="judge", task_run_name="judge {candidate.name}", cache_policy=NO_CACHE, **REGISTRY)
def judge(
    candidate: Candidate, champion: ModelVersionNumber | None, evidence: Evidence
) -> GateVerdict:
    """Apply the gate's rule; the verdict and its figures become tags `gate.*` of the version."""
    verdict = judging.judge(candidate, champion, evidence)
    show(candidate, verdict)
    return verdict


@task(name="promote", task_run_name="promote {candidate.name}", cache_policy=NO_CACHE, **REGISTRY)
def promote(candidate: Candidate, verdict: GateVerdict) -> bool:
    """Make the version champion if verdict and mode say so, else keep it as challenger."""
    return judging.promote_if(candidate, verdict)


def decide_and_promote(candidate: Candidate) -> tuple[GateVerdict, bool]:
    """The gate as a whole; judged again if the champion changes before the alias is moved.

    Raises:
        RegistryError: the champion changed each time.
    """
    product, version = candidate.product, candidate.version
    for _ in range(ATTEMPTS):
        champion = find_champion(product)
        verdict = judge(candidate, champion, _gather(candidate, champion))
        try:
            return verdict, promote(candidate, verdict)
        except RegistryUnreachableError:
            raise
        except RegistryError as exc:
            if find_champion(product) == champion:
                raise
            logs.logger.info("judged again: %s", exc)
    raise RegistryError(
        f"the champion of '{product}' changed {ATTEMPTS} times during the comparison. Version "
        f"{version} waits as challenger. To make it champion: `uad promote {shlex.quote(product)} "
        f"{version}`"
    )


@flow(name="promote", flow_run_name="promote {product} version {version}")
def promote_flow(
    product: ProductName,
    version: ModelVersionNumber,
    dataset: DatasetAddress,
    folder: str,
    mode: Mode = "gate",
    rule: GateRule | None = None,
    recent: str | None = None,
    wait_hours: float = WAIT_HOURS,
) -> bool:
    """Judge a registered version on a stored dataset and promote it if the gate says so."""
    logs.prepare()
    if mode == "ask":
        require_server()
    images = EvaluationImages.load(dataset)
    address = ModelAddress(product, version=version)
    candidate = Candidate(
        product=product,
        version=version,
        images=images,
        folder=Path(folder),
        report=evaluate_bundle(str(address), images, f"{folder}/version-{version}"),
        recent=recent,
        mode=mode,
        rule=rule,
    )
    verdict, promoted = decide_and_promote(candidate)
    return ask(product, version, verdict, wait_hours) if mode == "ask" else promoted


def show(candidate: Candidate, verdict: GateVerdict) -> None:
    """Put the table where people look: the log, and the run's page in Prefect."""
    logs.logger.info("gate: %s", verdict.told(candidate.mode))
    if runtime.flow_run.id:
        key = re.sub("[^a-z0-9]+", "-", f"gate-{candidate.product}".lower()).strip("-")
        title = candidate.name
        create_markdown_artifact(verdict.markdown(title), key=key, description=title)


def _gather(candidate: Candidate, champion: ModelVersionNumber | None) -> Evidence:
    """Both versions on the same images; if they cannot be compared, the reason."""

    def on_recent(which: ModelVersionNumber, place: str) -> str | None:
        return evaluate_recent(
            candidate.address_of(which),
            str(candidate.recent),
            candidate.images,
            candidate.product,
            champion,
            str(candidate.folder / place),
        )

    new = on_recent(candidate.version, "new-recent") if candidate.recent else None
    found = Evidence(report=candidate.report, recent=new)
    if champion is None or (candidate.report is None and new is None):
        return found
    place = f"champion-{champion}"
    try:
        address, folder = candidate.address_of(champion), str(candidate.folder / place)
        old = evaluate_bundle(address, candidate.images, folder) if candidate.report else None
        old_recent = on_recent(champion, f"{place}-recent") if new else None
    except RegistryUnreachableError:
        raise
    except UadError as exc:
        return found.model_copy(update={"champion_error": str(exc)})
    return found.model_copy(update={"champion_report": old, "champion_recent": old_recent})
