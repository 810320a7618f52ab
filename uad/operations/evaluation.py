"""Evaluate a bundle on test images, and on recent images of the line."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from uad.data import Dataset, Sample
from uad.data.checks import scan
from uad.errors import RegistryUnreachableError, UadError
from uad.evaluation import evaluate, write_report
from uad.hot_reload import open_bundle
from uad.inference.detector import load_detector


def evaluate_into(
    bundle: str | Path,
    samples: Sequence[Sample],
    folder: Path,
    *,
    normals: Sequence[Sample] = (),
    progress: bool = False,
) -> Path | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without images.

    Its golden inputs are checked either way. `normals` are the dataset's other good images, of
    which the report shows the one that decides the threshold.
    """
    with closing(load_detector(open_bundle(bundle))) as detector:
        if not samples:
            return None
        report = evaluate(detector, samples, progress=progress)
        return write_report(report, folder, detector, samples, normals=normals)["report.json"]


def unseen_normals(
    folder: str, learned: Iterable[Dataset], *, progress: bool = False
) -> tuple[list[Sample], int]:
    """Good images of a folder that none of the datasets trained, selected or calibrated with.

    Returns:
        The images, and how many the folder has in all.
    """
    known = {sample.sha256 for dataset in learned for sample in dataset.normals}
    found = scan(Path(folder).expanduser(), progress=progress).entries
    normal = (entry.sample for entry in found if not entry.label)
    return [sample for sample in normal if sample.sha256 not in known], len(found)


def golden_error(bundle: str | Path) -> str | None:
    """Why the bundle does not give its own golden scores on this machine; None if it does.

    For a registered version, that is what the registry hands out.

    Raises:
        RegistryUnreachableError: the registry does not answer.
    """
    try:
        with closing(load_detector(open_bundle(bundle))):
            return None
    except RegistryUnreachableError:
        raise
    except UadError as exc:
        return str(exc)
