"""`uad teacher`: list the teachers on this machine, download the official one, check them."""

from typing import Annotated

import typer

from uad.console import console, print_table


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_group)
    group.command("list")(show)
    group.command()(fetch)
    group.command()(verify)
    app.add_typer(group, name="teacher")


def _group() -> None:
    """The frozen networks that students learn from."""


def show() -> None:
    """Show the teachers that `--teacher` knows, whether they are on this machine, and their hashes.

    [b]embedded[/b] comes with uad and needs no network. [b]imagenet[/b] is Paddle's official
    ResNet-18, which is downloaded once. You can use any weight file too.

        uad teacher list
    """
    from uad.models.teacher import known_teachers

    known = known_teachers()
    rows = [(one.id, one.state, (one.sha256 or "-")[:12]) for one in known]
    print_table("teachers", ["--teacher", "state", "hash of the weights"], rows)
    for one in known:
        typer.echo(f"{one.id}: {one.file}")


def fetch() -> None:
    """Download the official ImageNet ResNet-18 into the user's cache, if it is not there yet.

    An interrupted download continues where it stopped. UAD_TEACHER_URL names a mirror, UAD_CACHE
    another folder, HTTPS_PROXY a proxy. With UAD_TEACHER_SHA256, a file with another hash is
    refused.

        uad teacher fetch
        UAD_TEACHER_URL=https://mirror.example/resnet18.pdparams uad teacher fetch
    """
    from uad.models.teacher import hash_of, imagenet_file

    file = imagenet_file()
    console().print(f"{file} is ready, sha256 {hash_of(file, 'sha256')}")


def verify(
    teacher: Annotated[
        str | None, typer.Argument(help="A name or a weight file. Default: all known teachers.")
    ] = None,
) -> None:
    """Check that teachers are complete and not changed. Exit status 1 if not.

    The embedded teacher is compared with the hash that this version of uad expects, the official
    one with its md5 and its pinned sha256. A file must contain a ResNet-18. No code in a file is
    run, and nothing is downloaded.

        uad teacher verify
        uad teacher verify imagenet
        uad teacher verify weights/resnet18.pdparams
    """
    from uad.errors import TeacherError
    from uad.models.teacher import known_teachers, load_teacher

    known = [one for one in known_teachers() if teacher in (None, one.id)]
    if not known:
        loaded = load_teacher(str(teacher))
        typer.echo(f"{loaded.id}: ready, hash of the weights {loaded.sha256}")
    for one in known:
        typer.echo(
            f"{one.id}: {one.state}" + (f", hash of the weights {one.sha256}" if one.sha256 else "")
        )
    for one in known:
        if one.state == "not fetched" and teacher:
            raise TeacherError(
                f"The teacher {one.id} is not on this machine ({one.file}). Run "
                "`uad teacher fetch`."
            )
        if one.state not in ("ready", "not fetched"):
            raise TeacherError(
                f"The teacher {one.id} is not usable: {one.file} {one.state}. "
                "Fetch it or install uad again."
            )
