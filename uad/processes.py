"""How processes end: with the one that started them, and without delay."""

import atexit
import ctypes
import gc
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Get this signal when the thread that started this process ends, even if it is killed.

    On Linux only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def end_without_delay() -> None:
    """When this process ends, do not look for garbage in all that it has loaded.

    With the libraries of a training that takes Python seconds, and the memory is given back anyway.
    """
    atexit.register(gc.freeze)
