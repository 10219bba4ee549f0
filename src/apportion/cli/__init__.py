"""The ``apportion`` command: one module a group of subcommands."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import ApportionError
from . import assign, audit, card, checklist, conformance, doctor, inspect, inventory, lens, methods, select


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; what goes wrong on purpose is one clean line and exit status 2."""
    try:
        _app()(args=None if argv is None else list(argv), prog_name="apportion")
    except ApportionError as error:
        sys.stderr.write(f"apportion: {error}\n")
        raise SystemExit(2) from None
    except OSError as error:  # a file that is not there, a full disk
        sys.stderr.write(f"apportion: {error.filename or 'file'}: {error.strerror or error}\n")
        raise SystemExit(2) from None


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"apportion {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Which token, step, turn or agent earned this reward?"""


def _app() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    app.command(name="methods")(methods.list_methods)
    app.command(name="explain")(methods.explain)
    app.command(name="assign")(assign.assign)
    app.command(name="lens")(lens.lens)
    app.command(name="inspect")(inspect.inspect)
    app.command(name="doctor")(doctor.doctor)
    app.command(name="conformance")(conformance.conformance)
    app.command(name="select")(select.select)
    app.command(name="audit")(audit.audit)
    app.add_typer(inventory.app, name="inventory")
    if importlib.util.find_spec("apportion.cli.bench"):
        app.add_typer(importlib.import_module("apportion.cli.bench").app, name="bench")
    app.add_typer(checklist.app, name="checklist")
    app.add_typer(card.app, name="card")
    return app
