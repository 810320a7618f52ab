"""Where state lives: everything under `UAD_HOME` (default `.uad` in the working directory)."""

import errno
import getpass
import os
import shutil
from contextlib import closing
from pathlib import Path

from uad.errors import ConfigError, DiskError

NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
"""The disk does not take a file's name; other files can be written."""
DISK_ERRORS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EIO}
    | {errno.EFBIG}
)
"""Errors of the operating system that a user can fix."""
LEAST_FREE_BYTES = 200_000_000
"""Less room than this on the disk is refused before long work begins."""


def home() -> Path:
    """The state folder, created when missing.

    Raises:
        ConfigError: SQLite could not open a database in it.
        DiskError: it cannot be made.
    """
    folder = state_folder()
    if "?" in str(folder):
        raise ConfigError(
            f"the name of the state folder {folder} contains '?', so its databases cannot be "
            "opened: set UAD_HOME to another folder"
        )
    return _made(folder)


def state_folder() -> Path:
    """Where state is or will be; an empty UAD_HOME is as none."""
    return Path(os.environ.get("UAD_HOME") or ".uad").expanduser().absolute()


def check_writable(folder: Path) -> None:
    """Check now that `folder` can be written, before hours of work.

    Raises:
        DiskError: a file cannot be made there, or the disk is full.
    """
    probe = _made(folder) / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as exc:
        raise disk_error(exc, folder) from exc
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise DiskError(
            f"the disk of {folder} has only {free / 1e6:.0f} MB left: run `uad gc`, free "
            "some space, or set UAD_HOME to a folder on a larger disk"
        )


def disk_error(exc: OSError, path: Path | str | None = None) -> DiskError:
    """The operating system's refusal in a sentence that says what to do."""
    place = exc.filename or path or "a file"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(exc.filename or path)
    if exc.errno == errno.EROFS:
        return DiskError(
            f"{place} is on a disk that cannot be written: mount it writable, or choose another "
            "folder (UAD_HOME)"
        )
    if exc.errno == errno.EFBIG:
        return DiskError(
            f"{place} would be larger than this disk or this user's limit allows: see `ulimit -f`, "
            "or choose a folder on another disk"
        )
    if isinstance(exc, PermissionError):
        return DiskError(
            f"the user {_user()} may not read or write {place}: change its rights (chmod, chown), "
            "or choose another folder"
        )
    if isinstance(exc, FileExistsError | NotADirectoryError):
        return DiskError(f"{place} is a file where a folder is needed: move it, or choose another")
    return DiskError(f"{place} cannot be read or written: {exc.strerror or exc}")


def damage_of(database: Path) -> str | None:
    """What is wrong with a SQLite file, in SQLite's words; None if it is whole, or not there."""
    import sqlite3

    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # locked, or not to be read: another matter
        return None
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return None if found == "ok" else str(found)


def database_error(message: str) -> DiskError | None:
    """SQLite's refusal in a sentence that says what to do; None if it is of another kind."""
    if "disk is full" in message:
        return _full(None)
    if any(sign in message for sign in ("readonly", "unable to open", "disk I/O error")):
        return DiskError(
            f"a database under {os.environ.get('UAD_HOME') or '.uad'} cannot be read or written "
            f"({message}): check its access rights and its disk"
        )
    return None


def _full(path: Path | str | None) -> DiskError:
    where = f" ({path})" if path else ""
    return DiskError(
        f"the disk is full{where}: run `uad gc`, free some space, or choose a folder on a larger "
        "disk (UAD_HOME, or where the results go)"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def datasets_dir() -> Path:
    """Dataset versions and their content-addressed files."""
    return _made(home() / "datasets")


def quarantine_dir() -> Path:
    """Copies of files that ingests could not use, by dataset."""
    return _made(home() / "quarantine")


def checkpoints_dir() -> Path:
    """Training checkpoints, one folder per run."""
    return _made(home() / "checkpoints")


def bundles_dir() -> Path:
    """Bundles written by flows."""
    return _made(home() / "bundles")


def mlflow_dir() -> Path:
    """MLflow's embedded database and artifacts."""
    return _made(home() / "mlflow")


def store_dir() -> Path:
    """Bundles fetched from the registry, by model and version."""
    return _made(home() / "store")


def reports_dir() -> Path:
    """Evaluation reports written by flows, by product and run."""
    return _made(home() / "reports")


def evaluations_dir() -> Path:
    """Figures of bundles that were evaluated before they were registered."""
    return _made(home() / "evaluations")


def prefect_dir() -> Path:
    """Prefect's own database, when it runs without a server of the user's."""
    return _made(home() / "prefect")


def scores_dir() -> Path:
    """Scores of the images that servers judged, by product and version."""
    return _made(home() / "scores")


def judged_images_dir() -> Path:
    """Pictures that servers judged and kept, and what people said about them."""
    return _made(home() / "images")


def watch_dir() -> Path:
    """The last events of the watches of folders and scores."""
    return _made(home() / "watch")


def locks_dir() -> Path:
    """Locks between processes of this machine."""
    return _made(home() / "locks")


def cache_dir() -> Path:
    """What can be deleted at any time and made again."""
    return _made(home() / "cache")


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise disk_error(exc, path) from exc
    return path
