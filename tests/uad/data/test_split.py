import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad.config import SplitConfig
from uad.data import Sample
from uad.data.split import Sizes, sizes, split_normals
from uad.errors import DataError
from uad.scoring.conformal import images_needed


def normals(n: int, name: str = "{}.png") -> list[Sample]:
    return [
        Sample(Path(name.format(i)), 0, "good", None, f"{i:064x}", (8, 8), name.format(i))
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("n", "train", "selection", "calibration"),
    [
        (3, 1, 1, 1),
        (10, 5, 1, 4),
        (20, 8, 2, 10),
        (29, 8, 2, 19),
        (31, 9, 3, 19),
        (50, 25, 6, 19),
        (200, 130, 30, 40),
        (1000, 650, 150, 200),
    ],
)
def test_the_shares_of_usual_set_sizes(
    n: int, train: int, selection: int, calibration: int
) -> None:
    assert sizes(n, SplitConfig()) == Sizes(train, selection, calibration)
    shares = split_normals(normals(n), SplitConfig())
    assert (len(shares.train), len(shares.selection)) == (train, selection)
    assert len(shares.calibration) == calibration


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_images_cannot_be_shared_out(n: int) -> None:
    with pytest.raises(DataError, match="at least 3"):
        split_normals(normals(n), SplitConfig())


def test_a_small_alpha_does_not_starve_training() -> None:
    shares = sizes(1000, SplitConfig(alpha=0.001))
    assert shares.train == 250
    assert sizes(200, SplitConfig(alpha=0.01)).calibration == 99


@settings(deadline=None)  # a busy machine is no failure
@given(
    n=st.integers(3, 2000),
    selection=st.floats(0.01, 0.98),
    calibration=st.floats(0.01, 0.98),
    alpha=st.floats(0.001, 0.9),
)
def test_every_share_gets_images_and_all_are_given(
    n: int, selection: float, calibration: float, alpha: float
) -> None:
    config = SplitConfig(selection_share=selection, calibration_share=calibration, alpha=alpha)
    shares = sizes(n, config)
    assert shares.train + shares.selection + shares.calibration == n
    assert shares.train >= min(n // 2, max(8, n // 4))
    assert shares.selection >= 1
    assert shares.calibration >= 1
    if n >= 29 and alpha >= 0.05:
        assert shares.calibration >= images_needed(alpha)


def test_no_image_is_in_two_shares() -> None:
    shares = split_normals(normals(60), SplitConfig())
    together = shares.train + shares.selection + shares.calibration
    assert len({sample.sha256 for sample in together}) == 60


def test_the_split_depends_on_seed_and_content_not_on_order_or_names() -> None:
    samples = normals(60)
    shares = split_normals(samples, SplitConfig())
    shuffled = random.Random(1).sample(samples, 60)
    assert split_normals(shuffled, SplitConfig()) == shares
    renamed = split_normals(normals(60, "other/{}.jpg"), SplitConfig())
    assert {s.sha256 for s in renamed.train} == {s.sha256 for s in shares.train}
    assert split_normals(samples, SplitConfig(seed=1)) != shares


def test_images_added_later_leave_most_others_where_they_were() -> None:
    before = {s.sha256 for s in split_normals(normals(1000), SplitConfig()).calibration}
    after = {s.sha256 for s in split_normals(normals(1100), SplitConfig()).calibration}
    assert len(before & after) >= 0.85 * len(before)


def test_captures_are_never_split_and_sizes_are_nearly_met() -> None:
    samples = normals(300)
    samples = [
        Sample(s.path, 0, "good", None, s.sha256, s.size, f"exp{i % 6}_num_{i // 6}.jpg")
        for i, s in enumerate(samples)
    ]
    shares = split_normals(samples, SplitConfig(group_pattern=r"_num_(\d+)"))
    captures = [
        {sample.name.split("_num_")[1] for sample in share}
        for share in (shares.train, shares.selection, shares.calibration)
    ]
    assert shares.groups == 50
    assert sum(map(len, captures)) == 50
    assert len(set.union(*captures)) == 50
    assert abs(len(shares.calibration) - 60) <= 3
    assert abs(len(shares.selection) - 45) <= 3


def test_one_huge_capture_trains_rather_than_swallow_calibration() -> None:
    samples = [
        Sample(s.path, 0, "good", None, s.sha256, s.size, f"c{max(0, i - 200)}.png")
        for i, s in enumerate(normals(300))
    ]
    for seed in range(8):
        shares = split_normals(samples, SplitConfig(seed=seed, group_pattern=r"c(\d+)"))
        assert len(shares.calibration) == 60
        assert any(sample.name == "c0.png" for sample in shares.train)


def test_images_that_match_no_capture_stand_for_themselves() -> None:
    shares = split_normals(normals(40), SplitConfig(group_pattern=r"_num_(\d+)"))
    assert shares.groups == 40


def test_a_pattern_of_which_all_names_share_the_group_is_refused() -> None:
    with pytest.raises(DataError, match="into 1 groups, and three shares need at least 3"):
        split_normals(normals(40), SplitConfig(group_pattern=r"(\.png)"))
