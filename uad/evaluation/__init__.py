"""Judge a detector on labelled images and say what was found, for machines and for people."""

from uad.evaluation.evaluate import evaluate
from uad.evaluation.report import DefectResult, ImageResult, Latency, Provenance, Report

__all__ = ["DefectResult", "ImageResult", "Latency", "Provenance", "Report", "evaluate"]
