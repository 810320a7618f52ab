"""The moving average of the student's weights (`training.ema_decay`)."""

from uad.models.backbone import Pyramid
from uad.models.paddle_runtime import paddle


class Average:
    """Exponential moving average of a network's weights and batch norm statistics.

    With a constant learning rate the weights keep moving around their goal. Their average is closer
    to it (Polyak and Juditsky, 1992).

    Args:
        source: the network that learns.
        decay: share of the old average in the new one, from 0 (the source itself) to below 1; in
            the first updates (1 + updates) / (10 + updates) where that is less.
    """

    def __init__(self, source: Pyramid, decay: float) -> None:
        self._network = Pyramid(source.width).load(source.weights()).frozen()
        self.updates = 0
        self._decay = decay
        learned, kept = source.state_dict(), self._network.state_dict()
        self._pairs = [(kept[name], learned[name]) for name in kept]
        self._behind = False

    @property
    def network(self) -> Pyramid:
        """In evaluation mode."""
        if self._behind:
            self._take_in(0.0)
            self._behind = False
        return self._network

    def update(self) -> None:
        """Take in the source as it is now."""
        if self._decay == 0:
            self._behind = True  # copied when it is needed next, to save time
        else:
            self._take_in(min(self._decay, (1 + self.updates) / (10 + self.updates)))
        self.updates += 1

    def _take_in(self, decay: float) -> None:
        with paddle.no_grad():
            for kept, learned in self._pairs:
                new = kept * decay + learned * (1.0 - decay) if decay else learned
                paddle.assign(new, output=kept)
