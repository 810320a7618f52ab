import numpy as np

from uad.models.backbone import Pyramid
from uad.models.resnet import random_weights
from uad.training.ema import Average


def moved(network: Pyramid, value: float) -> None:
    network.load({name: np.full_like(old, value) for name, old in network.weights().items()})


def test_a_decay_of_zero_keeps_the_learning_network_itself() -> None:
    learning = Pyramid(8).load(random_weights(8, 0))
    average = Average(learning, 0.0)
    learning.load(random_weights(8, 1))
    average.update()
    kept, learned = average.network.weights(), learning.weights()
    assert all(np.array_equal(kept[name], learned[name]) for name in learned)


def test_weights_and_statistics_are_averaged_with_a_short_memory_at_first() -> None:
    learning = Pyramid(8)
    moved(learning, 0.0)
    average = Average(learning, 0.5)
    expected = 0.0
    for update in range(20):
        moved(learning, float(update))
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
    for array in average.network.weights().values():
        np.testing.assert_allclose(array, expected, rtol=1e-5)
