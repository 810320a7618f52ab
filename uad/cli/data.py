"""`uad ingest` and `uad datasets`; the options that say what folders hold, for every command."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.console import console, print_table
from uad.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uad.config import SplitConfig
    from uad.data import DatasetVersion, FolderRoles, Problem

Row = tuple[str, object]
_SHOWN = 20
"""Problems and names in a table; the count of the others is given."""

Address = Annotated[str, typer.Argument(help="NAME (its latest version) or NAME@VERSION.")]

Normal = Annotated[
    list[str] | None,
    typer.Option("--normal", help="Folder of good images, if its name does not say so."),
]
Defects = Annotated[
    list[str] | None, typer.Option("--defects", help="Folder of images of defects.")
]
Masks = Annotated[
    list[str] | None,
    typer.Option("--masks", help="Folder of masks, which mark where the defects are."),
]


class OnBroken(StrEnum):
    """What to do with images that cannot be decoded."""

    skip = "skip"
    refuse = "refuse"


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(ingest)
    datasets = typer.Typer(help="List and check the stored dataset versions.", no_args_is_help=True)
    datasets.command("list")(list_datasets)
    datasets.command("show")(show)
    datasets.command("diff")(diff)
    datasets.command("verify")(verify)
    app.add_typer(datasets, name="datasets")


def ingest(
    path: Annotated[Path, typer.Argument(help="A folder of images, or a .csv or .jsonl manifest.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset, for example cookie.")
    ] = None,
    on_broken: Annotated[
        OnBroken,
        typer.Option(
            help="Images that cannot be decoded. skip: leave them out. refuse: store nothing."
        ),
    ] = OnBroken.skip,
    group_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression with one group. Images whose names share the group's text "
            "show the same part and stay together. Example: '_num_(\\d+)'",
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0, help="Skip files modified less than N seconds ago. They are taken next time."
        ),
    ] = 0.0,
    normal: Normal = None,
    defects: Defects = None,
    masks: Masks = None,
    write_manifest: Annotated[
        Path | None,
        typer.Option(help="Store nothing; write a CSV list of the images for you to correct."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML page with the results of the checks. Default: under UAD_HOME."),
    ] = None,
) -> None:
    """Check a folder of images and store it as a version of a dataset.

    Every image is decoded once. Problems are listed and shown on a page. Files that cannot be used
    are copied into quarantine. PATH is not changed. The name of a version is computed from its
    content, so the same images give the same version. Only new files are read. A file that a camera
    is still writing is left for the next time. These layouts are recognised (data/README.md shows
    them):

    - only good images, in folders of any depth

    - MVTec AD and similar: train/good, test/DEFECT, ground_truth/DEFECT

    - good/ beside folders named after defects

    - PaddleX: train.txt and val.txt

    - manifest.csv or manifest.jsonl: path, label, mask, split

    Folders that look like classes or masks but are not clear are refused. Then say with --normal,
    --defects and --masks what they hold, or correct the list that --write-manifest writes.

    Example: uad ingest photos/cookie --name cookie

    Example: uad ingest photos --name lid --normal positive --defects negative
    """
    from uad.data import ingest as run
    from uad.data.versions import history

    roles = _roles(str(path), normal, defects, masks)
    if write_manifest is not None:
        _write_manifest(path, roles, write_manifest, name or "NAME")
        return
    if name is None:
        raise ConfigError("--name is missing. Add --name and a name for the dataset.")
    before = {row["version"] for row in history(name)}
    version = run(
        path,
        name,
        roles,
        on_broken=on_broken.value,
        settle_seconds=settle,
        group_pattern=group_pattern,
    )
    problems = _print_version(version)
    _write_page(version, problems, report)
    if version.version in before:
        console().print("These images are already stored. Nothing was copied.")
    console().print(f"next: uad train --data {name} --output bundles/{name}")


def _roles(
    path: str, normal: list[str] | None, defects: list[str] | None, masks: list[str] | None
) -> "FolderRoles":
    from uad.config import TrainingConfig, load_settings
    from uad.data import roles_of

    settings = folder_settings(path, normal, defects, masks)
    return roles_of(load_settings(TrainingConfig, None, settings).data)


def _write_manifest(path: Path, roles: "FolderRoles", file: Path, name: str) -> None:
    """Write what each image would be used for, with `?` where a person has to decide."""
    from uad.data.layouts import proposal
    from uad.data.manifests import UNCLEAR, write_manifest

    if file.suffix.lower() != ".csv":
        raise ConfigError(f"--write-manifest writes a .csv file, not {file.name}")
    if file.exists():
        raise ConfigError(f"{file} exists; remove it or choose another name")
    rows = write_manifest(file, proposal(path, roles))
    unclear = sum(row["label"] == UNCLEAR for row in rows)
    todo = (
        f"replace each of the {unclear} '?' with good or the name of the defect, "
        if unclear
        else ""
    )
    console().print(
        f"{file}: {len(rows)} images. Look at the labels, {todo}"
        f"then: uad ingest {file} --name {name}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def folder_settings(
    data: str, normal: list[str] | None, defects: list[str] | None, masks: list[str] | None
) -> list[str]:
    """The options as settings (`data.normal=[...]`); paths are below the folder `data`, or any.

    Raises:
        ConfigError: `data` is a stored dataset, whose folders were read when it was ingested.
    """
    given = {"normal": normal, "defects": defects, "masks": masks}
    settings = [
        f"data.{name}={json.dumps([_placed(data, text) for text in texts], ensure_ascii=False)}"
        for name, texts in given.items()
        if texts
    ]
    if settings and not Path(data).expanduser().is_dir():
        raise ConfigError(
            f"{data} is not a folder: --normal, --defects and --masks name folders inside one"
        )
    return settings


def split_with(
    split: "SplitConfig",
    data: str,
    normal: list[str] | None,
    defects: list[str] | None,
    masks: list[str] | None,
) -> "SplitConfig":
    """`split`; where the options say what the folders of `data` hold, they alone do."""
    from uad.config import TrainingConfig, load_settings

    if not (said := folder_settings(data, normal, defects, masks)):
        return split
    asked = load_settings(TrainingConfig, None, said).data
    roles = {name: getattr(asked, name) for name in ("normal", "defects", "masks")}
    return split.model_copy(update=roles)


def _placed(data: str, text: str) -> str:
    """A folder of the data as it was written; any other as a whole path, which holds anywhere."""
    folder = Path(text).expanduser()
    if (Path(data).expanduser() / folder).is_dir() or not folder.is_dir():
        return text
    return str(folder.absolute())


def list_datasets() -> None:
    """List the stored datasets with their latest version.

    Example: uad datasets list
    """
    from uad.data.versions import dataset_names, history, read_version

    rows = []
    for name in dataset_names():
        log, latest = history(name), read_version(name)
        counts = latest.counts
        test = f"{counts['test_normal']} / {counts['test_anomalous']}"
        when = log[-1]["time"][:16].replace("T", " ")
        versions = len({row["version"] for row in log})
        rows.append((latest.address, when, counts["normal"], test, versions))
    if not rows:
        raise DataError("There are no datasets yet. Make one: uad ingest PATH --name NAME")
    print_table(
        "datasets", ("latest", "ingested (UTC)", "normal", "test good / bad", "versions"), rows
    )


def show(
    address: Address,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures to this file.")
    ] = None,
) -> None:
    """Show what a version holds, its problems, the files in quarantine, and the history.

    Example: uad datasets show cookie@1f2e3d4c5b6a --report cookie.html
    """
    from uad.data.versions import history, read_version

    version = read_version(address)
    problems = _print_version(version)
    if report is not None:
        _write_page(version, problems, report)
    log = [(row["version"], row["time"], Path(row["source"])) for row in history(version.name)]
    print_table("history", ("version", "ingested", "from"), log)


def diff(
    old: Address,
    new: Annotated[str | None, typer.Argument(help="The version to compare with.")] = None,
) -> None:
    """Show which images differ between two versions.

    Example: uad datasets diff cookie@1f2e3d4c5b6a cookie
    """
    from uad.data.dataset_version import compare
    from uad.data.samples import natural
    from uad.data.versions import history, read_version
    from uad.scoring.zones import described

    before = read_version(old)
    if new is None:
        others = {row["version"]: None for row in history(before.name)}
        others.pop(before.version)
        raise DataError(
            f"Give two versions: uad datasets diff {before.name}@VERSION {old}. Other versions: "
            f"{natural(reversed(others)) or 'there is none yet'}."
        )
    after = read_version(new)
    difference = compare(before, after)
    if (before.ignore, before.zones) != (after.ignore, after.zones):
        for one in (before, after):
            console().print(f"zones of {one.address}: {described(one.ignore, one.zones)}")
    if not difference:
        console().print(f"{before.address} and {after.address} have the same images.")
        return
    changes = ("added", "removed", "renamed", "replaced", "relabelled")
    names = {change: getattr(difference, change) for change in changes}
    rows = [(change, len(found), natural(found)) for change, found in names.items() if found]
    title = f"from {before.address} to {after.address}"
    print_table(title, ("change", "images", "names"), rows)


def verify(address: Address) -> None:
    """Check the hash of every stored file of a version.

    Example: uad datasets verify cookie
    """
    from uad.data.samples import natural
    from uad.data.versions import read_version
    from uad.data.versions import verify as run

    version = read_version(address)
    altered = run(version)
    if altered:
        raise DataError(
            f"{len(altered)} of {len(version.images)} images of {version.address} were altered or "
            f"are missing in the store: {natural(altered)}. Run `uad ingest {version.source}` "
            "again."
        )
    console().print(f"{version.address}: all {len(version.images)} images are unchanged.")


def _print_version(version: "DatasetVersion") -> "list[Problem]":
    """Tables of what it holds and of its problems; returns the problems."""
    from uad.scoring.zones import described

    shares, leaks = _shares(version)
    known = bool(version.ignore or version.zones)
    zones = [("zones", described(version.ignore, version.zones))] if known else []
    rows = [*_content_rows(version, shares), *zones, *_file_rows(version)]
    print_table(f"dataset {version.address}", ("", ""), rows)
    problems = [*version.problems, *leaks]
    _print_folders(version)
    if problems:
        shown = [(problem.kind, problem.message) for problem in problems[:_SHOWN]]
        more = len(problems) - len(shown)
        if more:
            shown.append(("...", f"and {more} more"))
        print_table(f"problems ({len(problems)})", ("kind", "what"), shown)
    return problems


def _print_folders(version: "DatasetVersion") -> None:
    """What the images of each folder are used for; many similar folders share a row."""
    from uad.data.listing import FolderUse, together

    uses = [FolderUse(row.folder, row.images, row.use) for row in version.folders]
    rows = [(row.folder, row.images, row.use) for row in together(uses, _SHOWN)]
    if rows:
        print_table("folders", ("folder", "images", "used as"), rows)


def _write_page(version: "DatasetVersion", problems: "list[Problem]", file: Path | None) -> None:
    from uad.data.quarantine import quarantined
    from uad.evaluation.data_page import write_dataset_page

    written = write_dataset_page(version, problems, quarantined(version.name), file)
    console().print(f"report: {written} (open it in a browser)")


def _content_rows(version: "DatasetVersion", shares: str) -> list[Row]:
    from collections import Counter

    rows: list[Row] = [("layout", version.layout), ("normal images", version.counts["normal"])]
    rows += [("shared out as", shares)]
    tests = [image for image in version.images if image.split == "test"]
    masks = Counter(image.defect for image in tests if image.mask is not None)
    for defect, count in sorted(Counter(image.defect for image in tests).items()):
        with_masks = f" ({masks[defect]} with a mask)" if defect != "good" else ""
        rows.append((f"test: {defect}", f"{count}{with_masks}"))
    return rows if tests else [*rows, ("test images", "none, so detection cannot be measured")]


def _file_rows(version: "DatasetVersion") -> list[Row]:
    from collections import Counter

    sizes = Counter(f"{i.image.height}x{i.image.width}" for i in version.images)
    common = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(3))
    others = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
    total = sum(i.image.bytes + (i.mask.bytes if i.mask else 0) for i in version.images)
    kinds = Counter(problem.kind for problem in version.problems)
    problems = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    return [
        ("height x width", common + others),
        ("bytes", f"{total / 1e6:.1f} MB"),
        ("problems", problems or "none"),
        *_aside_row(version.name),
    ]


def _aside_row(name: str) -> list[Row]:
    """How many files are in quarantine and where."""
    from uad.data.quarantine import folder_of, quarantined

    copies = len(quarantined(name))
    return [("quarantine", f"{copies} in {folder_of(name)}")] if copies else []


def _shares(version: "DatasetVersion") -> tuple[str, "Sequence[Problem]"]:
    """How the default settings split the normal images, or why they cannot; leaking captures."""
    from uad.config import SplitConfig
    from uad.data import captures, load_dataset
    from uad.scoring.conformal import shortfall_sentence

    split = SplitConfig()
    try:
        dataset = load_dataset(version.address, split)
    except DataError as exc:
        return str(exc), ()
    known = set(version.problems)
    leaks = [p for p in dataset.problems if p.kind == "leak" and p not in known]
    counts, shown = dataset.counts, None
    text = ", ".join(f"{counts[use]} {use}" for use in ("train", "selection", "calibration"))
    if dataset.groups is not None:
        shown = len(set(captures(dataset.calibration, dataset.group_pattern)))
        text += f" (of {dataset.groups} captures, {shown} of them in calibration)"
    images = counts["calibration"]
    reached = max(split.alpha, 1 / (images + 1))
    short = shortfall_sentence(split.alpha, reached, images, shown)
    return f"{text}. {short}" if short else text, leaks
