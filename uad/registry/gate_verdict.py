"""The gate's rule, its table of checks, and its verdict."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from uad.config import Settings
from uad.config.choices import Mode
from uad.storage.names import DatasetAddress, ModelVersionNumber

Decision = Literal["promote", "wait", "reject"]
Metric = Literal[
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "f1", "f1_max", "recall"
]
"""Figures of a report that are better when higher."""
Share = Annotated[float, Field(ge=0, le=1)]

MAX_DROP: dict[Metric, float] = {"image_auroc": 0.01, "aupro": 0.01}

LABELS = {
    "golden": "golden inputs reproduced",
    "guaranteed_rate": "false alarm rate, guaranteed",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "false_alarm_rate": "false alarm rate",
    "missed": "missed defects",
    "recent_false_alarm_rate": "false alarm rate, recent images",
    "missed_defects_found": "missed defects that people reported: share found",
    "false_alarms_left": "false alarms that people reported: share that still raises an alarm",
    "latency_ms": "latency, ms per image",
}
OUTCOMES = {True: "passed", False: "failed", None: "-"}
COLUMNS = ("check", "challenger", "champion", "difference, 95 %", "rule", "outcome")


class GateRule(Settings):
    """The rule, as a YAML file may hold it."""

    max_drop: dict[Metric, Share] = MAX_DROP
    """By metric of the report: how far below the champion's it may lie on the same images."""
    drops: Literal["all", "significant"] = "all"
    """Which larger drops count: `significant` ignores those that chance can explain, whose 95 %
    interval (paired bootstrap) contains zero. Small test sets need it, or every other sound model
    fails. Many small losses in a row can then add up."""
    normals_only: Literal["wait", "promote"] = "wait"
    """Without labelled test images: wait for a person, or promote."""
    false_alarms: Literal["show", "require"] = "show"
    """Whether the observed false alarm rate must lie below the upper end of the range that alpha
    promises (95 %, so that one sound model in forty fails by chance)."""
    more_errors: Literal["wait", "show"] = "wait"
    """More false alarms or more missed defects than the champion's on the same test images: wait
    for a person, or show it only. One image more proves nothing: at least two count."""
    error_tolerance: Share = 0.01
    """Rise of either rate that does not count as more."""
    max_guaranteed_rate: Share = 0.2
    """If the calibration images are too few for the false alarm rate that was asked for: the
    largest rate that is promoted without a person. A champion's larger one is accepted too."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Largest median time per image, on the machine that evaluates."""


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
    person: str = ""
    """Why a person must decide; empty where nobody needs to."""


class GateVerdict(BaseModel):
    """What the gate decided, on which figures."""

    model_config = ConfigDict(frozen=True)

    decision: Decision
    reason: str
    checks: tuple[Check, ...] = ()
    champion: ModelVersionNumber | None = None
    """The version it was compared with."""
    dataset: DatasetAddress | None = None
    """`name@version` of the images both were evaluated on."""

    def promotes(self, mode: Mode = "gate") -> bool:
        """Whether the new version becomes champion, given what the user asked for."""
        if mode == "gate":
            return self.decision == "promote"
        return mode == "always"  # `ask` is another's answer, later

    def told(self, mode: Mode = "gate") -> str:
        """The decision and its reason, and what counts instead if the gate was not to decide."""
        told = f"{self.decision}: {self.reason}"
        return (
            told if mode == "gate" else f"promote={mode} was asked for. The gate alone says {told}"
        )

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
                facts[f"gate.{check.name}.interval"] = interval_text(check)
        return facts

    def rows(self) -> list[tuple[str, ...]]:
        """The table under `COLUMNS`."""
        return [
            (
                LABELS.get(check.name, check.name),
                figure_text(check.challenger),
                figure_text(check.champion),
                interval_text(check),
                check.rule,
                "a person decides" if check.person else OUTCOMES[check.passed],
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
            (
                f"Compared with version {self.champion or 'none'} on "
                f"{self.dataset or 'no images'}. "
                "These figures were used to choose between versions. They are not an independent "
                "estimate."
            ),
        ]
        return "\n".join(lines) + "\n"


def interval_text(check: Check) -> str:
    """For people; a dash where there is none."""
    return (
        "-" if check.interval is None else f"{check.interval[0]:+.3f} to {check.interval[1]:+.3f}"
    )


def figure_text(value: float | None) -> str:
    """Four digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"
