import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from tests.uad.data.conftest import write_long_ago
from uad.config import SplitConfig
from uad.data import ingest, load_dataset
from uad.data.dataset_version import compare
from uad.data.versions import dataset_names, history, read_version, verify
from uad.errors import ConfigError, DataError

Draw = Callable[..., Path]


def objects(home: Path) -> list[Path]:
    return sorted(file for file in (home / "datasets/objects").rglob("*") if file.is_file())


def test_the_same_content_is_the_same_version_wherever_it_lies(parts: Path, tmp_path: Path) -> None:
    first = ingest(parts, "parts")
    shutil.copytree(parts, tmp_path / "moved" / "parts")
    second = ingest(tmp_path / "moved" / "parts", "parts")
    assert first.version == second.version == load_dataset(parts).version
    assert len(first.version) == 12
    assert [row["version"] for row in history("parts")] == [first.version] * 2


def test_other_pixels_labels_names_or_masks_are_another_version(
    parts: Path, draw: Draw, draw_mask: Draw
) -> None:
    seen = {ingest(parts, "parts").version}
    draw("parts/train/good/000.png", seed=90)
    seen.add(ingest(parts, "parts").version)
    (parts / "test/cracked").rename(parts / "test/broken")
    (parts / "ground_truth/cracked").rename(parts / "ground_truth/broken")
    seen.add(ingest(parts, "parts").version)
    draw_mask("parts/ground_truth/broken/000_mask.png", value=200)
    seen.add(ingest(parts, "parts").version)
    (parts / "train/good/001.png").rename(parts / "train/good/renamed.png")
    seen.add(ingest(parts, "parts").version)
    assert len(seen) == 5


def test_each_file_is_stored_once_for_all_versions_and_names(
    parts: Path, draw: Draw, uad_home: Path
) -> None:
    ingest(parts, "parts")
    before = objects(uad_home)
    assert len(before) == 19 + 1  # the four masks are one file
    draw("parts/train/good/new.png", seed=91)
    ingest(parts, "parts")
    ingest(parts, "other")
    assert len(objects(uad_home)) == len(before) + 1


def test_editing_the_source_does_not_alter_a_version(parts: Path) -> None:
    version = ingest(parts, "parts")
    with (parts / "train/good/000.png").open("r+b") as file:
        file.write(b"overwritten in place")
    shutil.rmtree(parts)
    dataset = load_dataset("parts")
    assert dataset.version == version.version
    assert dataset.counts["test_anomalous"] == 4
    assert all(sample.path.is_file() for sample in dataset.normals + dataset.test)
    assert verify(read_version("parts")) == []


def test_a_name_means_its_latest_version_and_an_address_a_fixed_one(
    parts: Path, draw: Draw
) -> None:
    first = ingest(parts, "parts")
    draw("parts/train/good/new.png", seed=92)
    second = ingest(parts, "parts")
    assert load_dataset("parts").version == second.version
    assert load_dataset(first.address).version == first.version
    assert load_dataset(f"parts@{first.version[:6]}").version == first.version
    (parts / "train/good/new.png").unlink()
    ingest(parts, "parts")
    assert load_dataset("parts").version == first.version


def test_a_stored_name_wins_over_a_folder_of_that_name_unless_written_as_a_path(
    parts: Path,
    draw: Draw,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    version = ingest(parts, "parts")
    draw("parts/train/good/new.png", seed=93)
    monkeypatch.chdir(parts.parent)
    for _ in range(2):
        assert load_dataset("parts").version == version.version
    assert caplog.text.count("new images in the folder are not") == 1
    assert load_dataset("./parts").version != version.version
    assert load_dataset(Path("parts")).version != version.version
    assert load_dataset("./parts").name == "parts"


def test_unknown_datasets_and_versions_are_named_with_what_there_is(parts: Path) -> None:
    with pytest.raises(DataError, match="no dataset 'cookie'; make it with: uad ingest PATH"):
        load_dataset("cookie")
    version = ingest(parts, "parts")
    with pytest.raises(DataError, match="there are parts"):
        load_dataset("cookie")
    with pytest.raises(DataError, match=f"does not exist; there are {version.version}"):
        load_dataset("parts@000000000000")
    with pytest.raises(DataError, match="does not exist; check the path"):
        load_dataset("no/such/folder")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a@b", "-x", "a:b", "objects", "x" * 101])
def test_names_that_could_escape_the_store_are_refused(parts: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot name a dataset"):
        ingest(parts, name)
    assert dataset_names() == []


def test_an_altered_stored_file_is_refused_and_healed_by_the_next_ingest(parts: Path) -> None:
    ingest(parts, "parts")
    victim = load_dataset("parts").normals[0]
    data = bytearray(victim.path.read_bytes())
    data[-1] ^= 1
    victim.path.chmod(0o644)
    victim.path.write_bytes(data)
    with pytest.raises(DataError, match=f"{victim.name}.*is gone or altered; ingest again"):
        load_dataset("parts")
    ingest(parts, "parts")
    assert load_dataset("parts").normals[0].sha256 == victim.sha256
    assert verify(read_version("parts")) == []


def test_decay_that_keeps_the_time_stamp_is_found_by_verify(parts: Path) -> None:
    version = ingest(parts, "parts")
    victim = load_dataset("parts").normals[0]
    status = victim.path.stat()
    data = bytearray(victim.path.read_bytes())
    data[-1] ^= 1
    victim.path.chmod(0o644)
    victim.path.write_bytes(data)
    os.utime(victim.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    load_dataset("parts")
    assert verify(version) == [victim.name]
    with pytest.raises(DataError, match="gone or altered"):
        load_dataset("parts")
    ingest(parts, "parts")
    assert verify(version) == []


def test_a_store_copied_without_its_time_stamps_is_still_good(parts: Path, uad_home: Path) -> None:
    ingest(parts, "parts")
    for file in objects(uad_home):
        os.utime(file)
    assert load_dataset("parts").counts["test_anomalous"] == 4
    assert len({file.stat().st_mtime for file in objects(uad_home)}) == 1


def test_a_damaged_version_file_is_refused_and_healed_by_the_next_ingest(
    parts: Path, uad_home: Path
) -> None:
    version = ingest(parts, "parts")
    file = uad_home / "datasets/parts/versions" / f"{version.version}.json"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="missing or damaged; ingest the images again"):
        load_dataset("parts")
    ingest(parts, "parts")
    assert load_dataset("parts").version == version.version


@pytest.mark.parametrize("content", ["", "{torn", '["no row"]'])
def test_a_damaged_history_is_made_again_from_the_versions(
    parts: Path, uad_home: Path, draw: Draw, content: str
) -> None:
    versions = [ingest(parts, "parts").version]
    draw("parts/train/good/new.png", seed=90)
    versions.append(ingest(parts, "parts").version)
    (uad_home / "datasets/parts/history.json").write_text(content)
    assert sorted(row["version"] for row in history("parts")) == sorted(versions)
    assert load_dataset(f"parts@{versions[0]}").version == versions[0]
    ingest(parts, "parts")
    assert [row["version"] for row in history("parts")][-1] == versions[1]


def test_a_folder_that_lost_most_of_its_images_is_said_first(parts: Path) -> None:
    ingest(parts, "parts")
    for index in range(5):
        (parts / f"train/good/{index:03}.png").unlink()
    assert not ingest(parts, "parts").problems
    for index in range(5, 9):
        (parts / f"train/good/{index:03}.png").unlink()
    problem = ingest(parts, "parts").problems[0]
    assert (problem.kind, problem.path) == ("fewer", parts)
    assert "3 good images to learn from, but the version before had 7" in problem.message


def test_a_version_is_never_rewritten_but_reports_this_ingests_problems(
    parts: Path, uad_home: Path
) -> None:
    first = ingest(parts, "parts")
    file = uad_home / "datasets/parts/versions" / f"{first.version}.json"
    written = file.read_bytes()
    write_long_ago(parts / "train/good/torn.png", b"torn")
    second = ingest(parts, "parts")
    assert second.version == first.version
    assert [problem.kind for problem in second.problems] == ["broken"]
    assert file.read_bytes() == written


def test_ingests_at_the_same_time_keep_every_version(parts: Path, tmp_path: Path) -> None:
    folders = []
    for index in range(4):
        folder = tmp_path / f"copy{index}"
        shutil.copytree(parts, folder)
        (folder / f"train/good/{index:03}.png").unlink()
        folders.append(folder)
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda folder: ingest(folder, "parts"), folders))
    assert {row["version"] for row in history("parts")} == {v.version for v in versions}
    assert all(verify(version) == [] for version in versions)


def test_an_ingest_waits_for_another_of_the_same_name(parts: Path, uad_home: Path) -> None:
    version = ingest(parts, "parts")
    with ThreadPoolExecutor(1) as pool:
        with FileLock(uad_home / "datasets/parts/.lock"):
            waiting = pool.submit(ingest, parts, "parts")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert len(history("parts")) == 1
        assert waiting.result(timeout=60).version == version.version
    assert len(history("parts")) == 2


def test_ingests_of_several_processes_keep_every_version(parts: Path, uad_home: Path) -> None:
    code = "import sys; from uad.data import ingest; print(ingest(sys.argv[1], 'parts').version)"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "UAD_HOME": str(uad_home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder in (parts, parts / "train")
    ]
    versions = {run.communicate(timeout=60)[0].strip() for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert {row["version"] for row in history("parts")} == versions
    assert len(versions) == 2


def test_the_group_pattern_of_a_dataset_is_kept_until_another_is_given(parts: Path) -> None:
    pattern = r"good/0(\d)"
    first = ingest(parts, "parts", group_pattern=pattern)
    assert ingest(parts, "parts").version == first.version
    assert ingest(parts, "parts", group_pattern="").group_pattern is None
    assert ingest(parts, "parts").group_pattern is None


def test_a_group_pattern_is_part_of_the_version_and_used_when_it_is_loaded(
    parts: Path, draw: Draw
) -> None:
    draw("parts/test/good/003.png", seed=100 + 50)
    plain = ingest(parts, "parts")
    grouped = ingest(parts, "parts", group_pattern=r"good/0(\d)")
    assert plain.version != grouped.version
    assert load_dataset(plain.address).groups is None
    with pytest.raises(DataError, match=r"into 2 groups, and three shares need at least 3"):
        load_dataset(grouped.address)
    finer = load_dataset(grouped.address, SplitConfig(group_pattern=r"good/(\d+)"))
    assert finer.groups == 12
    leaks = [problem.message for problem in finer.problems if problem.kind == "leak"]
    assert len(leaks) == 4
    assert "capture 003 is in training and in test (test/good/003.png)" in leaks[3]


def test_a_pattern_that_tells_no_parts_apart_is_said(
    parts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = ingest(parts, "parts", group_pattern=r"box_(\d+)").address
    load_dataset(address)
    assert "puts each image into a capture of its own, for example train/good/" in caplog.text


def test_a_pattern_without_a_group_is_refused_before_anything_is_stored(parts: Path) -> None:
    for pattern in ("abc", "(abc"):
        with pytest.raises(ConfigError, match="group pattern"):
            ingest(parts, "parts", group_pattern=pattern)
    assert dataset_names() == []


def test_too_few_normal_images_are_named_with_the_dataset(parts: Path) -> None:
    for file in sorted((parts / "train/good").iterdir())[2:]:
        file.unlink()
    ingest(parts, "parts")
    with pytest.raises(DataError, match="parts: 2 normal images cannot be shared"):
        load_dataset("parts")


def test_a_comparison_tells_what_changed(parts: Path, draw: Draw) -> None:
    old = ingest(parts, "parts")
    draw("parts/train/good/new.png", seed=94)
    draw("parts/train/good/000.png", seed=95)
    (parts / "train/good/001.png").unlink()
    (parts / "train/good/002.png").rename(parts / "train/good/two.png")
    new = ingest(parts, "parts")
    difference = compare(old, new)
    assert difference
    assert difference.added == ("train/good/new.png",)
    assert difference.removed == ("train/good/001.png",)
    assert difference.renamed == ("train/good/two.png",)
    assert difference.replaced == ("train/good/000.png",)
    assert difference.relabelled == ()
    assert not compare(old, old)


def test_a_file_that_changes_while_it_is_ingested_is_left_for_next_time(
    parts: Path, draw: Draw
) -> None:
    from uad.data.checks import scan
    from uad.data.versions import store

    found = scan(parts)
    draw("parts/train/good/000.png", seed=96)
    version = store(found, "parts", source=parts, group_pattern=None, progress=False)
    assert [problem.kind for problem in version.problems] == ["unfinished"]
    assert "train/good/000.png is left for next time" in version.problems[0].message
    assert version.counts["normal"] == 11
    assert verify(version) == []
    assert ingest(parts, "parts").counts["normal"] == 12


@pytest.mark.slow
def test_real_sets_are_read_without_problems(shared: Path) -> None:
    cookie = load_dataset(shared / "data/cookie")
    assert cookie.counts == {
        "train": 9,
        "selection": 3,
        "calibration": 19,
        "test_normal": 14,
        "test_anomalous": 32,
        "masks": 32,
    }
    tiles = load_dataset(shared / "data/magnetic_tile", SplitConfig(group_pattern=r"_num_(\d+)"))
    assert (tiles.groups, tiles.counts["calibration"], tiles.counts["masks"]) == (710, 142, 388)
    assert [problem.path.name for problem in cookie.problems] == ["normal-31.jpg"]  # too bright
    assert [problem.kind for problem in tiles.problems] == ["similar", "similar"]
