"""`wardstream erase request | approve | run | plan | status | certificate | verify | page …`: one person erased.

Holds: what is asked, what is printed, and who is on record for it (`warehouse/audit.py`).
Does not hold: erasure itself (`warehouse/erasure`), its stores of upper floors (`infra/erasure`), the verifier
(`infra/verifier`), which shares no code with it.

A patient's identifier is read, turned into a token and forgotten: no list, log or audit line has it. `-` takes it from
standard input, so that it stands in no shell's history.

Exit codes: 0 done, 1 refused, restricted, not covered or not proven, 2 catalog, store, broker or vault do not answer,
or it cannot be told from here, 3 something has to be waited for: run it again, 130 Ctrl-C.
"""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.caller import caller
from infra.cli.reach import LAKE, LAKE_AND_BROKER, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from warehouse.erasure.requests import Request
    from warehouse.erasure.run import Erasure
    from warehouse.settings import Settings

DONE, REFUSED, UNAVAILABLE, WAITING, INTERRUPTED = 0, 1, 2, 3, 130
STREAM = "patient.data.deletions"
HELD = ("restricted", "refused")
"""States with a reason that whoever asked has to be told."""


def request(
    settings: Settings, patient: str, why: str, *, category: str | None, verified: bool, as_json: bool = False
) -> int:
    """Take a request about a patient. `verified`: whoever calls has made sure that the patient asked, and may."""

    def act(erasure: Erasure) -> int:
        from warehouse.erasure.requests import Asked
        from warehouse.erasure.scope import category_of

        scope = category_of(category)
        name = f"e-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"
        token = _token(erasure, _identifier(patient))
        if token is None:
            return _tell("nobody is known under this identifier any more: an erasure was done before", REFUSED)
        _on_record(settings, "erase.request", why, request=name)
        asked = Asked(name, token, scope, why, erasure.clock(), caller())
        erasure.book.receive([erasure.book.new(asked, caller(), erasure.clock())])
        if verified:
            _say(f"{name}: received")
        found = erasure.verify(name, why) if verified else erasure.book.get(name)
        print(json.dumps(_request(found, erasure)) if as_json else _next_step(found))
        return DONE

    return _with_erasure(settings, act, LAKE_AND_BROKER if verified else LAKE)


def approve(settings: Settings, name: str, why: str, *, as_json: bool = False) -> int:
    """Somebody has made sure of who asks; the key is destroyed as soon as it is known that nobody is being treated, and
    the rest follows."""

    def act(erasure: Erasure) -> int:
        _on_record(settings, "erase.approve", why, request=name)
        found = erasure.verify(name, why)
        _say(f"{name}: {found.state}{': the key is destroyed, and the rest follows' * (found.state == 'shredded')}")
        return _run(erasure, [name], as_json)

    return _with_erasure(settings, act)


def refuse(settings: Settings, name: str, why: str, *, as_json: bool = False) -> int:
    """Do nothing, and say why."""

    def act(erasure: Erasure) -> int:
        _on_record(settings, "erase.refuse", why, request=name)
        found = erasure.refuse(name, why)
        print(json.dumps(_request(found, erasure)) if as_json else f"{name} is refused")
        return DONE

    return _with_erasure(settings, act, LAKE)


def run(settings: Settings, names: Sequence[str], *, dry_run: bool = False, as_json: bool = False) -> int:
    """Lead these requests, or all that are open, as far as they go; with `dry_run` their plans."""
    if dry_run:
        return max([plan(settings, name, as_json=as_json) for name in names] or [DONE])

    def act(erasure: Erasure) -> int:
        if fresh := erasure.intake():
            _say(f"{len(fresh)} requests came by {STREAM}")
        return _run(erasure, names, as_json)

    return _with_erasure(settings, act)


def plan(settings: Settings, name: str, *, as_json: bool = False) -> int:
    """Print what there is of the person of a request, store by store, and the steps to come. Changes nothing."""

    def act(erasure: Erasure) -> int:
        from warehouse.erasure.states import following, way_of

        found = erasure.book.get(name)
        located = erasure.located(found)
        way = way_of(found.category)
        after = following(found.state, found.category) or way[0]
        steps = list(way[way.index(after) :])
        if as_json:
            print(json.dumps(_request(found, erasure) | {"located": located, "steps": steps}))
            return DONE
        cells = [[store, f"{n:,}"] for store, n in located.items() if n]
        print("\n".join(answers.aligned(["store", "found"], cells, [False, True])) if cells else "nothing is found")
        print(f"nothing in {sum(not n for n in located.values())} other stores; to come: {', '.join(steps)}")
        return DONE

    return _with_erasure(settings, act)


def status(settings: Settings, name: str | None = None, *, intake: bool = False, as_json: bool = False) -> int:
    """Print requests with their state and age, or one with all its states. `intake`: take up those that came by message
    first."""

    def act(erasure: Erasure) -> int:
        from infra.erasure.overview import REFUSED_DAYS, refused_messages

        now = erasure.clock()
        if intake:
            erasure.intake()
        if name is not None:
            erasure.book.get(name)
        found = [each for each in erasure.book.history() if each.request_id == name] if name else None
        shown = list(erasure.book.current().values()) if found is None else found
        refused = () if name else refused_messages(erasure)
        if as_json:
            messages = [
                {"stream": r.stream, "messages": r.messages, "newest": r.newest_at.isoformat()} for r in refused
            ]
            print(json.dumps({"requests": [_request(each, erasure) for each in shown], "refused_messages": messages}))
        elif not shown:
            print("no requests")
        else:
            cells = [[r.request_id, r.state, r.category or "all", str(_age(r, now)), _note(r)] for r in shown]
            heads = ["request", "state", "scope", "days", "why"]
            print("\n".join(answers.aligned(heads, cells, [False, False, False, True, False])))
        for each in refused:
            told = "; they may be in treatment here: see `wardstream erase readmit`" if each.tells_of_treatment else ""
            _say(
                f"{each.messages} messages of {each.stream} were refused in {REFUSED_DAYS} days, of erased people{told}"
            )
        return DONE

    return _with_erasure(settings, act)


def certificate(settings: Settings, name: str, *, output: Path | None = None) -> int:
    """Print a certificate, or write it to a file."""
    from warehouse.erasure.run import certificate_file

    file = certificate_file(settings, name)
    if not file.exists():
        return _tell(f"no certificate of {name}; `wardstream erase status {name}` says how far it is", REFUSED)
    if output is None:
        print(file.read_text(), end="")
    else:
        output.write_text(file.read_text())
    return DONE


def readmit(settings: Settings, patient: str, why: str) -> int:
    """Somebody who was erased returns, under a token that nothing leads back from."""

    def act(erasure: Erasure) -> int:
        _on_record(settings, "erase.readmit", why)
        token = _last_token(erasure, _identifier(patient))
        if token is None:
            return _tell("nobody under this identifier was erased", REFUSED)
        erasure.readmit(token)
        print("what comes of them from now on is taken again, under a new pseudonym")
        return DONE

    return _with_erasure(settings, act)


def coverage(settings: Settings, *, as_json: bool = False) -> int:
    """Print what holds people and which store answers for it. Exit code 1 where none does."""

    def act(erasure: Erasure) -> int:
        found = erasure.surroundings.coverage()
        if as_json:
            groups = {"covered": found.covered, "without_people": found.without_people, "uncovered": found.uncovered}
            said = {name: [{"place": p.name, "why": p.holds_people} for p in places] for name, places in groups.items()}
            print(json.dumps(said | {"complete": found.complete}))
        else:
            cells = [[p.name, "NO STORE", p.holds_people] for p in found.uncovered]
            cells += [[p.name, "covered", p.holds_people] for p in found.covered]
            print("\n".join(answers.aligned(["place", "erasure", "holds people by"], cells, [False, False, False])))
            print(f"{len(found.without_people)} other places hold nobody")
        return DONE if found.complete else REFUSED

    return _with_erasure(settings, act)


def rotate(settings: Settings, *, as_json: bool = False) -> int:
    """Wrap the keys that stand in a new outer key, where one was destroyed, and destroy the outer keys of which no
    backup of the vault is kept any more (`WARDSTREAM_VAULT_BACKUP_DAYS`): then none brings a destroyed key back."""
    from warehouse.vault import VaultError, VaultUnavailableError, open_vault

    try:
        vault = open_vault(settings.vault_uri, time.monotonic)
        try:
            window = timedelta(days=settings.vault_backup_days)
            begun, gone, waiting = vault.turn_outer_key(time.time(), window.total_seconds())
        finally:
            vault.close()
    except VaultError as error:
        return _tell(str(error), REFUSED)
    except VaultUnavailableError as error:
        return _tell(str(error), UNAVAILABLE)
    until = None if waiting is None else datetime.fromtimestamp(waiting, UTC) + window
    if as_json:
        print(json.dumps({"begun": begun, "destroyed": gone, "next": until and until.isoformat(timespec="seconds")}))
    else:
        print("the keys are wrapped in a new outer key" if begun else "no key was destroyed since the last outer key")
        print(f"{gone} outer keys destroyed{f'; the next goes after {until:%Y-%m-%d %H:%M} UTC' if until else ''}")
    return DONE


def public_key(settings: Settings) -> int:
    """Print the key by which certificates of this house are known, for whoever checks them elsewhere."""
    from infra.verifier.house import public_key_of

    try:
        print(base64.b64encode(public_key_of(settings.home)).decode())
    except (ValueError, OSError, sqlite3.Error) as error:
        return _tell(str(error), UNAVAILABLE)
    return DONE


def verify(
    settings: Settings,
    certificate_of: str,
    *,
    patient: str | None,
    traces: Path | None,
    public: str | None = None,
    as_json: bool = False,
) -> int:
    """Check a certificate against the raw stores, by the verifier, which shares no code with the eraser. `public`: the
    key that must have signed, where it is not the one of this home's vault."""
    from pathlib import Path

    from infra.erasure.verdicts import verdict_file
    from infra.verifier.verify import main
    from warehouse.erasure.run import certificate_file

    file = Path(certificate_of) if certificate_of.endswith(".json") else certificate_file(settings, certificate_of)
    arguments = [str(file), "--home", str(settings.home)]
    if file == certificate_file(settings, file.stem):
        arguments += ["--keep", str(verdict_file(settings, file.stem))]
    if settings.embedded_s3 or settings.s3_endpoint:
        arguments += ["--s3", settings.s3_endpoint, "--s3-region", settings.s3_region]
    arguments += ["--traces", str(traces)] if traces else []
    arguments += ["--patient", _identifier(patient)] if patient else []
    arguments += ["--public-key", public] if public else []
    arguments += ["--json"] if as_json else []
    secrets_ = {"key": settings.s3_reader_key, "secret": settings.s3_reader_secret}
    return main(arguments, credentials=secrets_)


def page(settings: Settings, *, output: Path | None = None, as_json: bool = False) -> int:
    """Write the privacy officer's page, and verify the certificates that are due for it."""

    def act(erasure: Erasure) -> int:
        written = _write_page(erasure, output)
        print(json.dumps({"page": str(written)}) if as_json else written)
        return DONE

    return _with_erasure(settings, act)


# --- parts


def _write_page(erasure: Erasure, output: Path | None = None) -> Path:
    from infra.erasure.overview import overview
    from infra.erasure.page import default_page, write

    return write(output or default_page(erasure.settings), overview(erasure))


def _run(erasure: Erasure, names: Sequence[str], as_json: bool) -> int:
    before = time.monotonic()
    found = erasure.run(names)
    open_ = [each for each in found if each.state != "certified"]
    written = _write_page(erasure)
    if as_json:
        print(json.dumps({"requests": [_request(each, erasure) for each in found], "page": str(written)}))
    else:
        for each in found:
            print(f"{each.request_id}: {each.state}{f' ({each.reason})' if each.state in HELD else ''}")
        _say(f"{time.monotonic() - before:.1f} s; {written}")
    return REFUSED if any(each.state == "restricted" for each in open_) else DONE


def _identifier(patient: str) -> str:
    return sys.stdin.readline().strip() if patient == "-" else patient.strip()


def _token(erasure: Erasure, identifier: str) -> str | None:
    """The token they have now; None where they were erased. Raises `RequestError` for what is no identifier."""
    return _tokenizer(erasure, identifier).tokens([identifier])[0]


def _tokenizer(erasure: Erasure, identifier: str) -> Any:
    import re

    from warehouse.erasure.ledger import Ledger
    from warehouse.erasure.requests import RequestError
    from warehouse.identity import Tokenizer

    topic = erasure.contracts.stream(STREAM).topic
    assert topic is not None, "requests come by a topic"
    if not re.fullmatch(topic.key_pattern or "", identifier):
        raise RequestError(f"not an identifier of {topic.key_system}: it must match {topic.key_pattern}")
    return Tokenizer(erasure.vault.token_key(), topic.key_system, Ledger(erasure.vault, time.monotonic))


def _last_token(erasure: Erasure, identifier: str) -> str | None:
    """The token under which they were erased last; None where they were not, or have returned."""
    from warehouse.erasure.ledger import mark_of
    from warehouse.identity import subject_token
    from warehouse.vault import LEDGER_KEY

    if _token(erasure, identifier) is not None:
        return None
    topic = erasure.contracts.stream(STREAM).topic
    assert topic is not None, "requests come by a topic"
    key, erased, epoch = erasure.vault.house_key(LEDGER_KEY), erasure.vault.erased(), 0
    while True:
        token = subject_token(erasure.vault.token_key(), topic.key_system, identifier, epoch)
        if (following := erased.get(mark_of(key, token))) is None:
            return token
        epoch = following


def _request(each: Request, erasure: Erasure) -> dict[str, Any]:
    age = _age(each, erasure.clock())
    return {
        "request": each.request_id,
        "state": each.state,
        "scope": each.category or "all",
        "requested_at": each.requested_at.isoformat(),
        "at": each.at.isoformat(),
        "by": each.acted_by,
        "reason": each.reason,
        "age_days": age,
        "due_in_days": erasure.settings.erasure_deadline_days - age,
    }


def _age(each: Request, now: datetime) -> int:
    return (now - each.requested_at).days


def _note(each: Request) -> str:
    return answers.printable(each.reason) if each.state in ("received", "verified", "restricted", "refused") else ""


def _next_step(found: Request) -> str:
    if found.state == "received":
        return f"{found.request_id}: received; `wardstream erase approve {found.request_id}` once it is verified"
    done = {"shredded": ": the key is destroyed", "restricted": f": {found.reason}", "refused": f": {found.reason}"}
    rest = "" if found.state == "refused" else f"; `wardstream erase run {found.request_id}` does what is to be done"
    return f"{found.request_id}: {found.state}{done.get(found.state, '')}{rest}"


def _say(line: str) -> None:
    print(f"wardstream erase: {line}", file=sys.stderr)


def _tell(line: str, code: int) -> int:
    _say(line)
    return code


def _on_record(settings: Settings, what: str, why: str, **more: str) -> None:
    from warehouse.audit import FILE, record

    entry = {"who": caller(), "what": what, **more, "why": why}
    record(settings.home / FILE, datetime.now(UTC), entry)


def _with_erasure(settings: Settings, act: Callable[[Erasure], int], parts: tuple[str, ...] = LAKE_AND_BROKER) -> int:
    from infra.erasure.compose import opened_erasure
    from infra.erasure.topics import TopicUnreadableError
    from infra.services.store_upkeep import StoreUpkeepError
    from warehouse.analytics import LakeUnavailable
    from warehouse.audit import AuditError
    from warehouse.catalog import TableMismatchError
    from warehouse.erasure.models import ErasedMeanwhileError
    from warehouse.erasure.requests import RequestError
    from warehouse.erasure.run import NotCoveredError
    from warehouse.erasure.scope import ScopeError
    from warehouse.erasure.states import StateError
    from warehouse.erasure.stores import NotYetError, PinnedError
    from warehouse.erasure.tables import StillChangingError
    from warehouse.identity import SealError
    from warehouse.models.artefacts import ArtefactError
    from warehouse.models.registry import RegistryError
    from warehouse.object_store import StoreUnavailableError
    from warehouse.opened_lake import LakeUnreachableError
    from warehouse.retention.doer import BusyError
    from warehouse.vault import VaultError, VaultUnavailableError

    if reason := unreachable(settings, parts):
        return _tell(reason, UNAVAILABLE)
    try:
        with opened_erasure(settings, progress=_shown) as erasure:
            return act(erasure)
    except (RequestError, ScopeError, StateError, NotCoveredError, PinnedError, AuditError, VaultError) as error:
        return _tell(str(error), REFUSED)
    except (RegistryError, ArtefactError, SealError) as error:
        return _tell(f"models: {error}", REFUSED)
    except (NotYetError, BusyError, StillChangingError, ErasedMeanwhileError) as error:
        return _tell(str(error), WAITING)
    except (
        LakeUnavailable,
        LakeUnreachableError,
        StoreUnavailableError,
        StoreUpkeepError,
        TableMismatchError,
        TopicUnreadableError,
        VaultUnavailableError,
    ) as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED


def _shown(step: str) -> None:
    """Progress, for people at a terminal."""
    if step.startswith("begin ") and sys.stderr.isatty():
        print(f"  {step.removeprefix('begin ')} …", file=sys.stderr)
