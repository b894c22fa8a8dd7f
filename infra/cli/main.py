"""The command line `wardstream`: which commands there are, their options, and their exit codes.

Holds: the wiring. Every command imports what it needs when it runs, so that `--help` is there at once.
Does not hold: what a command does (one module each beside this one).

`--home` is taken before and after a command alike.

Exit codes: 0 done or healthy, 1 refused, failed or degraded, 2 a wrong setting or a part that does not answer, 3 down.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from warehouse.settings import Settings

WRONG_SETTING = 2


def _commands(about: str) -> typer.Typer:
    """A group of commands with plain help: rich alone would take longer to import than help may take."""
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


app = _commands(
    "Clinical events from Kafka into an Iceberg lakehouse: exactly once, checked, asked and alerted on. "
    "An information system, never a primary alarm."
)
contracts_app = _commands("Compare what is declared with what is there.")
rejects_app = _commands("Look at what did not become a row, and why.")
app.add_typer(contracts_app, name="contracts")
app.add_typer(rejects_app, name="rejects")
catalog_app = _commands("Whether a catalog and its store can be trusted.")
app.add_typer(catalog_app, name="catalog")
consent_app = _commands("What patients allow beyond what rests on law, and why.")
app.add_typer(consent_app, name="consent")
upkeep_app = _commands("How well kept the tables are, and keeping them.")
app.add_typer(upkeep_app, name="upkeep")
rules_app = _commands("Which rules are in force, and whether a file can be used.")
app.add_typer(rules_app, name="rules")
retention_app = _commands("How long what is kept where, and what has left.")
hold_app = _commands("Days that retention leaves as they are.")
retention_app.add_typer(hold_app, name="hold")
app.add_typer(retention_app, name="retention")
erase_app = _commands("One patient erased everywhere, with proof.")
app.add_typer(erase_app, name="erase")
exports_app = _commands("Files with rows of people that left.")
app.add_typer(exports_app, name="exports")
sepsis_app = _commands("Train, judge and use a sepsis model.")
app.add_typer(sepsis_app, name="sepsis")
models_app = _commands("Which models there are, which of them scores, and why.")
app.add_typer(models_app, name="models")

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]


def settings() -> Settings:
    """The settings of the environment, or the end of the command with what is wrong and how to mend it."""
    from warehouse.settings import SettingError, Settings

    try:
        return Settings.from_environment()
    except SettingError as error:
        typer.echo(f"wardstream: {error}", err=True)
        raise typer.Exit(WRONG_SETTING) from None


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"wardstream {metadata.version('wardstream')}")
        raise typer.Exit


@app.callback()
def _everywhere(
    home: Annotated[Path | None, typer.Option(help="Data folder, instead of WARDSTREAM_HOME.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if home is not None:
        os.environ["WARDSTREAM_HOME"] = str(home)


@app.command()
def up(
    parts: Annotated[str, typer.Option(help="Which, parted by commas.")] = "kafka,store,contracts,stream,dagster",
    as_json: AsJson = False,
) -> None:
    """Start all parts, wait until they are healthy, leave them.

    Ctrl-C ends the waiting only: the parts go on starting until `wardstream down`.
    """
    from infra.cli import lifecycle
    from infra.services.parts import PARTS
    from infra.services.supervisor import wanted_parts
    from warehouse.settings import SettingError

    try:
        names = wanted_parts(parts)
        if not names:
            raise SettingError(f"--parts names none; parts are {', '.join(PARTS)}")
    except SettingError as error:
        typer.echo(f"wardstream: {error}", err=True)
        raise typer.Exit(WRONG_SETTING) from None
    raise typer.Exit(lifecycle.up(settings(), names, as_json=as_json))


@app.command()
def down(as_json: AsJson = False) -> None:
    """End everything `up` started: the stream drains first."""
    from infra.cli import lifecycle

    raise typer.Exit(lifecycle.down(settings(), as_json=as_json))


@app.command()
def status(as_json: AsJson = False) -> None:
    """How every part fares, and how far the lake is behind."""
    from infra.cli import lifecycle

    raise typer.Exit(lifecycle.status(settings(), as_json=as_json))


@app.command()
def doctor(
    install: Annotated[bool, typer.Option("--install", help="Fetch what can be fetched.")] = False,
    as_json: AsJson = False,
) -> None:
    """What this machine lacks, and how to get it."""
    from infra.cli import doctor as doctors

    given = settings()
    if install:
        raise typer.Exit(doctors.install(given, lambda line: typer.echo(line, err=True)))
    raise typer.Exit(doctors.doctor(given, as_json=as_json))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed is another ward.")] = 7,
    as_json: AsJson = False,
) -> None:
    """See it work: a scripted ward through every part.

    It has a folder of its own, .wardstream/demo, which it empties at each start and leaves behind.
    """
    from infra.cli import demo as demonstration

    raise typer.Exit(demonstration.demo(settings(), keep=keep, seed=seed, quiet=as_json))


@contracts_app.command("plan")
def contracts_plan(as_json: AsJson = False) -> None:
    """Show what `apply` would change, and what it would refuse."""
    from infra.cli import contracts

    raise typer.Exit(contracts.plan(settings(), as_json=as_json))


@contracts_app.command("apply")
def contracts_apply(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Create and widen topics and tables as the contracts declare them."""
    from infra.cli import contracts

    raise typer.Exit(contracts.apply(settings(), dry_run=dry_run, as_json=as_json))


@contracts_app.command("lint")
def contracts_lint(as_json: AsJson = False) -> None:
    """Check the contracts themselves."""
    from infra.cli import contracts

    raise typer.Exit(contracts.lint(own=settings().contracts, as_json=as_json))


@contracts_app.command("docs")
def contracts_docs(
    check: Annotated[bool, typer.Option("--check", help="Only say whether the data dictionary is current.")] = False,
) -> None:
    """Write the data dictionary from the contracts."""
    from infra.cli import contracts

    raise typer.Exit(contracts.docs(own=settings().contracts, check=check))


@app.command()
def sql(
    statement: Annotated[str | None, typer.Argument(help="One SELECT, or @name of a kept question.")] = None,
    named: Annotated[str | None, typer.Option(help="A kept question by its name.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the kept questions.")] = False,
    as_of: Annotated[str | None, typer.Option(help="What was known at this time (ISO 8601).")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="table, line, csv, json, parquet or arrow.", show_default="table")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option(help="A file for the rows; its ending may name the format.")] = None,
    purpose: Annotated[
        str | None, typer.Option(help="Only what serves care, operations, payment, research or marketing.")
    ] = None,
    recipient: Annotated[str, typer.Option(help="Who gets the file; kept on record with it.")] = "",
) -> None:
    """Ask the lake: a statement, a kept question, or a shell.

    For research and marketing only rows of those who consent, then and now.
    """
    from infra.cli import sql as asking

    code = asking.sql(
        settings(),
        statement,
        named=named,
        list_named=listed,
        as_of=as_of,
        format=form,
        as_json=as_json,
        output=output,
        purpose=purpose,
        recipient=recipient,
    )
    raise typer.Exit(code)


@consent_app.command("show")
def consent_show(
    token: Annotated[str | None, typer.Argument(help="The patient's token.")] = None,
    patient: Annotated[str | None, typer.Option(help="The patient's identifier, instead of the token.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is in force for a patient, by category, and since when."""
    from infra.cli import consent

    raise typer.Exit(consent.show(settings(), token, patient, as_json=as_json))


@consent_app.command("explain")
def consent_explain(
    token: Annotated[str | None, typer.Argument(help="The patient's token.")] = None,
    patient: Annotated[str | None, typer.Option(help="The patient's identifier, instead of the token.")] = None,
    as_json: AsJson = False,
) -> None:
    """The same with its reason, the messages it rests on, and all that was ever said."""
    from infra.cli import consent

    raise typer.Exit(consent.show(settings(), token, patient, whole=True, as_json=as_json))


@consent_app.command("send")
def consent_send(
    files: Annotated[list[Path], typer.Argument(help="FHIR R4 Consents: a resource, a Bundle, or one a line.")],
    patient: Annotated[
        str | None, typer.Option(help="Whose they are, where they name the patient otherwise than we do.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send what FHIR Consents say about research and marketing."""
    from infra.cli import consent

    raise typer.Exit(consent.send(settings(), files, patient=patient, dry_run=dry_run, as_json=as_json))


@rejects_app.command("list")
def rejects_list(
    stream: Annotated[str | None, typer.Option(help="Only of this stream, or of a table's stream.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only for this reason, e.g. malformed_json.")] = None,
    since: Annotated[str | None, typer.Option(help="Only appended since then (ISO 8601; UTC without a zone).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many positions to show, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Counts by stream, stage and reason, and the newest positions."""
    from infra.cli import rejects
    from infra.cli.sql import moment

    try:
        at = moment(since) if since else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    code = rejects.list_rejects(settings(), stream=stream, reason=reason, since=at, limit=limit, as_json=as_json)
    raise typer.Exit(code)


@rejects_app.command("show")
def rejects_show(
    stream: Annotated[str, typer.Argument(help="The stream, e.g. device.vitals, or the table it feeds.")],
    partition: Annotated[int, typer.Argument(help="Its partition.")],
    offset: Annotated[int, typer.Argument(help="Its offset.")],
    reveal: Annotated[bool, typer.Option("--reveal", help="Open the sealed message; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is opened. Kept in the audit file.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is known of the reject at one position."""
    from infra.cli import rejects

    given = settings()
    code = rejects.show_reject(given, stream, partition, offset, reveal=reveal, reason=reason, as_json=as_json)
    raise typer.Exit(code)


@rejects_app.command("replay")
def rejects_replay(
    stream: Annotated[str | None, typer.Option(help="Only of this stream, or of a table's stream.")] = None,
    rejected_for: Annotated[str | None, typer.Option(help="Only rejected for this, e.g. unknown_unit.")] = None,
    since: Annotated[str | None, typer.Option(help="Only appended since then (ISO 8601; UTC without a zone).")] = None,
    reason: Annotated[str | None, typer.Option(help="Why they are opened. Kept in the audit file.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most messages a second.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send rejects again, after what refused them is mended.

    Needs --reason: sealed messages are opened. Sent twice is harmless, event ids tell.
    """
    from infra.cli.rejects_replay import replay_rejects
    from infra.cli.sql import moment

    try:
        at = moment(since) if since else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    code = replay_rejects(
        settings(),
        stream=stream,
        rejected_for=rejected_for,
        since=at,
        why=reason,
        rate=rate,
        dry_run=dry_run,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def replay(
    source: Annotated[
        str | None, typer.Argument(help="A file of JSON lines, public data (--as), or a topic (--into).")
    ] = None,
    as_source: Annotated[str | None, typer.Option("--as", help="physionet, mimic, cgm or icu.")] = None,
    into: Annotated[str | None, typer.Option(help="The stream that the messages of a topic go into.")] = None,
    unread: Annotated[bool, typer.Option("--unread", help="Of a topic, only what the lake has not read.")] = False,
    stays: Annotated[int | None, typer.Option(min=1, help="Only so many stays or people of public data.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Most messages a second.")] = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="Seconds of public data a second.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="A new file that keeps what was sent, for the oracle.")] = None,
    check: Annotated[
        str | None, typer.Option(help="Make days of this table again and compare; nothing is sent.")
    ] = None,
    days: Annotated[str | None, typer.Option(help="With --check: 2026-11-20, or 2026-11-20..2026-11-21 (UTC).")] = None,
    read: Annotated[str, typer.Option("--from", help="With --check: kafka, raw (kept messages), or auto.")] = "auto",
    swap: Annotated[bool, typer.Option("--swap", help="With --check: put the days made again in their place.")] = False,
    reason: Annotated[
        str | None, typer.Option(help="With --check: why sealed values are opened, for the audit.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send messages of a file, public data or a topic; check a table.

    As fast as it goes, but for --rate and --speed. A line of a file is {"stream": …, "key": …, "value": …}. A topic is
    read from its beginning to its present end; rows of it that the lake has already would be there twice: --unread.

    With --check TABLE --days … messages are worked again by the same steps and compared with the table. Exit code 0
    equal, 1 different, 2 not checkable.
    """
    if check is not None:
        raise typer.Exit(_replay_check(check, days, read, swap, reason, dry_run, as_json))
    if source is None or swap or days is not None:
        raise typer.BadParameter("name a source to send, or a table to check: --check TABLE --days 2026-11-20")
    from infra.cli import replay as replaying

    code = replaying.replay(
        settings(),
        source,
        as_source=as_source,
        into=into,
        unread=unread,
        stays=stays,
        rate=rate,
        speed=speed,
        ledger=ledger,
        dry_run=dry_run,
        as_json=as_json,
    )
    raise typer.Exit(code)


def _replay_check(
    table: str, days: str | None, read: str, swap: bool, reason: str | None, dry_run: bool, as_json: bool
) -> int:
    from infra.cli import replay_check

    if read not in ("auto", "kafka", "raw"):
        raise typer.BadParameter("auto, kafka or raw", param_hint="--from")
    try:
        chosen = replay_check.days_of(days or "")
    except replay_check.DaysError as error:
        raise typer.BadParameter(str(error), param_hint="--days") from None
    return replay_check.check(
        settings(), table, chosen, source=read, swap=swap, reason=reason, dry_run=dry_run, as_json=as_json
    )


@rules_app.command("list")
def rules_list(as_json: AsJson = False) -> None:
    """The rules in force now with their numbers, versions and wards, and the packs that come."""
    from datetime import UTC

    from infra.cli import rules

    raise typer.Exit(rules.list_rules(settings(), datetime.now(UTC), as_json=as_json))


@rules_app.command("check")
def rules_check(
    file: Annotated[Path, typer.Argument(help="A pack of rules, a YAML file.")], as_json: AsJson = False
) -> None:
    """Whether a file can be used as a pack, and what it would change."""
    from datetime import UTC

    from infra.cli import rules

    raise typer.Exit(rules.check(file, datetime.now(UTC), as_json=as_json))


@upkeep_app.command("status")
def upkeep_status(as_json: AsJson = False) -> None:
    """Each table's health from 0 to 1, and why. Exit code 1 where upkeep is due."""
    from infra.cli import upkeep

    raise typer.Exit(upkeep.status(settings(), as_json=as_json))


@upkeep_app.command("plan")
def upkeep_plan(table: Annotated[str, typer.Argument(help="The table, e.g. vitals.")], as_json: AsJson = False) -> None:
    """What a run would do to a table, and which objects nobody names."""
    from infra.cli import upkeep

    raise typer.Exit(upkeep.plan(settings(), table, as_json=as_json))


@upkeep_app.command("run")
def upkeep_run(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; all if none is named.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Join small files, let old snapshots go, delete what nobody names.

    Objects are deleted an hour after they were first found, by a later run. To be repeated at will, also after a kill.
    """
    from infra.cli import upkeep

    raise typer.Exit(upkeep.run(settings(), tables or (), dry_run=dry_run, as_json=as_json))


@upkeep_app.command("store")
def upkeep_store(
    days_of_logs: Annotated[int, typer.Option(min=0, help="Days of the store's own log that stay.")] = 1,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Vacuum the embedded store and purge its logs."""
    from infra.cli import upkeep

    raise typer.Exit(upkeep.store(settings(), days_of_logs=days_of_logs, dry_run=dry_run, as_json=as_json))


@catalog_app.callback()
def _catalog() -> None:
    """A group, though it has one command yet."""


@catalog_app.command("verify")
def catalog_verify(
    writers: Annotated[int, typer.Option(min=2, max=32, help="Processes that race each other.")] = 4,
    commits: Annotated[int, typer.Option(min=4, help="Acknowledged commits that end the race.")] = 40,
    seconds: Annotated[float, typer.Option(min=5, help="Bound of all checks together.")] = 120.0,
    only: Annotated[list[str] | None, typer.Option(help="One check by its name; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try the configured catalog and store: is either unfit?

    On tables of its own: races, lost answers, reads after writes. Makes a namespace wardstream_verify_… and removes it
    again. Exit code 0 fit, 1 not fit, 3 no verdict.
    """
    from infra.cli import catalog
    from warehouse.verification.judgement import CHECKS
    from warehouse.verification.plan import Plan

    if unknown := set(only or ()) - set(CHECKS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(CHECKS)}", param_hint="--only")
    plan = Plan(writers=writers, commits=commits, seconds=seconds, only=frozenset(only or ()))
    raise typer.Exit(catalog.verify(settings(), plan, as_json=as_json))


@retention_app.command("plan")
def retention_plan(
    table: Annotated[str | None, typer.Argument(help="One table; all where none is named.")] = None,
    as_of: Annotated[str | None, typer.Option(help="What would be due at this time (ISO 8601).")] = None,
    as_json: AsJson = False,
) -> None:
    """What is due by the retention classes, what stays all the same and why, and what it costs."""
    from infra.cli import retention
    from infra.cli.sql import moment

    try:
        at = moment(as_of) if as_of else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None
    raise typer.Exit(retention.plan(settings(), table, as_of=at, as_json=as_json))


@retention_app.command("apply")
def retention_apply(
    table: Annotated[str | None, typer.Argument(help="One table; all where none is named.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Do what is due now: move days to the cold store, take days out.

    What leaves can be taken back for as many days as its class says (`retention undo`); rejects cannot.
    """
    from infra.cli import retention

    raise typer.Exit(retention.apply(settings(), table, dry_run=dry_run, as_json=as_json))


@retention_app.command("undo")
def retention_undo(
    receipt: Annotated[str, typer.Argument(help="The receipt of what is to be taken back.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the audit file.")],
    as_json: AsJson = False,
) -> None:
    """Take back what a receipt tells of, and hold its days."""
    from infra.cli import retention

    raise typer.Exit(retention.undo(settings(), receipt, reason, as_json=as_json))


@retention_app.command("receipts")
def retention_receipts(
    table: Annotated[str | None, typer.Option(help="Only of this table.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What was done, when, why, and until when it can be undone."""
    from infra.cli import retention

    raise typer.Exit(retention.receipts(settings(), table=table, limit=limit, as_json=as_json))


@retention_app.command("classes")
def retention_classes(as_json: AsJson = False) -> None:
    """The retention classes, the tables of each, and what their times rest on."""
    from infra.cli import retention

    raise typer.Exit(retention.classes(settings(), as_json=as_json))


@erase_app.command("request")
def erase_request(
    patient: Annotated[str, typer.Argument(help="The patient's identifier; - reads it from standard input.")],
    reason: Annotated[
        str, typer.Option(help="On what it rests. Names no patient; kept in the lists and the audit file.")
    ],
    category: Annotated[str | None, typer.Option(help="Only this category of use ends, e.g. research.")] = None,
    verified: Annotated[bool, typer.Option("--verified", help="Who asked was verified already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a request to erase a patient.

    Nothing is done until it is approved; with --verified the key goes at once, and `erase run` does the rest.
    """
    from infra.cli import erase

    raise typer.Exit(erase.request(settings(), patient, reason, category=category, verified=verified, as_json=as_json))


@erase_app.command("approve")
def erase_approve(
    request: Annotated[str, typer.Argument(help="The request.")],
    reason: Annotated[str, typer.Option(help="How it was verified. Names no patient.")],
    as_json: AsJson = False,
) -> None:
    """The key goes at once, the rest follows.

    Whoever types this has made sure of who asks. There is no way back.
    """
    from infra.cli import erase

    raise typer.Exit(erase.approve(settings(), request, reason, as_json=as_json))


@erase_app.command("refuse")
def erase_refuse(
    request: Annotated[str, typer.Argument(help="The request.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient.")],
    as_json: AsJson = False,
) -> None:
    """Do nothing about a request, and say why."""
    from infra.cli import erase

    raise typer.Exit(erase.refuse(settings(), request, reason, as_json=as_json))


@erase_app.command("run")
def erase_run(
    requests: Annotated[list[str] | None, typer.Argument(help="Requests; all that are open if none is named.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Lead approved requests as far as they go. To be repeated at will, also after a kill."""
    from infra.cli import erase

    raise typer.Exit(erase.run(settings(), requests or (), dry_run=dry_run, as_json=as_json))


@erase_app.command("plan")
def erase_plan(
    request: Annotated[str, typer.Argument(help="The request.")],
    as_json: AsJson = False,
) -> None:
    """What there is of the patient, and the steps to come."""
    from infra.cli import erase

    raise typer.Exit(erase.plan(settings(), request, as_json=as_json))


@erase_app.command("status")
def erase_status(
    request: Annotated[str | None, typer.Argument(help="One request; all if none is named.")] = None,
    intake: Annotated[
        bool, typer.Option("--intake", help="Take up first what came by patient.data.deletions.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Requests, their states and their ages."""
    from infra.cli import erase

    raise typer.Exit(erase.status(settings(), request, intake=intake, as_json=as_json))


@erase_app.command("certificate")
def erase_certificate(
    request: Annotated[str, typer.Argument(help="The request.")],
    output: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
) -> None:
    """Show a certificate."""
    from infra.cli import erase

    raise typer.Exit(erase.certificate(settings(), request, output=output))


@erase_app.command("verify")
def erase_verify(
    certificate: Annotated[str, typer.Argument(help="The request, or a certificate's file.")],
    patient: Annotated[
        str | None, typer.Option(help="Look for this patient's identifier and tokens too; - reads it.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Look for traces that were recorded beforehand, a JSON file.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option(help="The key that must have signed, where the vault is not in this home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a certificate against the raw stores.

    By a program that shares no code with the eraser. Exit code 2: something cannot be told from here; 3: it is so as
    far as it can be told before Kafka has let go.
    """
    from infra.cli import erase

    raise typer.Exit(
        erase.verify(settings(), certificate, patient=patient, traces=traces, public=public_key, as_json=as_json)
    )


@erase_app.command("public-key")
def erase_public_key() -> None:
    """The key by which certificates of this house are known."""
    from infra.cli import erase

    raise typer.Exit(erase.public_key(settings()))


@erase_app.command("coverage")
def erase_coverage(as_json: AsJson = False) -> None:
    """What holds people, and which store answers for it. Exit code 1 where none does."""
    from infra.cli import erase

    raise typer.Exit(erase.coverage(settings(), as_json=as_json))


@erase_app.command("page")
def erase_page(
    output: Annotated[
        Path | None, typer.Option(help="A file or folder; by default erasure/index.html in the home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the privacy officer's page.

    Open requests and their deadlines, stores, certificates, holds, consents taken back, coverage. It names nobody.
    """
    from infra.cli import erase

    raise typer.Exit(erase.page(settings(), output=output, as_json=as_json))


@erase_app.command("rotate")
def erase_rotate(as_json: AsJson = False) -> None:
    """Let no backup of the vault bring a destroyed key back.

    Wraps the keys that stand in a new outer key and destroys outer keys of which no backup is kept any more.
    """
    from infra.cli import erase

    raise typer.Exit(erase.rotate(settings(), as_json=as_json))


@erase_app.command("readmit")
def erase_readmit(
    patient: Annotated[str, typer.Argument(help="The patient's identifier; - reads it from standard input.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the audit file.")],
) -> None:
    """Take somebody again who was erased.

    Under a new pseudonym, from which nothing leads back.
    """
    from infra.cli import erase

    raise typer.Exit(erase.readmit(settings(), patient, reason))


@exports_app.command("list")
def exports_list(
    is_open: Annotated[bool, typer.Option("--open", help="Only files that are still to be erased by hand.")] = False,
    as_json: AsJson = False,
) -> None:
    """Who took which rows where, and what an erasure asked of it."""
    from infra.cli import exports

    raise typer.Exit(exports.list_exports(settings(), is_open=is_open, as_json=as_json))


@exports_app.command("confirm")
def exports_confirm(
    export: Annotated[str, typer.Argument(help="The file, as `wardstream exports list` names it.")],
    reason: Annotated[str, typer.Option(help="How it is known. Names no patient; kept in the audit file.")],
    as_json: AsJson = False,
) -> None:
    """Say that a file, and whatever was made of it, is erased."""
    from infra.cli import exports

    raise typer.Exit(exports.confirm(settings(), export, reason, as_json=as_json))


@hold_app.command("place")
def retention_hold_place(
    table: Annotated[str, typer.Argument(help="The table, or * for all.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the audit file.")],
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day kept.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day kept.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep days of a table as they are, whatever their class says."""
    from infra.cli import retention

    days = {"first": first.date() if first else None, "last": last.date() if last else None}
    raise typer.Exit(retention.place_hold(settings(), table, reason, **days, as_json=as_json))


@hold_app.command("lift")
def retention_hold_lift(
    hold: Annotated[str, typer.Argument(help="The hold.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the audit file.")],
    as_json: AsJson = False,
) -> None:
    """Let the days of a hold follow their class again."""
    from infra.cli import retention

    raise typer.Exit(retention.lift_hold(settings(), hold, reason, as_json=as_json))


@hold_app.command("list")
def retention_hold_list(as_json: AsJson = False) -> None:
    """The holds in force."""
    from infra.cli import retention

    raise typer.Exit(retention.list_holds(settings(), as_json=as_json))


@sepsis_app.command("train")
def sepsis_train(
    file: Annotated[Path, typer.Argument(help="Parquet file, or folder of .psv files, of stays with SepsisLabel.")],
    model: Annotated[Path, typer.Option(help="Folder the model is written to.")],
    folds_seed: Annotated[
        int, typer.Option(min=0, help="Deals the stays into folds; the model does not hang on it.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of training.")] = 1,
    source: Annotated[
        str | None, typer.Option(help="What the page calls the data; without it the file's name.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Whose data it is and on which terms, for the page.")] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Learn a model, judge its recipe by nested cross-validation, and write it with its page."""
    from infra.cli import sepsis

    origin = {"source": source or file.name, "licence": licence}
    raise typer.Exit(
        sepsis.train(
            file, model, folds_seed=folds_seed, threads=threads, origin=origin, dry_run=dry_run, as_json=as_json
        )
    )


@sepsis_app.command("score")
def sepsis_score(
    folder: Annotated[Path, typer.Argument(help="Folder of .psv files, one a stay.")],
    out: Annotated[Path, typer.Option(help="Folder of the prediction files.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a model; without it the built-in champion.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Predictions of every hour, each from the hours up to it, in the files of the PhysioNet Challenge 2019."""
    from infra.cli import sepsis

    raise typer.Exit(sepsis.score(folder, model, out, dry_run=dry_run, as_json=as_json))


@sepsis_app.command("card")
def sepsis_card(
    model: Annotated[Path | None, typer.Argument(help="Folder of a model; without it the built-in champion.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; without it card.html in the model's folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model's page: how good, how early, how loud, for whom, and what it must not be used for."""
    from infra.cli import sepsis

    raise typer.Exit(sepsis.card(model, out, as_json=as_json))


@sepsis_app.command("drift")
def sepsis_drift(
    file: Annotated[
        Path | None, typer.Argument(help="Parquet file of stays of late; columns ward and device where known.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="Parquet file of the stays a model was made with.")] = None,
    lake: Annotated[bool, typer.Option("--lake", help="The stays of the lake, against the reigning model's.")] = False,
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Up to this day, UTC; yesterday.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=366, help="Of stays that began in so many days.")] = None,
    as_of: Annotated[str | None, typer.Option(help="As was known then (ISO 8601); keeps nothing.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """What moved since a model was made, where, and what to mend. Exit code 1 where something did.

    Either FILE and --reference, or --lake: then what is found is kept and has a page, as when Dagster looks each day.
    """
    from infra.cli import drift
    from infra.cli.sql import moment

    if lake:
        if file or reference:
            raise typer.BadParameter("--lake takes no files")
        try:
            known = moment(as_of) if as_of else None
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--as-of") from None
        asked = day.date() if day else None
        code = drift.of_lake(settings(), day=asked, days=days, as_of=known, dry_run=dry_run, as_json=as_json)
        raise typer.Exit(code)
    if file is None or reference is None or day or days or as_of:
        raise typer.BadParameter("name FILE and --reference, or say --lake")
    raise typer.Exit(drift.of_files(file, reference, as_json=as_json))


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Every registered model, and the role it has now."""
    from infra.cli import models

    raise typer.Exit(models.list_models(settings(), as_json=as_json))


@models_app.command("show")
def models_show(
    version: Annotated[str, typer.Argument(help="The model, or how its version begins.")], as_json: AsJson = False
) -> None:
    """What a model was made of and from, how it was judged, what was decided of it and why."""
    from infra.cli import models

    raise typer.Exit(models.show(settings(), version, as_json=as_json))


@models_app.command("register")
def models_register(
    folder: Annotated[Path, typer.Argument(help="Folder of a model, as `sepsis train` writes it.")],
    as_json: AsJson = False,
) -> None:
    """Put a model into the lake. To be repeated at will; it gets no role by that."""
    from infra.cli import models

    raise typer.Exit(models.register(settings(), folder, as_json=as_json))


@models_app.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help="The model, or how its version begins.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the register.")],
    on: Annotated[Path | None, typer.Option(help="Parquet file of stays that neither model learned from.")] = None,
    override: Annotated[bool, typer.Option("--override", help="Whatever the gate says; kept in the register.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a model the champion, if the gate lets it. Exit code 1 where the champion stays.

    Judged on the stays of --on, beside the champion. It holds from less than a minute ahead, without a restart.
    """
    from infra.cli import models

    code = models.promote(settings(), version, reason, on=on, override=override, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(code)


@models_app.command("recalibrate")
def models_recalibrate(
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the register.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Fit the champion's risks to what came of this lake's stays (`alert.feedback`), if the gate lets it.

    The same trees and threshold: alerts stay as they are, risks change. Needs 500 stays with an outcome that the
    champion did not learn from. Exit code 1 where there are fewer, or where the risks are not better for certain.
    """
    from infra.cli import models

    raise typer.Exit(models.recalibrate(settings(), reason, dry_run=dry_run, as_json=as_json))


@models_app.command("shadow")
def models_shadow(
    version: Annotated[str, typer.Argument(help="The model, or how its version begins.")],
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the register.")],
    as_json: AsJson = False,
) -> None:
    """Let a model score in silence: each hour the stream scored, in `shadow_scores`; nobody is alerted by it."""
    from infra.cli import models

    raise typer.Exit(models.give_role(settings(), version, "shadow", reason, as_json=as_json))


@models_app.command("compare")
def models_compare(
    version: Annotated[str | None, typer.Argument(help="A shadow, or how its version begins; that of now.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the shadow said beside what was told: alert-hours of both, and what outcomes say. Writes its page."""
    from infra.cli import models

    raise typer.Exit(models.compare(settings(), version, as_json=as_json))


@models_app.command("rollback")
def models_rollback(
    reason: Annotated[str, typer.Option(help="Why. Names no patient; kept in the register.")],
    version: Annotated[str | None, typer.Argument(help="Only if this one is the champion; for scripts.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Put the champion before the present one back; the built-in one where there was none."""
    from infra.cli import models

    raise typer.Exit(models.rollback(settings(), reason, version=version, dry_run=dry_run, as_json=as_json))


def main() -> None:
    """Entry point of the console script."""
    sys.exit(app(args=home_first(sys.argv[1:])))


def home_first(arguments: list[str]) -> list[str]:
    """The same with `--home` where the command line wants it, before the command. What follows `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    moved: list[str] = []
    kept: list[str] = []
    for at, word in enumerate(arguments[:end]):
        is_home = word.startswith("--home=") or word == "--home" or (at > 0 and arguments[at - 1] == "--home")
        (moved if is_home else kept).append(word)
    return [*moved, *kept, *arguments[end:]]


if __name__ == "__main__":
    main()
