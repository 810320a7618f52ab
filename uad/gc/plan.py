"""The plan of a removal, complete before anything is touched."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from uad.gc.in_use import Removable, Retention, find_in_use, size_bytes
from uad.gc.local_files import dataset_items, leftover_items
from uad.gc.models import model_items
from uad.registry import ModelRegistry
from uad.storage.paths import home


@dataclass(frozen=True)
class Plan:
    """Items in the order they are removed: what refers first, what is referred to last."""

    items: tuple[Removable, ...]
    rule: Retention
    """In force; stricter than the one asked for where the disk bound needed it."""
    before_bytes: int
    """Of the whole of UAD_HOME."""

    @property
    def freed_bytes(self) -> int:
        """What removing everything frees."""
        return sum(item.bytes for item in self.items)

    @property
    def after_bytes(self) -> int:
        """What UAD_HOME takes afterwards."""
        return self.before_bytes - self.freed_bytes

    def carry_out(self) -> "Plan":
        """Remove everything that can still go; returns what went.

        If it is interrupted, the next plan holds the rest. A version that was promoted, pinned or
        given an alias since the plan was made stays, with everything that belongs to it.
        """
        stayed: set[int] = set()
        for item in self.items:
            if any(id(other) in stayed for other in item.after) or item.remove() is False:
                stayed.add(id(item))
        return replace(self, items=tuple(i for i in self.items if id(i) not in stayed))


def make_plan(
    registry: ModelRegistry,
    rule: Retention,
    *,
    max_bytes: float | None = None,
    now: datetime | None = None,
) -> Plan:
    """What `rule` removes. With `max_bytes` fewer are kept, down to 1, until the rest fits.

    Raises:
        RegistryError: the registry does not answer, so nothing can be known to be unneeded.
    """
    now = now or datetime.now(UTC)
    plan = _plan(registry, rule, now)
    while max_bytes is not None and plan.after_bytes > max_bytes and plan.rule.keep > 1:
        keep = plan.rule.keep - 1
        runs = max(keep, rule.keep_runs * keep // rule.keep)
        plan = _plan(registry, replace(rule, keep=keep, keep_runs=runs), now)
    return plan


def _plan(registry: ModelRegistry, rule: Retention, now: datetime) -> Plan:
    in_use = find_in_use(registry, rule)
    models = model_items(registry, in_use, rule)
    items = (
        *models,
        *leftover_items(rule, now),
        *dataset_items(in_use, rule, now, models),
    )
    return Plan(items, rule, size_bytes(home()))
