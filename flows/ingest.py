"""Check images and store them as an immutable dataset version."""

from collections.abc import Sequence
from pathlib import Path

from prefect import flow, task

from flows import logs
from uad.data import FolderRoles, Problem, ingest
from uad.data.quarantine import quarantined
from uad.data.versions import is_stored, read_version
from uad.evaluation.data_page import write_dataset_page

SHOWN = 5
"""Findings that are told by their text; the page has all."""


@task(name="ingest", task_run_name="ingest {data}")
def ingest_images(
    data: str, name: str, settle_seconds: float = 0.0, roles: FolderRoles | None = None
) -> str:
    """The address `name@version` of what `data` stands for: a stored version, or a path.

    Of a path, files modified less than `settle_seconds` ago are left for next time; `roles` is what
    a person says of its folders.
    """
    if is_stored(data):
        version = read_version(data)
        if Path(data).expanduser().exists():
            logs.logger.warning(
                "'%s' is taken as the stored dataset; for the folder of that name write ./%s",
                data,
                data,
            )
    else:
        version = ingest(Path(data), name, roles, settle_seconds=settle_seconds, progress=True)
        page = write_dataset_page(version, version.problems, quarantined(name))
        _tell(version.problems, page)
    logs.logger.info("dataset %s: %s", version.address, counted(version.counts))
    return version.address


@flow(name="ingest", flow_run_name="ingest {data}")
def ingest_flow(data: str, name: str, settle_seconds: float = 0.0) -> str:
    """Ingest `data` (a path) as the latest version of `name`; returns `name@version`."""
    logs.prepare()
    return ingest_images(data, name, settle_seconds)


def _tell(problems: Sequence[Problem], page: Path) -> None:
    """What the checks found, the first few by their text."""
    count = "1 finding" if len(problems) == 1 else f"{len(problems)} findings"
    logs.logger.info("%s, shown on %s", count, page)
    for problem in problems[:SHOWN]:
        logs.logger.info("%s: %s", problem.kind, problem.message)
    if len(problems) > SHOWN:
        logs.logger.info("and %d more", len(problems) - SHOWN)


def counted(counts: dict[str, int]) -> str:
    """`31 normal, 14 test normal`, without what there is none of."""
    parts = [f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count]
    return ", ".join(parts) or "no images"
