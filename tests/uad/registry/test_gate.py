from pathlib import Path
from typing import Literal

import pytest

from tests.uad.registry.reports import report
from uad.bundle import CalibrationEntry
from uad.config import load_settings
from uad.errors import ConfigError
from uad.evaluation import Report
from uad.evaluation.report import ImageResult
from uad.metrics import Difference
from uad.monitoring.feedback import MISSED
from uad.registry.gate import Decision, GateRule, GateVerdict, Mode, decide
from uad.scoring.conformal import conformal_threshold

STRICT = GateRule(false_alarms="require", max_latency_ms=30)


@pytest.mark.parametrize(
    ("challenger", "champion", "rule", "decision"),
    [
        pytest.param(report(0.95, 0.85), report(), GateRule(), "promote", id="better"),
        pytest.param(report(), report(), GateRule(), "promote", id="equal"),
        pytest.param(report(0.89, 0.8), report(), GateRule(), "promote", id="worse by 0.01"),
        pytest.param(report(0.889, 0.8), report(), GateRule(), "reject", id="image AUROC down"),
        pytest.param(report(0.95, 0.78), report(), GateRule(), "reject", id="AUPRO down"),
        pytest.param(
            report(0.889, 0.8),
            report(),
            GateRule(max_drop={"aupro": 0.0}),
            "promote",
            id="own rule",
        ),
        pytest.param(report(0.9, None), report(0.9, None), GateRule(), "promote", id="no masks"),
        pytest.param(
            report(0.8, None), report(0.9, None), GateRule(), "reject", id="no masks, down"
        ),
        pytest.param(report(None, None), report(None, None), GateRule(), "wait", id="normals only"),
        pytest.param(
            report(None, None),
            report(None, None),
            GateRule(normals_only="promote"),
            "promote",
            id="normals only, rule promotes",
        ),
        pytest.param(None, None, GateRule(), "wait", id="no test images"),
        pytest.param(
            report(false_alarm_rate=0.3), report(), GateRule(), "wait", id="more false alarms"
        ),
        pytest.param(
            report(false_alarm_rate=0.3),
            report(),
            GateRule(more_errors="show"),
            "promote",
            id="more false alarms, shown",
        ),
        pytest.param(
            report(false_alarm_rate=0.10),
            report(false_alarm_rate=0.0),
            GateRule(),
            "wait",
            id="two false alarms instead of none",
        ),
        pytest.param(report(missed=2), report(), GateRule(), "wait", id="two more are missed"),
        pytest.param(report(missed=1), report(), GateRule(), "promote", id="one more is missed"),
        pytest.param(report(missed=1), report(missed=2), GateRule(), "promote", id="one less"),
        pytest.param(
            report(missed=2), report(), GateRule(error_tolerance=0.1), "promote", id="tolerated"
        ),
        pytest.param(
            report(0.8, missed=2), report(), GateRule(), "reject", id="a metric is down as well"
        ),
        pytest.param(report(false_alarm_rate=0.3), report(), STRICT, "reject", id="false alarms"),
        pytest.param(report(median_ms=31), report(), STRICT, "reject", id="too slow"),
        pytest.param(report(median_ms=30), report(), STRICT, "promote", id="within budget"),
    ],
)
def test_a_challenger_is_judged_against_the_champion(
    challenger: Report | None, champion: Report | None, rule: GateRule, decision: Decision
) -> None:
    verdict = decide(challenger, champion, rule, champion_version="3")
    assert verdict.decision == decision
    assert verdict.reason


@pytest.mark.parametrize(
    ("low", "high", "drops", "decision"),
    [
        (-0.10, 0.02, "significant", "promote"),
        (-0.10, -0.01, "significant", "reject"),
        (-0.10, 0.02, "all", "reject"),
    ],
)
def test_a_drop_that_chance_explains_may_be_forgiven(
    low: float, high: float, drops: Literal["all", "significant"], decision: Decision
) -> None:
    verdict = decide(
        report(0.86),
        report(0.9),
        GateRule(drops=drops),
        champion_version="3",
        differences={"image_auroc": Difference(0.86, 0.9, -0.04, low, high)},
    )
    assert verdict.decision == decision
    assert f"{low:+.3f} to {high:+.3f}" in verdict.markdown("cookie version 4")
    assert verdict.tags()["gate.image_auroc.interval"] == f"{low:+.3f} to {high:+.3f}"


@pytest.mark.parametrize(
    ("rate", "champions", "decision"),
    [
        pytest.param(0.20, None, "promote", id="as promised"),
        pytest.param(0.30, None, "reject", id="more than promised"),
        pytest.param(0.30, 0.25, "reject", id="more than promised, and than the champion"),
        pytest.param(0.30, 0.60, "promote", id="the line has changed, and the champion is worse"),
    ],
)
def test_false_alarms_on_recent_normal_images_count(
    rate: float, champions: float | None, decision: Decision
) -> None:
    now = None if champions is None else report(None, None, false_alarm_rate=champions)
    verdict = decide(
        report(),
        report(),
        champion_version="3",
        recent=report(None, None, false_alarm_rate=rate, false_alarm_range=(0.0, 0.2)),
        champion_recent=now,
    )
    assert verdict.decision == decision
    assert "recent_false_alarm_rate" in " ".join(verdict.tags())


def test_good_recent_images_alone_leave_the_decision_to_a_person() -> None:
    recent = report(None, None)
    verdict = decide(None, None, champion_version="3", recent=recent, champion_recent=recent)
    assert verdict.decision == "wait"


def test_without_an_interval_no_drop_is_forgiven() -> None:
    verdict = decide(report(0.86), report(0.9), GateRule(drops="significant"), champion_version="3")
    assert verdict.decision == "reject"


@pytest.mark.parametrize("first", [report(0.5, 0.1), report(None, None), None])
def test_the_first_version_of_a_product_needs_only_its_own_checks(first: Report | None) -> None:
    assert decide(first, None).decision == "promote"


def calibrated_on(images: int, asked: float, captures: int = 0) -> CalibrationEntry:
    threshold, alpha = conformal_threshold([0.5] * images, asked)
    return CalibrationEntry(
        alpha=alpha,
        requested_alpha=asked,
        threshold=threshold,
        scores=(0.5,) * images,
        captures=tuple(number % captures for number in range(images)) if captures else (),
        golden_scores=(1.0,),
        tolerance=0.01,
    )


def judged(calibration: CalibrationEntry, champion: float | None) -> GateVerdict:
    """With a champion that keeps this rate, or without one."""
    return decide(
        report(),
        report() if champion else None,
        calibration=calibration,
        champion_version="3" if champion else None,
        champion_alpha=champion,
    )


@pytest.mark.parametrize(
    ("images", "asked", "champion", "decision"),
    [
        pytest.param(19, 0.05, None, "promote", id="as asked"),
        pytest.param(19, 0.01, None, "promote", id="not as asked, but low"),
        pytest.param(4, 0.05, None, "promote", id="one part in five"),
        pytest.param(3, 0.05, None, "wait", id="one part in four"),
        pytest.param(1, 0.05, None, "wait", id="every second part"),
        pytest.param(1, 0.5, None, "promote", id="every second part, as asked"),
        pytest.param(1, 0.05, 0.5, "promote", id="no more than the champion"),
        pytest.param(1, 0.05, 0.2, "wait", id="more than the champion"),
    ],
)
def test_a_person_decides_about_a_threshold_that_too_few_good_images_set(
    images: int, asked: float, champion: float | None, decision: Decision
) -> None:
    verdict = judged(calibrated_on(images, asked), champion)
    assert verdict.decision == decision
    if decision == "wait":
        assert "Add good images and retrain, or accept this rate" in verdict.reason
        assert "For 5 % you need 19" in verdict.reason


@pytest.mark.parametrize(
    ("captures", "champion", "decision"),
    [(19, None, "promote"), (6, None, "promote"), (4, None, "wait"), (4, 0.24, "promote")],
)
def test_a_person_decides_about_a_threshold_that_too_few_captures_set(
    captures: int, champion: float | None, decision: Decision
) -> None:
    verdict = judged(calibrated_on(120, 0.05, captures), champion)
    assert verdict.decision == decision
    if decision == "wait":
        assert "The 120 calibration images show 4 captures" in verdict.reason
        assert "With 4 the rate may be up to 24 %" in verdict.reason


def test_no_first_version_is_promoted_over_a_failed_check_of_its_own() -> None:
    assert decide(report(median_ms=31), None, STRICT).decision == "reject"


def test_a_version_that_fails_its_golden_check_is_rejected_with_the_reason() -> None:
    verdict = decide(report(), None, golden_error="input 0 scores 0.5, not 0.7")
    assert verdict.decision == "reject"
    assert "input 0" in verdict.reason


def test_a_champion_that_cannot_be_evaluated_leaves_the_decision_to_a_person() -> None:
    verdict = decide(report(), None, champion_version="3", champion_error="model.onnx is missing")
    assert verdict.decision == "wait"
    assert "model.onnx is missing" in verdict.reason


def test_a_rejection_names_the_metric_and_both_figures() -> None:
    reason = decide(report(0.7), report(0.9), champion_version="3").reason
    assert "image AUROC is 0.7 against the champion's 0.9" in reason


@pytest.mark.parametrize(
    ("decision", "mode", "promotes"),
    [
        ("promote", "gate", True),
        ("wait", "gate", False),
        ("reject", "gate", False),
        ("wait", "always", True),
        ("reject", "always", True),
        ("promote", "never", False),
    ],
)
def test_the_user_may_overrule_the_gate(decision: Decision, mode: Mode, promotes: bool) -> None:
    assert GateVerdict(decision=decision, reason="because").promotes(mode) is promotes


def test_the_figures_that_decided_are_labelled_as_the_gates() -> None:
    verdict = decide(report(0.95), report(0.9), champion_version="3", dataset="cookie@abc")
    tags = verdict.tags()
    assert tags["gate.image_auroc.challenger"] == "0.95"
    assert tags["gate.image_auroc.champion"] == "0.9"
    assert tags["gate.dataset"] == "cookie@abc"
    assert all(name.startswith("gate.") for name in tags)
    assert "| image AUROC | 0.95 | 0.9 |" in verdict.markdown("cookie version 4")


def test_a_rule_is_read_from_yaml_and_a_misspelt_metric_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("max_drop: {image_auroc: 0.02}\nnormals_only: promote\n")
    assert load_settings(GateRule, file).max_drop == {"image_auroc": 0.02}
    file.write_text("max_drop: {image_aroc: 0.02}\n")
    with pytest.raises(ConfigError, match="image_aroc"):
        load_settings(GateRule, file)


def test_what_people_corrected_is_shown_and_decides_nothing() -> None:
    def corrected(own: Report, *, found: bool, still_alarms: bool) -> Report:
        said = ImageResult(
            name="feedback/a.png",
            label=0,
            defect="good",
            score=1.0,
            is_anomalous=still_alarms,
            p_value=0.1,
            has_mask=False,
        )
        missed = said.model_copy(update={"defect": MISSED, "label": 1, "is_anomalous": found})
        return own.model_copy(update={"images": (*own.images, missed), "said_good": (said,)})

    new = corrected(report(), found=False, still_alarms=False)
    old = corrected(report(), found=True, still_alarms=True)
    verdict = decide(new, old, champion_version="1")
    shown = {check.name: check for check in verdict.checks}
    missed, left = shown["missed_defects_found"], shown["false_alarms_left"]
    assert (missed.challenger, missed.champion, missed.passed) == (0.0, 1.0, None)
    assert (left.challenger, left.champion, left.passed) == (0.0, 1.0, None)
    assert verdict.decision == decide(report(), report(), champion_version="1").decision


def test_a_person_is_told_both_counts_and_what_chance_does() -> None:
    verdict = decide(
        report(false_alarm_rate=0.10), report(false_alarm_rate=0.0), champion_version="3"
    )
    assert "2 of 20 good test images raise a false alarm, 0 with the champion" in verdict.reason
    assert "in 25 of 100 comparisons" in verdict.reason
    assert "A person decides" in verdict.reason
    assert "| a person decides |" in verdict.markdown("cookie version 4")


def test_the_first_version_is_compared_with_nobody() -> None:
    assert decide(report(false_alarm_rate=0.3, missed=5), None).decision == "promote"
