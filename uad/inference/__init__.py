"""From images to scores and verdicts: the detector, its engines, graphs and 8-bit models."""
