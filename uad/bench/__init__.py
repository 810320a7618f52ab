"""Measurements that anyone can run again: `uad bench`."""
