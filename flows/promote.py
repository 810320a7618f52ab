"""Compare a new version with the champion, and move the alias if the gate says so."""

import re
from pathlib import Path

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact

from flows import logs
from flows.evaluate import evaluate_bundle
from flows.retries import REGISTRY
from uad.config import SplitConfig
from uad.errors import RegistryError, RegistryUnreachableError, UadError
from uad.evaluation import compare, read_report
from uad.gate import GateRule, Mode, Verdict, decide
from uad.registry import CHALLENGER, ModelRegistry

ATTEMPTS = 3
"""How often a new version is judged again because the champion changed meanwhile."""


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
    report: str | None,
    champion_report: str | None,
    champion_error: str | None = None,
    dataset: str | None = None,
    rule: GateRule | None = None,
) -> Verdict:
    """Apply the gate's rule; the verdict and its figures become tags `gate.*` of the version."""
    own = read_report(Path(report)) if report else None
    other = read_report(Path(champion_report)) if champion_report else None
    verdict = decide(
        own,
        other,
        rule,
        differences=compare(own, other) if own and other else None,
        champion_version=champion,
        champion_error=champion_error,
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
) -> tuple[Verdict, bool]:
    """The gate as a whole; judged again if the champion changes before the alias is moved."""
    for _ in range(ATTEMPTS):
        champion = find_champion(product)
        other, error = _evaluate_champion(product, champion, report, dataset, split, folder)
        verdict = judge(product, version, champion, report, other, error, dataset, rule)
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
) -> bool:
    """Judge a registered version on a stored dataset and promote it if the gate says so."""
    logs.prepare()
    split = SplitConfig()
    bundle = f"models:/{product}/{version}"
    report = evaluate_bundle(bundle, dataset, split, f"{folder}/version-{version}")
    _, promoted = decide_and_promote(product, version, report, dataset, split, folder, mode, rule)
    return promoted


def show(product: str, version: str, verdict: Verdict) -> None:
    """Put the table where people look: the log, and the run's page in Prefect."""
    logs.logger.info("gate: %s - %s", verdict.decision, verdict.reason)
    if runtime.flow_run.id:
        title = f"{product} version {version}"
        key = re.sub("[^a-z0-9]+", "-", f"gate-{product}".lower()).strip("-")
        create_markdown_artifact(verdict.markdown(title), key=key, description=title)


def _evaluate_champion(
    product: str,
    champion: str | None,
    report: str | None,
    dataset: str,
    split: SplitConfig,
    folder: str,
) -> tuple[str | None, str | None]:
    """The champion's report on the same images, or why there is none."""
    if champion is None or report is None:
        return None, None
    place = f"{folder}/champion-{champion}"
    try:
        return evaluate_bundle(f"models:/{product}/{champion}", dataset, split, place), None
    except RegistryUnreachableError:
        raise
    except UadError as exc:
        return None, str(exc)
