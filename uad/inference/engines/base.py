"""What every engine offers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from uad.scoring.maps import Outputs


class Engine(Protocol):
    """A loaded model. Results do not depend on how images are batched."""

    @property
    def name(self) -> str:
        """For example `onnxruntime`."""
        ...

    @property
    def precision(self) -> str:
        """What it computes in: `fp32`, `bf16`, `int8`."""
        ...

    @property
    def key(self) -> str:
        """`name/precision`, the key of its calibration entry in a bundle."""
        ...

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run a batch (N, H, W, 3) uint8 BGR at the bundle's input size."""
        ...

    def close(self) -> None:
        """Release the model's memory; the engine cannot be used afterwards."""
        ...
