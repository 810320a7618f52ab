"""From people's feedback on judged images to the next dataset version.

A false alarm (judged defective, but good) becomes a training image. It is never used for selection,
calibration or testing: the calibration images must stay a fair sample of good parts, or the false
alarm rate is no longer guaranteed. A missed defect (judged good, but defective) becomes a test
image.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from uad.data.dataset_version import TRAIN_ONLY, DatasetVersion, Feedback, StoredImage
from uad.data.object_store import StoredFile, keep
from uad.data.reading import image_facts
from uad.data.samples import GOOD
from uad.data.versions import extend, history, read_version
from uad.errors import DataError, ImageError
from uad.monitoring.judged_images import JudgedImage, JudgedImages, Said, Word
from uad.storage.names import dataset_address

MISSED = "missed defect"
"""What a test image from feedback is called where other test images have the defect's name."""
Kind = Literal["false alarm", "missed defect", "confirmed defect", "confirmed good", "disagreement"]


@dataclass(frozen=True)
class Opinion:
    """What people say about one picture, however often it was judged."""

    images: tuple[JudgedImage, ...]
    """All with the same content, newest first."""
    said: Said | None
    """None: people disagree."""
    last_words: tuple[Word, ...]
    """The last word of each person, oldest first."""

    @property
    def image(self) -> JudgedImage:
        """The picture as it was judged last."""
        return self.images[0]

    @property
    def kind(self) -> Kind:
        """The verdict compared with the feedback."""
        alarms = [image.is_anomalous for image in self.images]
        if self.said is None:
            return "disagreement"
        if self.said == "good":
            return "false alarm" if any(alarms) else "confirmed good"
        return "confirmed defect" if all(alarms) else "missed defect"


@dataclass(frozen=True)
class LeftOut:
    """A correction that is not applied, and why."""

    opinion: Opinion
    reason: str


@dataclass(frozen=True)
class Applied:
    """A dataset version with people's corrections in it."""

    version: DatasetVersion
    false_alarms: int
    """Training images that people said are good."""
    missed_defects: int
    """Test images that people said are defective."""
    left_out: tuple[LeftOut, ...]
    changed: bool
    """Whether the version is another one than before."""

    def lines(self) -> list[str]:
        """For a log."""
        counted = (
            f"feedback: {self.false_alarms} false alarms for training, {self.missed_defects} "
            f"missed defects for testing, dataset {self.version.address}"
        )
        left = [f"feedback on {each.opinion.image.id}: {each.reason}" for each in self.left_out]
        return [counted, *left]


def opinions(images: Iterable[JudgedImage]) -> list[Opinion]:
    """What people say, by picture; the last word of each person counts."""
    by_content: dict[str, list[JudgedImage]] = defaultdict(list)
    for image in images:
        if image.words:
            by_content[image.sha256].append(image)
    return [_opinion(same) for same in by_content.values()]


def apply_feedback(store: JudgedImages, product: str, dataset: str | None = None) -> Applied:
    """Make people's corrections part of the latest version of a dataset.

    Args:
        store: the kept images.
        product: whose images.
        dataset: `name` or `name@version`; the product's own by default.

    Raises:
        DataError: there is no such dataset.
    """
    base = read_version(dataset or product)
    own = [image for image in base.images if image.feedback is None]
    marked = store.marked(product)
    added, left_out = _additions(store, opinions(marked), own)
    still_kept = {image.sha256 for image in marked}
    carried = [
        image
        for image in _earlier(base.name)
        if image.image.sha256 not in still_kept | {each.image.sha256 for each in own}
    ]
    images = [*own, *added, *carried]
    version = base if list(base.images) == images else extend(base, images)
    from_people = [image for image in images if image.feedback]
    return Applied(
        version,
        false_alarms=sum(image.split == TRAIN_ONLY for image in from_people),
        missed_defects=sum(image.split == "test" for image in from_people),
        left_out=tuple(left_out),
        changed=version.version != base.version,
    )


def kind_of(image: JudgedImage) -> Kind:
    """The verdict on one image compared with people's feedback."""
    return _opinion([image]).kind


def _opinion(images: Sequence[JudgedImage]) -> Opinion:
    newest = tuple(sorted(images, key=lambda image: image.at, reverse=True))
    spoken = (word for image in images for word in image.words)
    words = sorted(spoken, key=lambda word: word.number)
    last = {(word.who, word.client): word for word in words}
    said = {word.said for word in last.values()}
    return Opinion(
        newest,
        said.pop() if len(said) == 1 else None,
        tuple(sorted(last.values(), key=lambda word: word.number)),
    )


def _additions(
    store: JudgedImages, found: Sequence[Opinion], own: Sequence[StoredImage]
) -> tuple[list[StoredImage], list[LeftOut]]:
    """Images for the version, and the corrections that cannot become one."""
    known = {image.image.sha256: image for image in own}
    added, left_out = [], []
    for opinion in sorted(found, key=lambda each: each.image.id):
        if opinion.kind not in ("false alarm", "missed defect"):
            if opinion.kind == "disagreement":
                words = "people disagree; the person who was wrong can correct it"
                left_out.append(LeftOut(opinion, words))
            continue
        if (same := known.get(opinion.image.sha256)) is not None:
            left_out.append(LeftOut(opinion, _already(opinion, same)))
            continue
        try:
            added.append(_stored(store, opinion))
        except (DataError, ImageError) as exc:
            left_out.append(LeftOut(opinion, str(exc)))
    return added, left_out


def _already(opinion: Opinion, same: StoredImage) -> str:
    if (opinion.said == "good") == (same.label == 0):
        return f"it is already in the dataset as {same.name} and keeps its use"
    said = "good" if same.label == 0 else same.defect
    return (
        f"it is already in the dataset as {same.name} ({said}), but a person says {opinion.said}: "
        "look at it, and move the file if the person is right"
    )


def _stored(store: JudgedImages, opinion: Opinion) -> StoredImage:
    """The picture in the object store, with its use in the version."""
    image, is_good = opinion.image, opinion.said == "good"
    store.content(image)  # whole and unaltered
    name = f"feedback/{image.id}{image.suffix}"
    facts = image_facts(store.file(image), name)
    if not keep(store.file(image), facts):
        raise DataError(f"the kept image {image.id} changed while it was read")
    wrong = next(each for each in opinion.images if each.is_anomalous == is_good)
    word = opinion.last_words[-1]
    return StoredImage(
        name=name,
        split=TRAIN_ONLY if is_good else "test",
        label=int(not is_good),
        defect=GOOD if is_good else MISSED,
        image=StoredFile.of(facts),
        feedback=Feedback(
            image=image.id,
            said=word.said,
            who=word.author,
            at=word.at,
            judged_by=wrong.version,
        ),
    )


def _earlier(dataset: str) -> list[StoredImage]:
    """Images from feedback in the newest version that has any: their kept copies may be gone."""
    for row in reversed(history(dataset)):
        version = read_version(dataset_address(dataset, row["version"]))
        if found := [image for image in version.images if image.feedback]:
            return found
    return []
