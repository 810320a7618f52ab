"""Where state lives: everything under `UAD_HOME` (default `.uad` in the working directory)."""

import os
from pathlib import Path


def home() -> Path:
    """The state folder, created when missing."""
    return _made(Path(os.environ.get("UAD_HOME", ".uad")).expanduser().absolute())


def datasets_dir() -> Path:
    """Dataset versions and their content-addressed files."""
    return _made(home() / "datasets")


def quarantine_dir() -> Path:
    """Copies of files that ingests could not use, by dataset."""
    return _made(home() / "quarantine")


def checkpoints_dir() -> Path:
    """Training checkpoints, one folder a run."""
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
    """What the looks at folders and at scores announced last."""
    return _made(home() / "watch")


def locks_dir() -> Path:
    """Locks between processes of this machine."""
    return _made(home() / "locks")


def cache_dir() -> Path:
    """What can be deleted at any time and made again."""
    return _made(home() / "cache")


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
