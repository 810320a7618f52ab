"""Processes on the processor stand for GPUs: the same code, another device."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from uad.config import ScoreDefinition, TrainingConfig
from uad.data import Dataset, Sample
from uad.errors import EngineError, TrainingError, UadError
from uad.images import read
from uad.inference.detector import load_detector
from uad.models.backbone import Pyramid
from uad.models.parts import EpochMetrics, Teacher, TrainedStudent
from uad.models.resnet import Weights, random_weights
from uad.training import train
from uad.training.checkpoint import FILE
from uad.training.distributed import ALONE, Ranks, fit_on, training_devices
from uad.training.loop import fit

TWO = ("cpu", "cpu")


def brief(config: TrainingConfig, **options: object) -> TrainingConfig:
    training = config.training.model_copy(update={"epochs": 3, "min_steps": 0, **options})
    return config.model_copy(update={"training": training, "score": ScoreDefinition()})


class Unheard(Ranks):
    """One of several processes that gets nothing of the others: what it adds to their sums."""

    def _all_reduce(self, tensor: Any) -> None:
        pass

    def agree(self, *networks: Pyramid) -> None:
        pass


def processes() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def comes_true(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_each_device_named_is_a_process() -> None:
    assert training_devices("cpu") == ("cpu",)
    assert training_devices("gpu:0,1") == ("gpu:0", "gpu:1")
    assert training_devices("cpu,cpu") == TWO
    with pytest.raises(EngineError, match="mixes kinds"):
        training_devices("cpu,gpu:0")


@pytest.mark.parametrize(
    ("devices", "cure"),
    [
        (("gpu:98", "gpu:99"), r"gpu:98, gpu:99 cannot be used. .* Paddle .* or use --device cpu"),
        (("xpu:0", "xpu:1"), r"Only GPUs can share one training\. Name one"),
        (("cpu",) * 9, r"Name fewer devices, or raise training\.batch_size"),
    ],
)
def test_devices_that_cannot_share_a_training_are_refused_before_it_starts(
    teacher: Teacher,
    dataset: Dataset,
    tiny_config: TrainingConfig,
    devices: tuple[str, ...],
    cure: str,
) -> None:
    with pytest.raises(UadError, match=cure):
        fit_on(devices, teacher, dataset.train, dataset.selection, tiny_config)


def test_every_image_of_a_batch_weighs_the_same_in_uneven_shares(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    """What two processes add up from 2 and 1 images, of which each learns apart from the other."""
    config = brief(tiny_config, epochs=1, batch_size=3, weight_decay=0.0, learning_rate=0.1)
    images = np.array(dataset.train[:3], object)
    order = np.random.default_rng([config.training.seed, 1]).permutation(3)
    pair, single = (images[Ranks(rank, 2).share(order)] for rank in range(2))
    assert (len(pair), len(single)) == (2, 1)

    def learned(train: Sequence[Sample], ranks: Ranks = ALONE) -> tuple[Weights, float]:
        model = fit(teacher, train, dataset.selection, config, ranks=ranks)
        start = random_weights(8, config.training.seed + 1)
        steps = {n: w - start[n] for n, w in model.weights.items() if "running" not in n}
        return steps, model.history[0].values["train_loss"]

    (steps, loss), (others, rest) = (learned(images, Unheard(rank, 2)) for rank in range(2))
    (of_pair, pair_loss), (of_single, single_loss) = learned(pair), learned(single)
    assert loss + rest == pytest.approx((2 * pair_loss + single_loss) / 3)
    for name in steps:
        whole = (2 * of_pair[name] + of_single[name]) / 3
        np.testing.assert_allclose(steps[name] + others[name], whole, atol=1e-6)


@pytest.mark.slow
def test_two_devices_learn_from_equal_images_what_one_learns(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    """Of such images batch norm sees in a share what it sees in the batch."""
    config = brief(tiny_config, learning_rate=0.05)
    images = dataset.train[:1] * 11
    one = fit(teacher, images, dataset.selection, config)
    two = fit_on(TWO, teacher, images, dataset.selection, config)
    for name, weights in one.weights.items():
        np.testing.assert_allclose(two.weights[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_training_on_two_devices_makes_a_bundle_that_finds_defects(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, tmp_path: Path, uad_home: Path
) -> None:
    seen: list[EpochMetrics] = []
    bundle = train(
        dataset, tiny_config, teacher, tmp_path / "bundle", device="cpu,cpu", on_epoch=seen.append
    )
    losses = [metrics.values["train_loss"] for metrics in seen]
    assert [metrics.epoch for metrics in seen] == list(range(1, 41))
    assert losses[-1] < losses[0] / 2
    detector = load_detector(bundle.path)
    scores = {
        label: [detector.detect([read(s.path)])[0].score for s in dataset.test if s.label == label]
        for label in (0, 1)
    }
    assert min(scores[1]) > max(scores[0])
    assert not processes()
    assert not list((uad_home / "cache").glob("training-*"))
    assert not list((uad_home / "checkpoints").iterdir())


@pytest.mark.slow
def test_interrupted_and_gone_on_with_two_devices_end_with_the_same_weights(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    def interrupt(metrics: EpochMetrics) -> None:
        raise KeyboardInterrupt

    def run(name: str, on_epoch: Callable[[EpochMetrics], None]) -> TrainedStudent:
        return fit_on(
            TWO, teacher, dataset.train, dataset.selection, brief(tiny_config, epochs=20),
            checkpoints=tmp_path / name, key="k", on_epoch=on_epoch,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run("a", interrupt)
    assert not processes()
    seen: list[EpochMetrics] = []
    resumed, whole = run("a", seen.append), run("b", lambda _: None)
    assert 1 < seen[0].epoch <= 20
    assert all(np.array_equal(resumed.weights[n], whole.weights[n]) for n in whole.weights)


@pytest.mark.slow
def test_an_error_of_a_process_is_the_error_of_the_training(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    bias = np.full_like(teacher.weights["layer3.1.bn2.bias"], np.inf)
    broken = replace(teacher, weights={**teacher.weights, "layer3.1.bn2.bias": bias})
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        fit_on(TWO, broken, dataset.train, dataset.selection, brief(tiny_config))


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_training_and_its_words_are_kept(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, uad_home: Path
) -> None:
    def kill_one(metrics: EpochMetrics) -> None:
        if metrics.epoch == 1:
            ranks = [p for p in processes() if p.cmdline()[1:3] == ["-m", "uad.training"]]
            assert len(ranks) == 2
            ranks[1].kill()

    config = brief(tiny_config, epochs=10_000)
    with pytest.raises(TrainingError, match="ended too early") as told:
        fit_on(TWO, teacher, dataset.train, dataset.selection, config, on_epoch=kill_one)
    (logs,) = (uad_home / "cache").glob("training-*-logs")
    assert str(logs) in str(told.value)
    assert {file.name for file in logs.iterdir()} == {"workerlog.0", "workerlog.1"}
    assert not processes()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_command_that_started_them(
    parts: Path, tmp_path: Path, uad_home: Path, how: signal.Signals
) -> None:
    settings = {"model.width": 8, "input.height": 48, "input.width": 64, "training.epochs": 10_000}
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = [
        sys.executable, "-m", "uad", "train", "--data", str(parts), "--teacher", "random",
        "--output", str(tmp_path / "bundle"), "--device", "cpu,cpu", *sets,
    ]  # fmt: skip
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert comes_true(lambda: bool(list(uad_home.rglob(FILE))))
    started = processes()
    assert len(started) == 4  # the command, the launcher, two that train
    running.send_signal(how)
    assert running.wait(60) != 0
    assert comes_true(lambda: not any(map(alive, started)))
