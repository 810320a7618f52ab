"""Traffic goes on through swaps, broken versions, killed engines and a registry in trouble."""

import ctypes
import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.serving.attackers import Attackers
from tests.serving.faults import FAULTS, GOOD, Saboteur, ScriptedRegistry, Traffic, scripted_server
from tests.serving.running import Running, until

Bundles = Callable[[int], Path]


@pytest.fixture
def registry(random_bundle: Bundles) -> ScriptedRegistry:
    return ScriptedRegistry([random_bundle(seed) for seed in (1, 2)])


@pytest.fixture
def follow(registry: ScriptedRegistry, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers that follow the scripted champion, each with a store of its own."""
    with ExitStack() as servers:

        def start(name: str = "store", **values: object) -> Running:
            if registry.number == 0:
                registry.promote()
            return servers.enter_context(scripted_server(registry, tmp_path / name, **values))

        yield start


def failed_versions(server: Running) -> list[str]:
    followed = server.state.products.default.followed
    return [failure.version for failure in followed.watcher.status().failed]


def storm(
    server: Running, registry: ScriptedRegistry, traffic: Traffic, saboteur: Saboteur, rounds: int
) -> None:
    """Each round: a fault, an engine killed or stopped, a good version, which must serve."""
    for each in range(rounds):
        saboteur.spare_those_that_run()
        broken = registry.promote(FAULTS[each % len(FAULTS)])
        until(lambda v=broken: v in failed_versions(server))
        saboteur.end_an_engine((signal.SIGKILL, signal.SIGSTOP)[each % 2])
        good = registry.promote(GOOD)
        until(lambda v=good: traffic.last == v)


def test_no_request_fails_through_swaps_faults_and_killed_engines(
    follow: Callable[..., Running], registry: ScriptedRegistry, image: str
) -> None:
    server = follow(limits={"start_seconds": 30.0})
    with Traffic(server, image) as traffic, Saboteur(registry, server) as saboteur:
        storm(server, registry, traffic, saboteur, rounds=len(FAULTS))
    assert traffic.failed == []
    broken = {str(2 * each) for each in range(1, len(FAULTS) + 1)}
    assert not broken & set(traffic.versions)
    assert len(traffic.versions) == len(FAULTS) + 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_soak_two_hundred_swaps_under_load(
    follow: Callable[..., Running],
    registry: ScriptedRegistry,
    image: str,
    record_property: Callable[[str, object], None],
) -> None:
    server = follow(limits={"start_seconds": 30.0})
    memory, me = [], psutil.Process()
    start = time.monotonic()
    with (
        Traffic(server, image) as traffic,
        Attackers(server) as attackers,
        Saboteur(registry, server) as saboteur,
    ):
        for _ in range(17):  # of 12 swaps each, half of them to broken versions
            storm(server, registry, traffic, saboteur, rounds=len(FAULTS))
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what is free counts as free
            memory.append(me.memory_info().rss / 2**20)
    slope = np.polyfit(range(5, len(memory)), memory[5:], 1)[0] / 12
    facts = {
        "seconds": round(time.monotonic() - start),
        "requests": traffic.versions.total(),
        "failed": len(traffic.failed),
        "p99_seconds": round(float(np.quantile(traffic.seconds, 0.99)), 2),
        "attacks": attackers.attacks,
        "promotions": registry.number,
        "memory_mib": [round(each) for each in memory],
        "mib_a_swap": round(float(slope), 3),
    }
    record_property("soak", facts)
    print(facts)  # noqa: T201 - the soak's result
    assert traffic.failed == []
    assert slope < 0.25


def test_a_slow_registry_slows_no_request(
    follow: Callable[..., Running], registry: ScriptedRegistry, image: str
) -> None:
    server = follow()
    registry.delay_seconds = 3.0
    with Traffic(server, image) as traffic:
        until(lambda: server.state.products.default.followed.registry.is_asking)
        before = traffic.versions.total()
        until(lambda: traffic.versions.total() > before + 20)
    assert traffic.failed == []
    registry.delay_seconds = 0.0


def test_a_registry_that_goes_down_and_comes_back_is_followed_again(
    follow: Callable[..., Running], registry: ScriptedRegistry, image: str
) -> None:
    server = follow()
    registry.is_down = True
    until(lambda: about(server)["registry"] == "down")
    good = registry.promote()
    with Traffic(server, image) as traffic:
        until(lambda: traffic.versions.total() > 5)
        assert set(traffic.versions) == {"1"}
        registry.is_down = False
        until(lambda: traffic.last == good)
    assert traffic.failed == []
    assert about(server)["registry"] == "up"


def test_a_damaged_copy_in_the_store_is_fetched_again(
    follow: Callable[..., Running], registry: ScriptedRegistry, image: str, tmp_path: Path
) -> None:
    server = follow()
    (folder,) = (tmp_path / "store" / "cookie").glob("1-*")
    server.server.stop()
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-100] + bytes(100))
    again = follow()
    assert again.judge(image)["result"]["modelVersion"] == "1"


def test_two_replicas_converge_on_one_version(
    follow: Callable[..., Running], registry: ScriptedRegistry, image: str
) -> None:
    first, second = follow("one", workers=1), follow("two", workers=1)
    with Traffic(first, image, 1) as seen_by_one, Traffic(second, image, 1) as seen_by_two:
        for kind in (GOOD, "wrong hash", GOOD):
            last = registry.promote(kind)
        until(lambda: seen_by_one.last == seen_by_two.last == last)
    assert seen_by_one.failed == seen_by_two.failed == []


def about(server: Running) -> dict[str, object]:
    return server.http.get("/readyz").json()["result"]["models"]["cookie"]
