"""Unsupervised image anomaly detection: train on good parts only, promote, serve."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uad.pipeline import create_pipeline

__version__ = "0.2.0"
__all__ = ["__version__", "create_pipeline"]


def __getattr__(name: str) -> Any:
    """Load `create_pipeline` on first use, so that `import uad` stays instant."""
    if name == "create_pipeline":
        from uad.pipeline import create_pipeline

        return create_pipeline
    raise AttributeError(f"module 'uad' has no attribute {name!r}")
