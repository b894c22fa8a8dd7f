"""Files that left as a store of people: those in the house's own folder are deleted, the others are named.

Holds: which files hold somebody, the deletion of those that lie in the home, and the asking for those elsewhere.
Does not hold: the register (`warehouse/exports.py`), nor the certificate.

A file is deleted and not written anew: what was asked once can be asked again. It is set aside under another name, told
as deleted, and then it goes: whoever comes after a kill knows by the name what is left to do. One that lies elsewhere,
or is not at its place, is out of reach of any program here. The certificate names it, with who has it, as to be erased
by hand; `wardstream exports confirm` says later that it was. A file in which not every row says whose it is counts as
everybody's who is in its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from warehouse.erasure.ledger import mark_of
from warehouse.erasure.stores import Erased, Found, Progress, Subject
from warehouse.exports import ASKED, CONFIRMED, DELETED, Act, Export, Exports

Place = tuple[str, str]
"""Host and path of a file."""


@dataclass(slots=True)
class ExportStore:
    """The files of one register. `key`: the ledger's. `home`, `host`: of the house's own folder. `clock`: aware."""

    register: Exports
    key: bytes
    home: Path
    host: str
    who: str
    clock: Callable[[], datetime]
    progress: Progress = lambda step: None

    @property
    def name(self) -> str:
        return "exports"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Files of theirs in the home, by person."""
        everything = self.register.all()
        newest = _newest(everything)
        ours = [each for each in everything if self._is_there(each, newest)]
        counts = {each.request: sum(export.made.has(self._marks(each)) for export in ours) for each in subjects}
        return Found({request: n for request, n in counts.items() if n}, {"looked_at": len(ours)})

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Delete files in the home and ask for the others, once. Raises OSError."""
        found, size, everything = self.locate(subjects).total, 0, self.register.all()
        newest = _newest(everything)
        for export in everything:
            requests = [each.request for each in subjects if export.made.has(self._marks(each))]
            if requests and (self._is_there(export, newest) or self._was_overwritten(export, newest)):
                self.progress("delete file")
                size += self._delete(export, requests, newest)
            elif not export.is_over():
                asked = {each.request_id for each in export.since if each.act == ASKED}
                self._tell(export, ASKED, [each for each in requests if each not in asked])
        return Erased(found, self.locate(subjects).total, size, {"exports": self._told(subjects)})

    def prove(self, subjects: Collection[Subject]) -> Found:
        """As `locate`: what is there is looked for at its path."""
        return self.locate(subjects)

    # --- parts

    def _marks(self, subject: Subject) -> set[bytes]:
        return {mark_of(self.key, token) for token in subject.tokens}

    def _is_ours(self, export: Export) -> bool:
        path = Path(export.made.path)
        return export.made.host == self.host and path.resolve().is_relative_to(self.home.resolve())

    def _is_there(self, export: Export, newest: Mapping[Place, str]) -> bool:
        """At its place and its own, or set aside by who was killed then."""
        if not self._is_ours(export):
            return False
        stands = not export.is_over() and _is_newest(export, newest) and Path(export.made.path).exists()
        return stands or _aside(export).exists()

    def _was_overwritten(self, export: Export, newest: Mapping[Place, str]) -> bool:
        """Whether a later file of ours lies at its place: then nothing of it is left."""
        return self._is_ours(export) and not export.is_over() and not _is_newest(export, newest)

    def _delete(self, export: Export, requests: Collection[str], newest: Mapping[Place, str]) -> int:
        """Set aside what lies at its place and is its own, tell it, and delete it; how many bytes."""
        path, aside = Path(export.made.path), _aside(export)
        if not export.is_over():
            if path.exists() and _is_newest(export, newest):
                path.replace(aside)
            self.progress("tell of file")
            self._tell(export, DELETED, requests)
        if not aside.exists():
            return 0
        size = aside.stat().st_size
        aside.unlink()
        return size

    def _tell(self, export: Export, act: str, requests: Collection[str]) -> None:
        now = self.clock()
        self.register.tell(Act(export.made.export_id, act, now, self.who, request) for request in requests)

    def _told(self, subjects: Collection[Subject]) -> list[dict[str, Any]]:
        """What became of each file, by the register: the same however often this is done."""
        requests = {each.request for each in subjects}
        return [
            _named(export, {act.act for act in export.since})
            for export in self.register.all()
            if requests & {act.request_id for act in export.since if act.act in (ASKED, DELETED)}
        ]


def _newest(everything: Iterable[Export]) -> dict[Place, str]:
    """Place -> the file that was written there last."""
    return {_place(export): export.made.export_id for export in everything}


def _is_newest(export: Export, newest: Mapping[Place, str]) -> bool:
    return newest[_place(export)] == export.made.export_id


def _aside(export: Export) -> Path:
    path = Path(export.made.path)
    return path.with_name(f".{path.name}.{export.made.export_id}.erased")


def _place(export: Export) -> Place:
    return export.made.host, export.made.path


def _named(export: Export, acts: Collection[str]) -> dict[str, Any]:
    made = export.made
    state = DELETED if DELETED in acts else CONFIRMED if CONFIRMED in acts else "handed out, to be erased by hand"
    return {
        "export": made.export_id,
        "path": made.path,
        "host": made.host,
        "recipient": made.recipient,
        "purpose": made.purpose,
        "taken_by": made.acted_by,
        "at": made.at.isoformat(),
        "sha256": made.sha256,
        "says_whose": made.named,
        "state": state,
    }
