"""Evaluate a detector on labelled images and report the result, for machines and for people."""

from uad.evaluation.comparison import compare, write_comparison
from uad.evaluation.evaluate import evaluate
from uad.evaluation.report import DefectResult, ImageResult, Latency, Provenance, Report
from uad.evaluation.report_files import read_report, write_report

__all__ = [
    "DefectResult",
    "ImageResult",
    "Latency",
    "Provenance",
    "Report",
    "compare",
    "evaluate",
    "read_report",
    "write_comparison",
    "write_report",
]
