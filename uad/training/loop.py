"""The training loop: read it from top to bottom."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.config import TrainingConfig
from uad.config.training import OptimisationConfig
from uad.console import progress_bar
from uad.data import Sample
from uad.errors import TrainingError
from uad.models.backbone import Pyramid, Tensor
from uad.models.paddle_runtime import paddle
from uad.models.parts import EpochMetrics, Teacher, TrainedStudent
from uad.models.resnet import random_weights
from uad.models.stfpm import differences, distance_maps, loss, unit
from uad.models.whitening import SecondMoments
from uad.scoring.selection import MOST
from uad.storage.paths import cache_dir
from uad.training.augmentation import augmented
from uad.training.cache import Cache, decoded
from uad.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from uad.training.distributed import ALONE, Ranks
from uad.training.ema import Average
from uad.training.teacher_features import TeacherFeatures, network_input

unique_name = paddle.utils.unique_name
OnEpoch = Callable[[EpochMetrics], None]


def fit(
    teacher: Teacher,
    train: Sequence[Sample],
    selection: Sequence[Sample],
    config: TrainingConfig,
    *,
    on_epoch: OnEpoch | None = None,
    checkpoints: Path | None = None,
    key: str = "",
    progress: bool = False,
    ranks: Ranks = ALONE,
) -> TrainedStudent:
    """Train a student on `train`; `selection` chooses the epoch. Both are normal images.

    Args:
        teacher: the frozen network; its width is the student's.
        train: images that the student learns from.
        selection: images that only choose: the epoch with the lowest loss on them is used.
        config: input size, in numbers; optimiser, number of epochs.
        on_epoch: called after each epoch with its metrics.
        checkpoints: folder of this training's checkpoint; if it holds one, training continues from
            there and ends with the same weights as an uninterrupted one.
        key: hash of all that decides the outcome; a checkpoint with another key is refused.
        progress: show a bar on standard error.
        ranks: the processes that do this together, each calling this with the same arguments and
            getting the same student; only the first writes checkpoints and calls `on_epoch`.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint belongs to another training.
    """
    cache = Cache(cache_dir(), config.training.cache_bytes // ranks.count)
    try:
        trainer = _Trainer(teacher, train, selection, config, cache, progress, ranks)
        if checkpoints is not None and (found := load_checkpoint(checkpoints, key)):
            trainer.restore(found)
        if not ranks.first:
            on_epoch, checkpoints = None, None
        trainer.run(on_epoch, checkpoints, key)
        return trainer.result()
    finally:
        cache.close()


class _Trainer:
    def __init__(
        self,
        teacher: Teacher,
        train: Sequence[Sample],
        selection: Sequence[Sample],
        config: TrainingConfig,
        cache: Cache,
        progress: bool,
        ranks: Ranks,
    ) -> None:
        self.config, self.teacher, self.progress = config, teacher, progress
        self.ranks = ranks
        self.options, self.spec = config.training, config.input.spec()
        self.images = decoded(train, self.spec, cache, progress=progress)
        self.held_out = decoded(selection, self.spec, cache, progress=progress)
        width = len(teacher.weights["bn1.weight"])
        self.frozen = Pyramid(width).load(teacher.weights).frozen()
        self.held_out_targets = self._features(self.held_out, cache)
        self.targets = None if self.options.augmentation.on else self._features(self.images, cache)
        self.steps = self.options.steps(len(train))
        self.epochs = self.options.planned_epochs(len(train))
        # Paddle numbers all it makes; optimiser state must have the same names in every process.
        self.names = paddle.base.unique_name.UniqueNameGenerator()
        with unique_name.guard(self.names):
            self.student = Pyramid(width).load(random_weights(width, self.options.seed + 1))
            self.average = Average(self.student, self.options.ema_decay)
            self.optimizer = _optimizer(self.options, self.student)
        self.epoch = 0
        self.best, self.best_epoch = self.average.network.weights(), 0
        self.history: tuple[EpochMetrics, ...] = ()

    def _features(self, images: NDArray[np.uint8], cache: Cache) -> TeacherFeatures:
        batch_size = self.options.batch_size
        return TeacherFeatures(
            self.frozen, images, self.spec, cache,
            batch_size=batch_size, progress=self.progress,
        )  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        self.epoch, self.history = checkpoint.epoch, checkpoint.history
        self.best, self.best_epoch = checkpoint.best, checkpoint.best_epoch
        self.student.load(checkpoint.student)
        self.average.network.load(checkpoint.average)
        self.average.updates = self.epoch * self.steps
        state = {name: paddle.to_tensor(array) for name, array in checkpoint.optimizer.items()}
        self.optimizer.set_state_dict(state)

    def checkpoint(self, key: str) -> Checkpoint:
        return Checkpoint(
            epoch=self.epoch,
            student=self.student.weights(),
            average=self.average.network.weights(),
            best=self.best,
            best_epoch=self.best_epoch,
            optimizer={
                name: tensor.numpy()
                for name, tensor in self.optimizer.state_dict().items()
                if isinstance(tensor, paddle.Tensor)
            },
            history=self.history,
            key=key,
        )

    def run(self, on_epoch: OnEpoch | None, checkpoints: Path | None, key: str) -> None:
        with progress_bar("epochs", visible=self.progress) as bar:
            task = bar.add_task("train", total=self.epochs, completed=self.epoch, note="")
            while self.epoch < self.epochs and not self._stalled():
                self.epoch += 1
                metrics = self._epoch()
                self.history += (metrics,)
                if checkpoints is not None:
                    save_checkpoint(checkpoints, self.checkpoint(key))
                if on_epoch is not None:
                    on_epoch(metrics)
                note = f"selection loss {metrics.values['selection_loss']:.4f}"
                bar.update(task, completed=self.epoch, note=note)

    def result(self) -> TrainedStudent:
        self.average.network.load(self.best)
        return TrainedStudent(self.best, self._whitening(), self.history, self.best_epoch)

    def _epoch(self) -> EpochMetrics:
        started = time.monotonic()
        train_loss = self._train()
        selection_loss = self._selection_loss()
        if not math.isfinite(train_loss + selection_loss):
            raise TrainingError(
                f"The loss is not finite in epoch {self.epoch}. Lower training.learning_rate (now "
                f"{self.options.learning_rate})."
            )
        best = min((m.values["selection_loss"] for m in self.history), default=math.inf)
        if selection_loss < best:
            self.best, self.best_epoch = self.average.network.weights(), self.epoch
        values = {
            "train_loss": train_loss,
            "selection_loss": selection_loss,
            "learning_rate": float(self.optimizer.get_lr()),
            "seconds": time.monotonic() - started,
        }
        return EpochMetrics(self.epoch, values)

    def _train(self) -> float:
        self.student.train()
        total = 0.0
        order = np.random.default_rng([self.options.seed, self.epoch]).permutation(len(self.images))
        batches = np.array_split(order, self.steps)
        shares = [self.ranks.share(batch) for batch in batches]
        for step, (share, images, cached) in enumerate(self._prefetched(shares)):
            done = (self.epoch - 1) * self.steps + step
            self.optimizer.set_lr(learning_rate(self.options, done, self.epochs * self.steps))
            network = paddle.to_tensor(images)
            targets = self._targets(network) if cached is None else _tensors(cached)
            with self._precision():
                features = self.student(network)
            value = loss(targets, [level.astype("float32") for level in features])
            value.backward()
            self.ranks.sum_gradients(self.student, len(share) / len(batches[step]))
            with unique_name.guard(self.names):
                self.optimizer.step()
            self.optimizer.clear_grad()
            self.average.update()
            total += float(value) * len(share)
        self.ranks.agree(self.student, self.average.network)
        return self.ranks.sum(total) / len(order)

    def _precision(self) -> Any:
        """bfloat16 for convolutions on a GPU that has it, where asked for; distances in float32."""
        on = self.options.bfloat16 and "cpu" not in paddle.get_device()
        enable = on and paddle.amp.is_bfloat16_supported()
        return paddle.amp.auto_cast(enable=enable, level="O1", dtype="bfloat16")

    def _prefetched(self, batches: Sequence[NDArray[np.intp]]) -> Iterator[tuple[Any, ...]]:
        """The next batch is gathered on another thread while the step runs."""

        def gather(batch: NDArray[np.intp]) -> tuple[Any, ...]:
            images = self.images[batch]
            if self.targets is not None:
                return batch, network_input(images, self.spec), self.targets.batch(batch)
            rng = np.random.default_rng([self.options.seed, self.epoch, *batch])
            changed = augmented(images, self.options.augmentation, rng)
            return batch, network_input(changed, self.spec), None

        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(gather, batches[0])
            for batch in batches[1:]:
                ready, coming = coming.result(), pool.submit(gather, batch)
                yield ready
            yield coming.result()

    def _targets(self, network: Tensor) -> list[Tensor]:
        with paddle.no_grad():
            return [unit(level) for level in self.frozen(network)]

    def _selection_loss(self) -> float:
        total = 0.0
        starts = range(0, len(self.held_out), self.options.batch_size)
        with paddle.no_grad():
            for targets, features in self._held_out(starts[self.ranks.rank :: self.ranks.count]):
                levels = distance_maps(targets, features)
                total += sum(float(level.mean()) for level in levels) * len(features[0])
        return self.ranks.sum(total) / len(self.held_out)

    def _held_out(self, starts: Iterable[int]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """The teacher's and the student's features of the selection images' batches."""
        for start in starts:
            images = self.held_out[start : start + self.options.batch_size]
            targets = self.held_out_targets.batch(np.arange(start, start + len(images)))
            network = paddle.to_tensor(network_input(images, self.spec))
            yield _tensors(targets), self.average.network(network)

    def _whitening(self) -> dict[str, NDArray[np.float32]]:
        """Of the selection images, of not much more than `MOST` of them."""
        starts = range(0, len(self.held_out), self.options.batch_size)
        moments = SecondMoments(levels=3)
        with paddle.no_grad():
            for targets, features in self._held_out(starts[:: -(-len(self.held_out) // MOST)]):
                moments.add(differences(targets, features))
        return moments.whitening()

    def _stalled(self) -> bool:
        waited = self.epoch - self.best_epoch
        return 0 < self.options.patience <= waited


def learning_rate(options: OptimisationConfig, step: int, steps: int) -> float:
    """The rate of `step` (from 0) of `steps`; see `OptimisationConfig.schedule`."""
    if options.schedule == "constant":
        return options.learning_rate
    warmup = options.warmup_share * steps
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _optimizer(options: OptimisationConfig, student: Pyramid) -> Any:
    shared = {
        "learning_rate": options.learning_rate,
        "parameters": student.parameters(),
        "weight_decay": options.weight_decay,
    }
    if options.optimizer == "adamw":
        return paddle.optimizer.AdamW(**shared)
    return paddle.optimizer.Momentum(momentum=options.momentum, **shared)


def _tensors(arrays: Sequence[NDArray[np.float32]]) -> list[Any]:
    return [paddle.to_tensor(array) for array in arrays]
