"""`wardstream consent show | explain | send`: what a patient allows, since when and by which message; and FHIR Consents
into the registry's topic.

Holds: the questions to the registry and what is printed. A patient may be named by token or by identifier; an
identifier becomes a token here and is printed nowhere.
Does not hold: the decision (`warehouse/consent`), the reading of FHIR (`pipelines/decode/fhir_consent.py`), the purge
after a revoke.

Exit codes: 0 shown or sent, 1 refused (of files: some say nothing that can be sent), 2 wrong use, nothing to read, or
the catalog, the store, the vault or the broker does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.rejects import NotShownError, outcome

if TYPE_CHECKING:
    from infra.simulator.ward import Event
    from pipelines.decode.fhir_consent import ReadConsent
    from warehouse.consent.decision import Provision, Ruling
    from warehouse.contract_model import Contracts
    from warehouse.settings import Settings

SHOWN, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
WRONG_USE = 2
EVERY_STREAM = "every stream"
_REJECTED = "SELECT count(*) AS n FROM rejects WHERE stream = $stream AND subject_token = $token"
_SAID = {
    "granted": "the patient granted it",
    "revoked": "the patient revoked it",
    "never_said": "nobody ever said so, and that is no",
    "contradictory": "two said different things for one time, and the no counts",
    "lapsed": "what was granted was granted until then",
}


def show(
    settings: Settings, token: str | None, patient: str | None = None, *, whole: bool = False, as_json: bool = False
) -> int:
    """Print what is in force for a patient, by category and stream; `whole`: also why, and all that was ever said.

    Returns the exit code.
    """
    if (token is None) == (patient is None):
        return _tell("name the patient by token, or by --patient ID", WRONG_USE)
    now = datetime.now(UTC)
    return outcome(settings, lambda: _show(settings, token or _token(settings, str(patient)), now, whole, as_json))


def _show(settings: Settings, token: str, now: datetime, whole: bool, as_json: bool) -> None:
    from warehouse.analytics import Analytics
    from warehouse.consent.filters import REGISTRY
    from warehouse.consent.histories import provisions
    from warehouse.consent.registry import history_of
    from warehouse.contract import load_contracts

    contracts = load_contracts(own=settings.contracts)
    with Analytics(settings) as analytics:
        rows = history_of(analytics, token)
        rejected = analytics.query(_REJECTED, parameters={"stream": REGISTRY, "token": token}).table["n"][0].as_py()
    told = provisions(rows, [topic.stream for topic in contracts.topics()])
    shown = {"subject_token": token, "now": now, "in_force": list(_in_force(contracts, told, now))}
    shown |= {"not_understood": rejected} | ({"history": [_as_told(row) for row in rows]} if whole else {})
    if as_json:
        print(json.dumps(answers.json_value(shown), ensure_ascii=False))
    else:
        print("\n".join(_lines(shown, whole)))


def _in_force(contracts: Contracts, told: list[Provision], now: datetime) -> Iterator[dict[str, Any]]:
    """What holds now of each category, stream by stream where streams differ."""
    from warehouse.consent.decision import ALL, NOT_UNDERSTOOD, in_force
    from warehouse.contract_model import CONSENTED_PURPOSES

    for category in sorted(CONSENTED_PURPOSES | {each.category for each in told} - {ALL, NOT_UNDERSTOOD}):
        streams = sorted(s.name for s in contracts.values() if s.topic and s.subject and _serves(s.purposes, category))
        rulings = {stream: in_force(told, category, stream, now) for stream in streams or [EVERY_STREAM]}
        if len(set(rulings.values())) == 1:
            rulings = {EVERY_STREAM: next(iter(rulings.values()))}
        for stream, ruling in rulings.items():
            yield {"category": category, "stream": stream, **_as_ruled(ruling)}


def _serves(purposes: tuple[str, ...], category: str) -> bool:
    from warehouse.contract_model import CONSENTED_PURPOSES

    return category in purposes or category not in CONSENTED_PURPOSES


def _as_ruled(ruling: Ruling) -> dict[str, Any]:
    first = ruling.deciding[0] if ruling.deciding else None
    return {
        "permitted": ruling.permitted,
        "because": ruling.because,
        "since": first and first.at,
        "until": min((each.until for each in ruling.deciding if each.until), default=None),
        "messages": [_place(each.position) for each in ruling.deciding if each.position],
    }


def _place(position: tuple[str, int, int]) -> dict[str, Any]:
    return dict(zip(("topic_id", "partition", "offset"), position, strict=True))


def _as_told(row: dict[str, Any]) -> dict[str, Any]:
    names = ("action", "category", "scope", "provision_time", "expires_at", "sequence", "reason", "kafka_time")
    position = (row["topic_id"], row["kafka_partition"], row["kafka_offset"])
    return {**{name: row[name] for name in names}, "message": _place(position)}


def _lines(shown: dict[str, Any], whole: bool) -> Iterator[str]:
    for each in shown["in_force"]:
        yield f"{each['category']:<12} {each['stream']:<24} {'yes' if each['permitted'] else 'no':<4}{_since(each)}"
        if whole:
            yield f"    {_SAID[each['because']]}{_by(each['messages'])}"
    if whole:
        yield from _history(shown["history"])
    if shown["not_understood"]:
        yield (
            f"{shown['not_understood']} messages of this patient could not be read and count for nothing; "
            "`wardstream rejects list --stream patient.consent.updates`"
        )


def _since(each: dict[str, Any]) -> str:
    since = f" since {_moment(each['since'])}" if each["since"] else ""
    return since + (f" until {_moment(each['until'])}" if each["until"] else "")


def _by(messages: list[dict[str, Any]]) -> str:
    places = ", ".join(f"partition {place['partition']} offset {place['offset']}" for place in messages)
    return f" ({places} of patient.consent.updates)" if places else ""


def _history(history: list[dict[str, Any]]) -> Iterator[str]:
    yield f"said so far, as it became known: {len(history)}"
    for told in history:
        until = f" until {_moment(told['expires_at'])}" if told["expires_at"] else ""
        number = "" if told["sequence"] is None else f", number {told['sequence']}"
        words = f"{told['action']} {answers.printable(told['category'])} of {answers.printable(told['scope'])}"
        yield (
            f"    {_moment(told['kafka_time'])}  {words} from {_moment(told['provision_time'])}{until}{number}"
            f"{_by([told['message']])}"
        )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _token(settings: Settings, patient: str) -> str:
    """The token that the stream gives this identifier now. Raises `NotShownError` for no patient of ours."""
    import re

    from warehouse.consent.filters import REGISTRY
    from warehouse.contract import load_contracts
    from warehouse.erasure.ledger import Ledger
    from warehouse.identity import Tokenizer
    from warehouse.vault import open_vault

    topic = load_contracts(own=settings.contracts).stream(REGISTRY).topic
    assert topic is not None, "the registry's stream has a topic"
    if not re.fullmatch(topic.key_pattern or "", patient):
        raise NotShownError("--patient is no patient identifier; the contract's key has the pattern")
    vault = open_vault(settings.vault_uri, time.monotonic)
    try:
        (token,) = Tokenizer(vault.token_key(), topic.key_system, Ledger(vault, time.monotonic)).tokens([patient])
    finally:
        vault.close()
    if token is None:
        raise NotShownError("this patient was erased; nothing is kept of what was consented to")
    return token


# --- FHIR


def send(
    settings: Settings,
    files: list[Path],
    *,
    patient: str | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Send what FHIR Consents in files say: a resource, a Bundle, or a resource a line. Returns the exit code.

    `patient`: whose they are, where they name the patient otherwise.
    """
    from infra.cli import sending
    from infra.cli.sending import NotReachableError, NotSentError, Sent

    now = datetime.now(UTC)
    try:
        read = [each for file in files for each in _consents(file, now, patient)]
        events = [_event(message) for consent in read for message in consent.messages]
        sent = Sent() if dry_run or not events else sending.sender(settings, quiet=as_json)(events)
    except (NotSentError, FileExistsError) as error:
        return _tell(str(error), REFUSED)
    except (NotReachableError, OSError) as error:
        return _tell(str(error) if isinstance(error, NotReachableError) else _unread(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    _conclude(read, sent.acknowledged, dry_run, as_json)
    return REFUSED if sent.unacknowledged or not events else SHOWN


def _unread(error: OSError) -> str:
    return f"cannot read {error.filename} ({error.strerror or type(error).__name__})"


def _consents(file: Path, now: datetime, patient: str | None) -> Iterator[ReadConsent]:
    """What each Consent of a file says. Raises `NotSentError` for one that cannot be read, naming its place."""
    from infra.cli.sending import NotSentError
    from pipelines.decode.fhir_consent import NotReadError, read_consent

    for number, resource in enumerate(_resources(file), 1):
        try:
            yield read_consent(resource, now, patient)
        except NotReadError as error:
            raise NotSentError(f"{file}, resource {number}: {error}; nothing was sent") from None


def _resources(file: Path) -> Iterator[Any]:
    from infra.cli.sending import NotSentError

    text = file.read_text("utf-8")
    try:
        whole = [json.loads(text)]
    except ValueError:
        try:
            whole = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise NotSentError(f"{file} is neither JSON nor JSON lines") from None
    for each in whole:
        if isinstance(each, dict) and each.get("resourceType") == "Bundle":
            entries = [entry.get("resource") for entry in each.get("entry", []) if isinstance(entry, dict)]
            yield from (e for e in entries if isinstance(e, dict) and e.get("resourceType") == "Consent")
        else:
            yield each


def _event(message: dict[str, Any]) -> Event:
    from infra.simulator.message import encoded
    from infra.simulator.ward import ROW, Event
    from warehouse.consent.filters import REGISTRY

    patient, identity = message["patientId"], message["event_id"]
    value = encoded(message)
    return Event(patient.encode(), value, "consent", identity, patient, int(time.time() * 1000), ROW, None, REGISTRY)


def _conclude(read: list[ReadConsent], sent: int, dry_run: bool, as_json: bool) -> None:
    messages = [message for consent in read for message in consent.messages]
    told: list[dict[str, Any]] = [
        {"because": consent.because, "messages": [{k: m[k] for k in ("action", "category")} for m in consent.messages]}
        for consent in read
    ]
    if as_json:
        print(json.dumps({"consents": told, "messages": len(messages), "sent": sent, "dry_run": dry_run}))
        return
    for number, consent in enumerate(told, 1):
        words = ", ".join(f"{m['action']} {m['category']}" for m in consent["messages"]) or "nothing"
        print(f"{number}: {words} ({consent['because']})")
    print(f"{len(messages)} messages of {len(read)} Consents {'would be sent' if dry_run else f'read, {sent} sent'}")


def _tell(line: str, code: int) -> int:
    print(f"wardstream consent: {line}", file=sys.stderr)
    return code
