"""`wardstream demo`: every part started, a scripted ward played, watched live, judged, summed up.

Holds: the order of events, when it is over, and what counts as missing.
Does not hold: the parts (infra/services), the ward, the witness, the screen (infra/demonstration).

The demonstration has a data folder of its own below the configured one and empties it at each start; nothing else is
touched. Exit codes: 0 all seen, 1 something missing, 2 a part could not be started, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

from infra.demonstration.erasing import Erasing, Told
from infra.demonstration.inspection import OWN_TABLES, Inspection, as_json
from infra.demonstration.screen import Scene, Screen, Summary
from infra.demonstration.ward import WardPlay
from infra.demonstration.witness import AlertWitness
from infra.services.environment import environment_of
from infra.services.home import AlreadyUpError, PidFile, report_path
from infra.services.parts import PARTS, plan_parts, ports_needed
from infra.services.ports import occupied
from infra.services.supervisor import TICK_SECONDS, Supervisor, SupervisorError
from infra.simulator.hospital import STREAMS
from warehouse.settings import Settings

LIMIT_S = 300.0
"""From the end of the installation to the verdict that something is missing."""
ALL_SEEN, MISSING, NOT_STARTED, INTERRUPTED = 0, 1, 2, 130
_MARK = ".wardstream-demo"
_DEFAULT_BASE = 19_000


def demo(settings: Settings, *, keep: bool, seed: int, quiet: bool) -> int:
    """Run the demonstration in the foreground; nothing is left running, whatever ends it."""
    began = time.time()
    try:
        settings = _own_home(settings)
        parts = plan_parts(settings, PARTS, lambda line: print(line, file=sys.stderr))
        with Supervisor(settings, parts, tell=lambda line: None) as supervisor:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: supervisor.request_stop())
            code = _Demonstration(settings, supervisor, seed, began, quiet).run(keep)
        if keep or code == INTERRUPTED:
            print("stopped; nothing is left running", file=sys.stderr)
        return code
    except (AlreadyUpError, SupervisorError) as error:
        print(f"wardstream demo: {error}", file=sys.stderr)
        return NOT_STARTED


def _own_home(settings: Settings) -> Settings:
    """The demonstration's folder, empty. Neither one in use nor one that is not ours is ever emptied."""
    home = settings.home / "demo"
    own = Settings.from_environment(_environment_at(settings, home))
    if pid := PidFile(settings).holder():
        raise AlreadyUpError(f"{settings.home} is up (process {pid}) and has the ports; `wardstream down` ends it")
    if pid := PidFile(own).holder():
        raise AlreadyUpError(f"{home} is up already (process {pid}): Ctrl-C there, or `wardstream --home {home} down`")
    if line := occupied(own.port_base, ports_needed(own, PARTS)):
        raise AlreadyUpError(line)
    if home.exists() and any(home.iterdir()) and not (home / _MARK).exists():
        raise AlreadyUpError(f"{home} holds something that no demonstration made; move it, or choose another --home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / _MARK).touch()
    return own


def _environment_at(settings: Settings, home: Path) -> dict[str, str]:
    own = {"WARDSTREAM_HOME": str(home), "WARDSTREAM_VAULT_URI": f"sqlite:///{home / 'vault' / 'vault.sqlite'}"}
    return environment_of(settings) | own


def command(settings: Settings) -> str:
    """What to type for `wardstream` on this home, as it stands: program, port base and folder."""
    base = "" if settings.port_base == _DEFAULT_BASE else f"WARDSTREAM_PORT_BASE={settings.port_base} "
    program = Path(sys.executable).with_name("wardstream")
    return f"{base}{_from_here(program)} --home {_from_here(settings.home)}"


def _from_here(path: Path) -> str:
    """The path as it is shortest to type from the current folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


class _Interrupted(Exception):
    pass


class _Demonstration:
    """One run of it, driven from the main thread: the supervisor's children end with the thread that started them."""

    def __init__(self, settings: Settings, supervisor: Supervisor, seed: int, began: float, quiet: bool) -> None:
        self._settings, self._supervisor, self._began, self._quiet = settings, supervisor, began, quiet
        self._scene = Scene()
        self._screen = Screen(quiet)
        self._play = WardPlay(settings, seed)
        self._witness = AlertWitness(settings)
        self._missing: list[str] = []
        self._is_erasing = False

    def run(self, keep: bool) -> int:
        try:
            with self._screen:
                summary = self._perform()
            self._conclude(summary, keep)
            if keep:
                self._keep()
        except _Interrupted:
            self._tell_of_an_erasure()
            return INTERRUPTED
        finally:
            for thread in (self._play, self._witness):
                thread.stop()
        return MISSING if self._missing else ALL_SEEN

    def _perform(self) -> Summary:
        self._until("starting the parts", lambda: self._part_states().get("stream") == "up", "the stream")
        self._play.start()
        self._witness.start()
        self._until("playing the ward", lambda: not self._play.is_alive(), "the end of the script")
        self._until("draining", self._all_committed, "lag 0")
        self._until("waiting for alerts", lambda: not self._unseen(), "every alert of the script")
        self._until("starting Dagster", lambda: self._supervisor.was_up, "Dagster")
        return self._inspect()

    def _until(self, doing: str, holds, what: str) -> None:
        """Tick until it holds, or time is over; then `what` is missing and the next thing is tried all the same."""
        self._scene.doing = doing
        while not holds():
            self._tick()
            if self._supervisor.state == "failed":
                raise SupervisorError(self._supervisor.reason)
            if time.time() - self._began > LIMIT_S:
                self._missing.append(what)
                return

    def _tick(self) -> None:
        self._supervisor.tick()
        if self._supervisor.stop_requested:
            raise _Interrupted
        self._look()
        self._screen.show(self._scene)
        time.sleep(TICK_SECONDS)

    def _look(self) -> None:
        """Gather what can be seen from outside."""
        scene, report = self._scene, self._report()
        scene.elapsed_s = time.time() - self._began
        scene.parts = self._part_states()
        scene.sent, scene.expected = self._play.sent, len(self._play.expected)
        scene.alerts = list(self._witness.alerts)
        scene.unseen = len(self._unseen())
        seen_at = self._witness.first_seen_at
        scene.first_alert_s = seen_at - self._began if seen_at else None
        scene.lag = report.get("lag")
        counts, tables = report.get("counts") or {}, (report.get("lake") or {}).get("tables") or {}
        scene.read = counts.get("messages", 0)
        scene.rejects, scene.duplicates = counts.get("rejects", 0), counts.get("duplicates", 0)
        scene.rows = sum(tables.get(table, {}).get("rows", 0) for table in OWN_TABLES)

    def _report(self) -> dict:
        """What the stream last said; empty before its first word."""
        try:
            return json.loads(report_path(self._settings).read_text())
        except (OSError, ValueError):
            return {}

    def _part_states(self) -> dict[str, str]:
        return {name: str(said["state"]) for name, said in self._supervisor.said().items()}

    def _unseen(self) -> list:
        return self._witness.unseen(self._play.expected)

    def _all_committed(self) -> bool:
        """Whether every message that the broker acknowledged is below the tables' vectors, alerts included."""
        report = self._report()
        reached = report.get("next") or {}
        done = sum(sum((reached.get(stream) or {}).values()) for stream in STREAMS)
        return report.get("lag") == 0 and done >= self._play.sent

    def _inspect(self) -> Summary:
        self._scene.dagster_url = str(self._supervisor.said()["dagster-web"]["url"])
        inspection = Inspection(self._settings)
        try:
            days = inspection.days()
            self._missing += [f"the roll-up of {day}" for day in self._judge(inspection, days)]
            verdicts = inspection.verdicts()
            judged = {verdict.day for verdict in verdicts}
            self._missing += [f"the verdict on {day}" for day in days if day not in judged]
            counts = inspection.counts()
            self._missing += self._uncounted(counts)
            question, answer = inspection.shown_question()
            rejects = inspection.rejects_by_reason()
        finally:
            inspection.close()
        erased = self._erase()
        self._look()
        scene = replace(self._scene)
        home = str(self._settings.home)
        return Summary(scene, counts, rejects, verdicts, question, answer, self._missing, home, erased)

    def _erase(self) -> Told:
        """One of those who went home is erased, once everything has been counted: the one with the most alerts."""
        alerts = Counter(alert.patient for alert in self._witness.alerts)
        who = max(self._play.at_home, key=lambda patient: (alerts[patient], patient), default=None)
        if who is None:
            self._missing.append("a patient whose stay has ended, to be erased")
            return Told()
        self._scene.doing = "erasing one patient and verifying the certificate"
        self._is_erasing = True
        erased = Erasing(self._settings, self._tick).erase(who)
        self._is_erasing = False
        self._missing += erased.missing
        return erased

    def _tell_of_an_erasure(self) -> None:
        """Who is half erased stays on the list: whoever stops the demonstration is told what ends it."""
        if self._is_erasing:
            typed = command(self._settings)
            print(
                f"The erasure of one patient was under way. `{typed} up` lets Dagster end it, "
                f"`{typed} erase status` says how far it is.",
                file=sys.stderr,
            )

    def _judge(self, inspection: Inspection, days: list[date]) -> list[date]:
        """Have each day judged; those whose run failed."""

        def between(over: int) -> None:
            number = min(over, len(days) - 1)
            self._scene.doing = f"judging {days[number]} ({number + 1} of {len(days)}) by Great Expectations"
            self._tick()

        return inspection.judge(days, between) if days else []

    def _uncounted(self, counts: dict[str, int]) -> list[str]:
        """Messages that are nowhere, or in two places."""
        found = sum(counts[table] for table in (*OWN_TABLES, "rejects", "duplicates"))
        return [] if found == self._scene.sent else [f"{self._scene.sent - found:,} messages in the lake"]

    def _conclude(self, summary: Summary, keep: bool) -> None:
        if self._quiet:
            print(as_json(summary.as_dict()))
        self._screen.conclude(summary)
        if not keep:
            self._screen.say("Its parts end now, its data stays. To look around in Dagster and by SQL:")
            self._screen.say("  make demo ARGS=--keep       plays it anew and stays up; or, with this data:")
            self._screen.say(f"  {command(self._settings)} up")

    def _keep(self) -> None:
        dagster = self._scene.dagster_url
        self._screen.say(f"Still up: Dagster at {dagster}. Ask the lake in another shell:")
        self._screen.say(f"  {command(self._settings)} sql @alerts_by_rule")
        self._screen.say("Ctrl-C ends it.")
        while not self._supervisor.stop_requested:
            self._supervisor.tick()
            time.sleep(TICK_SECONDS)
