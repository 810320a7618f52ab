from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uad.bundle import read_bundle
from uad.config import TrainingConfig
from uad.config.training import AugmentationConfig
from uad.data import Dataset
from uad.errors import EngineError, TrainingError
from uad.images import read
from uad.inference.detector import load_detector
from uad.models.parts import EpochMetrics, Teacher, TrainedStudent
from uad.models.teacher import load_teacher
from uad.training import train
from uad.training.augmentation import augmented
from uad.training.loop import fit, learning_rate


def brief(config: TrainingConfig, **options: object) -> TrainingConfig:
    training = config.training.model_copy(update={"epochs": 3, "min_steps": 0, **options})
    return config.model_copy(update={"training": training})


def test_planted_defects_are_found_after_training(trained_bundle: Path, dataset: Dataset) -> None:
    detector = load_detector(trained_bundle)
    scores = {
        label: [detector.detect([read(s.path)])[0].score for s in dataset.test if s.label == label]
        for label in (0, 1)
    }
    assert min(scores[1]) > max(scores[0])


def test_the_loss_falls_and_the_epoch_with_the_lowest_selection_loss_is_kept(
    trained_bundle: Path,
) -> None:
    manifest = read_bundle(trained_bundle).manifest
    losses = [epoch["selection_loss"] for epoch in manifest.history]
    assert manifest.history[-1]["train_loss"] < manifest.history[0]["train_loss"] / 2
    assert manifest.chosen_epoch == 1 + int(np.argmin(losses))


def test_every_epoch_is_reported_in_order(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    seen: list[EpochMetrics] = []
    fit(teacher, dataset.train, dataset.selection, brief(tiny_config), on_epoch=seen.append)
    assert [metrics.epoch for metrics in seen] == [1, 2, 3]
    assert {"train_loss", "selection_loss", "learning_rate", "seconds"} <= set(seen[0].values)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, tmp_path: Path, optimizer: str
) -> None:
    config = brief(tiny_config, optimizer=optimizer, learning_rate=0.01, schedule="cosine")

    def interrupt(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    def run(folder: Path, **options: object) -> TrainedStudent:
        return fit(
            teacher, dataset.train, dataset.selection, config, checkpoints=folder, key="k",
            **options,  # type: ignore[arg-type]
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", on_epoch=interrupt)
    seen: list[EpochMetrics] = []
    resumed, whole = run(tmp_path / "a", on_epoch=seen.append), run(tmp_path / "b")
    assert [metrics.epoch for metrics in seen] == [3]
    assert all(np.array_equal(resumed.weights[n], whole.weights[n]) for n in whole.weights)


def test_a_checkpoint_of_another_training_is_refused(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    def run(key: str) -> TrainedStudent:
        return fit(
            teacher, dataset.train, dataset.selection, brief(tiny_config, epochs=1),
            checkpoints=tmp_path, key=key,
        )  # fmt: skip

    run("one")
    with pytest.raises(TrainingError, match="other images, another teacher"):
        run("two")


def test_a_device_that_is_not_here_is_refused_by_training_and_engine_in_the_same_words(
    dataset: Dataset,
    teacher: Teacher,
    tiny_config: TrainingConfig,
    trained_bundle: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(EngineError, match=r"npu:98 cannot be used. .* or use --device cpu") as told:
        train(dataset, tiny_config, teacher, tmp_path / "bundle", device="npu:98")
    with pytest.raises(EngineError) as same:
        load_detector(trained_bundle, engine="paddle", device="npu:98")
    assert str(same.value) == str(told.value)


def test_a_loss_that_is_not_finite_stops_training_and_says_what_to_change(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    bias = np.full_like(teacher.weights["layer3.1.bn2.bias"], np.inf)
    broken = {**teacher.weights, "layer3.1.bn2.bias": bias}
    with pytest.raises(TrainingError, match=r"Lower training\.learning_rate"):
        fit(
            replace(teacher, weights=broken),
            dataset.train,
            dataset.selection,
            brief(tiny_config),
        )


def test_the_bundle_does_not_depend_on_where_cached_arrays_lie(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    students = [
        fit(
            teacher, dataset.train, dataset.selection, brief(tiny_config, cache_bytes=limit)
        ).weights
        for limit in (0, 2**30)
    ]
    assert all(np.array_equal(students[0][name], students[1][name]) for name in students[0])


def test_a_finished_training_leaves_no_checkpoint(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, uad_home: Path, tmp_path: Path
) -> None:
    train(dataset, brief(tiny_config, epochs=1), teacher, tmp_path / "bundle")
    assert list((uad_home / "checkpoints").rglob("*")) == []


def test_training_stops_early_when_the_selection_loss_no_longer_falls(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    config = brief(tiny_config, epochs=40, learning_rate=1e-12, patience=2)
    model = fit(teacher, dataset.train, dataset.selection, config)
    assert len(model.history) < 40


def test_the_cosine_schedule_warms_up_and_ends_near_zero(tiny_config: TrainingConfig) -> None:
    options = brief(tiny_config, schedule="cosine", learning_rate=1.0, warmup_share=0.1).training
    rates = [learning_rate(options, step, 100) for step in range(100)]
    assert rates[0] < 0.2
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] < 0.01


def test_the_bundle_says_what_it_was_made_of(
    trained_bundle: Path, dataset: Dataset, teacher: Teacher
) -> None:
    manifest = read_bundle(trained_bundle).manifest
    assert manifest.dataset is not None
    assert manifest.dataset.version == dataset.version
    assert manifest.dataset.calibration == len(dataset.calibration)
    assert (manifest.teacher.id, manifest.teacher.sha256) == ("random", teacher.sha256)


def test_with_augmentation_the_teacher_sees_what_the_student_sees(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig
) -> None:
    augmentation = AugmentationConfig(flip_horizontal=True, flip_vertical=True, brightness=0.1)
    config = brief(tiny_config, augmentation=augmentation, epochs=8)
    losses: list[float] = []
    fit(
        teacher, dataset.train, dataset.selection, config,
        on_epoch=lambda metrics: losses.append(metrics.values["train_loss"]),
    )  # fmt: skip
    assert losses[-1] < losses[0] / 2


def test_augmentation_changes_images_only_as_declared() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
    flips = AugmentationConfig(flip_horizontal=True)
    rng = np.random.default_rng(0)
    seen = [augmented(image, flips, rng)[0] for _ in range(20)]
    assert all(np.array_equal(s, image[0]) or np.array_equal(s, image[0, :, ::-1]) for s in seen)
    assert len({s.tobytes() for s in seen}) == 2
    assert not AugmentationConfig().on


def test_a_checkpoint_is_not_gone_on_from_with_another_teacher(
    teacher: Teacher, dataset: Dataset, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    def interrupt(metrics: EpochMetrics) -> None:
        raise KeyboardInterrupt

    config, checkpoints = brief(tiny_config), tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        train(
            dataset, config, teacher, tmp_path / "a",
            on_epoch=interrupt, checkpoints=checkpoints,
        )  # fmt: skip
    other = load_teacher("random", width=8, seed=1)
    with pytest.raises(TrainingError, match="other images, another teacher"):
        train(dataset, config, other, tmp_path / "b", checkpoints=checkpoints)
