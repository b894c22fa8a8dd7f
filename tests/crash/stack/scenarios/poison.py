"""What kills the stream again and again at one place, and the supervisor that starts it again; and its own death."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow.compute as pc

from infra.simulator.player import Pace
from infra.simulator.ward import REJECT, Event, play_ward
from tests.crash.stack import poisoned
from tests.crash.stack.endings import RED, Ending, exact, judged
from tests.crash.stack.servers import wait_until
from tests.crash.stack.site import Site, StreamProcess
from tests.deployment import MINUTE_MS
from tests.oracle.oracle import judge

REASON = "poison"
MARKER = "WARD-OF-THE-POISON"
"""Also in poisoned/sitecustomize.py, which nobody may import: it changes the process that does."""
ISOLATED_S = 900.0
"""Each narrowing costs a death, a start and the supervisor's pause before it."""


def poison_batch(site: Site, chance: Random) -> Ending:
    """Two messages of one ward kill whatever decodes them. Their neighbours must get through, they must be rejected."""
    stream = site.supervised("a", PYTHONPATH=str(Path(poisoned.__file__).parent))
    site.start([stream])
    start_ms = int(time.time() * 1000) - 5 * MINUTE_MS
    events = list(play_ward(site.seed, start_ms, 5 * MINUTE_MS, 30))
    doses = set(chance.sample([n for n, e in enumerate(events) if e.kind == "reading"], 2))
    site.send(list(_poisoned(events, doses)), Pace(rate=1_500.0))
    began = time.monotonic()
    try:
        wait_until("lag 0 behind the poison", lambda: _lag(site, stream) == 0, ISOLATED_S, 0.5)
    except TimeoutError as error:
        return Ending(RED, f"{error}; the supervisor says: {_said(stream)}")
    site.tally.recovered_s.append(time.monotonic() - began)
    site.drain([stream])
    return _judged(site, len(doses))


def supervisor_killed(site: Site, chance: Random) -> Ending:
    """The supervisor restarts a killed stream; killed itself, it takes the stream with it."""
    stream = site.supervised("a")
    site.run([stream])
    time.sleep(chance.uniform(2.0, 4.0))
    child = int(stream.status()["pid"])
    site.kill(stream, lambda: os.kill(child, signal.SIGKILL))
    wait_until("another stream", lambda: _runs_as_another(stream, child), 120)
    time.sleep(chance.uniform(1.0, 3.0))
    child = int(stream.status()["pid"])
    site.kill(stream)
    site.tally.killed("supervisor")
    wait_until("the stream's end", lambda: not Path(f"/proc/{child}").exists(), 10)
    restarted = time.monotonic()
    site.start([stream])
    site.settle(restarted, [stream])
    return exact(site)


def _poisoned(events: list[Event], doses: set[int]) -> Iterator[Event]:
    for n, event in enumerate(events):
        if n not in doses:
            yield event
            continue
        message = {**json.loads(event.value or b""), "ward": MARKER}
        yield event._replace(value=json.dumps(message).encode(), kind="poison", fate=REJECT, reason=REASON)


def _lag(site: Site, stream: StreamProcess) -> int:
    """Lag, whatever the stream's present state: it dies and is started again."""
    return site.lag([stream])


def _judged(site: Site, doses: int) -> Ending:
    """The oracle knows nothing of poison and finds right messages rejected: as many as there were, and nothing else."""
    history = site.history()
    rejected = pc.sum(pc.equal(history.tables["rejects"].rows["reason"], REASON)).as_py() or 0
    verdict = judge(history)
    if rejected != doses or verdict.totals["misjudged"] != doses:
        return Ending(RED, f"{rejected} of {doses} poisoned messages are rejected as such\n{verdict.report()}")
    return judged(verdict, allowed=("misjudged",))


def _runs_as_another(stream: StreamProcess, before: int) -> bool:
    status = stream.status()
    return status.get("state") == "running" and status.get("pid") != before


def _said(stream: StreamProcess) -> str:
    state = stream.settings.home / "run" / "supervisor.json"
    said = json.loads(state.read_text()) if state.exists() else {}
    return f"{said.get('state')}: {said.get('reason')}"
