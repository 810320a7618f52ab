"""The lower bound for an image's time: the network's arithmetic at the machine's peak speed."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.inference.engines.loading import installed
from uad.models.resnet import shapes

CHANNELS, SIDE, LAYERS = 256, 64, 4
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def processor() -> str:
    """Name, core count and the instructions that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{os.cpu_count()} cores"
    name = re.search(r"model name\s*: (.*)", text)
    number = re.search(r"^model\s*: (\d+)", text, re.MULTILINE)
    flags = set((re.search(r"flags\s*: (.*)", text) or [""])[0].split())
    kept = " ".join(flag for flag in INSTRUCTIONS if flag in flags)
    return (
        f"{name[1] if name else 'unknown processor'}"
        f"{f' (model {number[1]})' if number else ''}, {os.cpu_count()} cores, {kept}"
    )


def operations(width: int, spec: InputSpec) -> int:
    """Multiplications and additions of both pyramids for one image, convolutions only."""
    total = 0
    for name, shape in shapes(width):
        if len(shape) == 4:
            total += int(np.prod(shape)) * _positions(name, spec)
    return 4 * total  # multiply and add; student and teacher


def parameter_bytes(width: int, bytes_each: int) -> int:
    """Size of both pyramids' convolution weights."""
    kernels = (int(np.prod(shape)) for _, shape in shapes(width) if len(shape) == 4)
    return int(2 * bytes_each * sum(kernels))


def peak_rate(*, int8: bool, threads: int, runs: int = 40) -> float:
    """Operations a second of the fastest engine here in a plain stack of large convolutions."""
    model = _stack(int8).SerializeToString()
    image = np.abs(np.random.default_rng(0).standard_normal((1, CHANNELS, SIDE, SIDE)))
    run = _runner(model, threads, image.astype(np.float32))
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    work = 2 * LAYERS * CHANNELS**2 * 9 * SIDE**2
    return work / min(taken)


def bandwidth() -> float:
    """Bytes a second that one thread copies, read and written, beyond the caches."""
    source = np.ones(2**25)
    target = np.empty_like(source)
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        np.copyto(target, source)
        taken.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(taken)


def _positions(name: str, spec: InputSpec) -> int:
    """At how many locations of one image a convolution is computed."""
    if name == "conv1.weight":
        return spec.height * spec.width // 4
    step = 2 << int(name[len("layer")])
    return (spec.height // step) * (spec.width // step)


def _stack(int8: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    value = "x"
    scale, zero = constant("s", np.float32(0.02)), constant("z", np.uint8(0))
    zero_weight = constant("zw", np.int8(0))
    for layer in range(LAYERS):
        kernel = rng.integers(-127, 128, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8)
        name = f"w{layer}"
        if int8:
            constant(name, kernel)
            nodes += [
                helper.make_node("QuantizeLinear", [value, scale, zero], [f"q{layer}"]),
                helper.make_node("DequantizeLinear", [f"q{layer}", scale, zero], [f"d{layer}"]),
                helper.make_node("DequantizeLinear", [name, scale, zero_weight], [f"f{layer}"]),
            ]
            value, name = f"d{layer}", f"f{layer}"
        else:
            constant(name, (kernel * np.float32(0.02)).astype(np.float32))
        pads = [1, 1, 1, 1]
        nodes.append(helper.make_node("Conv", [value, name], [f"c{layer}"], pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        value = f"r{layer}"
    shape = [1, CHANNELS, SIDE, SIDE]
    if int8:
        nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], ["qy"]))
        nodes.append(helper.make_node("DequantizeLinear", ["qy", scale, zero], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", [value], ["y"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _runner(model: bytes, threads: int, image: NDArray[np.float32]) -> Callable[[], Any]:
    if installed("openvino"):
        import openvino

        core = openvino.Core()
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        network = core.compile_model(core.read_model(model), "CPU", options)
        request = network.create_infer_request()
        return lambda: request.infer([image], share_inputs=True, share_outputs=True)
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": image})
