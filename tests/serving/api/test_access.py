from collections.abc import Callable
from pathlib import Path

import pytest

from serving.api.access import Buckets, Keys, new_key
from tests.serving.running import Running
from uad.cli import main
from uad.errors import ConfigError, RequestRefused

Bundles = Callable[[int], Path]
PATH = "/image-anomaly-detection"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str]:
    """A file with one key, and the key."""
    key, line = new_key("line4")
    file = tmp_path / "keys.txt"
    file.write_text(f"# who may ask\n\n{line}\n")
    return file, key


def test_only_a_known_key_may_ask(
    serve: Callable[..., Running], random_bundle: Bundles, keys: tuple[Path, str], image: str
) -> None:
    file, key = keys
    server = serve(models=[str(random_bundle(1))], access={"keys": str(file)})
    asked = {"image": image, "visualize": False}

    def status(**headers: str | bytes) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.http.post(PATH, json=asked, headers=named).status_code

    assert status(Authorization=f"Bearer {key}") == 200
    assert status(X_API_Key=key) == 200
    refused = server.http.post(PATH, json=asked)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert status(Authorization=f"Bearer {key}x") == 401
    assert status(Authorization=f"Basic {key}") == 401
    assert status(X_API_Key="ümlaut".encode()) == 401
    assert server.http.get("/livez").status_code == 200  # balancers have no key


def test_only_hashes_are_kept(keys: tuple[Path, str]) -> None:
    file, key = keys
    assert key not in file.read_text()
    assert Keys(file).owner(key) == "line4"


def test_a_key_that_is_taken_out_of_the_file_is_locked_out_while_serving(
    keys: tuple[Path, str],
) -> None:
    file, key = keys
    known = Keys(file)
    file.write_text("# nobody\n")
    known.refresh()
    assert known.owner(key) is None


def test_keys_survive_a_file_that_goes_away(keys: tuple[Path, str]) -> None:
    file, key = keys
    known = Keys(file)
    file.unlink()
    known.refresh()
    assert known.owner(key) == "line4"


def test_a_typing_error_in_the_file_is_named_once_and_locks_nobody_out(
    keys: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    file, key = keys
    known = Keys(file)
    file.write_text(f"{file.read_text()}line5 sha256:abc\n")
    known.refresh()
    known.refresh()
    assert known.owner(key) == "line4"
    assert caplog.text.count(f"{file} line 4 is not an API key") == 1
    other, line = new_key("line5")
    file.write_text(line)
    known.refresh()
    assert known.owner(other) == "line5"


@pytest.mark.parametrize("line", ["line4", "line4 sha256:abc", "line4 sha256:" + "z" * 64])
def test_a_line_that_is_no_key_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"\n{line}\n")
    with pytest.raises(ConfigError, match="line 2 is not an API key"):
        Keys(tmp_path / "keys")


def test_a_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"line4 \xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        Keys(tmp_path / "keys")


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the API keys"):
        Keys(tmp_path / "none")


def test_the_command_prints_the_key_apart_from_the_line_for_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["api-key", "line 4"])
    shown = capsys.readouterr()
    (tmp_path / "keys").write_text(shown.out)
    assert Keys(tmp_path / "keys").owner(shown.err.split()[-1]) == "line 4"


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 3, clock=lambda: now[0])
    for _ in range(3):
        buckets.take("line4")
    with pytest.raises(RequestRefused) as refused:
        buckets.take("line4")
    assert (refused.value.status, refused.value.retry_after_seconds) == (429, 1)
    buckets.take("line5")  # others are not concerned
    now[0] += 0.5
    buckets.take("line4")
    with pytest.raises(RequestRefused):
        buckets.take("line4")


def test_the_rate_counts_over_http(
    serve: Callable[..., Running], random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[str(random_bundle(1))], access={"rate": 0.01, "burst": 2})
    codes = [server.judge(image)["errorCode"] for _ in range(3)]
    assert codes == [0, 0, 429]


def test_the_rate_counts_every_image_of_a_batch(
    serve: Callable[..., Running], random_bundle: Bundles, image: str
) -> None:
    server = serve(models=[str(random_bundle(1))], access={"rate": 0.01, "burst": 5})
    batch = {"images": [image] * 5, "visualize": False, "labelMap": "rle"}
    assert server.http.post(f"{PATH}/batch", json=batch).json()["errorCode"] == 0
    assert server.judge(image)["errorCode"] == 429
