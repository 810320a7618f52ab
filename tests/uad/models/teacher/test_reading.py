import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from uad.errors import TeacherError
from uad.models.resnet import random_weights
from uad.models.teacher import load_teacher, read_weights

WIDTH = 8


def paddle_names(weights: Any) -> dict[str, Any]:
    return {
        name.replace("running_mean", "_mean").replace("running_var", "_variance"): value
        for name, value in weights.items()
    }


class Hostile:
    """Its pickle calls a function, as an attacker's would."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_paddles_file_gives_the_teacher_that_its_weights_make(
    tmp_path: Path, protocol: int
) -> None:
    weights = random_weights(WIDTH, 3)
    state = {**paddle_names(weights), "StructuredToParameterName@@": {"conv1.weight": "conv_0.w"}}
    file = tmp_path / "net.pdparams"
    file.write_bytes(pickle.dumps(state, protocol))

    teacher = load_teacher(str(file), width=WIDTH)

    assert teacher.id == "file:net.pdparams"
    for name, value in weights.items():
        np.testing.assert_array_equal(teacher.weights[name], value)


def test_what_paddle_itself_saves_is_read(tmp_path: Path) -> None:
    import paddle

    layer = paddle.nn.Conv2D(3, 4, 3)
    file = tmp_path / "layer.pdparams"
    paddle.save(layer.state_dict(), str(file))

    arrays = read_weights(file)

    assert set(arrays) == {"weight", "bias"}
    np.testing.assert_array_equal(arrays["weight"], layer.weight.numpy())


def test_paddles_pairs_of_name_and_array_are_read(tmp_path: Path) -> None:
    file = tmp_path / "net.pdparams"
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    file.write_bytes(pickle.dumps({"a": ("conv_0.w", array)}))

    np.testing.assert_array_equal(read_weights(file)["a"], array)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_every_format_gives_the_same_teacher(tmp_path: Path, suffix: str) -> None:
    weights = dict(random_weights(WIDTH, 3))
    file = tmp_path / f"net{suffix}"
    if suffix == ".npz":
        np.savez(file, **weights)
    else:
        save_file(weights, file)

    assert load_teacher(str(file), width=WIDTH).sha256 == (
        load_teacher("random", width=WIDTH, seed=3).sha256
    )


@pytest.mark.parametrize(
    "hostile",
    [
        Hostile(os.system, "touch OWNED"),
        Hostile(eval, "open('OWNED', 'w')"),
        Hostile(Path.touch, Path("OWNED")),
        {"conv1.weight": Hostile(exec, "open('OWNED', 'w')")},
        {"conv1.weight": np.array([Hostile(os.mkdir, "OWNED")], object)},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_file_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.pdparams"
    file.write_bytes(pickle.dumps(hostile, protocol))

    with pytest.raises(TeacherError, match="refused"):
        load_teacher(str(file))

    assert not (tmp_path / "OWNED").exists()


def test_the_hostile_file_of_this_test_would_have_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    pickle.loads(pickle.dumps(Hostile(os.mkdir, "OWNED")))

    assert (tmp_path / "OWNED").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", pickle.dumps([1, 2])])
@pytest.mark.parametrize("suffix", [".pdparams", ".npz", ".safetensors", ".pth"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_bytes(content)

    with pytest.raises(TeacherError, match=f"net{suffix}"):
        load_teacher(str(file))


def test_an_npz_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.npz"
    np.savez(file, a=np.array([Hostile(os.mkdir, "OWNED")], object))

    with pytest.raises(TeacherError, match="refused"):
        read_weights(file)


def test_pytorchs_zip_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    write_pth(file, np.arange(6, dtype=np.float32))

    np.testing.assert_array_equal(read_weights(file)["w"], [[0, 1, 2], [3, 4, 5]])


def test_an_unknown_suffix_names_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")

    with pytest.raises(TeacherError, match=r"\.safetensors"):
        load_teacher(str(tmp_path / "net.onnx"))


def test_a_file_that_holds_no_resnet_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", a=np.zeros(3))

    with pytest.raises(TeacherError, match=r"conv1\.weight"):
        load_teacher(str(tmp_path / "net.npz"))


def write_pth(file: Path, content: Any) -> None:
    """What torch.save({"w": tensor of shape (2, 3)}) writes, by hand: PyTorch is no dependency."""
    code = (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86"
        b"K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRs."
    )
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", code)
        archive.writestr("net/data/0", content.tobytes())
