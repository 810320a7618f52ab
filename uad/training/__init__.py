"""Fit a student to a teacher on normal images, and make the bundle that serves it."""

from uad.training.loop import fit
from uad.training.train import train, training_key

__all__ = ["fit", "train", "training_key"]
