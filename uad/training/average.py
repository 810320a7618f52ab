"""The student that is kept: the moving average of the one that learns."""

from uad.backbone import Pyramid
from uad.runtime import paddle


class Average:
    """Exponential moving average of a network's weights and batch norm statistics.

    A constant learning rate keeps the weights moving about their goal; their average lies nearer
    to it (Polyak and Juditsky, 1992).

    Args:
        source: the network that learns.
        decay: share of the old average in the new one, from 0 (the source itself) to below 1; in
            the first updates (1 + updates) / (10 + updates) where that is less.
    """

    def __init__(self, source: Pyramid, decay: float) -> None:
        self.network = Pyramid(source.width).load(source.weights()).frozen()
        """In evaluation mode."""
        self.updates = 0
        self._decay = decay
        learned, kept = source.state_dict(), self.network.state_dict()
        self._pairs = [(kept[name], learned[name]) for name in kept]

    def update(self) -> None:
        """Take in the source as it is now."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        with paddle.no_grad():
            for kept, learned in self._pairs:
                paddle.assign(kept * decay + learned * (1.0 - decay), output=kept)
        self.updates += 1
