"""Which images are new to a detector: those that it did not learn from."""

import logging
from collections.abc import Iterable, Sequence

from uad.data.samples import Sample
from uad.data.versions import read_version
from uad.errors import DataError
from uad.storage.names import DatasetAddress

log = logging.getLogger(__name__)


def unseen(
    samples: Sequence[Sample],
    trained_on: Iterable[DatasetAddress],
    *,
    here: str | None = None,
    quiet: bool = False,
) -> list[Sample]:
    """The samples that no detector which was trained on these datasets learned from.

    An image that is equal, byte by byte, to one of a dataset's good images is left out; its name
    and place do not count. If this machine does not have a dataset, a warning says so.

    Args:
        samples: good images.
        trained_on: the datasets that the detectors learned from.
        here: the version of the dataset that the samples are from, under whatever name. A detector
            that was trained on this version knows all of them.
        quiet: do not warn.
    """
    if not samples:
        return []
    learned = set[str]()
    for each in dict.fromkeys(trained_on):
        if here and each.endswith(f"@{here}"):
            return []
        learned |= _learned_from(each, None if quiet else len(samples))
    return [sample for sample in samples if sample.sha256 not in learned]


def _learned_from(dataset: DatasetAddress, count: int | None) -> set[str]:
    """The hashes of a dataset's good images that are not for testing; empty if it is not here.

    That is told of `count` images; not if None.
    """
    try:
        known = read_version(dataset)
    except DataError:
        if count is not None:
            log.warning(
                "Whether the model learned from some of the %d good images is not known: this "
                "machine does not have its dataset %s. If it did, new images will raise more false "
                "alarms than these do.",
                count,
                dataset,
            )
        return set()
    return {image.sample.sha256 for image in known.images if image.split != "test"}
