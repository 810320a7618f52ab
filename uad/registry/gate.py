"""Whether a new version may replace the champion: a table of checks and one decision.

    no champion               its own checks decide (golden inputs, latency)
    labelled test images      no metric much worse than the champion's on the same images
    recent normal images      no more false alarms than promised, or than the champion's
    normal images only        a person decides

The gate compares versions, so it chooses among them: figures it was decided on flatter the winner
a little. They are labelled as the gate's wherever they are kept.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from uad.config import Settings
from uad.evaluation import Report
from uad.evaluation.report import ImageResult
from uad.metrics import Difference
from uad.monitoring.feedback import MISSED

Decision = Literal["promote", "wait", "reject"]
Mode = Literal["gate", "always", "never", "ask"]
Metric = Literal[
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "f1", "f1_max", "recall"
]
"""Figures of a report that are better when higher."""
Share = Annotated[float, Field(ge=0, le=1)]

MAX_DROP: dict[Metric, float] = {"image_auroc": 0.01, "aupro": 0.01}

LABELS = {
    "golden": "golden inputs reproduced",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "false_alarm_rate": "false alarm rate",
    "recent_false_alarm_rate": "false alarm rate, recent images",
    "missed_defects_found": "missed defects that people reported: share found",
    "false_alarms_left": "false alarms that people reported: share that still alarms",
    "latency_ms": "latency, ms an image",
}
COLUMNS = ("check", "challenger", "champion", "difference, 95 %", "rule", "outcome")


class GateRule(Settings):
    """The rule, as a YAML file may hold it."""

    max_drop: dict[Metric, Share] = MAX_DROP
    """By metric of the report: how far below the champion's it may lie on the same images."""
    drops: Literal["all", "significant"] = "all"
    """Which larger drops count: `significant` forgives those that chance explains, that is whose
    95 % interval (paired bootstrap) reaches zero. Small test sets need it, or every other sound
    model fails; many small losses in a row can then add up."""
    normals_only: Literal["wait", "promote"] = "wait"
    """Without labelled test images: wait for a person, or promote."""
    false_alarms: Literal["show", "require"] = "show"
    """Whether the observed false alarm rate must lie below the upper end of the range that alpha
    promises (95 %, so that one sound model in forty fails by chance)."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Largest median time an image, on the machine that evaluates."""


class Check(BaseModel):
    """One line of the table."""

    model_config = ConfigDict(frozen=True)

    name: str
    challenger: float | None = None
    champion: float | None = None
    interval: tuple[float, float] | None = None
    """95 % interval of challenger minus champion."""
    rule: str
    passed: bool | None
    """None: shown, or not measurable here; decides nothing."""


class Verdict(BaseModel):
    """What the gate decided, on which figures."""

    model_config = ConfigDict(frozen=True)

    decision: Decision
    reason: str
    checks: tuple[Check, ...] = ()
    champion: str | None = None
    """The version it was compared with."""
    dataset: str | None = None
    """`name@version` of the images both were evaluated on."""

    def promotes(self, mode: Mode = "gate") -> bool:
        """Whether the new version becomes champion, given what the user asked for."""
        if mode == "gate":
            return self.decision == "promote"
        return mode == "always"  # `ask` is another's answer, later

    def tags(self) -> dict[str, str]:
        """For the registered version: every figure under `gate.`, apart from its own metrics."""
        facts = {
            "gate.decision": self.decision,
            "gate.reason": self.reason,
            "gate.champion": self.champion or "none",
            "gate.dataset": self.dataset or "none",
        }
        for check in self.checks:
            for side in ("challenger", "champion"):
                value = getattr(check, side)
                if value is not None:
                    facts[f"gate.{check.name}.{side}"] = f"{value:.6g}"
            if check.interval is not None:
                facts[f"gate.{check.name}.interval"] = _interval(check)
        return facts

    def rows(self) -> list[tuple[str, ...]]:
        """The table under `COLUMNS`."""
        return [
            (
                LABELS.get(check.name, check.name),
                _figure(check.challenger),
                _figure(check.champion),
                _interval(check),
                check.rule,
                {True: "passed", False: "failed", None: "-"}[check.passed],
            )
            for check in self.checks
        ]

    def markdown(self, title: str) -> str:
        """The table for people."""
        lines = [
            f"# {title}: {self.decision}",
            "",
            self.reason,
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
            *("| " + " | ".join(row) + " |" for row in self.rows()),
            "",
            f"Compared with version {self.champion or 'none'} on {self.dataset or 'no images'}. "
            "These figures chose between versions; they are no independent estimate.",
        ]
        return "\n".join(lines) + "\n"


def decide(
    challenger: Report | None,
    champion: Report | None,
    rule: GateRule | None = None,
    *,
    differences: Mapping[str, Difference] | None = None,
    recent: Report | None = None,
    champion_recent: Report | None = None,
    champion_version: str | None = None,
    champion_error: str | None = None,
    golden_error: str | None = None,
    dataset: str | None = None,
) -> Verdict:
    """Judge a new version.

    Args:
        challenger: its report; None where there are no test images.
        champion: the champion's report on the same images; None without champion or images.
        rule: the thresholds; None means the defaults.
        differences: challenger minus champion by metric, as `uad.evaluation.compare` finds them.
        recent: its report on recent normal images that neither version learned from.
        champion_recent: the champion's on the same.
        champion_version: the champion's version; None if the product has no champion.
        champion_error: why the champion could not be evaluated.
        golden_error: why the new version failed its own golden check.
        dataset: `name@version` of the images.
    """
    rule = rule or GateRule()
    compares = champion_version is not None and champion_error is None
    checks = (
        _golden(golden_error),
        *(_own(challenger, champion, rule) if challenger else ()),
        *(_reported(challenger, champion) if challenger else ()),
        *(_recent(recent, champion_recent) if recent else ()),
        *(_compared(challenger, champion, rule, differences or {}) if compares else ()),
    )
    failed = [check for check in checks if check.passed is False]
    compared = [check for check in checks if check.passed and check.name in rule.max_drop]
    decision, reason = _decision(
        golden_error or _told(failed),
        champion_version,
        champion_error,
        has_comparison=bool(compared),
        rule=rule,
    )
    return Verdict(
        decision=decision, reason=reason, checks=checks, champion=champion_version, dataset=dataset
    )


def _decision(
    failure: str | None,
    champion: str | None,
    champion_error: str | None,
    *,
    has_comparison: bool,
    rule: GateRule,
) -> tuple[Decision, str]:
    if failure:
        return "reject", failure
    if champion is None:
        return "promote", "there is no champion yet, and its own checks hold"
    if champion_error:
        return "wait", f"champion {champion} could not be evaluated ({champion_error})"
    if has_comparison:
        return "promote", f"no metric is worse than champion {champion}'s by more than the rule"
    if rule.normals_only == "promote":
        return "promote", "the test images have no labelled defects, and the rule promotes then"
    return "wait", "the test images have no labelled defects to compare on: a person decides"


def _told(failed: list[Check]) -> str | None:
    told = [
        f"{LABELS.get(check.name, check.name)} is {_figure(check.challenger)}"
        + (f" against the champion's {_figure(check.champion)}" if check.champion else "")
        + f" ({check.rule})"
        for check in failed
    ]
    return "; ".join(told) or None


def _golden(error: str | None) -> Check:
    return Check(name="golden", rule="must hold", passed=error is None)


def _own(challenger: Report, champion: Report | None, rule: GateRule) -> list[Check]:
    """Checks of the new version alone; the champion's figures are shown beside."""
    return [
        _false_alarms(challenger, champion, rule),
        _latency(challenger, champion, rule.max_latency_ms),
    ]


def _false_alarms(challenger: Report, champion: Report | None, rule: GateRule) -> Check:
    rate, expected = challenger.false_alarm_rate, challenger.false_alarm_range
    within = None if rate is None or expected is None else rate <= expected[1]
    promise = "none promised" if expected is None else f"at most {expected[1]:.3f} expected"
    return Check(
        name="false_alarm_rate",
        challenger=rate,
        champion=champion.false_alarm_rate if champion else None,
        rule=promise + ("" if rule.false_alarms == "require" else " (shown only)"),
        passed=within if rule.false_alarms == "require" else None,
    )


def _reported(challenger: Report, champion: Report | None) -> list[Check]:
    """What people corrected. Chosen by an earlier version's failures, it decides nothing."""
    missed = _alarms(_missed(challenger))
    false = _alarms(challenger.said_good)
    found = (
        ("missed_defects_found", missed, champion and _alarms(_missed(champion)), ""),
        ("false_alarms_left", false, champion and _alarms(champion.said_good), ", it trained them"),
    )
    return [
        Check(
            name=name,
            challenger=sum(mine) / len(mine),
            champion=sum(theirs) / len(theirs) if theirs else None,
            rule=f"of {len(mine)}{words} (shown only)",
            passed=None,
        )
        for name, mine, theirs, words in found
        if mine
    ]


def _missed(report: Report) -> list[ImageResult]:
    return [image for image in report.images if image.defect == MISSED]


def _alarms(images: Iterable[ImageResult]) -> list[bool]:
    return [image.is_anomalous for image in images]


def _recent(challenger: Report, champion: Report | None) -> list[Check]:
    """Within what alpha promises; where the line has changed, at least no worse than now."""
    rate, expected = challenger.false_alarm_rate, challenger.false_alarm_range
    now = champion.false_alarm_rate if champion else None
    allowed = [limit for limit in (expected[1] if expected else None, now) if limit is not None]
    within = None if rate is None or not allowed else rate <= max(allowed)
    return [
        Check(
            name="recent_false_alarm_rate",
            challenger=rate,
            champion=now,
            rule=f"at most {max(allowed):.3f}" if allowed else "none promised",
            passed=within,
        )
    ]


def _latency(challenger: Report, champion: Report | None, budget: float | None) -> Check:
    spent = challenger.latency.median_ms
    return Check(
        name="latency_ms",
        challenger=spent,
        champion=champion.latency.median_ms if champion else None,
        rule="no budget set" if budget is None else f"at most {budget:g}",
        passed=None if budget is None else spent <= budget,
    )


def _compared(
    challenger: Report | None,
    champion: Report | None,
    rule: GateRule,
    differences: Mapping[str, Difference],
) -> list[Check]:
    if challenger is None or champion is None:
        return []
    own, other = challenger.metrics(), champion.metrics()
    return [
        _drop(name, own.get(name), other.get(name), rule, differences.get(name))
        for name in rule.max_drop
    ]


def _drop(
    name: Metric,
    mine: float | None,
    theirs: float | None,
    rule: GateRule,
    difference: Difference | None,
) -> Check:
    allowed = rule.max_drop[name]
    told = f"at most {allowed:g} below the champion"
    passed = None
    if mine is not None and theirs is not None:
        drop = theirs - mine
        passed = drop <= allowed or math.isclose(drop, allowed, abs_tol=1e-9)
    else:
        told += ", absent"
    if rule.drops == "significant":
        told += " unless by chance"
        passed = passed or (passed is False and difference is not None and difference.high >= 0)
    return Check(
        name=name,
        challenger=mine,
        champion=theirs,
        interval=(difference.low, difference.high) if difference else None,
        rule=told,
        passed=passed,
    )


def _interval(check: Check) -> str:
    return (
        "-" if check.interval is None else f"{check.interval[0]:+.3f} to {check.interval[1]:+.3f}"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
