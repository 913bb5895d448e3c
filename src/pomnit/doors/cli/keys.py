"""The commands `pomnit unlock`, `pomnit lock` and `pomnit key`: who may open a memory, and where its key is kept.

commands.py imports this file at its end. A passphrase is typed at the terminal without being shown, comes through a
pipe, a line for each, or lies in the file that POMNIT_PASSPHRASE_FILE names. It is never an argument.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pomnit.doors.cli.commands import Context, common, examples, pomnit
from pomnit.doors.cli.terminal import clean
from pomnit.errors import UsageError

if TYPE_CHECKING:
    from pomnit.governor.locking import Locking
    from pomnit.privacy.changing import KeyView
    from pomnit.privacy.keys import Place
    from pomnit.settings import Settings

_PLACES = click.Choice(["keychain", "file", "passphrase"])
_DURATION = re.compile(r"(\d{1,7})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@pomnit.command(epilog=examples("pomnit unlock", "pomnit unlock --for 8h"))
@common
@click.option("--for", "duration", metavar="TIME", help="Lock again by itself after so long: 90s, 30m, 8h, 2d.")
@click.pass_obj
def unlock(context: Context, duration: str | None) -> int:
    """Ask for the passphrase and keep the memory unlocked, for this login session only."""
    from pomnit.privacy import changing

    settings, for_s = context.settings(), _seconds(duration)
    new = changing.is_new(settings) and settings.key == "passphrase"
    if not new:
        changing.with_passphrase(settings)
    secret = _new(settings) if new else _current(settings)
    context.show(changing.unlock(settings, secret, for_s), _show_unlocked)
    return 0


@pomnit.command(epilog=examples("pomnit lock"))
@common
@click.pass_obj
def lock(context: Context) -> int:
    """Forget the key of an unlocked memory, and let the process that works on it end."""
    from pomnit.governor import locking

    context.show(locking.lock(context.settings()), _show_locked)
    return 0


@pomnit.group(
    "key",
    invoke_without_command=True,
    epilog=examples(
        "pomnit key",
        "pomnit key change --to passphrase",
        "pomnit key export /media/stick/pomnit-recovery.txt",
        "pomnit key import /media/stick/pomnit-recovery.txt",
    ),
)
@common
@click.pass_context
def key(context: click.Context) -> int:
    """Show where the key of the memory is kept, and whether it is locked."""
    if context.invoked_subcommand is not None:
        return 0
    from pomnit.privacy import changing

    shared: Context = context.obj
    shared.show(changing.view(shared.settings()), _show)
    return 0


@key.command(epilog=examples("pomnit key change", "pomnit key change --to keychain"))
@common
@click.option("--to", type=_PLACES, help="Where to keep the key; by default where it is: another passphrase.")
@click.pass_obj
def change(context: Context, to: str | None) -> int:
    """Set another passphrase, or keep the key in another place. The key itself stays; nothing is encrypted anew.

    Whatever interrupts it, the memory opens with the old passphrase or place, or with the new one.
    """
    from pomnit.privacy import changing

    settings = context.settings()
    before = changing.view(settings)
    place = cast("Place", to) if to else before.place
    if place == before.place != "passphrase":
        raise UsageError(f"the key is in {clean(before.where)} and has no passphrase; say where to keep it with --to")
    secret = _current(settings) if before.locked else None
    new = _new(settings) if place == "passphrase" else None
    context.show(changing.change(settings, place, secret=secret, new=new), _show_changed)
    return 0


@key.command("export", epilog=examples("pomnit key export /media/stick/pomnit-recovery.txt"))
@common
@click.argument("file", metavar="FILE", type=click.Path(path_type=str))
@click.pass_obj
def export(context: Context, file: str) -> int:
    """Write a recovery key, to be printed or put away: it opens the memory when the keychain or passphrase is lost."""
    from pomnit.privacy import changing

    settings = context.settings()
    secret = _current(settings) if changing.view(settings).locked else None
    record = changing.export(settings, Path(os.path.expanduser(file)), secret=secret)
    context.show(record, lambda _: click.echo(f"the recovery key is in {clean(file)}; keep it where the memory is not"))
    return 0


@key.command("import", epilog=examples("pomnit key import /media/stick/pomnit-recovery.txt --to passphrase"))
@common
@click.argument("file", metavar="FILE", type=click.Path(path_type=str))
@click.option("--to", type=_PLACES, help="Where to keep the key; by default where it was.")
@click.pass_obj
def import_(context: Context, file: str, to: str | None) -> int:
    """Bring the key back from a recovery key, when the keychain entry, the key file or the passphrase is lost."""
    from pomnit.privacy import changing

    settings = context.settings()
    place = cast("Place", to) if to else changing.place_to_restore(settings)
    new = _new(settings) if place == "passphrase" else None
    record = changing.restore(settings, Path(os.path.expanduser(file)), place, new)
    context.show(record, _show_changed)
    return 0


# Asking


def _current(settings: Settings) -> str:
    """Gives the passphrase of a memory: of the file that the settings name, else as it is typed or piped in.

    Raises:
        UsageError: there is none.
    """
    from pomnit.privacy import passphrase

    if settings.passphrase_file is not None:
        return passphrase.read(settings.passphrase_file)
    if sys.stdin.isatty():
        return _typed("Passphrase")
    return _piped()


def _new(settings: Settings) -> str:
    """Gives a passphrase that is to be set: typed twice, or piped in; else that of the file that the settings name.

    Raises:
        UsageError: there is none, it is too weak, or it was not typed the same twice.
    """
    from pomnit.privacy import passphrase

    if not sys.stdin.isatty():
        from pomnit.privacy import changing

        file = settings.passphrase_file if changing.is_new(settings) else None
        return _piped() if file is None else passphrase.read(file)
    click.echo(f"A passphrase of {passphrase.GOOD} letters or more; {passphrase.HINT}.", err=True)
    secret = _typed("New passphrase")
    passphrase.fit_new(secret)
    if (hint := passphrase.hint(secret)) is not None:
        click.echo(hint, err=True)
    if _typed("The same again") != secret:
        raise UsageError("the two passphrases are not the same; nothing was changed")
    return secret


def _typed(prompt: str) -> str:
    return str(click.prompt(prompt, default="", show_default=False, hide_input=True, err=True))


def _piped() -> str:
    from pomnit.privacy import passphrase

    line = sys.stdin.buffer.readline(passphrase.LONGEST + 3)
    if not line:
        raise UsageError(
            "no passphrase: type it at a terminal, pipe it in, or name a file with it in POMNIT_PASSPHRASE_FILE"
        )
    return passphrase.decoded(line, "the pipe")


def _seconds(duration: str | None) -> int | None:
    if duration is None:
        return None
    if (found := _DURATION.fullmatch(duration.strip().lower())) is None:
        raise UsageError(f"--for {clean(duration)!r:.40} is no time; it is like 90s, 30m, 8h or 2d")
    return int(found[1]) * _SECONDS[found[2]]


# Showing


def _show(record: KeyView) -> None:
    click.echo(f"home       {clean(record.home)}")
    click.echo(f"key        {clean(record.where)}")
    if record.place == "passphrase":
        click.echo(f"locked     {'yes; `pomnit unlock` asks for the passphrase' if record.locked else 'no'}")
    if record.unfinished:
        click.echo("unfinished the key was moved, and its old place still has it; `pomnit status` takes it away")


def _show_unlocked(record: KeyView) -> None:
    end = f"until {record.until}" if record.until else "until this session ends, or `pomnit lock`"
    click.echo(f"{clean(record.home)} is unlocked {end}")


def _show_changed(record: KeyView) -> None:
    click.echo(f"the key is now in {clean(record.where)}")
    if record.locked:
        click.echo("the memory is locked; `pomnit unlock` asks for the passphrase")
    click.echo("`pomnit key export FILE` writes a recovery key, should it ever be lost", err=True)


def _show_locked(record: Locking) -> None:
    click.echo(f"{clean(record.home)} is locked" + ("" if record.was_unlocked else "; it was not unlocked"))
    if record.owner == "ended":
        click.echo("the process that worked on it has ended; what was remembered is kept")
    elif record.owner == "ending":
        which = f" {record.process}" if record.process else ""
        click.echo(f"the process{which} that works on it was asked to end, and has not yet", err=True)
