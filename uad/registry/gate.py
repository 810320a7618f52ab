"""Whether a new version may replace the champion: a table of checks and one decision.

    no champion               its own checks decide (golden inputs, latency)
    too few good images       if so few set the threshold that more than one good part in five may
                              raise a false alarm, a person decides
    labelled test images      no metric much worse than the champion's on the same images
    more errors               more false alarms or more missed defects than the champion has on the
                              same images: a person decides, since few images prove little
    recent normal images      no more false alarms than promised, or than the champion's
    normal images only        a person decides

The gate chooses between versions, so its figures make the winner look slightly better than it is.
They are labelled as the gate's wherever they are stored.
"""

from collections.abc import Mapping

from uad.bundle import CalibrationEntry
from uad.config.choices import Mode
from uad.evaluation import Report
from uad.metrics import Difference
from uad.registry.gate_checks import (
    compared_checks,
    golden_check,
    guaranteed_rate_check,
    own_checks,
    recent_checks,
    reported_checks,
)
from uad.registry.gate_verdict import (
    COLUMNS,
    LABELS,
    Check,
    Decision,
    GateRule,
    GateVerdict,
    figure_text,
)
from uad.storage.names import DatasetAddress, ModelVersionNumber

__all__ = ["COLUMNS", "Check", "Decision", "GateRule", "GateVerdict", "Mode", "decide"]


def decide(
    challenger: Report | None,
    champion: Report | None,
    rule: GateRule | None = None,
    *,
    differences: Mapping[str, Difference] | None = None,
    recent: Report | None = None,
    champion_recent: Report | None = None,
    champion_version: ModelVersionNumber | None = None,
    champion_error: str | None = None,
    golden_error: str | None = None,
    calibration: CalibrationEntry | None = None,
    champion_alpha: float | None = None,
    dataset: DatasetAddress | None = None,
) -> GateVerdict:
    """Judge a new version.

    Args:
        challenger: its report; None if there are no test images.
        champion: the champion's report on the same images; None without champion or images.
        rule: the thresholds; None means the defaults.
        differences: challenger minus champion by metric, as `uad.evaluation.compare` finds them.
        recent: its report on recent normal images that neither version learned from.
        champion_recent: the champion's on the same.
        champion_version: the champion's version; None if the product has no champion.
        champion_error: why the champion could not be evaluated.
        golden_error: why the new version failed its own golden check.
        calibration: what sets its threshold; None if it is not known.
        champion_alpha: the false alarm rate that the champion guarantees, if it is known.
        dataset: `name@version` of the images.
    """
    rule = rule or GateRule()
    compares = champion_version is not None and champion_error is None
    checks = (
        golden_check(golden_error),
        *([guaranteed_rate_check(calibration, champion_alpha, rule)] if calibration else ()),
        *(own_checks(challenger, champion, rule) if challenger else ()),
        *(reported_checks(challenger, champion) if challenger else ()),
        *(recent_checks(recent, champion_recent) if recent else ()),
        *(compared_checks(challenger, champion, rule, differences or {}) if compares else ()),
    )
    failed = [check for check in checks if check.passed is False]
    doubts = [check.person for check in checks if check.person]
    compared = [check for check in checks if check.passed and check.name in rule.max_drop]
    decision, reason = _decision(
        golden_error or _told(failed),
        champion_version,
        champion_error,
        doubts=doubts,
        has_comparison=bool(compared),
        rule=rule,
    )
    return GateVerdict(
        decision=decision, reason=reason, checks=checks, champion=champion_version, dataset=dataset
    )


def _decision(
    failure: str | None,
    champion: str | None,
    champion_error: str | None,
    *,
    doubts: list[str],
    has_comparison: bool,
    rule: GateRule,
) -> tuple[Decision, str]:
    if failure:
        return "reject", failure
    if champion_error:
        return "wait", f"Champion {champion} could not be evaluated: {champion_error}"
    if doubts:
        look = ": look at the report." if champion else "."
        return "wait", f"{' '.join(doubts)} A person decides{look}"
    if champion is None:
        return "promote", "First version, and all checks passed."
    if has_comparison:
        return "promote", (
            f"No metric is worse than champion {champion}'s by more than the rule allows."
        )
    if rule.normals_only == "promote":
        return "promote", "There are no test images of defects. In this case the rule promotes."
    return "wait", "There are no test images of defects to compare with. A person decides."


def _told(failed: list[Check]) -> str | None:
    told = [
        f"{LABELS.get(check.name, check.name)} is {figure_text(check.challenger)}"
        + (f" against the champion's {figure_text(check.champion)}" if check.champion else "")
        + f" ({check.rule})"
        for check in failed
    ]
    return "; ".join(told) or None
