"""What changed between two versions of a dataset."""

from dataclasses import dataclass

from uad.data.versions import DatasetVersion, StoredImage


@dataclass(frozen=True)
class Difference:
    """Images by name, in the order of names."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[str, ...]
    """New names of pixels that had another name."""
    replaced: tuple[str, ...]
    """Same name, other pixels or another mask."""
    relabelled: tuple[str, ...]
    """Same name and pixels, another defect or another split."""

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.renamed, self.replaced, self.relabelled))


def compare(old: DatasetVersion, new: DatasetVersion) -> Difference:
    """How `new` differs from `old`."""
    before = {image.name: image for image in old.images}
    after = {image.name: image for image in new.images}
    new_names = sorted(after.keys() - before.keys())
    old_names = sorted(before.keys() - after.keys())
    came = {after[name].image.sha256 for name in new_names}
    went = {before[name].image.sha256 for name in old_names}
    both = sorted(before.keys() & after.keys())
    replaced = [name for name in both if _content(before[name]) != _content(after[name])]
    relabelled = [name for name in both if _meaning(before[name]) != _meaning(after[name])]
    return Difference(
        added=tuple(n for n in new_names if after[n].image.sha256 not in went),
        removed=tuple(n for n in old_names if before[n].image.sha256 not in came),
        renamed=tuple(n for n in new_names if after[n].image.sha256 in went),
        replaced=tuple(replaced),
        relabelled=tuple(name for name in relabelled if name not in replaced),
    )


def _content(image: StoredImage) -> tuple[str, str | None]:
    return image.image.sha256, image.mask.sha256 if image.mask else None


def _meaning(image: StoredImage) -> tuple[str, str]:
    return image.split, image.defect
