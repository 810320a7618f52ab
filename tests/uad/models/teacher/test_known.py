from pathlib import Path

import numpy as np
import pytest

from uad.cli import main
from uad.errors import TeacherError
from uad.models.resnet import random_weights
from uad.models.teacher import embedded_file, load_teacher, teacher_from
from uad.models.teacher.sources import EMBEDDED_SHA256, embedded_problem

LARGEST_BYTES = 12 * 2**20


def test_the_embedded_teacher_comes_from_the_package_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    teacher = load_teacher("embedded")

    assert teacher.id == "embedded"
    assert teacher.weights["conv1.weight"].shape == (64, 3, 7, 7)
    assert teacher.weights["layer3.1.bn2.bias"].shape == (256,)


def test_the_embedded_file_is_small_and_its_card_names_its_hash() -> None:
    card = embedded_file().with_name("MODEL_CARD.md").read_text(encoding="utf-8")

    assert embedded_file().stat().st_size <= LARGEST_BYTES
    assert EMBEDDED_SHA256 in card


def test_an_altered_embedded_file_is_found_out(tmp_path: Path) -> None:
    copy = tmp_path / "teacher.safetensors"
    content = bytearray(embedded_file().read_bytes())
    copy.write_bytes(content)
    assert embedded_problem(copy) is None

    content[-1] ^= 1
    copy.write_bytes(content)

    assert "altered" in str(embedded_problem(copy))
    assert "missing" in str(embedded_problem(tmp_path / "nowhere"))


def test_another_width_than_the_embedded_one_is_refused() -> None:
    with pytest.raises(TeacherError, match="shape"):
        load_teacher("embedded", width=8)


def test_an_unknown_teacher_is_refused_and_replaced_by_none() -> None:
    with pytest.raises(TeacherError, match="imagnet"):
        load_teacher("imagnet")


def test_the_hash_tells_weights_apart() -> None:
    one, same, other = (teacher_from("x", random_weights(8, seed)) for seed in (1, 1, 2))

    assert one.sha256 == same.sha256 != other.sha256


def test_the_command_shows_what_is_here(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    with pytest.raises(SystemExit) as left:
        main(["teacher", "list"])

    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "embedded" in shown
    assert "not fetched" in shown
    assert str(cache) in shown.replace("\n", "")


def test_the_command_verifies_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "net.npz"
    np.savez(file, **random_weights(64, 0))

    with pytest.raises(SystemExit) as left:
        main(["teacher", "verify", str(file)])

    assert left.value.code == 0
    assert load_teacher(str(file)).sha256 in capsys.readouterr().out


def test_verifying_a_teacher_that_is_not_here_says_how_to_fetch_it_and_does_not(
    capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["teacher", "verify", "imagenet"])

    assert left.value.code == 1
    assert "uad teacher fetch" in capsys.readouterr().err
    assert not cache.exists()


def test_an_altered_cached_file_fails_the_verification(
    capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / "resnet18.pdparams").write_bytes(b"something else")

    with pytest.raises(SystemExit) as left:
        main(["teacher", "verify"])

    assert left.value.code == 1
    assert "md5" in capsys.readouterr().err
