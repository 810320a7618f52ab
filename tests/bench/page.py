"""What an open page costs the line: `python tests/bench/page.py [ROUNDS]`.

`uad serve` keeps every image. Requests arrive at random, at half of what the server can do. In
turns nobody looks, and a page asks as `serving/page/static/now.js` does: each 3 seconds what is
new, and the small pictures of the 200 newest images that it has not shown. The page asks from
another process here; a browser would draw on another machine. Prints the median and the 99th
percentile of an answer's time, without and with the page.
"""

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.serving import closed_loop, open_loop, request, served
from tests.bundles import write_random_bundle

NAME = "bench"
SECONDS = 20.0
EVERY_SECONDS = 3.0
TILES = 200


def main(rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UAD_HOME"] = folder
        bundle = write_random_bundle(Path(folder) / "bundle", 0, width=64, size=256)
        with served(f"{NAME}={bundle}", **{"keep.images": "all"}) as url:
            _compare(url, rounds)


def _compare(url: str, rounds: int) -> None:
    body = request(256)
    rate = asyncio.run(closed_loop(url, body, 4, 5.0)) / 2  # also fills the page
    found: dict[str, list[tuple[float, float]]] = {"nobody looks": [], "a page is open": []}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * SECONDS)))
        for name, figures in found.items():
            over = multiprocessing.Event()
            page = multiprocessing.Process(target=_page, args=(url, over))
            if name != "nobody looks":
                page.start()
            spent = asyncio.run(open_loop(url, body, arrivals))
            over.set()
            if page.is_alive():
                page.join()
            figures.append((1e3 * statistics.median(spent), 1e3 * float(np.quantile(spent, 0.99))))
    print(f"{rate:.1f} requests/s")
    for name, figures in found.items():
        median, late = (statistics.median(column) for column in zip(*figures, strict=True))
        rounds_ = ", ".join(f"{late:.0f}" for _, late in figures)
        print(f"{name}: median {median:.0f} ms, p99 {late:.0f} ms (rounds: {rounds_})")


def _page(url: str, over: Event) -> None:
    model, revision, shown = f"/page/models/{NAME}", -1, set()
    with httpx.Client(base_url=url, timeout=60) as http:
        while not over.is_set():
            answer = http.get(f"{model}/now?revision={revision}").json()
            found = answer.get("result", answer) if answer else None
            if found:
                revision = found["revision"]
                images = found["images"]
                while images and len(images) < TILES:
                    older = http.get(f"{model}/images", params={"before": images[-1]["at"]}).json()
                    more = older.get("result", older)["images"]
                    if not more:
                        break
                    images += more
                for image in images[:TILES]:
                    if image["id"] not in shown:
                        shown.add(image["id"])
                        http.get(f"{model}/images/{image['id']}/preview").raise_for_status()
            over.wait(EVERY_SECONDS)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
