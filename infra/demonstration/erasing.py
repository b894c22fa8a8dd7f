"""One of the demonstration's people erased at its end, by the commands that a person would type, and the proof of it.

Holds: the commands and their order, the digests of everybody else before and after, what there is to tell.
Does not hold: erasure (`warehouse/erasure`, `infra/erasure`), its verifier (`infra/verifier`), who it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.services.environment import environment_of
from warehouse.analytics import Analytics
from warehouse.contract import load_contracts
from warehouse.erasure.inventory import token_column
from warehouse.erasure.run import certificate_file
from warehouse.identity import subject_token
from warehouse.settings import Settings
from warehouse.vault import open_vault

PEOPLE = "patient.data.deletions"
WAITING = 3
TOLD = (0, 1, 2, WAITING)
"""Exit codes with which the verifier tells what it found; before Kafka has let go it can say no more than 3."""
RUNS = 5
"""So often an erasure that has to wait for somebody (the stream, upkeep) is run again."""
ASKED, SEEN = "asked at the end of the demonstration", "the demonstration's own patient"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the erasure, naming nobody.

    Attributes:
        stores: place -> how much it had of the person: rows, messages, keys, lines; places that had nothing left out.
        others: table -> rows of everybody else, and whether their digest is as it was.
        key_seconds: from approval to the key's end; None where it did not come so far.
        kafka_until: the instant by which the broker has let go of the last message; None where it has.
        checks, files: of the verifier: how much it held against the raw stores and searched.
        missing: what is not as it must be.
    """

    request: str = ""
    stores: dict[str, int] = field(default_factory=dict)
    others: dict[str, tuple[int, bool]] = field(default_factory=dict)
    key_seconds: float | None = None
    kafka_until: datetime | None = None
    kafka_left: int = 0
    checks: int = 0
    files: int = 0
    took_s: float = 0.0
    page: str = ""
    missing: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "request": self.request,
            "stores": self.stores,
            "others": {name: {"rows": rows, "unchanged": same} for name, (rows, same) in self.others.items()},
            "key_destroyed_after_s": self.key_seconds,
            "kafka_lets_go_by": self.kafka_until and self.kafka_until.isoformat(),
            "kafka_messages_left": self.kafka_left,
            "verifier_checks": self.checks,
            "verifier_files_searched": self.files,
            "took_s": round(self.took_s, 1),
            "page": self.page,
            "missing": self.missing,
        }


class Erasing:
    """The erasure of one patient of the demonstration. `between` is called while a command runs."""

    def __init__(self, settings: Settings, between: Callable[[], None]) -> None:
        self._settings, self._between = settings, between
        self._contracts = load_contracts(own=settings.contracts)

    def erase(self, patient: str) -> Told:
        """Request, approval, the run, the certificate and its verification."""
        began, cut = time.monotonic(), datetime.now(UTC)
        before = self._others(patient, cut)
        code, said = self._command("request", "-", "--reason", ASKED, given=patient)
        if code:
            return Told(missing=["the request for erasure"])
        request = said["request"]
        code, said = self._command("approve", request, "--reason", SEEN)
        for _ in range(RUNS):
            if code != WAITING:
                break
            code, said = self._command("run", request)
        if code or said["requests"][0]["state"] != "certified":
            return Told(request, missing=["the certificate of erasure"])
        code, verdict = self._command("verify", request, "--patient", "-", given=patient)
        after = self._others(patient, cut)
        others = {name: (rows, after.get(name) == (rows, digest)) for name, (rows, digest) in before.items()}
        document = json.loads(certificate_file(self._settings, request).read_text())["certificate"]
        return told(document, others, verdict if code in TOLD else {}, time.monotonic() - began, self._page())

    def _page(self) -> str:
        """The privacy officer's page, with the verdict on it; empty where it could not be written."""
        code, said = self._command("page")
        return said["page"] if code == 0 else ""

    def _command(self, *arguments: str, given: str = "") -> tuple[int, dict[str, Any]]:
        """`wardstream erase …` with `given` on its standard input: its exit code and what it said as JSON."""
        program = Path(sys.executable).with_name("wardstream")
        log_file = self._settings.home / "run" / "demonstration-erasure.log"
        with log_file.open("ab") as log, tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
            stdin.write(f"{given}\n".encode())
            stdin.seek(0)
            process = subprocess.Popen(
                [str(program), "erase", *arguments, "--json"],
                env={**os.environ, **environment_of(self._settings)},
                stdin=stdin,
                stdout=stdout,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we end it
            )
            try:
                while process.poll() is None:
                    self._between()
            finally:
                process.kill()
                process.wait()
            stdout.seek(0)
            lines = stdout.read().decode().strip().splitlines()
        return process.returncode, json.loads(lines[-1]) if lines else {}

    def _others(self, patient: str, until: datetime) -> dict[str, tuple[int, str]]:
        """Table -> rows of everybody else that were there at that time, and a digest that no order of them changes.
        Of every table that a topic feeds; those that are derived may be made anew meanwhile."""
        token = self._token(patient)
        tables = [table for table in self._contracts.tables() if table.fed_by and token_column(table)]
        found = {}
        with Analytics(self._settings) as analytics:
            for table in tables:
                question = (
                    f"SELECT count(*) AS rows, sum(hash(t)::HUGEINT)::VARCHAR AS digest FROM {table.name} t "
                    f"WHERE {token_column(table)} IS DISTINCT FROM $token"
                )
                (row,) = analytics.query(question, as_of=until, parameters={"token": token}).table.to_pylist()
                if row["rows"]:
                    found[table.name] = (row["rows"], row["digest"])
        return found

    def _token(self, patient: str) -> str:
        topic = self._contracts.stream(PEOPLE).topic
        assert topic is not None, "requests come by a topic"
        vault = open_vault(self._settings.vault_uri, time.monotonic)
        try:
            return subject_token(vault.token_key(), topic.key_system, patient)
        finally:
            vault.close()


def told(
    certificate: Mapping[str, Any],
    others: dict[str, tuple[int, bool]],
    verdict: Mapping[str, Any],
    took_s: float,
    page: str,
) -> Told:
    """What a certificate and the verifier's verdict on it come to. An empty verdict: none could be had."""
    missing = [f"the verifier: {line}" for line in verdict.get("wrong", ())]
    missing += [] if verdict else ["the verifier's verdict on the certificate"]
    missing += [f"{name} as it was for everybody else" for name, (_, same) in others.items() if not same]
    untils = [datetime.fromisoformat(each["until"]) for each in certificate["remains"]]
    return Told(
        request=certificate["request"],
        stores={each["store"]: each["before"] for each in certificate["stores"] if each["before"]},
        others=others,
        key_seconds=(certificate["key"] or {}).get("seconds_after_verification"),
        kafka_until=max(untils, default=None),
        kafka_left=sum(each["left"] for each in certificate["remains"]),
        checks=len(verdict.get("checked", ())),
        files=verdict.get("files", 0),
        took_s=took_s,
        page=page,
        missing=missing,
    )
