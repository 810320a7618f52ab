"""How soon a promoted version answers: `python tests/bench/promotion.py [ROUNDS]`.

`uad serve` runs with two workers and asks the registry every two seconds. Three clients ask without
a pause. In each round a new version, of random weights at full width, is registered, and then
promoted by `uad promote`. Prints the seconds that the command took, and the seconds from its start
to the first answer of the new version.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.serving import request, served
from tests.bundles import write_random_bundle
from uad.registry import ModelRegistry

NAME = "bench"
PARTS = ("student", "memory", "whole_image")
CLIENTS = 3
POLL_SECONDS = 2.0


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UAD_HOME"] = folder
        registry = ModelRegistry()
        _register(registry, Path(folder), 0)
        registry.promote(NAME, "1")
        with served(f"models:/{NAME}@champion", poll_seconds=POLL_SECONDS) as url:
            clients = _Clients(f"{url}/image-anomaly-detection")
            found = [_round(registry, Path(folder), number, clients) for number in range(rounds)]
            clients.stop()
    promoted, answered = zip(*found, strict=True)
    for what, seconds in (("uad promote", promoted), ("to the first answer", answered)):
        print(f"{what}: median {statistics.median(seconds):.1f} s, most {max(seconds):.1f} s")
    print(f"{clients.failed} of {clients.answers} requests failed")


class _Clients:
    """Ask without a pause, from threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.version = ""
        self.answers = self.failed = 0
        self._over = threading.Event()
        self._body = request(256)
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, version: str) -> None:
        while self.version != version:
            time.sleep(0.005)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as http:
            while not self._over.is_set():
                answer = http.post(self.url, content=self._body).json()
                self.answers += 1
                self.failed += answer["errorCode"] != 0
                if answer["errorCode"] == 0:
                    self.version = answer["result"]["modelVersion"]


def _round(
    registry: ModelRegistry, folder: Path, number: int, clients: _Clients
) -> tuple[float, float]:
    version = _register(registry, folder, number + 1)
    started = time.monotonic()
    command = [sys.executable, "-m", "uad", "promote", NAME, version]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    promoted = time.monotonic() - started
    clients.wait_for(version)
    return promoted, time.monotonic() - started


def _register(registry: ModelRegistry, folder: Path, seed: int) -> str:
    bundle = write_random_bundle(folder / f"bundle-{seed}", seed, width=64, size=256, parts=PARTS)
    return str(registry.register(bundle, NAME).version)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
