"""`up`, `down`, `status`: start the supervisor and wait for health, end it, show how it fares.

Holds: what people and scripts see of the supervisor, and the exit codes. Results go to standard output, progress
to standard error. Does not hold: the supervisor itself (infra.services).

Exit codes: 0 healthy or done, 1 not healthy or could not be done, 3 down (`status` alone), 130 Ctrl-C while starting.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.cli.answers import aligned, printable
from infra.services.environment import environment_of
from infra.services.home import PidFile, read_state, report_path, run_folder
from infra.services.parts import PARTS, plan_parts, ports_needed
from infra.services.ports import occupied
from infra.services.stream_health import read_report
from warehouse.settings import Settings

HEALTHY, NOT_HEALTHY, DOWN, INTERRUPTED = 0, 1, 3, 130

_LAST_STATES = ("stopped", "failed")
"""What a supervisor that ends in order leaves in its state file."""

UP_SECONDS = 300.0
DOWN_SECONDS = 150.0
KILL_SECONDS = 15.0
POLL_SECONDS = 0.2

_SHOWN_AT = {"dagster-web": "Dagster", "kafka": "Kafka", "store": "S3"}

Tell = Callable[[str], None]


def say(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def up(settings: Settings, parts: tuple[str, ...] = PARTS, as_json: bool = False, tell: Tell = say) -> int:
    """Start the resident supervisor and wait until every part is up.

    0 when it is up (or was already, with these parts), 1 when a part could not be brought up; then nothing is left
    running. Ctrl-C ends the waiting and not the start.
    """
    if pid := PidFile(settings).holder():
        return _already_up(settings, parts, pid, as_json, tell)
    if line := occupied(settings.port_base, ports_needed(settings, parts)):
        tell(f"could not come up: {line}")
        return _answer(settings, as_json)
    process = _start_supervisor(settings, parts)
    try:
        _follow(settings, process, tell)
    except KeyboardInterrupt:
        tell("the parts go on starting: `wardstream status` shows how far, `wardstream down` ends them")
        return INTERRUPTED
    tell(_outcome(settings, process))
    return _answer(settings, as_json)


def _already_up(settings: Settings, parts: tuple[str, ...], pid: int, as_json: bool, tell: Tell) -> int:
    """What runs, and whether it is what was asked for."""
    running = [part["name"] for part in health(settings)["parts"]]
    absent = [part.name for part in plan_parts(settings, parts, tell) if part.name not in running]
    if not absent:
        tell(f"already up (process {pid}) with {', '.join(running)}; `wardstream status` shows how it fares")
        return _answer(settings, as_json)
    tell(f"up already (process {pid}) with {', '.join(running)}, without {', '.join(absent)}: `wardstream down` first")
    _answer(settings, as_json)
    return NOT_HEALTHY


def _outcome(settings: Settings, process: subprocess.Popen[bytes]) -> str:
    """The last line of `up`: what is where, or why not."""
    if process.poll() is not None:
        return f"could not come up: {_why(settings, process.pid)}"
    found = health(settings)
    if found["reason"]:
        return f"up, but {found['reason']}"
    places = [f"{_SHOWN_AT[part['name']]} {part['url']}" for part in found["parts"] if part["name"] in _SHOWN_AT]
    return f"{found['state']}{': ' if places else ''}{', '.join(places)}"


def down(settings: Settings, as_json: bool = False, tell: Tell = say) -> int:
    """End everything in order: the stream drains first. 0 when nothing runs any more, also when nothing did."""
    pid = PidFile(settings).holder()
    if pid is None:
        tell("not up")
    drains = any(part["name"] == "stream" for part in read_state(settings).get("parts", []))
    ended = pid is None or _end(pid, "draining the stream, then ending all parts" if drains else "ending", tell)
    if as_json:
        print(json.dumps({"state": "down" if ended else "stopping", "was_up": pid is not None}))
    return HEALTHY if ended else NOT_HEALTHY


def status(settings: Settings, as_json: bool = False) -> int:
    """Print how every part fares. 0 healthy, 1 degraded, starting or failed, 3 down."""
    return _answer(settings, as_json, table=True)


def health(settings: Settings) -> dict[str, Any]:
    """The state of the whole and of each part; `state` is `up`, `starting`, `degraded`, `failed`, `stopping` or `down`.

    Of a supervisor that was killed only `down` is left, with `reason` saying that it did not end in order.
    """
    state = read_state(settings)
    pid = PidFile(settings).holder()
    if pid is None:
        return {"state": "down", "home": str(settings.home), "reason": _why_down(state), "parts": []}
    stream = read_report(report_path(settings))
    return {
        "state": str(state.get("state", "starting")),
        "home": str(settings.home),
        "pid": pid,
        "reason": str(state.get("reason", "")),
        "parts": state.get("parts", []),
        "stream": {"state": stream.state, "reason": stream.reason, "lag": stream.lag, "at": stream.at}
        if stream
        else None,
    }


def _why_down(state: dict[str, Any]) -> str:
    """What a home that is down was last heard to say; empty where it ended in order or never ran."""
    if state.get("state", "stopped") not in _LAST_STATES:
        return "ended without `wardstream down` (killed, or the machine stopped)"
    return str(state.get("reason", ""))


def _start_supervisor(settings: Settings, parts: tuple[str, ...]) -> subprocess.Popen[bytes]:
    log = run_folder(settings) / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.services.supervisor", "--parts", ",".join(parts)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=settings.home,
            env={**os.environ, **environment_of(settings)},
            start_new_session=True,
        )


def _follow(settings: Settings, process: subprocess.Popen[bytes], tell: Tell) -> None:
    """Tell every change of a part until the supervisor was up once, ended, or takes too long."""
    told: dict[str, str] = {}
    deadline = time.monotonic() + UP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        state = read_state(settings)
        if state.get("pid") == process.pid:
            _tell_changes(state, told, tell)
            if state.get("was_up"):
                return
        time.sleep(POLL_SECONDS)
    if process.poll() is None:
        tell(f"still not up after {UP_SECONDS:.0f} s; it goes on trying: `wardstream status`, `wardstream down`")


def _tell_changes(state: dict[str, Any], told: dict[str, str], tell: Tell) -> None:
    for part in state["parts"]:
        line = f"{part['name']}: {part['state']}{' (' + part['reason'] + ')' if part['reason'] else ''}"
        if part["state"] != "queued" and told.get(part["name"]) != line:
            told[part["name"]] = line
            tell(line)


def _why(settings: Settings, pid: int) -> str:
    state = read_state(settings)
    if state.get("pid") == pid and state.get("reason"):
        return str(state["reason"])
    return f"see {run_folder(settings) / 'supervisor.log'}"


def _end(pid: int, doing: str, tell: Tell) -> bool:
    """Ask the supervisor to end, kill it if it does not, and say whether it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        tell(doing)
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if _ended(handle, DOWN_SECONDS):
            tell("down")
            return True
        tell(f"process {pid} did not end within {DOWN_SECONDS:.0f} s and is killed; nothing committed is lost")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return _ended(handle, KILL_SECONDS)
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    """Whether the process behind a pidfd ends within that time."""
    return bool(select.select([handle], [], [], seconds)[0])


def _answer(settings: Settings, as_json: bool, table: bool = False) -> int:
    found = health(settings)
    if as_json:
        print(json.dumps(found))
    elif table:
        _print_table(found)
    if found["state"] == "down":
        return DOWN if table else NOT_HEALTHY
    return HEALTHY if found["state"] == "up" else NOT_HEALTHY


def _print_table(found: dict[str, Any]) -> None:
    print(f"{found['state']}  {found['home']}")
    if found["state"] == "down":
        print(f"last reason: {found['reason']}" if found["reason"] else "`wardstream up` starts it")
        return
    print("\n".join(aligned(_HEADINGS, [_row(part) for part in found["parts"]], _TO_THE_RIGHT)))
    for part in found["parts"]:
        if part["reason"]:
            print(f"{part['name']}: {printable(part['reason'])}")
    if stream := found["stream"]:
        lag = "unknown" if stream["lag"] is None else f"{stream['lag']} messages"
        print(f"stream: {stream['state']}, lag {lag}" + (" when last known" if stream["reason"] else ""))


_HEADINGS = ["part", "state", "since", "restarts", "process", "at"]
_TO_THE_RIGHT = [False, False, False, True, True, False]


def _row(part: dict[str, Any]) -> list[str]:
    """A part's cells; times are UTC. Its reason has a line of its own below: it may be long."""
    since, process = _clock_time(part["since"]), str(part["pid"] or "")
    return [part["name"], part["state"], since, str(part["restarts"]), process, part["url"]]


def _clock_time(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%H:%M:%SZ") if epoch_seconds else ""
