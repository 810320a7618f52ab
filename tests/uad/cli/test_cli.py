import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.uad.cli.conftest import Ran
from uad.cli import main
from uad.config import TrainingConfig, load_settings
from uad.config.choices import PRECISIONS

HEAVY = ("paddle", "mlflow", "prefect", "fastapi", "sklearn", "matplotlib", "onnxruntime", "torch")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, contextlib\n"
        "from uad.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "LOADED []" in shown.stdout


def test_listing_and_promoting_versions_needs_no_image_code() -> None:
    code = (
        "import sys, uad.registry\n"
        "print('LOADED', sorted({'mlflow', 'cv2', 'numpy', 'safetensors', 'httpx', 'uad.bundle'}"
        " & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "LOADED []" in shown.stdout


@pytest.mark.parametrize(
    "command",
    [
        *("ingest", "train", "evaluate", "register", "promote", "rollback"),
        *("retrain", "deploy", "ui", "predict", "serve", "demo"),
    ],
)
def test_every_command_has_a_help_that_teaches(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "Usage: uad " + command in shown
    assert len(shown.splitlines()) > 8


@pytest.mark.parametrize("command", ["predict", "serve", "evaluate", "calibrate"])
def test_a_help_lists_every_engine_and_precision(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    for engine, precisions in PRECISIONS.items():
        assert all(word in shown for word in (engine, *precisions))


def test_an_error_is_one_line_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "no-such-bundle", "--data", "no-such-data"])
    captured = capsys.readouterr()
    assert stopped.value.code == 1
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) == 1


def test_debug_shows_the_error_whole() -> None:
    from uad.errors import UadError

    with pytest.raises(UadError):
        main(["evaluate", "no-such-bundle", "--data", "no-such-data", "--debug"])


@pytest.mark.parametrize(
    ("data", "name", "device", "reason"),
    [
        ("./nowhere", "cookie", "cpu", "does not exist"),
        (".", "my/cookie", "cpu", "cannot name a product"),
        (".", "cookie", "gpu:98,99", "gpu:98, gpu:99 cannot be used"),
    ],
)
def test_a_mistyped_retraining_is_refused_before_prefect_starts(
    data: str, name: str, device: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["retrain", "--data", data, "--name", name, "--device", device])
    shown = capsys.readouterr().err
    assert reason in shown
    assert "Prefect" not in shown


def test_the_terminal_breaks_the_lines_of_a_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["retrain", "--help"])
    shown = capsys.readouterr().out.splitlines()
    assert any("The gate:" in line and "a person decides" in line for line in shown)


def test_brackets_in_a_help_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["suspects", "--help"])
    shown = capsys.readouterr().out
    assert "'data.exclude=[train/good/007.png]'" in shown
    assert "[b]" not in shown


def test_the_settings_that_come_with_uad_are_listed_and_shown(uad: Callable[..., Ran]) -> None:
    assert "training/demo" in uad("config", "list").out
    assert "min_steps: 100" in uad("config", "show", "training/demo").out
    assert "training/published" in uad("config", "show", "training/no-such").err


@pytest.mark.parametrize("name", ["training/demo", "configs/training/demo.yaml"])
def test_a_name_from_that_list_stands_for_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(TrainingConfig, Path(name)).training.min_steps == 100


BLOCKED = """
import sys, contextlib
sys.modules[sys.argv[1]] = None
from uad.cli import main
for command in sys.argv[2:]:
    with contextlib.suppress(SystemExit):
        main(command.split())
"""


@pytest.mark.parametrize(
    ("module", "extra", "commands"),
    [
        (
            "psutil",
            "uad[train]",
            ["retrain --data . --name x", "deploy --data . --name x", "demo"],
        ),
        ("paddle", "uad[cpu]", ["train --data . --output out/b", "suspects .", "demo"]),
        ("flask", "uad[train]", ["ui"]),
        ("fastapi", "uad[serving]", ["serve --model models:/x@champion"]),
    ],
)
def test_a_part_that_is_not_installed_is_named_with_its_cure_before_any_work(
    module: str, extra: str, commands: list[str], tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED, module, *commands],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == len(commands), ran.stderr
    assert all(line.startswith("error: ") and extra in line for line in lines)


@pytest.mark.parametrize("command", ["train --data . --output /proc/no/bundle", "models"])
def test_a_folder_that_cannot_be_written_is_a_line_with_a_cure(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == "models":
        monkeypatch.setenv("UAD_HOME", "/proc/no/home")
    with pytest.raises(SystemExit):
        main(command.split())
    shown = capsys.readouterr().err
    assert "Unexpected error" not in shown
    assert "/proc/no" in shown


SECRET = "Geheim7"


@pytest.mark.parametrize(
    "uri",
    [
        f"http://uad:{SECRET}@127.0.0.1:9",
        f"http://uad:{SECRET}/x@127.0.0.1:9",
        f"postgresql://uad:{SECRET}@127.0.0.1:9/mlflow",
        f"nonsense://uad:{SECRET}@127.0.0.1:9/mlflow",
    ],
)
@pytest.mark.parametrize("command", ["models", "serve --model models:/x@champion --port 0"])
def test_a_registry_that_cannot_be_reached_is_named_without_its_password(
    uri: str, command: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(SystemExit):
        main(command.split())
    shown = capfd.readouterr()
    assert "Unexpected error" not in shown.err
    assert "127.0.0.1" in shown.out + shown.err
    assert SECRET not in shown.out + shown.err
