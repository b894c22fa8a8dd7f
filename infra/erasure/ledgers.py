"""The ledgers of what a demonstration sent, as a store of people: they name patients, event ids and digests in clear.

Holds: whose lines are whose, and a ledger written anew without somebody's.
Does not hold: the format (`infra/simulator/ledger.py`), nor ledgers that somebody keeps outside the home.

What is left is a ledger of the messages of everybody else, numbered anew; its heading counts those that went.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections import Counter
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.erasure.identifiers import Identifiers
from infra.simulator.ledger import ENDS
from warehouse.erasure.stores import Erased, Found, NotYetError, Subject
from warehouse.whole_file import write_whole

FOLDER = "demonstration"
NAME = "demonstration ledgers"


@dataclass(slots=True)
class LedgerStore:
    """Every ledger in a folder. `pattern`: of the identifiers in them."""

    folder: Path
    identifiers: Identifiers
    pattern: str

    @property
    def name(self) -> str:
        return NAME

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Messages of theirs that ledgers tell of."""
        counts: Counter[str] = Counter()
        for file in self._ledgers():
            planned = Counter(line["patient"] for line in _lines(file.read_bytes()) if line.get("patient"))
            for patient, request in self._of(planned, subjects).items():
                counts[request] += planned[patient]
        return Found(dict(counts), {"ledgers": len(self._ledgers())})

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Write each ledger that has lines of theirs anew without them. Raises `NotYetError` while one is written."""
        found = size = 0
        for file in self._ledgers():
            with _held(file) as data:
                lines = _lines(data)
                theirs = self._of({line["patient"] for line in lines if line.get("patient")}, subjects)
                if theirs:
                    kept, gone = _without(lines, theirs)
                    size += _replace(file, kept)
                    found += gone
        return Erased(found, self.locate(subjects).total, size)

    def prove(self, subjects: Collection[Subject]) -> Found:
        """Whatever looks like an identifier in any file of the folder, ledger or not, and is one of theirs."""
        counts: Counter[str] = Counter()
        files = [file for file in sorted(self.folder.rglob("*")) if file.is_file()]
        for file in files:
            words = Counter(re.findall(_unanchored(self.pattern), file.read_text(errors="replace")))
            for word, request in self._of(words, subjects).items():
                counts[request] += words[word]
        return Found(dict(counts), {"looked_at": len(files)})

    def _ledgers(self) -> list[Path]:
        return sorted(self.folder.glob("*.jsonl"))

    def _of(self, identifiers: Iterable[str], subjects: Collection[Subject]) -> dict[str, str]:
        """Identifier -> request, of those that are theirs."""
        self.identifiers.about(subjects)
        asked = {each: self.identifiers.request_of(each) for each in identifiers}
        return {each: request for each, request in asked.items() if request}


def _lines(data: bytes) -> list[dict[str, Any]]:
    """The ledger's objects; a torn last line holds for nothing."""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def _without(lines: list[dict[str, Any]], theirs: Collection[str]) -> tuple[list[dict[str, Any]], int]:
    """The ledger without these patients' messages, and how many those were."""
    heading, *rest = lines
    gone = {line["n"] for line in rest if line.get("patient") in theirs}
    ended = Counter(line["result"] for line in rest if "result" in line and line["n"] in gone)
    numbers: dict[int, int] = {}
    kept = [_heading(heading, theirs, len(gone))]
    for line in rest:
        if line.get("finished"):
            ended["unknown"] = len(gone) - sum(ended[each] for each in ENDS if each != "unknown")
            line = line | {"planned": line["planned"] - len(gone)} | {each: line[each] - ended[each] for each in ENDS}
        elif line["n"] in gone:
            continue
        else:
            line = line | {"n": numbers.setdefault(line["n"], len(numbers))}
        kept.append(line)
    return kept, len(gone)


def _heading(heading: dict[str, Any], theirs: Collection[str], gone: int) -> dict[str, Any]:
    expected = [each for each in heading.get("expected_alerts", ()) if each.get("patient_id") not in theirs]
    return heading | {"expected_alerts": expected, "erased": heading.get("erased", 0) + gone}


def _unanchored(pattern: str) -> str:
    return pattern.removeprefix("^").removesuffix("$")


@contextmanager
def _held(file: Path) -> Generator[bytes]:
    """The ledger's bytes, while nobody writes it."""
    with file.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYetError(
                f"a ledger in {file.parent.name} is being written; run this again when it is done"
            ) from None
        yield held.read()


def _replace(file: Path, lines: Iterable[dict[str, Any]]) -> int:
    """Put it on disk whole or not at all; its bytes."""
    data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    write_whole(file, data, durable=True)
    return len(data)
