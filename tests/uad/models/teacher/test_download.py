import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.uad.models.teacher.conftest import CONTENT, IMPATIENT, PATIENT, Shop
from uad.errors import TeacherError
from uad.models.teacher import fetch, load_teacher
from uad.models.teacher.download import verify


def test_a_file_is_fetched_once_and_then_taken_from_the_cache(shop: Shop, tmp_path: Path) -> None:
    first = fetch(shop.source(), tmp_path, patience=PATIENT)
    second = fetch(shop.source(), tmp_path, patience=PATIENT)

    assert first == second
    assert first.read_bytes() == CONTENT
    assert len(shop.ranges) == 1


def test_a_cut_download_goes_on_where_it_stopped(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["cut", "cut"]

    file = fetch(shop.source(), tmp_path, patience=PATIENT)

    half, three_quarters = len(CONTENT) // 2, len(CONTENT) * 3 // 4
    assert shop.ranges == [None, f"bytes={half}-", f"bytes={three_quarters}-"]
    assert file.read_bytes() == CONTENT


def test_a_later_run_goes_on_with_an_earlier_ones_part(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "net.bin.part").write_bytes(CONTENT[:5000])

    file = fetch(shop.source(), tmp_path, patience=PATIENT)

    assert shop.ranges == ["bytes=5000-"]
    assert file.read_bytes() == CONTENT


def test_a_part_that_was_complete_is_only_checked(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "net.bin.part").write_bytes(CONTENT)

    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "net.bin.part").write_bytes(CONTENT + b"more")

    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["cut", "no ranges"]

    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_a_stalled_download_is_given_up_and_resumed(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["stall"]

    assert fetch(shop.source(), tmp_path, patience=IMPATIENT).read_bytes() == CONTENT
    assert shop.ranges[1] == "bytes=1000-"


def test_a_server_that_stays_silent_ends_in_one_sentence_with_file_address_and_cure(
    shop: Shop, tmp_path: Path
) -> None:
    shop.behaviour = ["silent"] * 9

    with pytest.raises(TeacherError) as caught:
        fetch(shop.source(), tmp_path, patience=IMPATIENT)

    message = str(caught.value)
    assert shop.url in message
    assert "--teacher embedded" in message
    assert f"copy the file to {tmp_path / 'net.bin'}" in message
    assert len(shop.ranges) == IMPATIENT.attempts


def test_corrupt_content_is_refused_and_not_kept(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["corrupt"]

    with pytest.raises(TeacherError, match="md5"):
        fetch(shop.source(), tmp_path, patience=PATIENT)

    assert not list(tmp_path.glob("net.bin*part"))
    assert not (tmp_path / "net.bin").exists()
    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_twice(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["404"]

    with pytest.raises(TeacherError, match="answered 404"):
        fetch(shop.source(), tmp_path, patience=PATIENT)

    assert len(shop.ranges) == 1


def test_a_server_in_trouble_is_asked_again(shop: Shop, tmp_path: Path) -> None:
    shop.behaviour = ["503"]

    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_a_named_sha256_must_match(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="sha256"):
        fetch(shop.source(sha256="0" * 64), tmp_path, patience=PATIENT)


def test_an_unknown_sha256_is_pinned_on_first_use(shop: Shop, tmp_path: Path) -> None:
    file = fetch(shop.source(), tmp_path, patience=PATIENT)

    pin = tmp_path / "net.bin.sha256"
    assert pin.read_text().strip() == hashlib.sha256(CONTENT).hexdigest()
    pin.write_text("0" * 64)
    assert "sha256" in str(verify(shop.source(), file))


def test_an_altered_cached_file_is_fetched_anew(shop: Shop, tmp_path: Path) -> None:
    file = fetch(shop.source(), tmp_path, patience=PATIENT)
    file.write_bytes(CONTENT[:-1] + b"x")

    assert fetch(shop.source(), tmp_path, patience=PATIENT).read_bytes() == CONTENT


def test_runs_that_want_the_file_together_share_one_download(shop: Shop, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: fetch(shop.source(), tmp_path, patience=PATIENT), range(4)))

    assert {file.read_bytes() for file in files} == {CONTENT}
    assert len(shop.ranges) == 1


def test_the_bar_is_told_what_came(shop: Shop, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    fetch(
        shop.source(),
        tmp_path,
        patience=PATIENT,
        on_bytes=lambda done, total: seen.append((done, total)),
    )

    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_mirror_that_serves_another_file_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_TEACHER_URL", shop.url)

    with pytest.raises(TeacherError, match="cf548f46534aa3560945be4b95cd11c4"):
        load_teacher("imagenet", progress=False)


def test_a_proxy_from_the_environment_is_used(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", shop.url.removesuffix("/net.bin"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    file = fetch(shop.source(url="http://nowhere.invalid/net.bin"), tmp_path, patience=PATIENT)

    assert file.read_bytes() == CONTENT
