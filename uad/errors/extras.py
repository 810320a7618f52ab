"""Which optional part of uad a missing module belongs to: `pip install 'uad[train,cpu]'`."""

from importlib.util import find_spec

from uad.errors import NotInstalledError

EXTRAS = {
    "train": (
        *("prefect", "psutil", "sklearn", "scipy", "matplotlib", "onnx", "jinja2"),
        *("pandas", "flask"),  # they come with the whole of MLflow
    ),
    "serving": (
        *("fastapi", "starlette", "uvicorn", "orjson", "prometheus_client", "multipart"),
        *("python_multipart", "mlflow", "sqlalchemy", "alembic", "httptools", "uvloop"),
        *("h11", "httpcore", "anyio"),
    ),
    "cpu": ("paddle",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
    "dask": ("prefect_dask", "dask", "distributed"),
    "postgres": ("psycopg2",),
    "distill": ("torch",),
}
STORAGE = {"s3": "boto3", "gs": "google.cloud.storage", "wasbs": "azure.storage.blob"}
"""Scheme of an artifact store's address -> the module that reaches it."""


def require(*modules: str) -> None:
    """Check before anything starts that these modules are installed.

    Raises:
        NotInstalledError: one of them is not installed; it names the cure.
    """
    for module in modules:
        if not _is_here(module):
            raise NotInstalledError(cure(module))


def require_storage(address: str) -> None:
    """Refuse an artifact store that could not be reached later.

    Raises:
        NotInstalledError: the package for its kind of address is missing.
    """
    scheme = address.partition("://")[0]
    module = STORAGE.get(scheme)
    if module is not None and not _is_here(module):
        package = module.replace(".", "-")
        raise NotInstalledError(
            f"models are stored at {address}, which needs the package {package}: "
            f"run `pip install {package}`"
        )


def cure(module: str) -> str:
    """What to do about a module that is missing."""
    name = module.partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    if name == "paddle":
        return (
            "PaddlePaddle is not installed, and training needs it: run `pip install 'uad[cpu]'`; "
            "for a GPU see docs/training.md"
        )
    if extra is not None:
        return f"the package {name} is not installed: run `pip install 'uad[{extra}]'`"
    return f"the package {name} is not installed: run `pip install {name}`"


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
