import threading

import pytest

from uad.errors import ServingError
from uad.hot_reload import ModelSlot, Served


class Model:
    def __init__(self) -> None:
        self.closed = 0

    def check_golden(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def served(version: str) -> Served[Model]:
    return Served(Model(), version, "cookie")


def test_an_empty_holder_says_how_to_fill_it() -> None:
    with pytest.raises(ServingError, match="uad promote"), ModelSlot[Model]().use():
        pass


def test_a_swap_takes_effect_for_the_next_user_and_not_for_the_present_one() -> None:
    slot = ModelSlot(served("1"))
    with slot.use() as old:
        slot.swap(served("2"))
        with slot.use() as new:
            assert (old.version, new.version) == ("1", "2")
        assert old.detector.closed == 0
    assert old.detector.closed == 1
    assert new.detector.closed == 0


def test_a_model_that_nobody_uses_is_closed_by_the_swap() -> None:
    first = served("1")
    slot = ModelSlot(first)
    slot.swap(served("2"))
    assert first.detector.closed == 1


def test_a_model_is_closed_when_its_user_fails() -> None:
    first = served("1")
    slot = ModelSlot(first)
    with pytest.raises(ZeroDivisionError), slot.use():
        slot.close()
        raise ZeroDivisionError
    assert first.detector.closed == 1


def test_many_users_and_swaps_at_once_never_meet_a_closed_model() -> None:
    slot = ModelSlot(served("0"))
    stop = threading.Event()
    seen_closed: list[str] = []
    models = [slot.current]

    def use() -> None:
        while not stop.is_set():
            with slot.use() as current:
                if current.detector.closed:
                    seen_closed.append(current.version)

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    for version in range(1, 300):
        models.append(served(str(version)))
        slot.swap(models[-1])
    stop.set()
    for user in users:
        user.join()
    assert seen_closed == []
    assert [model.detector.closed for model in models if model] == [1] * 299 + [0]
