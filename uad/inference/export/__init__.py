"""Make a bundle ready for another engine, or for a device without Python.

ready = prepare(read_bundle(path), dataset, engine="openvino", precision="int8")
export_edge(ready, Path("device"))
"""

from uad.inference.export.edge import export_edge
from uad.inference.prepare import prepare

__all__ = ["export_edge", "prepare"]
