"""Serving needs neither Paddle nor what training brings along."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BLOCKED = ("paddle", "prefect", "sklearn", "scipy", "matplotlib", "onnx", "torch", "psutil")

PROGRAM = """
import sys
blocked = {blocked}
sys.modules.update(dict.fromkeys(blocked))  # None there: not importable, and not found either
import numpy as np
import serving.workers.process
from serving.app import create_app
from uad import create_pipeline
from uad.inference.detector import load_detector

detector = load_detector(sys.argv[1], engine=sys.argv[2])
image = np.zeros((40, 50, 3), np.uint8)
print(detector.detect([image])[0].anomaly_map.shape, detector.engine.key)
assert not any(sys.modules[name] for name in blocked)
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "auto"])
def test_the_serving_path_runs_where_paddle_is_not_installed(
    engine: str, random_bundle: Callable[[int], Path]
) -> None:
    program = PROGRAM.format(blocked=set(BLOCKED))
    done = subprocess.run(
        [sys.executable, "-c", program, str(random_bundle(5)), engine],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(40,", "50)", "onnxruntime/fp32"]
