"""From distance maps to a score and a threshold: maps, selection, conformal calibration."""
