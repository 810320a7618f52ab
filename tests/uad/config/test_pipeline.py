from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from uad.config.loading import read_yaml
from uad.config.pipeline import PipelineConfig, parse_pipeline
from uad.errors import ConfigError

SHIPPED = Path(str(files("uad"))) / "configs" / "pipelines"


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.name)
def test_every_shipped_pipeline_is_valid_and_spells_out_the_defaults(file: Path) -> None:
    assert parse_pipeline(read_yaml(file), origin=str(file)) == PipelineConfig()


def test_both_of_paddlex_forms_mean_the_same() -> None:
    first = """
        Global: {pipeline_name: anomaly_detection, input: "https://example.org/part.png"}
        Pipeline: {model: models:/cookie/3, batch_size: 4, device: "cpu"}
    """
    second = """
        pipeline_name: anomaly_detection
        device: cpu
        SubModules:
          AnomalyDetection:
            module_name: anomaly_detection
            model_name: STFPM
            model_dir: models:/cookie/3
            batch_size: 4
    """
    parsed = [parse_pipeline(yaml.safe_load(text), origin="x") for text in (first, second)]
    assert (
        parsed[0]
        == parsed[1]
        == PipelineConfig(model="models:/cookie/3", batch_size=4, device="cpu")
    )


def test_the_second_form_without_a_model_dir_runs_the_named_model() -> None:
    values = {"SubModules": {"AnomalyDetection": {"model_name": "cookie"}}}
    assert parse_pipeline(values, origin="x").model == "cookie"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"Pipeline": {"model": "x", "treshold": 1}}, "Pipeline.treshold"),
        ({"Pipeline": {"batch_size": "many"}}, "Pipeline.batch_size"),
        ({"Pipeline": {"alpha": 1.5}}, "Pipeline.alpha"),
        (
            {"SubModules": {"AnomalyDetection": {"batch_size": 0}}},
            "SubModules.AnomalyDetection.batch_size",
        ),
        ({"SubModules": {"TextDetection": {}}}, "SubModules.TextDetection"),
        ({"pipeline_name": "OCR", "SubModules": {"AnomalyDetection": {}}}, "pipeline_name"),
    ],
)
def test_a_wrong_key_or_value_is_named_by_its_path(values: Mapping[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parse_pipeline(values, origin="my.yaml")


def test_a_file_of_neither_form_is_refused_with_the_way_to_get_one() -> None:
    with pytest.raises(ConfigError, match="get_pipeline_config"):
        parse_pipeline({"model": "x"}, origin="my.yaml")
