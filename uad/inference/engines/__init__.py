"""Engines: a bundle's graph on a device, behind one small interface.

`load_engine` is the only entry; each engine's library is imported when it is asked for.
"""

from uad.inference.engines.base import Engine
from uad.inference.engines.loading import load_engine, open_model

__all__ = ["Engine", "load_engine", "open_model"]
