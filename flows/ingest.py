"""Check images and store them as an immutable dataset version."""

from prefect import task

from flows import logs
from uad.data import FolderRoles
from uad.operations.images import store_images


@task(name="ingest", task_run_name="ingest {data}")
def ingest_images(
    data: str, name: str, settle_seconds: float = 0.0, roles: FolderRoles | None = None
) -> str:
    """The address `name@version` of what `data` stands for: a path, or a stored version.

    Of a path, files modified less than `settle_seconds` ago are left for next time; `roles` is what
    a person says of its folders.
    """
    stored = store_images(data, name, roles=roles, settle_seconds=settle_seconds, progress=True)
    logs.tell(stored.told)
    return stored.address
