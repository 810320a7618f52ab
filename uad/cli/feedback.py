"""`uad feedback`: list people's feedback on judged images, and make a dataset version from it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uad.console import console, print_table

if TYPE_CHECKING:
    from uad.monitoring.feedback import Applied, Opinion

COLUMNS = ("image", "judged", "said", "it is a", "by", "note")


class Action(StrEnum):
    """What to do with the feedback."""

    list = "list"
    export = "export"
    apply = "apply"


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(feedback)


def feedback(
    name: Annotated[str, typer.Argument(help="The product, for example cookie.")],
    action: Annotated[
        Action,
        typer.Argument(
            help="list: show the feedback. export: write it to a folder. "
            "apply: add it to a new version of the dataset.",
        ),
    ] = Action.list,
    output: Annotated[
        Path | None, typer.Option(help="Folder for `export`.", show_default="NAME-feedback")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset for `apply`: NAME or NAME@VERSION.", show_default="NAME"),
    ] = None,
) -> None:
    """Use people's feedback on judged images.

    A server keeps images when it is started with [b]--set keep.images=all[/b]. With [b]alarms[/b]
    it keeps those with an alarm: enough for false alarms, not for missed defects. People say good
    or defective on its page, or with POST /feedback.

    [b]apply[/b] makes the next version of the dataset. A false alarm becomes a training image. It
    is never used for selection, calibration or test, because the false alarm rate would no longer
    be guaranteed. A missed defect becomes a test image. If people disagree, the image is shown but
    not used. The latest feedback of each person counts.

        uad feedback cookie
        uad feedback cookie export --output ./corrections
        uad feedback cookie apply
        uad retrain --data ./photos/cookie --name cookie --with-feedback
    """
    from uad.monitoring.feedback import opinions
    from uad.monitoring.judged_images import JudgedImages

    store = JudgedImages()
    if action is Action.apply:
        from uad.monitoring.feedback import apply_feedback

        _print_applied(name, apply_feedback(store, name, dataset))
        return
    found = opinions(store.marked(name))
    if not found:
        console().print(_nothing(name), highlight=False)
    elif action is Action.export:
        from uad.monitoring.feedback_export import export

        folder = export(store, found, output or Path(f"{name}-feedback"))
        typer.echo(f"{len(found)} images with feedback: {folder}")
    else:
        _print_opinions(name, found)


def _print_opinions(name: str, found: "list[Opinion]") -> None:
    rows = [
        (
            each.image.id,
            f"{'alarm' if each.image.is_anomalous else 'good'}, score {each.image.score:.4g}, "
            f"version {each.image.version}",
            each.said or ", ".join(f"{word.author}: {word.said}" for word in each.last_words),
            each.kind,
            "; ".join(
                f"{word.author} {word.at.astimezone():%Y-%m-%d %H:%M}" for word in each.last_words
            ),
            "; ".join(word.note for word in each.last_words if word.note),
        )
        for each in found
    ]
    print_table(f"feedback on {name}", COLUMNS, rows)
    kinds = [each.kind for each in found]
    usable = kinds.count("false alarm") + kinds.count("missed defect")
    if usable:
        console().print(f"Next: uad feedback {name} apply", highlight=False)


def _print_applied(name: str, applied: "Applied") -> None:
    rows = [
        ("dataset", applied.version.address),
        ("false alarms, now training images", applied.false_alarms),
        ("missed defects, now test images", applied.missed_defects),
    ]
    print_table(f"feedback on {name}", ("", ""), rows)
    if applied.left_out:
        left = [(each.opinion.image.id, each.reason) for each in applied.left_out]
        print_table("not used", ("image", "why"), left)
    if applied.changed:
        words = f"Next: uad retrain --data {applied.version.name} --name {name}"
    else:
        words = "Nothing new: the latest version of the dataset contains all feedback."
    console().print(words, highlight=False)


def _nothing(name: str) -> str:
    return (
        f"There is no feedback on {name} in this UAD_HOME. Start the server with "
        "`--set keep.images=all`, and say good or defective on its page."
    )
