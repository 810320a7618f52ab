from collections.abc import Callable
from pathlib import Path

import pytest

from flows.promote import promote, promote_flow
from uad.data import ingest
from uad.errors import RegistryError
from uad.gate import Verdict
from uad.registry import ModelRegistry


@pytest.fixture
def dataset(parts: Path, registry: ModelRegistry) -> str:
    """The stored images; its address."""
    return ingest(parts, "parts", progress=False).address


def test_a_version_that_is_worse_on_the_same_images_does_not_replace_the_champion(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    registry.register(trained_bundle, "parts")
    registry.promote("parts", "1")
    registry.register(random_bundle(1), "parts")

    assert not promote_flow("parts", "2", dataset, str(tmp_path))

    worse = registry.version("parts", "2")
    assert worse.aliases == ("challenger",)
    assert worse.tags["gate.decision"] == "reject"
    assert worse.tags["gate.champion"] == "1"
    assert worse.tags["gate.dataset"] == dataset
    assert float(worse.tags["gate.image_auroc.challenger"]) < float(
        worse.tags["gate.image_auroc.champion"]
    )
    assert registry.champion("parts") == registry.version("parts", "1")


def test_a_better_version_replaces_the_champion_and_the_table_is_an_artifact(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    from prefect.artifacts import Artifact

    registry.register(random_bundle(1), "parts")
    registry.promote("parts", "1")
    registry.register(trained_bundle, "parts")

    assert promote_flow("parts", "2", dataset, str(tmp_path))

    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "2"
    assert registry.history("parts")[-1].reason.startswith("no metric is worse")
    table = Artifact.get("gate-parts")
    assert table is not None
    assert "| image AUROC |" in str(table.data)


def test_the_user_may_promote_what_the_gate_rejects_and_the_audit_says_so(
    prefect_api: str,
    dataset: str,
    registry: ModelRegistry,
    trained_bundle: Path,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    registry.register(trained_bundle, "parts")
    registry.promote("parts", "1")
    registry.register(random_bundle(1), "parts")

    assert promote_flow("parts", "2", dataset, str(tmp_path), mode="always")

    assert "--promote always" in registry.history("parts")[-1].reason
    assert registry.version("parts", "2").tags["gate.decision"] == "reject"


def test_a_verdict_against_one_champion_is_not_applied_to_another(
    registry: ModelRegistry, random_bundle: Callable[[int], Path]
) -> None:
    for seed in (1, 2, 3):
        registry.register(random_bundle(seed), "parts")
    registry.promote("parts", "2")
    stale = Verdict(decision="promote", reason="better than 1", champion="1")
    with pytest.raises(RegistryError, match="is version 2 now"):
        promote.fn("parts", "3", stale)
    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "2"
