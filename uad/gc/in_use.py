"""What must stay, whatever the disk says: worked out before anything is removed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from uad.gc.retention import Rule
from uad.hot_reload.pins import pinned
from uad.registry import ModelRegistry, ModelVersion, TrackedRun

DATASET = "uad.dataset"


@dataclass(frozen=True)
class Kept:
    """Model versions and runs, each divided into what stays and what goes."""

    versions: tuple[ModelVersion, ...]
    old_versions: tuple[ModelVersion, ...]
    runs: tuple[TrackedRun, ...]
    old_runs: tuple[TrackedRun, ...]

    @property
    def datasets(self) -> set[str]:
        """`name@version` of every dataset version that a kept model or run was made of."""
        named = [version.tags.get(DATASET) for version in self.versions]
        return {address for address in (*named, *(run.dataset for run in self.runs)) if address}

    def holds(self, product: str, version: str) -> bool:
        """Whether a version of a product stays."""
        return any(each.name == product and each.version == version for each in self.versions)


def find_kept(registry: ModelRegistry, rule: Rule) -> Kept:
    """Divide all versions and runs of the registry.

    A version stays if it is among the newest, carries an alias (champion, challenger or one of your
    own), is pinned on this machine, is among the nearest that a rollback can go back to, or is the
    one that the last move left, since who went back may want to go forward again. A run stays if it
    is among the newest of its product, under way, or made a version that stays.
    """
    staying: list[ModelVersion] = []
    leaving: list[ModelVersion] = []
    for product in registry.products():
        versions = registry.versions(product)
        protected = _protected(registry, product, versions, rule)
        for version in versions:
            (staying if version.version in protected else leaving).append(version)
    made = {version.run_id for version in staying}
    runs: list[TrackedRun] = []
    old_runs: list[TrackedRun] = []
    seen: Counter[str] = Counter()
    for run in registry.tracked_runs():
        seen[run.product] += 1
        stays = seen[run.product] <= rule.keep_runs or run.under_way or run.id in made
        (runs if stays else old_runs).append(run)
    return Kept(tuple(staying), tuple(leaving), tuple(runs), tuple(old_runs))


def _protected(
    registry: ModelRegistry, product: str, versions: Sequence[ModelVersion], rule: Rule
) -> set[str]:
    newest = [version.version for version in versions[: rule.keep]]
    aliased = [version.version for version in versions if version.aliases]
    back = registry.earlier(product)[: rule.keep]
    return {*newest, *aliased, *back, pinned(product) or "", registry.left(product) or ""}
