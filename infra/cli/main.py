"""The command line `wardstream`: which commands there are, their options, and their exit codes.

Holds: the wiring. Every command imports what it needs when it runs, so that `--help` is at hand at once.
Does not hold: what a command does (one module each beside this one).

Exit codes: 0 done or healthy, 1 refused, failed or degraded, 2 a wrong setting or a part that does not answer, 3 down.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from warehouse.settings import Settings

app = typer.Typer(
    name="wardstream",
    help="Clinical events from Kafka into an Iceberg lakehouse: exactly once, checked, asked and alerted on. "
    "An information system, never a primary alarm.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
contracts_app = typer.Typer(help="Compare what the contracts declare with what is really there.", no_args_is_help=True)
rejects_app = typer.Typer(help="Look at what did not become a row, and why.", no_args_is_help=True)
app.add_typer(contracts_app, name="contracts")
app.add_typer(rejects_app, name="rejects")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


def settings() -> Settings:
    """The settings of the environment, or exit 2 with what is wrong and how to mend it."""
    from warehouse.settings import SettingError, Settings

    try:
        return Settings.from_environment()
    except SettingError as error:
        typer.echo(f"wardstream: {error}", err=True)
        raise typer.Exit(2) from None


@app.callback()
def _home(
    home: Annotated[Path | None, typer.Option(help="Data folder, instead of WARDSTREAM_HOME.")] = None,
) -> None:
    if home is not None:
        import os

        os.environ["WARDSTREAM_HOME"] = str(home)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(app())


if __name__ == "__main__":
    main()
