"""What can be checked of deploy/ without a container engine; tests/flows runs prefect.yaml."""

import inspect
import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("spec", read("prefect.yaml")["deployments"], ids=lambda s: s["entrypoint"])
def test_each_deployment_names_a_flow_and_parameters_it_has(spec: dict[str, Any]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint(spec["entrypoint"], use_placeholder_flow=False)
    assert set(spec["parameters"]) <= set(inspect.signature(flow.fn).parameters)


def test_retrainings_of_a_product_take_turns_and_begin_on_the_events_that_flows_send() -> None:
    from flows import drift, watch

    retrain = read("prefect.yaml")["deployments"][0]
    assert retrain["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    heard = {event for trigger in retrain["triggers"] for event in trigger["expect"]}
    assert heard == {watch.EVENT, drift.EVENT}


@pytest.mark.parametrize("spec", read("automations.yaml")["automations"], ids=lambda s: s["name"])
def test_each_automation_is_one_that_prefect_takes(spec: dict[str, Any]) -> None:
    from prefect.events.schemas.automations import AutomationCore

    assert AutomationCore.model_validate(spec).actions


def test_what_the_services_name_is_in_the_compose_file() -> None:
    compose = read("compose.yaml")
    services, volumes = compose["services"], compose["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        named = [volume.split(":")[0] for volume in service.get("volumes", ())]
        assert {name for name in named if re.fullmatch(r"\w+", name)} <= set(volumes)
    given = services["worker"]["environment"]
    hosts = re.findall(r"//([\w-]+)", f"{given['MLFLOW_TRACKING_URI']} {given['PREFECT_API_URL']}")
    assert set(hosts) <= set(services)


def test_what_the_image_copies_exists() -> None:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
