"""Make a bundle ready for another engine, or for a device without Python.

bundle = prepare(read_bundle(path), dataset, engine="openvino", precision="int8")
"""

from uad.export.prepare import prepare

__all__ = ["prepare"]
