"""The inference graph: image in, the parts' distances out, built with `onnx.helper`.

    image (N, H, W, 3) uint8 BGR
      -> normalise -> teacher (N, C_l, h_l, w_l) --+-> nearest of the memory -> memory (N, h, w)
                   |                               +-> mean, std -> whole_image (N,)
                   -> student (N, C_l, h_l, w_l) --+-> 1 - cos over C_l -> map{l} (N, h_l, w_l)

Batch norms are folded into the convolutions; scale and channel order of the input into the first.
The graph ends before upsampling, which is cheaper and more exact outside (`uad.scoring.parts`).
`build` computes in float32; `build_int8` is the same network quantised.
"""

from uad.graph.int8 import Range, Ranges, build_int8
from uad.graph.network import build, build_features, build_observed
from uad.graph.nodes import INPUT, output_sizes
from uad.graph.parts import MOMENTS, PATCHES
from uad.graph.postprocess import with_scoring

__all__ = [
    "INPUT",
    "MOMENTS",
    "PATCHES",
    "Range",
    "Ranges",
    "build",
    "build_features",
    "build_int8",
    "build_observed",
    "output_sizes",
    "with_scoring",
]
