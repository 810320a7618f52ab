import pytest

from uad.config.choices import parse_device, parse_devices
from uad.errors import EngineError


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("cpu", ("cpu",)),
        ("gpu", ("gpu:0",)),
        ("gpu:2", ("gpu:2",)),
        ("gpu:0,1", ("gpu:0", "gpu:1")),
        ("npu:0", ("npu:0",)),
        ("xpu:1", ("xpu:1",)),
        ("mlu:0,3", ("mlu:0", "mlu:3")),
    ],
)
def test_the_forms_that_paddlex_documents_are_read(text: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text) == devices


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GPU:0",
        "cuda:0",
        "gpu:",
        "gpu:a",
        "gpu:-1",
        "gpu:0,",
        "gpu:0, 1",
        "gpu0",
        " cpu",
        "tpu:0",
    ],
)
def test_any_other_form_is_refused_with_those_that_exist(text: str) -> None:
    with pytest.raises(EngineError, match="write cpu, gpu:0, gpu:0,1, npu:0, xpu:0 or mlu:0"):
        parse_devices(text)


@pytest.mark.parametrize("text", ["cpu,gpu:0", "gpu:0,cpu", "gpu:0,xpu:1"])
def test_kinds_cannot_be_mixed(text: str) -> None:
    with pytest.raises(EngineError, match="mixes kinds: name devices of one kind, cpu, gpu:0"):
        parse_devices(text)


def test_a_numbered_cpu_and_a_device_named_twice_are_refused() -> None:
    with pytest.raises(EngineError, match="write cpu"):
        parse_devices("cpu:0")
    with pytest.raises(EngineError, match="twice"):
        parse_devices("gpu:1,1")


def test_where_one_device_is_wanted_several_are_refused() -> None:
    assert parse_device("gpu") == "gpu:0"
    with pytest.raises(EngineError, match="name one here"):
        parse_device("gpu:0,1")
