"""What can be checked of deploy/ without a container engine; tests/flows runs prefect.yaml."""

import inspect
import re
import tomllib
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


COMPOSE = read("compose.yaml")
SERVICES = COMPOSE["services"]


def order(service: str) -> dict[str, str]:
    """What a service waits for, and until when."""
    needed = SERVICES[service].get("depends_on", {})
    return needed if isinstance(needed, dict) else dict.fromkeys(needed, "")


def test_the_sequence_of_the_first_lines_waits_for_what_it_needs() -> None:
    healthy = {"condition": "service_healthy"}
    assert order("mlflow") == order("prefect") == {"postgres": healthy}
    assert order("worker") == {"mlflow": healthy, "prefect": healthy}
    assert order("deploy") == {"prefect": healthy, "worker": healthy}
    waited_for = {name for service in SERVICES for name, until in order(service).items() if until}
    assert all("healthcheck" in SERVICES[name] for name in waited_for)


def test_the_server_starts_from_its_copies_when_the_registry_is_down() -> None:
    assert order("server") == {"mlflow": ""}
    assert "healthcheck" not in SERVICES["server"]


def test_the_server_waits_for_a_champion_instead_of_ending() -> None:
    from serving.settings import ServerSettings
    from uad.config import load_settings

    words = [word.removeprefix("--set=") for word in SERVICES["server"]["command"]]
    assert load_settings(ServerSettings, None, [words[-1]]).wait_for_model


def test_the_server_has_the_time_to_answer_what_it_has_accepted() -> None:
    from serving.settings import ServerSettings

    settings = ServerSettings()
    grace = int(SERVICES["server"]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.notice_seconds + settings.drain_seconds


@pytest.mark.parametrize("name", ["mlflow", "prefect", "worker"])
def test_a_health_check_is_a_program_that_runs_in_the_image(name: str) -> None:
    program, option, code = SERVICES[name]["healthcheck"]["test"][1:]
    assert (program, option) == ("python", "-c")
    compile(code, name, "exec")


def test_the_database_is_asked_over_tcp() -> None:
    assert SERVICES["postgres"]["healthcheck"]["test"][1:4] == ["pg_isready", "-h", "127.0.0.1"]


def test_no_password_stands_in_a_command_or_an_address() -> None:
    for service in SERVICES.values():
        assert "PASSWORD" not in " ".join(service.get("command", ()))
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in value or name in ("PGPASSWORD", "POSTGRES_PASSWORD")


def test_only_this_machine_reaches_the_ports_by_default() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith(("127.0.0.1:", "${UAD_LISTEN:-127.0.0.1}:")) for port in ports)


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_bounds_of_memory_and_logs(name: str) -> None:
    assert SERVICES[name]["mem_limit"]
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_the_pages_of_prefect_are_built_where_the_user_may_write() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "PREFECT_UI_STATIC_DIRECTORY=/home/uad/" in dockerfile
    assert "USER 1000" in dockerfile
    assert SERVICES["worker"]["environment"]["PREFECT_UI_URL"] == "http://127.0.0.1:4200"


def test_the_worker_is_the_one_that_looks_after_lost_runs_and_is_known_by_its_host() -> None:
    import typer

    from uad.cli import build

    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]
    assert SERVICES["worker"]["command"][0] in commands
    assert SERVICES["worker"]["hostname"] == "worker"
    assert "entrypoint" not in SERVICES["worker"]


def test_the_image_has_the_fastest_engine_and_only_extras_that_exist() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    [extras] = re.findall(r'"\.\[([a-z,]+)\]"', dockerfile)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "openvino" in extras.split(",")
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_what_the_image_copies_is_not_ignored_and_what_is_big_is() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in dockerfile if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied == kept
    assert "*" in lines
