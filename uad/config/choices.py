"""What users choose from: devices, engines and precisions, who promotes, where trainings run.

Device strings are PaddleX's: `cpu`, `gpu:0`, `gpu:0,1`, `npu:0`, `xpu:0`, `mlu:0`.
"""

import re
from typing import Literal

from uad.errors import EngineError

KINDS = ("cpu", "gpu", "npu", "xpu", "mlu")
FORMS = "cpu, gpu:0, gpu:0,1, npu:0, xpu:0 or mlu:0"
PRECISIONS = {
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "paddle": ("fp32",),
    "tensorrt": ("fp32", "fp16"),
}
"""By engine, its default first."""
DEVICES = {
    "onnxruntime": ("cpu", "gpu"),
    "openvino": ("cpu",),
    "paddle": ("cpu", "gpu", "npu", "xpu", "mlu"),
    "tensorrt": ("gpu",),
}
ENGINE_NAMES = ", ".join(PRECISIONS)
PRECISION_NAMES = ", ".join(sorted({one for own in PRECISIONS.values() for one in own}))
_FORM = re.compile(r"(?P<kind>[a-z]+)(?::(?P<numbers>\d{1,3}(?:,\d{1,3})*))?")


def parse_devices(text: str) -> tuple[str, ...]:
    """One device per worker, as Paddle names them: `gpu:0,1` is `gpu:0` and `gpu:1`.

    A kind alone means its first device.

    Raises:
        EngineError: another form or kind, kinds mixed, a number after cpu, or a device named twice.
    """
    found = _FORM.fullmatch(text)
    if len(named := set(re.findall("[a-z]+", text))) > 1 and named <= set(KINDS):
        raise EngineError(f"device '{text}' mixes kinds: name devices of one kind, {FORMS}")
    if found is None or found["kind"] not in KINDS:
        raise EngineError(f"device '{text}' is not understood: write {FORMS}")
    kind, numbers = found["kind"], found["numbers"]
    if kind == "cpu":
        if numbers is not None:
            raise EngineError(f"device '{text}': CPUs have no number, write cpu")
        return ("cpu",)
    chosen = [int(number) for number in (numbers or "0").split(",")]
    if len(set(chosen)) < len(chosen):
        raise EngineError(f"The device '{text}' is named twice. Name each device once.")
    return tuple(f"{kind}:{number}" for number in chosen)


def parse_device(text: str) -> str:
    """The single device that `text` names.

    Raises:
        EngineError: as `parse_devices`, or several devices.
    """
    devices = parse_devices(text)
    if len(devices) > 1:
        raise EngineError(f"device '{text}' names {len(devices)} devices: name one here")
    return devices[0]


Mode = Literal["gate", "always", "never", "ask"]
"""Who decides whether a new version serves: the gate's rule, nobody, a person later, or a person
whom the run asks."""
Runner = Literal["here", "processes", "dask"]
"""Where the trainings of many products run."""
