"""The certificate: what was erased, where, what remains and until when, as JSON signed with Ed25519.

Holds: its form, its making of the two lists, and the signature.
Does not hold: its check, which shares no code with this (`infra/verifier`).

It names nobody: the request, the HMAC of the person under the ledger's key, stores, counts, objects and their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from warehouse.erasure.requests import Receipt, Request
from warehouse.erasure.states import DELETED, FENCED, LOCATED, MODELS, RESTRICTED, SHREDDED, VERIFIED
from warehouse.whole_file import write_whole

FORMAT = "wardstream.erasure/1"
KEPT = "kept"
"""Step of a store in which a person's rows stay: another use of it has their consent."""
EXCEPTIONS = (
    "this certificate, and the lists erasure_requests and erasure_receipts: an HMAC, counts and object names",
    "the vault's lists of erased people and destroyed keys: HMACs",
    "backups of the vault from before: a key in them opens until the outer key of their time is destroyed, which "
    "`wardstream erase rotate` does day by day; outer keys are in no backup",
    "audit/: who did what and why, with positions",
    "rejects of which no patient could be read: sealed under the key of their day, which goes with the class rejects",
    "messages whose key names another or nobody and which name the person within: on their topic until its retention; "
    "in rejects and raw_messages sealed under the key of that other, or of their day",
    "aggregates over many people (ward_summary, population_by_day): counts in which a person cannot be told",
    "the model that comes with the product: learnt from public data, of nobody here",
)
WITH_OBJECTS = ("located", "intended", "deleted", MODELS)
TOLD_APART = {"models": MODELS, "tags": MODELS, "exports": DELETED}
"""What the certificate says in a place of its own -> the step that told it."""
NOT_REPEATED = ("objects", "days", "newest_ms", "kept_ms", *TOLD_APART)
"""Of evidence: what the certificate says elsewhere, and what its instants are reckoned from."""


class Run:
    """What a run's certificates rest on, put together once for all of its requests.

    `history`: states of requests, those of others too, oldest first. `receipts`: of the run, and of its requests before
    they joined it: fence and key. `standing`: tables as they stand now.
    """

    def __init__(
        self, history: Iterable[Request], receipts: Iterable[Receipt], standing: Iterable[Mapping[str, Any]]
    ) -> None:
        self.states: dict[str, list[Request]] = defaultdict(list)
        for state in history:
            self.states[state.request_id].append(state)
        of_all: list[Receipt] = []
        self._before: dict[str, dict[str, int]] = defaultdict(dict)
        self._kept: dict[str, dict[str, Receipt]] = defaultdict(dict)
        self._keys: dict[str, list[Receipt]] = defaultdict(list)
        for each in receipts:
            if each.step == KEPT:
                self._kept[each.request_id][each.store] = each
            elif each.step in (FENCED, SHREDDED) and each.request_id:
                self._keys[each.request_id].append(each)
            elif each.request_id:
                self._before[each.request_id][each.store] = each.found
            else:
                of_all.append(each)
        self._stores = _stores(of_all)
        self.objects, self.remains = _objects(of_all), _remains(of_all)
        self.told = {what: _told(of_all, step, what) for what, step in TOLD_APART.items()}
        self.marks = next((each.said()["ends"] for each in of_all if each.step == "marks"), {})
        self._shredded_at = max((each.at for each in of_all if each.step == SHREDDED), default=None)
        self.tables = [dict(each) for each in standing if each]

    def stores_of(self, request: str) -> list[dict[str, Any]]:
        """Each store: what it had of the person, what of all of the run, what was done, what is left."""
        keys, kept, found = self._keys.get(request, []), self._kept.get(request, {}), []
        # A key is looked for before it goes; everything else when the run begins.
        before = self._before.get(request, {}) | {each.store: each.found for each in keys if each.step == SHREDDED}
        first = _stores(keys)
        for name in sorted({*self._stores, *before, *kept, *first}):
            of_all = self._stores.get(name, _UNTOUCHED)
            steps = [*first.get(name, _UNTOUCHED)["steps"], *of_all["steps"]]
            steps += [_as_kept(each) for each in [kept.get(name)] if each]
            found.append({"store": name, "before": before.get(name, 0), "after": of_all["after"], "steps": steps})
        return found

    def shredded_at(self, request: str) -> datetime | None:
        """When the key went; None where no receipt tells."""
        own = [each.at for each in self._keys.get(request, ()) if each.step == SHREDDED]
        return max(own, default=self._shredded_at)


def made(name: str, run: Run, now: datetime, who: str) -> dict[str, Any]:
    """What is certified of the run's request of this name."""
    history = run.states[name]
    request = history[-1]
    reached: dict[str, datetime] = {}
    for each in history:
        reached.setdefault(each.state, each.at)
    return {
        "format": FORMAT,
        "request": request.request_id,
        "subject": {"mark": request.subject_mark, "how": "HMAC-SHA256 under the ledger key"},
        "scope": request.category or "all of the person",
        "basis": history[0].reason,
        "requested": {"at": history[0].requested_at.isoformat(), "by": history[0].requested_by},
        "states": [{"state": each.state, "at": each.at.isoformat(), "by": each.acted_by} for each in history],
        "key": _key(run.shredded_at(name), reached),
        "stores": run.stores_of(request.request_id),
        "tables": run.tables,
        "objects": run.objects,
        **run.told,
        "marks": run.marks,
        "remains": run.remains,
        "exceptions": list(EXCEPTIONS),
        "issued": {"at": now.isoformat(), "by": who},
    }


def signed(said: Mapping[str, Any], seed: bytes) -> dict[str, Any]:
    """The certificate with its digest, the public key and the signature over its canonical form."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    text = canonical(said)
    return {
        "certificate": dict(said),
        "sha256": hashlib.sha256(text).hexdigest(),
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(key.sign(text)).decode(),
    }


def canonical(said: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON, keys in order, no spaces, UTF-8."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(file: Path, document: Mapping[str, Any]) -> None:
    """Put it on disk whole or not at all."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Python's own encoder needs three times as long to indent it, and there may be thousands.
    write_whole(file, msgspec.json.format(json.dumps(document, sort_keys=True), indent=2) + "\n", durable=True)


def _as_kept(receipt: Receipt) -> dict[str, Any]:
    return {"step": KEPT, "at": receipt.at.isoformat(), "evidence": receipt.said()}


_UNTOUCHED: dict[str, Any] = {"after": None, "steps": []}


def _stores(receipts: Iterable[Receipt]) -> dict[str, dict[str, Any]]:
    """Store -> what was done there of the run, and what is left."""
    found: dict[str, dict[str, Any]] = {}
    for each in receipts:
        if each.step == "marks":
            continue
        store = found.setdefault(each.store, {"after": None, "steps": []})
        if each.step == "proven":
            store["after"] = each.found
        elif each.step != "intended":
            step = {"step": each.step, "at": each.at.isoformat(), "found": each.found, "left": each.left_over}
            evidence = _repeated(each)
            store["steps"].append(step | ({"evidence": evidence} if evidence else {}))
    return found


def _objects(receipts: Iterable[Receipt]) -> list[dict[str, Any]]:
    """Every object that had rows of the run's people: it must be gone. Digests where it was read whole."""
    found: dict[str, dict[str, Any]] = {}
    for each in receipts:
        for item in each.said().get("objects", ()) if each.step in WITH_OBJECTS else ():
            item = {"object": item} if isinstance(item, str) else dict(item)
            found[item["object"]] = found.get(item["object"], {}) | item
    return [found[name] for name in sorted(found)]


def _told(receipts: Iterable[Receipt], step: str, what: str) -> list[dict[str, Any]]:
    """What a step told of this kind, each once: models in the place of others, tags that moved, files that left."""
    said = [each.said().get(what, []) for each in receipts if each.step == step]
    found = {json.dumps(each, sort_keys=True): each for items in said for each in items}
    return [found[key] for key in sorted(found)]


def _remains(receipts: Iterable[Receipt]) -> list[dict[str, Any]]:
    """What a store cannot let go of at once, and the instant by which it has.

    A topic's count stands at none as soon as its records are deleted, and yet their bytes lie in a segment until that
    goes: what was there before counts too, by the last position and the last instant that any step told.
    """
    receipts = list(receipts)
    proven = {each.store: each for each in receipts if each.step == "proven"}
    found: dict[str, dict[str, Any]] = {
        name: {"store": name, "left": each.found, **_repeated(each)}
        for name, each in proven.items()
        if each.said().get("until")
    }
    for each in receipts:
        said, now = each.said(), proven[each.store].said() if each.store in proven else {}
        if each.step in (LOCATED, DELETED) and said.keys() >= {"until", "last_offsets"}:
            found[each.store] = _later(found.get(each.store, {"store": each.store, "left": 0}), said, now)
    return [found[store] for store in sorted(found)]


def _later(known: Mapping[str, Any], said: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What is known to remain in a topic, with the later of both instants and of each partition's positions. `now`: how
    long the topic keeps things by its configuration of today; it may have been another then."""
    last = dict(known.get("last_offsets", {}))
    for partition, offset in said["last_offsets"].items():
        last[partition] = max(offset, last.get(partition, offset))
    until = said["until"]
    if "kept_ms" in now and "newest_ms" in said:
        until = datetime.fromtimestamp((said["newest_ms"] + now["kept_ms"]) / 1000, UTC).isoformat()
    until = max(known.get("until", until), until, key=datetime.fromisoformat)
    return {**known, "topic": said["topic"], "last_offsets": dict(sorted(last.items())), "until": until}


def _repeated(receipt: Receipt) -> dict[str, Any]:
    return {name: value for name, value in receipt.said().items() if name not in NOT_REPEATED}


def _key(shredded_at: datetime | None, reached: Mapping[str, datetime]) -> dict[str, Any] | None:
    if SHREDDED not in reached:
        return None
    # Who was kept back for a while could not have been shredded before the fence.
    since = FENCED if RESTRICTED in reached else VERIFIED
    took = (reached[SHREDDED] - reached[since]).total_seconds() if since in reached else None
    return {
        "destroyed_at": (shredded_at or reached[SHREDDED]).isoformat(),
        "seconds_after_verification": took,
        "counted_from": since,
        "how": "deleted from a vault with secure_delete, its log emptied; no new key is made for the person",
    }
