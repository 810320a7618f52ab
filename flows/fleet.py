"""Retrain many products in one run; the failure of one leaves the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict, Field

from flows import logs
from flows.retrain import Retraining, retrain
from uad.config import Settings, TrainingConfig, load_settings
from uad.config.choices import Runner
from uad.errors import ConfigError, UadError
from uad.registry.gate import GateRule, Mode
from uad.storage.names import ProductName


class FleetProduct(Settings):
    """How one product is retrained; see `flows.retrain.retrain`."""

    data: str
    teacher: str = "embedded"
    config: TrainingConfig = TrainingConfig()
    device: str = "cpu"
    promote: Mode = "gate"
    rule: GateRule | None = None
    recent: str | None = None
    settle_seconds: Annotated[float, Field(ge=0)] = 0.0


class Fleet(Settings):
    """The file that names all products."""

    products: Annotated[dict[ProductName, FleetProduct], Field(min_length=1)]


class Row(BaseModel):
    """The result for one product."""

    model_config = ConfigDict(frozen=True)

    product: str
    outcome: Retraining | None = None
    error: str | None = None

    def cells(self) -> tuple[str, str, str, str]:
        """Product, dataset, version, what happened."""
        if self.outcome is None:
            return self.product, "-", "-", f"failed: {self.error}"
        return self.product, self.outcome.dataset, self.outcome.version, told(self.outcome)


COLUMNS = ("product", "dataset", "version", "what happened")


def read_fleet(file: Path) -> Fleet:
    """The products of a YAML file; relative paths are the file's, not the working directory's.

    Raises:
        ConfigError: a key is unknown or wrong, named by its dotted path.
    """
    fleet = load_settings(Fleet, file)
    placed = {name: _placed(product, file.parent) for name, product in fleet.products.items()}
    return fleet.model_copy(update={"products": placed})


@task(name="retrain product", task_run_name="retrain {product}")
def retrain_product(product: ProductName, parameters: dict[str, Any]) -> Row:
    """One product's chain; an error that a user can fix becomes a row of the table."""
    try:
        return Row(product=product, outcome=retrain(product=product, **parameters))
    except UadError as exc:
        return Row(product=product, error=str(exc))


@flow(name="fleet", flow_run_name="fleet")
def fleet_flow(
    products: dict[ProductName, dict[str, Any]],
    skip_unchanged: bool = True,
    side_by_side: bool = False,
) -> list[Row]:
    """Retrain all products; returns a row each, in the order given.

    One after another they run in this thread: Paddle trains only in the thread that loaded it
    first.
    """
    logs.prepare()
    started = {
        name: _start(name, {**parameters, "skip_unchanged": skip_unchanged}, side_by_side)
        for name, parameters in products.items()
    }
    rows = [_row(name, running) for name, running in started.items()]
    if runtime.flow_run.id:
        create_markdown_artifact(markdown(rows), key="fleet", description="outcomes by product")
    return rows


def run_fleet(
    fleet: Fleet,
    *,
    runner: Runner = "here",
    workers: int = 1,
    scheduler: str | None = None,
    skip_unchanged: bool = True,
) -> list[Row]:
    """Retrain the fleet: one after another here, in processes here, or on a Dask cluster.

    Args:
        fleet: the products.
        runner: `here`, `processes`, or `dask`.
        workers: how many at a time; `here` is always one, since Paddle shares its state among
            the threads of a process.
        scheduler: address of a Dask scheduler; None starts a cluster on this machine.
        skip_unchanged: leave alone products that have nothing new.
    """
    products = {name: parameters(product) for name, product in fleet.products.items()}
    chosen = fleet_flow.with_options(task_runner=_task_runner(runner, workers, scheduler))
    return list(chosen(products, skip_unchanged, side_by_side=runner != "here"))


def parameters(product: FleetProduct) -> dict[str, Any]:
    """The chain's parameters, as JSON holds them."""
    return product.model_dump(mode="json")


def markdown(rows: Sequence[Row]) -> str:
    """The table of outcomes."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row.cells()) + " |" for row in rows)]) + "\n"


def told(outcome: Retraining) -> str:
    """What happened, in a few words."""
    if outcome.unchanged:
        return "nothing new"
    reason = outcome.verdict.reason if outcome.verdict else ""
    return ("promoted: " if outcome.promoted else "waits as challenger: ") + reason


def _start(product: ProductName, parameters: dict[str, Any], side_by_side: bool) -> Any:
    """A future, or the final state; both have a result."""
    if side_by_side:
        return retrain_product.submit(product, parameters)
    return retrain_product(product, parameters, return_state=True)


def _row(product: str, running: Any) -> Row:
    result = running.result(raise_on_failure=False)
    if isinstance(result, Row):
        return result
    return Row(product=product, error=f"{type(result).__name__}: {result}")


def _placed(product: FleetProduct, folder: Path) -> FleetProduct:
    def place(text: str) -> str:
        path = folder / Path(text).expanduser()
        return str(path.absolute()) if path.exists() else text

    paths = {"data": product.data, "teacher": product.teacher, "recent": product.recent}
    return product.model_copy(
        update={name: place(path) for name, path in paths.items() if path is not None}
    )


def _task_runner(runner: Runner, workers: int, scheduler: str | None) -> Any:
    from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

    if runner == "here":
        return ThreadPoolTaskRunner(max_workers=1)
    if runner == "processes":
        return ProcessPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as exc:
        raise ConfigError("Dask is not installed: pip install 'uad[dask]'") from exc
    if scheduler:
        return DaskTaskRunner(address=scheduler)
    local: Mapping[str, Any] = {"n_workers": workers, "threads_per_worker": 1}
    return DaskTaskRunner(cluster_kwargs=dict(local))
