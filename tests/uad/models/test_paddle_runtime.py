import signal
import subprocess
import sys

ENDING = """
import os, signal, sys
{handler}
import uad.models.paddle_runtime
os.kill(os.getpid(), signal.SIGTERM)
"""


def ended(handler: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", ENDING.format(handler=handler)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_program_with_paddle_still_decides_what_sigterm_does() -> None:
    assert ended("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))").returncode == 7


def test_sigterm_ends_a_training_without_papers_from_paddle() -> None:
    done = ended("")
    assert done.returncode == -signal.SIGTERM
    assert "Traceback" not in done.stderr
