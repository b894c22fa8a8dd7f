"""`python -m infra.verifier CERTIFICATE --home DIR`: whether what a certificate says is so, by the raw stores.

Holds: the signature, what a certificate must tell to be one, the objects that must be gone with all their versions, the
tables' newest metadata and the tables of which it is silent, topics behind their last instant, the vault's rows, and
the search of every file where a person's identifier or traces are given.
Does not hold: any import of the product; a bug of the eraser must not be one of the verifier. Nor keys (house.py).

A signature counts by the key that the house is known by: the one given, or the one in the vault of the home. By the key
that a document names itself anybody could sign.

Exit codes: 0 it is so, 1 it is not, 2 it cannot be told from here, 3 it is so as far as it can be told before the last
instant that the certificate names.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem

from infra.verifier.house import marks_of, public_key_of, tokens_of, vault_of
from infra.verifier.search import Searched, Trace, read_traces, search
from infra.verifier.store import Store, remote_store

FORMAT = "wardstream.erasure/1"
TRUE, FALSE, UNKNOWN, LATER = 0, 1, 2, 3
WHOLE = "all of the person"
STEPS = {"verified", "deleted", "sealed", "expired", "purged", "models", "proven"}
STEPS_OF_THE_KEY = {"fenced", "shredded"}
LIST_OF_THE_ERASED = "ledger"
"""The one store that keeps something of a person for good, the mark: it is looked up, not counted."""
LISTS = ("erasure_requests", "erasure_receipts", "exports")
"""Tables in which people stand as an HMAC alone: the exceptions that a certificate names."""
OF_PEOPLE = frozenset(
    ("subject_token", "patient_id", "patientid", "mrn", "person_id", "subject_id", "patient", "sealed_payload")
)
"""Columns by which a table is known to hold people."""
PROMISE_SECONDS = 10
TOPICS = ("kafka/data",)
"""Folders of the home that are not searched before the last instant the certificate names."""


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what is not so. `waiting`: what can only be told later. `untold`: what cannot be told
    from here. `late`: promises of time that were not kept, of an erasure that may be whole all the same."""

    checked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        if self.wrong:
            return FALSE
        return UNKNOWN if self.untold else LATER if self.waiting else TRUE

    def hold(self, what: str, is_so: bool, otherwise: str = "") -> None:
        self.checked.append(what)
        if not is_so:
            self.wrong.append(f"{what}: {otherwise}" if otherwise else what)


def check(
    document: Mapping[str, Any],
    home: Path,
    store: Store | None,
    now: datetime,
    trusted: bytes | None = None,
    traces: Sequence[Trace] = (),
    patient: str | None = None,
) -> tuple[Verdict, Searched | None]:
    """Hold a certificate against the raw stores.

    `store`: where objects are asked for; None: those of local folders. `trusted`: the public key (32 bytes) that must
    have signed; None: the one of the home's vault. `patient`: whom it should be about. Raises ValueError where there is
    neither key.
    """
    verdict, said = Verdict(), document.get("certificate", {})
    _signature(verdict, document, trusted or public_key_of(home))
    verdict.hold("the certificate is of a form this program knows", said.get("format") == FORMAT)
    if patient is not None:
        verdict.hold("it is about this patient", said.get("subject", {}).get("mark") in marks_of(home, patient))
    _steps(verdict, said)
    _counts(verdict, said)
    _objects(verdict, said, store)
    _tables(verdict, said, store)
    _left_out(verdict, said, home, store)
    _models(verdict, said, store)
    _exports(verdict, said)
    _topics(verdict, said, home, now)
    _key(verdict, said, home)
    searched = None
    if traces:
        later = [home / name for name in TOPICS] if _open_topics(said, now) else []
        searched = search([home], traces, leave_out=later)
        for find in searched.finds[:50]:
            verdict.wrong.append(f"a {find.kind} (trace {find.trace}) is in {find.file} ({find.way})")
        verdict.untold += _elsewhere(said, home)
        verdict.untold += [f"{place} cannot be unpacked ({why})" for place, why in searched.unread]
        verdict.checked.append(f"{searched.files} files, {searched.parts} parts searched for {len(traces)} traces")
    return verdict, searched


def _elsewhere(said: Mapping[str, Any], home: Path) -> list[str]:
    """What a search of the home cannot reach: objects of a store that is not in it."""
    outside = sorted(each["table"] for each in said.get("tables", ()) if each["location"].startswith("s3://"))
    if not outside or (home / "store" / "data").is_dir():
        return []
    return [f"the store is elsewhere: objects of {len(outside)} tables were not searched for the person"]


def _signature(verdict: Verdict, document: Mapping[str, Any], trusted: bytes) -> None:
    text = json.dumps(document.get("certificate"), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        Ed25519PublicKey.from_public_bytes(trusted).verify(base64.b64decode(document["signature"]), text)
        signed = True
    except (InvalidSignature, KeyError, ValueError):
        signed = False
    verdict.hold("it is signed by this house, and unaltered", signed)
    verdict.hold("its digest is its own", hashlib.sha256(text).hexdigest() == document.get("sha256"))


def _steps(verdict: Verdict, said: Mapping[str, Any]) -> None:
    """Whether it tells of all that an erasure is made of: what a certificate leaves out it does not certify."""
    is_whole = said.get("scope") == WHOLE
    missing = (STEPS | (STEPS_OF_THE_KEY if is_whole else set())) - {each["state"] for each in said.get("states", ())}
    verdict.hold("every step was taken", not missing, f"{', '.join(sorted(missing))} is not there")
    stores = {each["store"] for each in said.get("stores", ())}
    tables = [name for name in stores if name.startswith("table:")]
    verdict.hold("it tells of tables", bool(tables), "not one is there")
    if is_whole:
        verdict.hold("it tells of the vault", "vault" in stores)
        verdict.hold("it tells when the key went", bool(said.get("key")))


def _counts(verdict: Verdict, said: Mapping[str, Any]) -> None:
    for store in said.get("stores", ()):
        left = store.get("after")
        if left is None and store["store"] != LIST_OF_THE_ERASED:
            verdict.hold(f"{store['store']} was looked through again", False, "it does not say so")
        if left and not any(each["store"] == store["store"] for each in said.get("remains", ())):
            verdict.hold(f"nothing is left in {store['store']}", False, f"it says {left} itself")
    verdict.checked.append(f"counts of {len(said.get('stores', ()))} stores")


def _objects(verdict: Verdict, said: Mapping[str, Any], store: Store | None) -> None:
    there = [each["object"] for each in said.get("objects", ()) if _exists(store, each["object"])]
    verdict.hold(
        f"{len(said.get('objects', ()))} objects that had the person are gone", not there, f"{len(there)} are there"
    )


def _tables(verdict: Verdict, said: Mapping[str, Any], store: Store | None) -> None:
    for table in said.get("tables", ()):
        metadata = _newest_metadata(store, table["location"])
        if metadata is None:
            verdict.hold(f"{table['table']} can be read", False, "its metadata is not there")
            continue
        verdict.hold(f"{table['table']} is the same table", metadata.get("table-uuid") == table["uuid"])
        ids = {each["snapshot-id"] for each in metadata.get("snapshots", ())}
        expired = {
            each
            for entry in said.get("stores", ())
            if entry["store"] == f"table:{table['table'].rpartition('.')[2]}"
            for step in entry["steps"]
            if step["step"] == "expired"
            for each in step.get("evidence", {}).get("snapshots", ())
        }
        verdict.hold(f"{table['table']} has none of the {len(expired)} snapshots that went", not ids & expired)


def _left_out(verdict: Verdict, said: Mapping[str, Any], home: Path, store: Store | None) -> None:
    """Whether the certificate of a whole person is silent about a table that could hold them, by the catalog of the
    home: one with a column of people, and rows from before it was issued."""
    catalog = home / "catalog" / "catalog.sqlite"
    if said.get("scope") != WHOLE or not catalog.exists() or not said.get("tables"):
        return
    issued = datetime.fromisoformat(said["issued"]["at"])
    told = {each["store"].removeprefix("table:") for each in said.get("stores", ())} | set(LISTS)
    silent = []
    for name, location in _catalogued(catalog, said["tables"][0]["table"].rpartition(".")[0]):
        if name in told:
            continue
        metadata = _read_json(store, location)
        if _has_people(metadata) and _began(metadata) <= issued:
            silent.append(name)
    verdict.hold("it is silent about no table with a column of people", not silent, ", ".join(sorted(silent)))


def _catalogued(catalog: Path, namespace: str) -> list[tuple[str, str]]:
    """Tables of a namespace and where the newest metadata of each lies."""
    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as database:
        asked = "SELECT table_name, metadata_location FROM iceberg_tables WHERE table_namespace = ?"
        return sorted(database.execute(asked, (namespace,)))


def _has_people(metadata: Mapping[str, Any]) -> bool:
    names = {column["name"].lower() for schema in metadata.get("schemas", ()) for column in schema["fields"]}
    return not names.isdisjoint(OF_PEOPLE)


def _began(metadata: Mapping[str, Any]) -> datetime:
    """When the first snapshot that is known was made; never where there is none."""
    made = [each["timestamp-ms"] for each in (*metadata.get("snapshots", ()), *metadata.get("snapshot-log", ()))]
    return datetime.fromtimestamp(min(made) / 1000, UTC) if made else datetime.max.replace(tzinfo=UTC)


def _models(verdict: Verdict, said: Mapping[str, Any], store: Store | None) -> None:
    """No table keeps a snapshot for a model that went; each old model has another hash than the one in its place."""
    renewals = [each for each in said.get("models", ()) if each["new"]]
    same = [each["old"]["version"] for each in renewals if each["old"]["sha256"] == each["new"]["sha256"]]
    verdict.hold(f"{len(renewals)} models are others than those they replace", not same, f"{len(same)} are not")
    kept = {each["new"]["version"] for each in renewals}
    gone = {f"model-{each['old']['version']}" for each in said.get("models", ()) if each["old"]["version"] not in kept}
    for table in said.get("tables", ()) if gone else ():
        refs = set((_newest_metadata(store, table["location"]) or {}).get("refs", ()))
        verdict.hold(f"{table['table']} keeps nothing for {len(gone)} models that went", not refs & gone)


def _exports(verdict: Verdict, said: Mapping[str, Any]) -> None:
    """Files that were deleted are not at their place; what was handed out nobody can look after from here."""
    files = said.get("exports", ())
    deleted = [each for each in files if each["state"] == "deleted"]
    there = [each["export"] for each in deleted if _has_digest(Path(each["path"]), each["sha256"])]
    verdict.hold(f"{len(deleted)} files that had left are gone", not there, f"{', '.join(there)} is there")
    for each in files:
        if each["state"].startswith("handed out"):
            verdict.waiting.append(f"{each['export']} was handed out to {each['recipient']}: {each['path']}")


def _has_digest(file: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _topics(verdict: Verdict, said: Mapping[str, Any], home: Path, now: datetime) -> None:
    for each in said.get("remains", ()):
        until = datetime.fromisoformat(each["until"])
        if until > now:
            verdict.waiting.append(f"{each['store']} lets go by {until.isoformat()}; verify again after it")
            continue
        if not (home / "kafka" / "data").is_dir():
            verdict.untold.append(f"{each['store']}: its broker is elsewhere; what it still has is to be asked there")
            continue
        for partition, last in each.get("last_offsets", {}).items():
            first = _first_offset(home / "kafka" / "data" / f"{each['topic']}-{partition}")
            what = f"{each['store']} partition {partition} begins above the last of theirs"
            verdict.hold(what, first is None or first > int(last), f"its oldest segment begins at {first}")


def _open_topics(said: Mapping[str, Any], now: datetime) -> bool:
    return any(datetime.fromisoformat(each["until"]) > now for each in said.get("remains", ()))


def _first_offset(folder: Path) -> int | None:
    """The base offset of the oldest segment that has bytes; None where there is none."""
    bases = [int(file.stem) for file in folder.glob("*.log") if file.stem.isdigit() and file.stat().st_size]
    return min(bases) if bases else None


def _key(verdict: Verdict, said: Mapping[str, Any], home: Path) -> None:
    if said.get("key") is None:
        return
    took = said["key"].get("seconds_after_verification")
    verdict.hold("it tells how long the key stood", took is not None)
    if took is not None and took > PROMISE_SECONDS:
        verdict.late.append(f"the key went {took} s after verification; the promise is {PROMISE_SECONDS}")
    mark, vault = bytes.fromhex(said["subject"]["mark"]), vault_of(home)
    if not vault.exists():
        verdict.untold.append("the vault is elsewhere: whether the person is on its list is to be asked there")
        return
    with sqlite3.connect(f"file:{vault}?mode=ro", uri=True) as database:
        listed = database.execute("SELECT 1 FROM erased WHERE mark = ?", (mark,)).fetchone()
    verdict.hold("the person is on the vault's list of erased people", listed is not None)


# --- objects


def _exists(store: Store | None, location: str) -> bool:
    held, path = _placed(store, location)
    return held.has(path)


def _newest_metadata(store: Store | None, location: str) -> dict[str, Any] | None:
    """The metadata file of the highest number in a table's folder."""
    held, path = _placed(store, location)
    system = held.files
    folder = f"{path.rstrip('/')}/metadata"
    found = [
        info
        for info in system.get_file_info(FileSelector(folder, allow_not_found=True))
        if info.base_name.endswith(".metadata.json")
    ]
    if not found:
        return None
    newest = max(found, key=lambda info: int(info.base_name.partition("-")[0]))
    return _json_of(system, newest.path)


def _read_json(store: Store | None, location: str) -> dict[str, Any]:
    held, path = _placed(store, location)
    return _json_of(held.files, path)


def _json_of(system: FileSystem, path: str) -> dict[str, Any]:
    with system.open_input_stream(path, compression=None) as stream:
        data = stream.read()
    return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def _placed(store: Store | None, location: str) -> tuple[Store, str]:
    scheme, _, path = location.partition("://")
    if scheme == "file" or not path:
        return Store(LocalFileSystem()), path or location.removeprefix("file:")
    if store is None:
        raise ValueError("objects are in a store that was not named; give --s3")
    return store, path


# --- as a program


def main(arguments: Sequence[str] | None = None, credentials: Mapping[str, str] | None = None) -> int:
    """The program; its exit code. `credentials`: `key` and `secret` of the store."""
    given = _parsed(arguments)
    home = Path(given.home)
    try:
        document = json.loads(Path(given.certificate).read_text())
    except (OSError, ValueError) as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({type(error).__name__})"
        print(f"verify: {given.certificate} {why}", file=sys.stderr)
        return UNKNOWN
    try:
        traces = list(_traces(given, home))
        trusted = base64.b64decode(given.public_key) if given.public_key else None
        store = remote_store(given.s3, given.s3_region, credentials or {}) if given.s3 else None
        now = datetime.now(UTC)
        verdict, searched = check(document, home, store, now, trusted, traces, given.patient)
        if given.keep:
            keep(Path(given.keep), verdict, searched, now)
    except (ValueError, OSError, sqlite3.Error) as error:
        print(f"verify: {type(error).__name__}: {error}", file=sys.stderr)
        return UNKNOWN
    _print(verdict, searched, given.json)
    return verdict.code


def keep(file: Path, verdict: Verdict, searched: Searched | None, now: datetime) -> None:
    """Write down what was found and when: counts and sentences that name nobody."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"at": now.isoformat(), **_said(verdict, searched)}) + "\n")
    draft.replace(file)


def _traces(given: argparse.Namespace, home: Path) -> Iterator[Trace]:
    if given.traces:
        yield from read_traces(Path(given.traces))
    if given.patient:
        yield Trace("identifier", given.patient)
        yield from (Trace("token", token) for token in tokens_of(home, given.patient))


def _said(verdict: Verdict, searched: Searched | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "so": not verdict.wrong and not verdict.untold,
        "wrong": verdict.wrong,
        "waiting": verdict.waiting,
        "untold": verdict.untold,
        "late": verdict.late,
        "checked": verdict.checked,
    }
    if searched:
        said |= {"files": searched.files, "unread": [list(each) for each in searched.unread]}
    return said


def _print(verdict: Verdict, searched: Searched | None, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_said(verdict, searched)))
        return
    for line in verdict.wrong:
        print(f"NOT SO  {line}")
    for line in verdict.waiting:
        print(f"later   {line}")
    for line in verdict.untold[:20]:
        print(f"untold  {line}")
    for line in verdict.late:
        print(f"late    {line}")
    words = {TRUE: "so", FALSE: "not so", UNKNOWN: "cannot be told", LATER: "so as far as can be told by now"}
    print(f"{words[verdict.code]}: {len(verdict.checked)} checks, {len(verdict.wrong)} wrong")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.verifier", description="Check a certificate of erasure.")
    parser.add_argument("certificate")
    parser.add_argument("--home", required=True, help="the data folder")
    parser.add_argument("--s3", help="endpoint of the object store")
    parser.add_argument("--s3-region", default="us-east-1")
    parser.add_argument("--public-key", help="base64 of the key that must have signed; that of the home's vault")
    parser.add_argument("--patient", help="an identifier to look for, with its tokens")
    parser.add_argument("--traces", help="a file of traces to look for")
    parser.add_argument("--keep", help="a file to write the verdict to")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)
