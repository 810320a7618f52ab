"""Compare a new version with the champion, and move the alias if the gate says so."""

import re
from pathlib import Path

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from flows import logs
from flows.approval import WAIT_HOURS, ask, require_server
from flows.evaluate import evaluate_bundle, evaluate_recent
from flows.retries import REGISTRY
from uad.config import SplitConfig
from uad.data.versions import read_version
from uad.errors import DataError, RegistryError, RegistryUnreachableError, UadError
from uad.evaluation import Report, compare, read_report
from uad.registry import CHALLENGER, ModelRegistry
from uad.registry.gate import GateRule, Mode, Verdict, decide

ATTEMPTS = 3
"""How often a new version is judged again because the champion changed meanwhile."""


class Evidence(BaseModel):
    """What the gate judges by: report.json files, by path."""

    model_config = ConfigDict(frozen=True)

    report: str | None = None
    """The new version's on the test images; None where there are none."""
    champion_report: str | None = None
    champion_error: str | None = None
    """Why the champion could not be evaluated."""
    recent: str | None = None
    """The new version's on recent normal images."""
    champion_recent: str | None = None


@task(name="find champion", task_run_name="find champion of {product}", **REGISTRY)
def find_champion(product: str) -> str | None:
    """The version that serves; None before the first promotion."""
    champion = ModelRegistry().champion(product)
    return champion.version if champion else None


@task(name="judge", task_run_name="judge {product} version {version}", **REGISTRY)
def judge(
    product: str,
    version: str,
    champion: str | None,
    evidence: Evidence,
    dataset: str | None = None,
    rule: GateRule | None = None,
) -> Verdict:
    """Apply the gate's rule; the verdict and its figures become tags `gate.*` of the version."""
    own, other = _read(evidence.report), _read(evidence.champion_report)
    verdict = decide(
        own,
        other,
        rule,
        differences=compare(own, other) if own and other else None,
        recent=_read(evidence.recent),
        champion_recent=_read(evidence.champion_recent),
        champion_version=champion,
        champion_error=evidence.champion_error,
        dataset=dataset,
    )
    registry = ModelRegistry()
    registry.set_tags(registry.version(product, version), verdict.tags())
    show(product, version, verdict)
    return verdict


@task(name="promote", task_run_name="promote {product} version {version}", **REGISTRY)
def promote(product: str, version: str, verdict: Verdict, mode: Mode = "gate") -> bool:
    """Make the version champion if verdict and mode say so, else keep it as challenger.

    Raises:
        RegistryError: another version became champion since the verdict.
    """
    registry, wins = ModelRegistry(), verdict.promotes(mode)
    reason = verdict.reason if mode == "gate" else f"--promote {mode}; gate: {verdict.reason}"
    if wins:
        registry.promote(product, version, reason=reason, expected=verdict.champion)
    else:
        registry.promote(product, version, alias=CHALLENGER, reason=reason)
    return wins


def decide_and_promote(
    product: str,
    version: str,
    report: str | None,
    dataset: str,
    split: SplitConfig,
    folder: str,
    mode: Mode,
    rule: GateRule | None,
    recent: str | None = None,
) -> tuple[Verdict, bool]:
    """The gate as a whole; judged again if the champion changes before the alias is moved."""
    for _ in range(ATTEMPTS):
        champion = find_champion(product)
        evidence = _gather(product, version, champion, report, dataset, split, folder, recent)
        verdict = judge(product, version, champion, evidence, dataset, rule)
        try:
            return verdict, promote(product, version, verdict, mode)
        except RegistryUnreachableError:
            raise
        except RegistryError as exc:
            if find_champion(product) == champion:
                raise
            logs.logger.info("judged again: %s", exc)
    raise RegistryError(
        f"the champion of '{product}' changed {ATTEMPTS} times during the comparison: version "
        f"{version} waits, `uad promote {product} {version}` makes it champion"
    )


@flow(name="promote", flow_run_name="promote {product} version {version}")
def promote_flow(
    product: str,
    version: str,
    dataset: str,
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
    split = SplitConfig()
    bundle = f"models:/{product}/{version}"
    report = evaluate_bundle(bundle, dataset, split, f"{folder}/version-{version}")
    verdict, promoted = decide_and_promote(
        product, version, report, dataset, split, folder, mode, rule, recent
    )
    return ask(product, version, verdict, wait_hours) if mode == "ask" else promoted


def show(product: str, version: str, verdict: Verdict) -> None:
    """Put the table where people look: the log, and the run's page in Prefect."""
    logs.logger.info("gate: %s - %s", verdict.decision, verdict.reason)
    if runtime.flow_run.id:
        title = f"{product} version {version}"
        key = re.sub("[^a-z0-9]+", "-", f"gate-{product}".lower()).strip("-")
        create_markdown_artifact(verdict.markdown(title), key=key, description=title)


def _gather(
    product: str,
    version: str,
    champion: str | None,
    report: str | None,
    dataset: str,
    split: SplitConfig,
    folder: str,
    recent: str | None,
) -> Evidence:
    """Both versions on the same images; why there is no such comparison where there is none."""

    def on_recent(which: str, place: str) -> str | None:
        address = f"models:/{product}/{which}"
        return evaluate_recent(address, str(recent), learned, split, f"{folder}/{place}")

    learned = [dataset, *_learned(product, champion)]
    new = on_recent(version, "new-recent") if recent else None
    found = Evidence(report=report, recent=new)
    if champion is None or (report is None and new is None):
        return found
    place = f"{folder}/champion-{champion}"
    try:
        address = f"models:/{product}/{champion}"
        old = evaluate_bundle(address, dataset, split, place) if report else None
        old_recent = on_recent(champion, f"champion-{champion}-recent") if new else None
    except RegistryUnreachableError:
        raise
    except UadError as exc:
        return found.model_copy(update={"champion_error": str(exc)})
    return found.model_copy(update={"champion_report": old, "champion_recent": old_recent})


def _learned(product: str, champion: str | None) -> list[str]:
    """The champion's dataset, where this machine has it."""
    if champion is None:
        return []
    address = ModelRegistry().version(product, champion).tags.get("uad.dataset", "")
    try:
        return [read_version(address).address]
    except DataError:
        return []


def _read(file: str | None) -> Report | None:
    return read_report(Path(file)) if file else None
