import subprocess
import sys

import pytest

from uad.cli import main
from uad.devices import PRECISIONS

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
        (".", "cookie", "gpu:98,99", "gpu:98, gpu:99 cannot be had"),
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
