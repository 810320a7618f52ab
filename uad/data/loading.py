"""From a folder to a stored version, and from either to a Dataset that is split for training."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from uad.config import SplitConfig
from uad.data.checks import OnBroken, scan
from uad.data.dataset_version import TRAIN_ONLY, DatasetVersion, stored_images, version_id
from uad.data.listing import FolderRoles
from uad.data.quarantine import quarantine
from uad.data.samples import Dataset, Problem, Sample, natural
from uad.data.split import compile_pattern, group_key, split_normals
from uad.data.unseen import unseen
from uad.data.versions import check_name, is_stored, read_version, store
from uad.errors import DataError
from uad.storage.names import DatasetAddress

log = logging.getLogger(__name__)


def ingest(
    path: Path,
    name: str,
    roles: FolderRoles | None = None,
    *,
    on_broken: OnBroken = "skip",
    settle_seconds: float = 0.0,
    group_pattern: str | None = None,
    progress: bool = True,
) -> DatasetVersion:
    r"""Check the images of `path`, store them once, and make them the latest version of `name`.

    Args:
        path: a folder in one of the layouts, or a CSV or JSON Lines manifest.
        name: see `names.check_name`.
        roles: what a person says that the folders hold; see `roles_of`.
        on_broken: `skip` names broken images among the problems and puts copies into quarantine,
            `refuse` stops at them.
        settle_seconds: files modified less than this ago are left for next time.
        group_pattern: regular expression whose group names a capture (`_num_(\d+)`); remembered
            with the version and used when its normals are split. None takes that of the dataset's
            latest version, so that a retraining on the folder keeps it; an empty one drops it.
        progress: show a bar while many files are read.

    Returns:
        The stored version; the same content gives the same one.

    Raises:
        DataError: nothing usable, a bad name, or a broken image with "refuse".
    """
    name = check_name(name)
    if group_pattern is None:
        group_pattern = _latest_pattern(name)
    if group_pattern:
        compile_pattern(group_pattern)
    group_pattern = group_pattern or None
    path = Path(path).expanduser()
    found = scan(path, roles, on_broken=on_broken, settle_seconds=settle_seconds, progress=progress)
    version = store(found, name, source=path, group_pattern=group_pattern, progress=progress)
    quarantine(name, found)
    return version


def _latest_pattern(name: str) -> str | None:
    """The group pattern of a dataset's latest version; None if that version is damaged."""
    try:
        return read_version(name).group_pattern if is_stored(name) else None
    except DataError:
        return None


def roles_of(split: SplitConfig) -> FolderRoles:
    """What the settings `data.normal`, `data.defects` and `data.masks` say of folders."""
    return FolderRoles(split.normal, split.defects, split.masks)


def load_dataset(
    data: str | Path, split: SplitConfig | None = None, *, progress: bool = True
) -> Dataset:
    """The images that `data` stands for, split by `split`.

    Args:
        data: `cookie` (the latest stored version), `cookie@1f2e3d4c5b6a`, or a path to a folder or
            manifest, which is checked and used where it lies. A stored name wins over a folder of
            the same name in the working directory; write `./cookie` for the folder.
        split: how the normals are shared out; None means the defaults.
        progress: show a bar while many files are read.

    Raises:
        DataError: no such dataset, nothing usable, or too few normal images.
    """
    split = split or SplitConfig()
    version = _stored_version(data)
    return _in_place(Path(data), split, progress) if version is None else _stored(version, split)


def load_test_set(
    data: str | Path,
    split: SplitConfig | None = None,
    *,
    trained_on: Sequence[DatasetAddress] = (),
    progress: bool = True,
) -> Dataset:
    """The images of `data` that measure a detector, as `test`; its other good images as `train`.

    These are its test images, and of a folder that does not say which images train, also the good
    ones. Good images that the detector learned from do not count, nor those of a folder that are
    only assumed to be good.

    Args:
        data: see `load_dataset`.
        split: what a person says that the folders hold; see `roles_of`.
        trained_on: the datasets that the detectors learned from. If this machine does not have one,
            a warning says that good images may be known to a detector.
        progress: show a bar while many files are read.

    Raises:
        DataError: no such dataset, or nothing usable.
    """
    split = split or SplitConfig()
    version = _stored_version(data)
    found = (
        _test_set_in_place(Path(data), split, trained_on, progress)
        if version is None
        else _stored(version, split)
    )
    return _without_learned(found, trained_on)


def _test_set_in_place(
    path: Path, split: SplitConfig, trained_on: Sequence[DatasetAddress], progress: bool
) -> Dataset:
    found = scan(path, roles_of(split), progress=progress, trains=False)
    version_here = version_id(stored_images(found.entries))
    free = [
        entry.sample
        for entry in found.entries
        if entry.item.split == "train"
        and not (entry.label or entry.item.split_given or entry.item.assumed_good)
    ]
    new = unseen(free, trained_on, here=version_here)
    test = [entry.sample for entry in found.entries if entry.item.split == "test"]
    chosen = {sample.path for sample in (*test, *new)}
    return Dataset(
        name=_name_of(path.expanduser().absolute()),
        version=version_here,
        train=tuple(e.sample for e in found.entries if e.sample.path not in chosen),
        selection=(),
        calibration=(),
        test=tuple(sorted((*test, *new), key=lambda sample: sample.name)),
        problems=tuple(found.problems),
        layout=found.layout,
    )


def _without_learned(dataset: Dataset, trained_on: Sequence[DatasetAddress]) -> Dataset:
    """The same without the good test images that a detector learned from, which is told.

    What a dataset has in both training and test was told when it was checked.
    """
    if any(address.endswith(f"@{dataset.version}") for address in trained_on):
        return dataset
    good = [sample for sample in dataset.test if not sample.label]
    known = {sample.name for sample in good}
    known -= {sample.name for sample in unseen(good, trained_on, quiet=True)}
    if known:
        log.warning(
            "The model learned from %d of the %d good test images of %s (%s). They do not count.",
            *(len(known), len(good), dataset.name, natural(sorted(known))),
        )
    return replace(dataset, test=tuple(s for s in dataset.test if s.name not in known))


def _stored_version(data: str | Path) -> DatasetVersion | None:
    """The stored version that `data` names; None if it names a place."""
    name = str(data)
    if not isinstance(data, Path) and is_stored(name):
        version = read_version(name)
        if Path(name).expanduser().exists():
            _tell_which(name, version.address, str(Path(name).absolute()))
        return version
    if isinstance(data, Path) or Path(name).expanduser().exists() or "/" in name:
        return None
    return read_version(name)


@cache
def _tell_which(name: str, address: str, folder: str) -> None:
    """Logged once per process, however often the dataset is loaded."""
    log.warning(
        "'%s' is the stored dataset %s and also the folder %s. The stored dataset is used, so "
        "new images in the folder are not. To use the folder, write ./%s",
        name,
        address,
        folder,
        name,
    )


@cache
def _tell_useless(group_pattern: str, example: str) -> None:
    """Logged once per process, however often the dataset is loaded."""
    log.warning(
        "The group pattern '%s' puts each image into a capture of its own, for example %s: it "
        "matches no name, or nothing that two names share. If several images show one part, "
        "correct it; else leave it out.",
        group_pattern,
        example,
    )


def _stored(version: DatasetVersion, split: SplitConfig) -> Dataset:
    if split.group_pattern is None and version.group_pattern is not None:
        split = split.model_copy(update={"group_pattern": version.group_pattern})
    samples = [(image.split, image.sample) for image in version.images]
    found = _dataset(
        version.name, version.version, version.layout, samples, version.problems, split
    )
    return replace(found, ignore=version.ignore, zones=version.zones)


def _in_place(path: Path, split: SplitConfig, progress: bool) -> Dataset:
    found = scan(path, roles_of(split), progress=progress)
    version = version_id(stored_images(found.entries))
    samples = [(entry.item.split, entry.sample) for entry in found.entries]
    name = _name_of(path.expanduser().absolute())
    return _dataset(name, version, found.layout, samples, found.problems, split)


def _name_of(place: Path) -> str:
    return place.stem if place.is_file() else place.name


def _dataset(
    name: str,
    version: str,
    layout: str,
    samples: Sequence[tuple[str, Sample]],
    problems: Sequence[Problem],
    split: SplitConfig,
) -> Dataset:
    excluded = set(split.exclude)
    normals = [s for use, s in samples if use == "train" and s.name not in excluded]
    left_out = [s for use, s in samples if use == "train" and s.name in excluded]
    said_good = tuple(sample for use, sample in samples if use == TRAIN_ONLY)
    test = tuple(sample for use, sample in samples if use == "test")
    try:
        shares = split_normals(normals, split)
    except DataError as exc:
        raise DataError(f"{name}: {exc}") from exc
    if split.group_pattern is not None and shares.groups == len(normals):
        _tell_useless(split.group_pattern, normals[0].name)
    return Dataset(
        name=name,
        version=version,
        train=shares.train + said_good,
        selection=shares.selection,
        calibration=shares.calibration,
        test=test,
        problems=(
            *problems,
            *_shared_captures(normals, test, split.group_pattern),
            *(
                Problem(s.path, "excluded", f"{s.name} is left out by data.exclude")
                for s in left_out
            ),
        ),
        layout=layout,
        groups=shares.groups,
        group_pattern=split.group_pattern,
    )


def _shared_captures(
    normals: Sequence[Sample], test: Sequence[Sample], group_pattern: str | None
) -> list[Problem]:
    """One problem for each capture that is in both training and test."""
    if group_pattern is None:
        return []
    pattern = compile_pattern(group_pattern)
    training = {group_key(sample.name, pattern) for sample in normals} - {None}
    shared: dict[str, list[Sample]] = {}
    for sample in test:
        if (key := group_key(sample.name, pattern)) in training and key is not None:
            shared.setdefault(key, []).append(sample)
    return [
        Problem(
            samples[0].path,
            "leak",
            f"capture {key} is in training and in test ({natural(s.name for s in samples)}), "
            "so the measured figures look better than they are",
        )
        for key, samples in shared.items()
    ]
