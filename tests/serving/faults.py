"""A registry that a test writes the script of, continuous traffic, and saboteurs."""

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from serving.api.state import State
from serving.app import create_app
from serving.models.loading import open_products
from serving.run import bound
from serving.server import GracefulServer
from serving.settings import ServerSettings
from tests.serving.running import PATIENCE_SECONDS, Beside, Running
from uad.bundle import MANIFEST, sha256
from uad.errors import RegistryUnreachableError
from uad.hot_reload import BundleStore
from uad.registry.types import BUNDLE_SHA256, ModelVersion

GOOD = "good"
FAULTS = ("nan golden", "wrong hash", "no graph", "dies at start", "too slow", "disk full")
CHAMPION = "models:/cookie@champion"


class ScriptedRegistry:
    """One product whose champion the test sets; each promotion is a new version."""

    def __init__(self, bundles: list[Path]) -> None:
        self._bundles = bundles
        self.number = 0
        self.kind = GOOD
        self.is_down = False
        self.delay_seconds = 0.0
        self._kinds: dict[str, str] = {}

    def promote(self, kind: str = GOOD) -> str:
        """Make a new version of that kind the champion."""
        version = str(self.number + 1)
        self._kinds[version], self.kind = kind, kind
        self.number += 1
        return version

    def mend(self, version: str) -> None:
        """From now on that version is good."""
        self._kinds[version] = self.kind = GOOD

    def resolve(self, _: str) -> ModelVersion:
        time.sleep(self.delay_seconds)
        if self.is_down:
            raise RegistryUnreachableError("cannot reach the registry")
        version = str(self.number)
        tags = {BUNDLE_SHA256: sha256(self._bundle(version) / MANIFEST)}
        if self._kinds[version] in ("nan golden", "no graph"):
            tags = {}  # a registry that does not know better
        return ModelVersion("cookie", version, None, f"script:{version}", tags=tags)

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        kind = self._kinds[version.version]
        if kind == "disk full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        bundle = Path(shutil.copytree(self._bundle(version.version), into / "bundle"))
        if kind == "wrong hash":
            with (bundle / "weights.safetensors").open("ab") as file:
                file.write(b"x")
        if kind == "no graph":
            _rewrite(bundle, "model.onnx", b"no graph")
        if kind == "nan golden":
            _set_golden(bundle, float("nan"))
        return bundle

    def note_external(self, name: str, *, alias: str) -> None:
        """Every move of this registry was made by the test."""

    def _bundle(self, version: str) -> Path:
        return self._bundles[int(version) % len(self._bundles)]


@contextmanager
def scripted_server(registry: ScriptedRegistry, store: Path, **values: object) -> Iterator[Running]:
    """A server that follows the scripted champion."""
    limits = {"deadline_seconds": PATIENCE_SECONDS, **values.pop("limits", {})}  # type: ignore[dict-item]
    fixed = {"models": [CHAMPION], "port": 0, "workers": 2, "poll_seconds": 0.02}
    settings = ServerSettings.model_validate({**fixed, **values, "limits": limits})
    with ExitStack() as ends:
        listener = ends.enter_context(bound(settings.host, settings.port))
        products = open_products(settings, lambda: registry, lambda: BundleStore(store))
        state = State(settings, products)
        ends.callback(state.close)
        server = GracefulServer(create_app(settings, state), settings, state)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        ends.callback(thread.join, PATIENCE_SECONDS)
        ends.callback(server.stop)
        run = Running(state, server, f"http://127.0.0.1:{listener.getsockname()[1]}")
        ends.callback(run.http.close)
        yield run


class Saboteur(Beside):
    """While a doomed version loads, ends (or stops) the processes that load it."""

    def __init__(self, registry: ScriptedRegistry, server: Running) -> None:
        super().__init__()
        self._registry, self._server = registry, server
        self._spared: set[int] = set()

    def end_an_engine(self, how: signal.Signals) -> None:
        """SIGKILL or SIGSTOP one of those that serve."""
        for pid in self._server.pids()[:1]:
            _kill(pid, how)

    def spare_those_that_run(self) -> None:
        """Before a doomed version is promoted: what starts from now on is its."""
        self._spared = self._children()

    def _run(self) -> None:
        while not self._over.wait(0.01):
            how = {"dies at start": signal.SIGKILL, "too slow": signal.SIGSTOP}.get(
                self._registry.kind
            )
            if how is not None:
                for pid in self._children() - self._spared - set(self._server.pids()):
                    _kill(pid, how)

    @staticmethod
    def _children() -> set[int]:
        """Engine processes; one that was forked and is not itself yet would block who forks it."""
        found = set()
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if "serving.workers.process" in child.cmdline():
                    found.add(child.pid)
        return found


class Traffic(Beside):
    """Clients that ask without a pause until the block ends, and what they saw."""

    def __init__(self, server: Running, image: str, clients: int = 2) -> None:
        super().__init__(clients)
        self.failed: list[object] = []
        self.versions: Counter[str] = Counter()
        self.seconds: list[float] = []
        """How long each answer took."""
        self.last = ""
        self._server, self._image = server, image

    def _run(self) -> None:
        while not self._over.is_set():
            start = time.monotonic()
            try:
                answer = self._server.judge(self._image)
            except Exception as exc:  # noqa: BLE001 - any failure is what is looked for
                self.failed.append(exc)
                continue
            self.seconds.append(time.monotonic() - start)
            if answer["errorCode"]:
                self.failed.append(answer)
            else:
                self.last = answer["result"]["modelVersion"]
                self.versions[self.last] += 1


def _kill(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _rewrite(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file, and its hash in the manifest, as a hostile author would."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][name] = sha256(bundle / name)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def _set_golden(bundle: Path, value: float) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    for entry in manifest["calibration"].values():
        entry["golden_scores"] = [value] * len(entry["golden_scores"])
    (bundle / MANIFEST).write_text(json.dumps(manifest))
