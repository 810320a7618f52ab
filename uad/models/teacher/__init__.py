"""The sources of the teacher's weights. All are checked and hashed.

embedded   in the package, for machines with no network; see uad/weights/MODEL_CARD.md
imagenet   Paddle's official ResNet-18, downloaded once into the user's cache
random     seeded, for tests of the system
FILE       .safetensors, .npz, .pdparams or .pth, with torchvision's or Paddle's names
"""

from uad.models.teacher.download import IMAGENET, RetrySettings, Source, fetch, hash_of
from uad.models.teacher.reading import read_weights
from uad.models.teacher.sources import (
    Known,
    embedded_file,
    imagenet_file,
    known_teachers,
    load_teacher,
    teacher_from,
)

__all__ = [
    "IMAGENET",
    "Known",
    "RetrySettings",
    "Source",
    "embedded_file",
    "fetch",
    "hash_of",
    "imagenet_file",
    "known_teachers",
    "load_teacher",
    "read_weights",
    "teacher_from",
]
