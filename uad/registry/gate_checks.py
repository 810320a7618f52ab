"""The checks of the gate: each compares one figure with the rule."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from uad.bundle import CalibrationEntry
from uad.evaluation import Report
from uad.evaluation.report import ImageResult
from uad.metrics import Difference
from uad.metrics.paired import chance_of_rise
from uad.monitoring import feedback
from uad.registry.gate_verdict import Check, GateRule, Metric
from uad.scoring.conformal import percent, shortfall_sentence, unmet_alpha


def golden_check(error: str | None) -> Check:
    """Whether the registered bundle gives its own golden scores; `error` says why not."""
    return Check(name="golden", rule="must hold", passed=error is None)


def guaranteed_rate_check(
    calibration: CalibrationEntry, champion: float | None, rule: GateRule
) -> Check:
    """Whether so few calibration images or captures were there that too many good parts may alarm.

    Args:
        calibration: of the new version.
        champion: the rate that the champion guarantees; a person accepted it.
        rule: the largest rate.
    """
    asked, reached = calibration.requested_alpha, calibration.guaranteed_rate
    largest = max(asked, rule.max_guaranteed_rate, champion or 0.0)
    is_enough = unmet_alpha(asked, reached) is None or unmet_alpha(largest, reached) is None
    why = shortfall_sentence(
        asked, calibration.alpha, len(calibration.scores), calibration.n_captures
    )
    reason = (
        f"{why} Up to {percent(reached)} of the good parts may raise a false alarm. Add good "
        "images and retrain, or accept this rate."
    )
    return Check(
        name="guaranteed_rate",
        challenger=reached,
        champion=champion,
        rule=f"at most {largest:.4g}",
        passed=True if is_enough else None,
        person="" if is_enough else reason,
    )


def own_checks(challenger: Report, champion: Report | None, rule: GateRule) -> list[Check]:
    """Checks of the new version alone; the champion's figures are shown beside."""
    return [
        _false_alarms(challenger, champion, rule),
        _recall(challenger, champion, rule),
        _latency(challenger, champion, rule.max_latency_ms),
    ]


def _false_alarms(challenger: Report, champion: Report | None, rule: GateRule) -> Check:
    rate, expected = challenger.false_alarm_rate, challenger.false_alarm_range
    within = None if rate is None or expected is None else rate <= expected[1]
    promise = "no limit: no rate is guaranteed"
    if expected is not None:
        promise = f"chance allows up to {expected[1]:.3f}"
    person = _more_errors(challenger, champion, rule, FALSE_ALARMS)
    return Check(
        name="false_alarm_rate",
        challenger=rate,
        champion=champion.false_alarm_rate if champion else None,
        rule=promise + _told_of(rule),
        passed=within if rule.false_alarms == "require" else _no_more(rate, champion, rule, person),
        person=person,
    )


def _recall(challenger: Report, champion: Report | None, rule: GateRule) -> Check:
    share = _share(challenger, MISSED)
    person = _more_errors(challenger, champion, rule, MISSED)
    return Check(
        name="missed",
        challenger=share,
        champion=_share(champion, MISSED) if champion else None,
        rule="no more than the champion" if rule.more_errors == "wait" else "shown only",
        passed=_no_more(share, champion, rule, person),
        person=person,
    )


def _no_more(
    share: float | None, champion: Report | None, rule: GateRule, person: str
) -> bool | None:
    """True if there are no more errors than the champion's; None if that decides nothing."""
    compares = share is not None and champion is not None and rule.more_errors == "wait"
    return True if compares and not person else None


def _told_of(rule: GateRule) -> str:
    if rule.more_errors == "wait":
        return ", no more than the champion"
    return "" if rule.false_alarms == "require" else " (shown only)"


class _Errors(NamedTuple):
    """One of the two kinds of error, and what it is counted among."""

    number: str
    among: str
    told: str


EVEN = 0.5
"""How often one of two equally good versions has at least one more error than the other."""
FALSE_ALARMS = _Errors("false_alarms", "n_normal", "good test images raise a false alarm")
MISSED = _Errors("missed", "n_anomalous", "defective test images are missed")


def _share(report: Report, kind: _Errors) -> float | None:
    among = getattr(report, kind.among)
    return getattr(report, kind.number) / among if among else None


def _more_errors(challenger: Report, champion: Report | None, rule: GateRule, kind: _Errors) -> str:
    """Why a person must decide: a sentence with both counts and what chance alone does."""
    mine = _share(challenger, kind)
    theirs = None if champion is None else _share(champion, kind)
    if rule.more_errors == "show" or champion is None or mine is None or theirs is None:
        return ""
    if mine <= theirs + rule.error_tolerance + 1e-9:
        return ""
    new, old = getattr(challenger, kind.number), getattr(champion, kind.number)
    among = getattr(challenger, kind.among)
    chance = chance_of_rise(new, old)
    if chance >= EVEN - 1e-9:  # one image more
        return ""
    return (
        f"{new} of {among} {kind.told}, {old} with the champion. Two equally good versions differ "
        f"by as much in {max(1, round(100 * chance))} of 100 comparisons."
    )


def reported_checks(challenger: Report, champion: Report | None) -> list[Check]:
    """Checks on corrected images. They do not decide: an earlier version's errors chose them."""
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
    return [image for image in report.images if image.defect == feedback.MISSED]


def _alarms(images: Iterable[ImageResult]) -> list[bool]:
    return [image.is_anomalous for image in images]


def recent_checks(challenger: Report, champion: Report | None) -> list[Check]:
    """Within the range that alpha allows; if the parts have changed, no worse than the champion."""
    rate, expected = challenger.false_alarm_rate, challenger.false_alarm_range
    now = champion.false_alarm_rate if champion else None
    allowed = [limit for limit in (expected[1] if expected else None, now) if limit is not None]
    within = None if rate is None or not allowed else rate <= max(allowed)
    return [
        Check(
            name="recent_false_alarm_rate",
            challenger=rate,
            champion=now,
            rule=f"at most {max(allowed):.3f}" if allowed else "no limit: no rate is guaranteed",
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


def compared_checks(
    challenger: Report | None,
    champion: Report | None,
    rule: GateRule,
    differences: Mapping[str, Difference],
) -> list[Check]:
    """The metrics of the rule, each against the champion's on the same images."""
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
