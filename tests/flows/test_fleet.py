from pathlib import Path

import pytest
import yaml

from flows.fleet import read_fleet, run_fleet
from tests.flows.conftest import TINY_QUICK
from uad.cli import main
from uad.config.choices import Runner
from uad.errors import ConfigError
from uad.registry import ModelRegistry


@pytest.fixture
def file(tmp_path: Path, normals: Path) -> Path:
    """Two products that can be trained, around one that has no images."""
    (tmp_path / "empty").mkdir()
    tiny = {"teacher": "random", "config": TINY_QUICK}
    products = {
        "left": {"data": str(normals), **tiny},
        "broken": {"data": "empty", **tiny},
        "right": {"data": str(normals), **tiny},
    }
    made = tmp_path / "products.yaml"
    made.write_text(yaml.safe_dump({"products": products}, sort_keys=False))
    return made


def check(runner: Runner, file: Path, registry: ModelRegistry, workers: int = 1) -> None:
    rows = run_fleet(read_fleet(file), runner=runner, workers=workers)
    assert [row.product for row in rows] == ["left", "broken", "right"]
    assert [row.error is None for row in rows] == [True, False, True]
    assert "empty" in str(rows[1].error)
    assert registry.products() == ["left", "right"]


def test_the_failure_of_one_product_leaves_the_others(
    prefect_api: str, file: Path, registry: ModelRegistry
) -> None:
    from prefect.artifacts import Artifact

    check("here", file, registry)
    table = Artifact.get("fleet")
    assert table is not None
    assert "| broken | - | - | failed: " in str(table.data)


@pytest.mark.slow
def test_products_are_retrained_in_processes_side_by_side(
    prefect_api: str, file: Path, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    check("processes", file, registry, workers=2)


@pytest.mark.slow
def test_products_are_retrained_on_a_dask_cluster(
    prefect_api: str, file: Path, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    pytest.importorskip("prefect_dask", reason="Dask is not installed")
    check("dask", file, registry, workers=2)


def test_paths_are_those_of_the_file(file: Path) -> None:
    assert read_fleet(file).products["broken"].data == str(file.parent / "empty")


def test_a_misspelt_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "products.yaml"
    file.write_text("products: {cookie: {daat: photos}}")
    with pytest.raises(ConfigError, match=r"products\.cookie\.daat"):
        read_fleet(file)
    with pytest.raises(SystemExit) as stopped:
        main(["fleet", "retrain", str(file)])
    assert stopped.value.code == 1
    assert "daat" in capsys.readouterr().err
