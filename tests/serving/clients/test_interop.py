"""The clients in seven languages, built and run against a real server."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from serving.api.access import new_key
from tests.serving.running import Running
from uad.client import Client, Prediction

CLIENTS = Path(__file__).parents[3] / "serving" / "clients"
STRICT = ("-Wall", "-Wextra", "-Werror")
CPP_HEADERS = ("-include", "curl/curl.h", "-include", "nlohmann/json.hpp")
MONO_LIBRARIES = ("-r:System.Net.Http.dll", "-r:System.Runtime.Serialization.dll")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Language:
    """How to build and run one client; `{source}` is its folder in the project."""

    packages: str
    """Debian's, named when something is missing."""
    tools: tuple[str, ...]
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """A command that succeeds when the language's libraries are there."""


LANGUAGES = {
    "python": Language("python3", ("python3",), ("python3", "{source}/client.py")),
    "cpp": Language(
        "g++ libcurl4-openssl-dev nlohmann-json3-dev",
        ("g++",),
        ("./client",),
        ("g++", "-std=c++17", *STRICT, "{source}/client.cpp", "-lcurl", "-o", "client"),
        ("g++", *CPP_HEADERS, "-E", "-x", "c++", "/dev/null", "-o", "headers"),
    ),
    "java": Language(
        "default-jdk",
        ("javac", "java"),
        ("java", "-cp", ".", "Client"),
        ("javac", "-Xlint:all", "-Werror", "-d", ".", "{source}/Client.java"),
    ),
    "go": Language(
        "golang-go",
        ("go",),
        ("./client",),
        ("go", "build", "-o", "client", "{source}/client.go"),
    ),
    "csharp": Language(
        "mono-devel",
        ("mcs", "mono"),
        ("mono", "client.exe"),
        ("mcs", "-warnaserror", *MONO_LIBRARIES, "{source}/Client.cs", "-out:client.exe"),
    ),
    "nodejs": Language("nodejs", ("node",), ("node", "{source}/client.js")),
    "php": Language(
        "php-cli php-curl",
        ("php",),
        ("php", "{source}/client.php"),
        needs=("php", "-r", "exit(extension_loaded('curl') ? 0 : 1);"),
    ),
}


@pytest.fixture(scope="module", params=LANGUAGES)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Program":
    language = LANGUAGES[request.param]
    built = Program(CLIENTS / request.param, tmp_path_factory.mktemp(request.param), language.run)
    missing = [tool for tool in language.tools if shutil.which(tool) is None]
    if missing or (language.needs and built.execute(language.needs).returncode):
        what = ", ".join(missing) or "a library"
        pytest.skip(f"{what} is missing: apt-get install {language.packages}")
    if language.build:
        done = built.execute(language.build)
        assert done.returncode == 0, done.stdout + done.stderr
    return built


@dataclass(frozen=True)
class Program:
    """A client that is ready to run in a folder of its own."""

    source: Path
    folder: Path
    command: tuple[str, ...]

    def execute(
        self, command: Sequence[str], **environment: str
    ) -> subprocess.CompletedProcess[str]:
        known = {"PATH": PATH, "HOME": str(self.folder), "GO111MODULE": "off"}
        return subprocess.run(
            [part.format(source=self.source) for part in command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            env={**known, **environment},
        )

    def ask(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        return self.execute([*self.command, *words], **environment)


@pytest.fixture(scope="module")
def expected(server: Running, image_file: Path) -> Prediction:
    with Client(server.url) as client:
        return client.predict(image_file)


def test_it_prints_the_verdict_and_saves_the_picture(
    program: Program, server: Running, image_file: Path, expected: Prediction, tmp_path: Path
) -> None:
    output = tmp_path / "Out put.jpg"
    done = program.ask(image_file, output, f"{server.url}/image-anomaly-detection")
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert float(said["score"]) == pytest.approx(expected.score, rel=1e-5)
    assert said["verdict"] == ("anomalous" if expected.is_anomalous else "normal")
    assert said["size"] == "{} x {}".format(*expected.size)
    assert int(said["anomalous pixels"]) == (expected.label_map > 0).sum()
    assert int(said["regions"]) == expected.regions.count
    for number, region in enumerate(expected.regions.listed, start=1):
        box = "x {}, y {}, width {}, height {}".format(*region.box)
        assert said[f"region {number}"] == box
    assert said["picture"] == str(output)
    assert output.read_bytes()[:2] == b"\xff\xd8"
    assert cv2.imread(str(output)) is not None


def test_a_persons_word_is_sent(
    program: Program,
    serve: Callable[..., Running],
    random_bundle: Callable[[int], Path],
    image_file: Path,
    tmp_path: Path,
) -> None:
    running = serve(models=[str(random_bundle(1))], keep={"images": "all"})
    done = program.ask(image_file, tmp_path / "out.jpg", f"{running.url}/image-anomaly-detection")
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    judged = "defective" if said["verdict"] == "anomalous" else "good"
    note = 'a "reflection", 反射 \\ at the rim'
    url = f"{running.url}/feedback"
    told = program.ask("--feedback", said["log id"], "good", note, url, LANG="C.UTF-8")
    assert told.returncode == 0, told.stderr
    assert told.stdout == f"recorded: judged {judged}, said good\n"
    assert running.state.judged_images is not None
    (image,) = running.state.judged_images.of_answer(said["log id"])
    assert [(word.said, word.note) for word in image.words] == [("good", note)]
    refused = program.ask("--feedback", "unknown", "good", "", url)
    assert refused.returncode == 1
    assert "error: 404: " in refused.stderr
    assert program.ask("--feedback", "unknown").returncode == 2


def test_an_api_key_is_sent(
    program: Program,
    serve: Callable[..., Running],
    random_bundle: Callable[[int], Path],
    image_file: Path,
    tmp_path: Path,
) -> None:
    key, line = new_key("line 4")
    (tmp_path / "keys").write_text(line + "\n", "utf-8")
    access = {"keys": tmp_path / "keys"}
    running = serve(models=[str(random_bundle(1))], access=access)
    arguments = (image_file, tmp_path / "out.jpg", f"{running.url}/image-anomaly-detection")
    refused, answered = program.ask(*arguments), program.ask(*arguments, UAD_API_KEY=key)
    assert refused.returncode == 1
    assert "error: 401: " in refused.stderr
    assert answered.returncode == 0, answered.stderr


def test_the_servers_words_reach_the_user(
    program: Program, server: Running, tmp_path: Path
) -> None:
    file, output = tmp_path / "notes.png", tmp_path / "out.jpg"
    file.write_text("no image at all")
    done = program.ask(file, output, f"{server.url}/image-anomaly-detection")
    assert done.returncode == 1
    assert re.search(r"error: 415: .*PNG", done.stderr)
    assert not output.exists()


def test_a_server_that_is_not_there_and_a_missing_file_are_errors(
    program: Program, image_file: Path, tmp_path: Path
) -> None:
    nowhere = "http://127.0.0.1:9/image-anomaly-detection"
    for file in (image_file, tmp_path / "missing.png"):
        done = program.ask(file, tmp_path / "out.jpg", nowhere)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_wrong_arguments_show_the_usage(program: Program) -> None:
    done = program.ask()
    assert done.returncode == 2
    assert "IMAGE OUTPUT.jpg [URL]" in done.stderr
