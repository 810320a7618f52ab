"""Datasets: layouts, checks, stored versions, the split of the normal images, demo images.

version = ingest("photos/cookie", "cookie")         # check, copy once, name by content
dataset = load_dataset("cookie", SplitConfig())     # train, selection, calibration, test
"""

from uad.data.dataset_version import DatasetVersion
from uad.data.demo import make_demo_images
from uad.data.listing import FolderRoles
from uad.data.loading import ingest, load_dataset, load_test_set, roles_of
from uad.data.samples import Dataset, Problem, Sample
from uad.data.split import captures
from uad.data.unseen import unseen

__all__ = [
    "Dataset",
    "DatasetVersion",
    "FolderRoles",
    "Problem",
    "Sample",
    "captures",
    "ingest",
    "load_dataset",
    "load_test_set",
    "make_demo_images",
    "roles_of",
    "unseen",
]
