"""Fit a detector to normal images, and make the bundle that serves it."""

from uad.training.train import settled, train, training_key

__all__ = ["settled", "train", "training_key"]
