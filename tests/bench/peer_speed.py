"""How long one image takes: anomalib's PatchCore and STFPM beside bundles of this project.

Run by hand, in the environment of `peers.py`, from the root of the checkout:

    PYTHONPATH=. ENV/bin/python tests/bench/peer_speed.py DATA TEACHER BUNDLE [BUNDLE ...] \
        [--coreset 0.1] [--threads 2] [--rounds 15]

All take the same image of 256 x 256, one at a time, from its pixels to the score and the anomaly
map. Anomalib's networks run in PyTorch and, exported by PyTorch, in ONNX Runtime; the bundles in
ONNX Runtime. They take turns, so that what else the machine does meets all of them alike. The
peer's memory is the one of `peers.py`, made of the same images. Its STFPM is not trained: that
changes no time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.nn import Module

from tests.bench.peers import patchcore, prepared, stfpm
from uad.bundle import read_bundle
from uad.config import InputConfig, InputSpec
from uad.data import load_dataset
from uad.images import read, resize
from uad.inference.detector import Detector
from uad.inference.engines import load_engine
from uad.models.teacher import load_teacher

SIZE = 256
PAUSE_SECONDS = 0.3
"""Before each turn: the threads of the one before keep the cores busy for a while, waiting."""
Judge = Callable[[NDArray[np.uint8]], tuple[float, object]]
"""From (H, W, 3) uint8 BGR to a score and a map."""


class Outputs(Module):
    """A peer's network with plain outputs, as an export needs them."""

    def __init__(self, network: Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.network(batch)
        return found.pred_score, found.anomaly_map


def in_pytorch(network: Module, spec: InputSpec) -> Judge:
    @torch.no_grad()
    def judge(image: NDArray[np.uint8]) -> tuple[float, object]:
        found = network(prepared(image, spec)[None])
        return float(found.pred_score), found.anomaly_map[0, 0].numpy()

    return judge


def in_onnx_runtime(network: Module, spec: InputSpec, file: Path, threads: int) -> Judge:
    example = torch.zeros(1, 3, spec.height, spec.width)
    torch.onnx.export(Outputs(network).eval(), (example,), str(file), dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def judge(image: NDArray[np.uint8]) -> tuple[float, object]:
        score, found = session.run(None, {name: prepared(image, spec)[None].numpy()})
        return float(score.ravel()[0]), found[0, 0]

    return judge


def of_bundle(folder: Path, precision: str, threads: int) -> Judge:
    bundle = read_bundle(folder)
    engine = load_engine(bundle, "onnxruntime", precision=precision, threads=threads)
    detector = Detector(bundle, engine)

    def judge(image: NDArray[np.uint8]) -> tuple[float, object]:
        (found,) = detector.detect([image])
        return found.score, found.anomaly_map

    return judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--coreset", type=float, default=0.1, help="share of features kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset, teacher = load_dataset(options.data), load_teacher(options.teacher)
    spec = InputConfig(height=SIZE, width=SIZE).spec()
    training = torch.stack([prepared(read(sample.path), spec) for sample in dataset.normals])
    memory = patchcore(teacher, training, spec, options.coreset, as_shipped=False)
    pair = stfpm(teacher, training, spec, epochs=0)
    named = f"anomalib PatchCore, {len(memory.memory_bank)} features"
    with TemporaryDirectory() as folder:
        judges = {
            f"{named}, PyTorch": in_pytorch(memory, spec),
            f"{named}, ONNX Runtime": in_onnx_runtime(
                memory, spec, Path(folder, "memory.onnx"), options.threads
            ),
            "anomalib STFPM, PyTorch": in_pytorch(pair, spec),
            "anomalib STFPM, ONNX Runtime": in_onnx_runtime(
                pair, spec, Path(folder, "pair.onnx"), options.threads
            ),
        }
        for bundle in options.bundles:
            judges[f"{bundle.name}, ONNX Runtime"] = of_bundle(bundle, "fp32", options.threads)
        image = resize(read(dataset.test[0].path), (SIZE, SIZE))
        show(times(judges, image, options.rounds))


def times(
    judges: dict[str, Judge], image: NDArray[np.uint8], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each, in turns."""
    for judge in judges.values():
        judge(image)
    taken: dict[str, list[float]] = {name: [] for name in judges}
    for _ in range(rounds):
        for name, judge in judges.items():
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            judge(image)
            taken[name].append(1e3 * (time.perf_counter() - started))
    return taken


def show(taken: dict[str, list[float]]) -> None:
    *_, last = taken
    print(f"{'':60} {'ms':>7} {'ratio to the last':>18}")
    for name, values in taken.items():
        print(f"{name:60} {median(values):7.1f} {median(values) / median(taken[last]):18.2f}")


if __name__ == "__main__":
    main()
