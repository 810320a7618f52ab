"""Anomalib's PatchCore and STFPM on this project's data, teacher and metrics.

Run by hand, by the Python of an environment of its own, from the root of the checkout:

    python3.11 -m venv ENV
    ENV/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
    ENV/bin/pip install anomalib==2.7.0 httpx onnx onnxruntime pydantic
    PYTHONPATH=. ENV/bin/python tests/bench/peers.py DATA TEACHER --json FILE \
        [--model patchcore|stfpm] [--coreset 0.1] [--epochs 100] [--own-shape]

Anomalib's: how images are resized, the networks, PatchCore's memory and scores, STFPM's loss,
optimiser and maps, all with their defaults. Its network classes are used directly, without its
Engine, because STFPM would download another teacher.
Ours: which images are for training and testing, the teacher's weights, and the metrics, with each
map at its image's own size as in `uad evaluate`.

The peer trains on all good images; uad keeps some of them for selection and calibration. No test
image chooses anything: the last epoch of STFPM is used.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from anomalib.models import Patchcore
from anomalib.models.components import KCenterGreedy, TimmFeatureExtractor
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.stfpm.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.stfpm.loss import STFPMLoss
from anomalib.models.image.stfpm.torch_model import STFPMModel
from torch.nn import Module
from torch.nn import functional as F
from torch.utils.data import DataLoader

from uad.config import InputConfig, InputSpec
from uad.data import Sample, load_dataset
from uad.data.input_shape import fitted_input
from uad.evaluation.scoring import read_mask
from uad.images import read, resize
from uad.inference.features import feature_extractor
from uad.metrics import PixelStream, image_metrics
from uad.models.parts import Teacher
from uad.models.teacher import load_teacher
from uad.scoring.maps import resize_map

BACKBONE = "resnet18"
BATCH = 32
"""Of anomalib's data modules."""
LARGEST_DIFFERENCE = 1e-4
"""Between the teacher's features on both sides."""


class Stfpm(STFPMModel):
    """Anomalib's, whose constructor would download the teacher."""

    def __init__(self, layers: Sequence[str]) -> None:
        Module.__init__(self)
        self.tiler = None
        self.backbone = BACKBONE
        self.teacher_model = TimmFeatureExtractor(BACKBONE, layers, pre_trained=False).eval()
        self.student_model = TimmFeatureExtractor(
            BACKBONE, layers, pre_trained=False, requires_grad=True
        )
        self.teacher_model.requires_grad_(False)
        self.anomaly_map_generator = AnomalyMapGenerator()


class Coreset(KCenterGreedy):
    """Anomalib's choice, made faster: few distances to a new centre are measured in full.

    In a projection on a few orthonormal directions no distance grows. So a place whose distance
    from the new centre is there already larger than that from its nearest centre keeps the latter.
    """

    DIRECTIONS = 48
    SLACK = 0.999
    """For rounding."""

    def reset_distances(self) -> None:
        super().reset_distances()
        _, directions = torch.linalg.eigh(torch.cov(self.features.T))
        self._projected = self.features @ directions[:, -self.DIRECTIONS :]

    def update_distances(self, cluster_center: torch.Tensor) -> None:
        if self.min_distances is None:
            return super().update_distances(cluster_center)
        distances = self.min_distances[:, 0]
        least = self.SLACK * _distances(self._projected, self._projected[cluster_center])
        near = torch.nonzero(least < distances)[:, 0]
        measured = _distances(self.features[near], self.features[cluster_center])
        distances[near] = torch.minimum(distances[near], measured)
        return None


def _distances(rows: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    mode = "donot_use_mm_for_euclid_dist"  # a matrix product rounds more
    return torch.cdist(rows, to[None], compute_mode=mode)[:, 0]


def patchcore(
    teacher: Teacher, images: torch.Tensor, spec: InputSpec, share: float, as_shipped: bool
) -> PatchcoreModel:
    model = PatchcoreModel(["layer2", "layer3"], BACKBONE, pre_trained=False)
    take_over(model.feature_extractor, teacher, spec)
    model.train()
    for batch in images.split(BATCH):
        model(batch)
    if as_shipped:
        model.subsample_embedding(share)
    else:
        features = torch.vstack(model.embedding_store)
        model.embedding_store.clear()
        model.memory_bank = Coreset(features, share).sample_coreset()
    return model.eval()


def stfpm(teacher: Teacher, images: torch.Tensor, spec: InputSpec, epochs: int) -> STFPMModel:
    model, loss_of = Stfpm(["layer1", "layer2", "layer3"]), STFPMLoss()
    take_over(model.teacher_model, teacher, spec)
    model.train()
    model.teacher_model.eval()
    optimiser = torch.optim.SGD(  # as `Stfpm.configure_optimizers`
        model.student_model.parameters(), lr=0.4, momentum=0.9, weight_decay=0.001
    )
    for epoch in range(epochs):
        total = 0.0
        for batch in DataLoader(images, BATCH, shuffle=True):
            loss = loss_of(*model(batch))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss)
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)
    return model.eval()


def take_over(extractor: TimmFeatureExtractor, teacher: Teacher, spec: InputSpec) -> None:
    """Give the peer the teacher's weights, and check that its features are those of uad's."""
    state = {name: torch.tensor(value) for name, value in teacher.weights.items()}
    left = extractor.feature_extractor.load_state_dict(state, strict=False)
    assert not left.unexpected_keys, left
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys), left

    image = np.random.default_rng(0).integers(0, 256, (spec.height, spec.width, 3), np.uint8)
    image = resize(resize(image, (32, 32)), (spec.height, spec.width), "linear")
    with feature_extractor(teacher.weights, spec) as ours:
        expected = ours.of(image[None]).patches
    found = extractor(prepared(image, spec)[None])
    second, third = (F.avg_pool2d(found[name], 3, 1, 1) for name in ("layer2", "layer3"))
    patches = torch.cat([F.avg_pool2d(second, 2), third], 1).permute(0, 2, 3, 1).numpy()
    difference = float(np.abs(patches - expected).max())
    assert difference < LARGEST_DIFFERENCE, f"another teacher: features differ by {difference}"
    print(f"the teacher's features differ by at most {difference:.1e}", flush=True)


def prepared(image: np.ndarray, spec: InputSpec) -> torch.Tensor:
    """(H, W, 3) uint8 BGR to (3, h, w) float32, resized and normalised by anomalib."""
    rgb = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    return Patchcore.configure_pre_processor((spec.height, spec.width)).transform(rgb)


@torch.no_grad()
def judged(
    model: Module, samples: Sequence[Sample], spec: InputSpec
) -> Iterator[tuple[float, np.ndarray]]:
    """Of each image the peer's score, and its map at the image's own size."""
    for sample in samples:
        found = model(prepared(read(sample.path), spec)[None])
        yield float(found.pred_score), resize_map(found.anomaly_map[0, 0].numpy(), sample.size)


def measured(model: Module, samples: Sequence[Sample], spec: InputSpec) -> dict[str, float | None]:
    stream, scores = PixelStream(), []
    for sample, (score, values) in zip(samples, judged(model, samples, spec), strict=True):
        scores.append(score)
        mask = read_mask(sample, sample.size)
        if sample.label == 0 or mask is not None:
            stream.add(values, mask)
    labels = [sample.label for sample in samples]
    images, pixels = image_metrics(labels, scores, [False] * len(scores)), stream.overall()
    return {
        "image_auroc": images.auroc,
        "pixel_auroc": pixels.auroc,
        "aupro": pixels.aupro,
        "f1_max": images.f1_max,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("--model", choices=["patchcore", "stfpm"], default="patchcore")
    parser.add_argument("--coreset", type=float, default=0.1, help="share of features kept")
    parser.add_argument("--as-shipped", action="store_true", help="anomalib's slower code for it")
    parser.add_argument("--epochs", type=int, default=100, help="of STFPM")
    parser.add_argument("--own-shape", action="store_true", help="uad's input shape, not 256 x 256")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - what anomalib draws its projection from
    torch.set_num_threads(1)
    figures = compared(options)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))


def compared(options: argparse.Namespace) -> dict[str, object]:
    dataset, teacher = load_dataset(options.data), load_teacher(options.teacher)
    config = InputConfig() if options.own_shape else InputConfig(height=256, width=256)
    spec = fitted_input(config, dataset.normals).spec()
    started = time.monotonic()
    images = torch.stack([prepared(read(sample.path), spec) for sample in dataset.normals])
    if options.model == "patchcore":
        model = patchcore(teacher, images, spec, options.coreset, options.as_shipped)
        chosen = {"coreset": options.coreset, "features": len(model.memory_bank)}
    else:
        model, chosen = stfpm(teacher, images, spec, options.epochs), {"epochs": options.epochs}
    minutes = (time.monotonic() - started) / 60
    return {
        "data": dataset.name,
        "model": options.model,
        **chosen,
        "teacher": teacher.sha256,
        "seed": options.seed,
        "input": [spec.height, spec.width],
        "training_images": len(dataset.normals),
        "test_images": len(dataset.test),
        "training_minutes": minutes,
        **measured(model, dataset.test, spec),
    }


if __name__ == "__main__":
    main()
