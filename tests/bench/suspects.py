"""How well contaminants among the good images are found, and what they do to a detector.

Run by hand on a folder in the MVTec layout, whose test defects are mixed into the good images:

    python tests/bench/suspects.py find FOLDER TEACHER [--students]
    python tests/bench/suspects.py train FOLDER TEACHER

`find` ranks by `uad suspects`, or by students trained on the other folds, which see no image that
they judge. `train` trains on the clean folder, on the contaminated one, and on that without its
suspects, and measures on the same test images, which hold none of the contaminants.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from uad.bundle import write_bundle
from uad.config import TrainingConfig, load_settings
from uad.data import Dataset, Sample, load_dataset
from uad.data.input_shape import fitted_input
from uad.evaluation import evaluate
from uad.images import read
from uad.inference.detector import Scorer, load_detector
from uad.inference.engines import load_engine
from uad.metrics import image_auroc
from uad.models.parts import Teacher
from uad.models.teacher import load_teacher
from uad.training import train
from uad.training.loop import fit
from uad.training.parts import put_together
from uad.training.suspects import Ranking, find_suspects
from uad.training.suspects.find import suspect_limit

FOLDS = 3


def contaminated(dataset: Dataset, share: float, draw: int) -> list[Sample]:
    """Test defects that make up `share` of the good images; those of 1 % are among those of 5 %."""
    bad = [sample for sample in dataset.test if sample.label]
    count = max(1, round(share * len(dataset.normals) / (1 - share))) if share else 0
    order = np.random.default_rng(draw).permutation(len(bad))
    return [bad[index] for index in order[:count]]


def find(
    dataset: Dataset, teacher: Teacher, config: TrainingConfig, options: argparse.Namespace
) -> None:
    for share in options.shares:
        rows = []
        for draw in range(options.draws):
            bad = contaminated(dataset, share, draw)
            mixed = replace(dataset, train=(*dataset.normals, *bad), selection=(), calibration=())
            started = time.monotonic()
            scored = (
                students(mixed.normals, teacher, config)
                if options.students
                else [(i.sample, i.score) for i in _found(mixed, teacher, config).images]
            )
            rows.append((*judged(scored), time.monotonic() - started))
        means = np.mean(np.array(rows, float), axis=0)
        print(
            f"{share:.0%} ({len(bad)} of {len(mixed.normals)}), {options.draws} draws: AUROC "
            f"{means[0]:.3f}, precision {means[1]:.2f}; beyond the limit {means[2]:.1f} "
            f"contaminants and {means[3]:.1f} good; {means[4]:.0f} s",
            flush=True,
        )


def judged(scored: Sequence[tuple[Sample, float]]) -> tuple[float, float, int, int]:
    """AUROC, precision among as many as there are, contaminants and good ones beyond the limit."""
    ranked = sorted(scored, key=lambda pair: -pair[1])
    labels, scores = [s.label for s, _ in ranked], [score for _, score in ranked]
    beyond = [
        label for label, score in zip(labels, scores, strict=True) if score > suspect_limit(scores)
    ]
    count = sum(labels)
    precision = sum(labels[:count]) / count if count else float("nan")
    auroc = image_auroc(labels, scores)
    return (
        float("nan") if auroc is None else auroc,
        precision,
        sum(beyond),
        len(beyond) - sum(beyond),
    )


def _found(dataset: Dataset, teacher: Teacher, config: TrainingConfig) -> Ranking:
    spec = fitted_input(config.input, dataset.normals).spec()
    return find_suspects(dataset, teacher, spec)


def students(
    samples: Sequence[Sample], teacher: Teacher, config: TrainingConfig
) -> list[tuple[Sample, float]]:
    """Each image scored by a student that did not see it."""
    order = np.random.default_rng(0).permutation(len(samples))
    return [
        pair
        for fold in np.array_split(order, FOLDS)
        for pair in _judged_by_a_student(samples, set(fold.tolist()), teacher, config)
    ]


def _judged_by_a_student(
    samples: Sequence[Sample], fold: set[int], teacher: Teacher, config: TrainingConfig
) -> Iterator[tuple[Sample, float]]:
    others = [sample for index, sample in enumerate(samples) if index not in fold]
    held = max(2, len(others) // 10)
    spec = fitted_input(config.input, others)
    config = config.model_copy(update={"input": spec})
    student = fit(teacher, others[held:], others[:held], config)
    model = put_together(teacher, student, None, None, others[:held], config)
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(Path(folder) / "bundle", model)
        engine = load_engine(bundle, "onnxruntime")
        scorer = Scorer(bundle, engine)
        for index in sorted(fold):
            yield samples[index], scorer.score([read(samples[index].path)])[0].score
        engine.close()


def train_all(
    dataset: Dataset, teacher: Teacher, config: TrainingConfig, options: argparse.Namespace
) -> None:
    never = {sample.name for sample in contaminated(dataset, max(options.shares), 0)}
    test = tuple(sample for sample in dataset.test if sample.name not in never)
    for share in (0.0, *options.shares):
        folder = options.output / f"{share:.2f}"
        _link(folder, dataset.normals, contaminated(dataset, share, 0))
        _train_one(f"{share:.0%} as it is", folder, (), test, teacher, config)
        found = _found(load_dataset(folder), teacher, config)
        names = tuple(suspect.sample.name for suspect in found.suspects)
        if names:
            _train_one(f"{share:.0%} without", folder, names, test, teacher, config)


def _link(folder: Path, normals: Sequence[Sample], bad: Sequence[Sample]) -> None:
    (folder / "train/good").mkdir(parents=True, exist_ok=True)
    for sample in (*normals, *bad):
        link = folder / "train/good" / sample.name.replace("/", "-")
        if not link.exists():
            link.symlink_to(sample.path.absolute())


def _train_one(
    title: str,
    folder: Path,
    exclude: tuple[str, ...],
    test: Sequence[Sample],
    teacher: Teacher,
    config: TrainingConfig,
) -> None:
    data = config.data.model_copy(update={"exclude": exclude})
    settings = config.model_copy(update={"data": data})
    dataset = load_dataset(folder, data)
    output = folder.with_name(f"{folder.name}-{len(exclude)}-bundle")
    train(dataset, settings, teacher, output)
    with closing(load_detector(output)) as detector:
        report = evaluate(detector, test)
    left = sum(not sample.name.startswith("train-good") for sample in map(_named, dataset.normals))
    print(
        f"{title}: {len(exclude)} left out, {left} contaminants kept; image AUROC "
        f"{report.image_auroc:.3f}, pixel AUROC {report.pixel_auroc:.3f}, AUPRO "
        f"{report.aupro:.3f}, recall {report.recall:.3f}, false alarms "
        f"{report.false_alarm_rate:.3f}",
        flush=True,
    )


def _named(sample: Sample) -> Sample:
    return replace(sample, name=Path(sample.name).name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("find", "train"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.1])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--students", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--output", type=Path, default=Path("output/suspects"))
    options = parser.parse_args()
    config = load_settings(TrainingConfig, None, options.set)
    dataset, teacher = load_dataset(options.folder, config.data), load_teacher(options.teacher)
    (find if options.what == "find" else train_all)(dataset, teacher, config, options)


if __name__ == "__main__":
    main()
