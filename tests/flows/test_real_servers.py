"""The chain against servers as a plant runs them: MLflow on PostgreSQL, artifacts through it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.demo import ask, serving
from flows.retrain import retrain
from tests.servers import MlflowServer, mlflow_server, postgresql
from uad.evaluation import read_report
from uad.registry import ModelRegistry

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    with postgresql() as database, mlflow_server(tmp_path / "server", database) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
        yield made


def test_from_a_folder_to_an_answer_over_http_with_mlflow_on_postgresql(
    server: MlflowServer, chain: dict[str, Any], parts: Path, uad_home: Path, tmp_path: Path
) -> None:
    outcome = retrain(str(parts), **chain)
    registry = ModelRegistry()
    assert registry.uri == server.uri
    champion = registry.champion("parts")
    assert outcome.promoted
    assert champion is not None
    assert champion.source.startswith("mlflow-artifacts:")
    assert list((server.folder / "artifacts").rglob("bundle.json"))
    assert not (uad_home / "mlflow" / "artifacts").exists()  # all went through the server

    with serving(["models:/parts@champion"], tmp_path / "serve.log") as url:
        image = parts / "test/rough/000.png"
        answer = ask(f"{url}/image-anomaly-detection", image, tmp_path / "answer.jpg").prediction
    known = {each.name: each for each in read_report(Path(str(outcome.report))).images}
    assert answer.model_version == champion.version
    assert answer.score == pytest.approx(known["test/rough/000.png"].score, rel=1e-4)

    registry.promote("parts", "1", reason="again")
    assert [move.to_version for move in registry.history("parts")] == ["1"]
