"""`uad gc`."""

from typing import TYPE_CHECKING, Annotated

import typer

from uad.console import console, print_table
from uad.errors import ConfigError

if TYPE_CHECKING:
    from uad.gc import Plan

_SHOWN = 30
TOO_LARGE = 3
"""Exit status if UAD_HOME is still larger than --max-gb, for scripts."""


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(gc)


def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it. Without this, nothing is removed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed: the default.")
    ] = False,
    keep: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many newest versions, earlier champions, bundles and dataset "
            "versions are kept per product.",
        ),
    ] = 5,
    keep_runs: Annotated[
        int, typer.Option(min=1, help="How many of the newest MLflow runs are kept per product.")
    ] = 50,
    max_gb: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Keep fewer versions, but at least 1, until UAD_HOME is not larger than this.",
        ),
    ] = None,
) -> None:
    """Remove old versions, runs, dataset versions, bundles, checkpoints and caches.

    Without --yes it only shows what would be removed. Models that uad did not register in MLflow
    are never touched.

    These versions are never removed: champion and challenger, versions with an alias of your own,
    the version pinned on this machine, those that `uad rollback` would go back to within --keep
    steps, and the champion before the last promotion or rollback. Nor are the dataset versions of
    kept models and runs, anything used within a day, the quarantine, and your own folders. The
    figures of a removed run stay in MLflow's database; its files are removed. If the registry does
    not answer, nothing is removed. Sizes are those on this machine's disk. Files of an MLflow
    server are removed too, but not counted.

    The exit status is 3 if UAD_HOME is still larger than --max-gb.

        uad gc
        uad gc --keep 3 --max-gb 20 --yes
    """
    from uad.gc import Retention, make_plan
    from uad.registry import ModelRegistry

    bound = None if max_gb is None else max_gb * 1e9
    if yes and dry_run:
        raise ConfigError("--yes removes and --dry-run only shows. Give one of the two.")
    rule = Retention(keep=keep, keep_runs=keep_runs)
    plan = make_plan(ModelRegistry(), rule, max_bytes=bound)
    if yes:
        plan = _carried_out(plan)
    _print(plan, removed=yes)
    if plan.rule.keep < keep:
        console().print(
            f"To stay below the limit, {plan.rule.keep} of each product are kept, not {keep}."
        )
    if plan.items and not yes:
        console().print("Nothing was removed. To remove this, run the same command with --yes")
    if bound is not None and plan.after_bytes > bound:
        console().print(
            f"UAD_HOME would still take {plan.after_bytes / 1e9:.2f} GB, more than "
            f"{max_gb:g}. Everything that is left is protected. Raise the limit, or move the "
            "folder to a larger disk.",
        )
        raise typer.Exit(TOO_LARGE)


def _carried_out(plan: "Plan") -> "Plan":
    done = plan.carry_out()
    gone = set(map(id, done.items))
    for item in plan.items:
        if id(item) not in gone and item.kind == "model version":
            console().print(
                f"{item.what} stays: it was promoted, pinned or given an alias a moment ago."
            )
    return done


def _print(plan: "Plan", *, removed: bool) -> None:
    from collections import Counter

    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for item in plan.items:
        counts[item.kind] += 1
        sizes[item.kind] += item.bytes
    title = "removed" if removed else "would be removed"
    named = [item for item in plan.items if item.kind != "image file"]
    rows = [(item.kind, item.what, _megabytes(item.bytes)) for item in named[:_SHOWN]]
    if len(named) > _SHOWN:
        rows.append(("...", f"and {len(named) - _SHOWN} more", ""))
    if rows:
        print_table(title, ("kind", "what", "MB"), rows)
    total = [(kind, counts[kind], _megabytes(sizes[kind])) for kind in counts]
    total.append(("all", len(plan.items), _megabytes(plan.freed_bytes)))
    print_table(f"{title}, total", ("kind", "number", "MB"), total)
    console().print(
        f"UAD_HOME: {plan.before_bytes / 1e6:.1f} MB, afterwards {plan.after_bytes / 1e6:.1f} MB"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"
