"""Metrics, logs and the score recorder."""
