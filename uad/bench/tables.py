"""The inference benchmark's results as columns and rows of text."""

from uad.bench.inference import SpeedReport

Table = tuple[list[str], list[list[str]]]


def speed(outcome: SpeedReport) -> Table:
    """How long each engine takes in each setting."""
    columns = ["engine", "px", "batch", "threads", "median ms", "p95 ms", "images/s", "x fp32"]
    rows = [
        [
            figure.engine,
            str(figure.size),
            str(figure.batch),
            str(figure.threads),
            f"{figure.median_ms:.2f}",
            f"{figure.p95_ms:.2f}",
            f"{figure.images_per_second:.1f}",
            f"{figure.ratio:.2f}",
        ]
        for figure in outcome.figures
    ]
    return columns, rows


def cost(outcome: SpeedReport) -> Table:
    """Load time and memory of each engine, and how much it differs from float32."""
    columns = ["engine", "px", "load s", "peak MiB", "map difference", "score difference"]
    largest = max(figure.batch for figure in outcome.figures)
    chosen = {
        (figure.engine, figure.size): figure
        for figure in outcome.figures
        if figure.batch == largest
    }
    rows = [
        [
            figure.engine,
            str(figure.size),
            f"{figure.load_seconds:.2f}",
            f"{figure.peak_mib:.0f}",
            f"{figure.map_difference:.1e}",
            f"{figure.score_difference:.1e}",
        ]
        for figure in chosen.values()
    ]
    return columns, rows


def workers(outcome: SpeedReport) -> Table:
    """N workers with one thread each, compared with one worker with N threads."""
    columns = ["engine", "px", "N", "N x 1: images/s", "1 x N: images/s", "ratio"]
    rows = [
        [
            found.engine,
            str(found.size),
            str(found.workers),
            f"{found.together:.1f}",
            f"{found.alone:.1f}",
            f"{found.together / found.alone:.2f}",
        ]
        for found in outcome.throughput
    ]
    return columns, rows


def floors(outcome: SpeedReport) -> Table:
    """The least time for one image, and how far above it the best engine is."""
    columns = ["precision", "px", "Gop", "peak Gop/s", "floor ms", "best here", "ms", "x floor"]
    rows = []
    for floor in outcome.floors:
        alike = [
            figure
            for figure in outcome.figures
            if (figure.size, figure.threads, figure.batch) == (floor.size, floor.threads, 1)
            and figure.engine.endswith(f"/{floor.precision}")
        ]
        best = min(alike, key=lambda figure: figure.median_ms, default=None)
        rows.append(
            [
                floor.precision,
                str(floor.size),
                f"{floor.giga_operations:.2f}",
                f"{floor.peak_giga_operations_per_second:.0f}",
                f"{floor.milliseconds:.2f}",
                best.engine if best else "-",
                f"{best.median_ms:.2f}" if best else "-",
                f"{best.median_ms / floor.milliseconds:.2f}" if best else "-",
            ]
        )
    return columns, rows


def parts(outcome: SpeedReport) -> Table:
    """What the parts of the detector cost each engine."""
    columns = ["engine", "px", "threads", "parts", "median ms", "x student alone"]
    rows = [
        [
            one.engine,
            str(one.size),
            str(one.threads),
            one.parts,
            f"{one.median_ms:.2f}",
            f"{one.ratio:.2f}",
        ]
        for one in outcome.parts
    ]
    return columns, rows
