"""`up`, `down`, `status`: start the supervisor and wait for health, end it, show how it fares.

Holds: what people and scripts see of the supervisor, and the exit codes. Results go to standard output, progress
to standard error. Does not hold: the supervisor itself (infra.services).
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

from infra.services.environment import environment_of
from infra.services.home import PidFile, read_state, report_path, run_folder
from infra.services.parts import PARTS
from infra.services.stream_health import read_report
from warehouse.settings import Settings

HEALTHY, NOT_HEALTHY, DOWN = 0, 1, 3

UP_SECONDS = 300.0
DOWN_SECONDS = 150.0
KILL_SECONDS = 15.0
POLL_SECONDS = 0.2

Tell = Callable[[str], None]


def say(line: str) -> None:
    """Progress, for people."""
    print(line, file=sys.stderr, flush=True)


def up(settings: Settings, parts: tuple[str, ...] = PARTS, as_json: bool = False, tell: Tell = say) -> int:
    """Start the resident supervisor and wait until every part is up.

    0 when it is up (or was already), 1 when a part could not be brought up; then nothing is left running.
    """
    if pid := PidFile(settings).holder():
        tell(f"already up (process {pid}); `wardstream status` shows how it fares")
        return _answer(settings, as_json)
    process = _start_supervisor(settings, parts)
    _follow(settings, process, tell)
    if process.poll() is not None:
        tell(f"could not come up: {_why(settings, process.pid)}")
    elif reason := health(settings)["reason"]:
        tell(f"up, but {reason}")
    return _answer(settings, as_json)


def down(settings: Settings, as_json: bool = False, tell: Tell = say) -> int:
    """End everything in order: the stream drains first. 0 when nothing runs any more, also when nothing did."""
    pid = PidFile(settings).holder()
    if pid is None:
        tell("not up")
    ended = pid is None or _end(pid, tell)
    if as_json:
        print(json.dumps({"state": "down" if ended else "stopping", "was_up": pid is not None}))
    return HEALTHY if ended else NOT_HEALTHY


def status(settings: Settings, as_json: bool = False) -> int:
    """Print how every part fares. 0 healthy, 1 degraded, starting or failed, 3 down."""
    return _answer(settings, as_json, table=True)


def health(settings: Settings) -> dict[str, Any]:
    """The state of the whole and of each part; `state` is `up`, `starting`, `degraded`, `failed`, `stopping` or `down`.

    Of a supervisor that was killed only `down` is left, whatever its last words were.
    """
    state = read_state(settings)
    pid = PidFile(settings).holder()
    if pid is None:
        return {"state": "down", "home": str(settings.home), "reason": str(state.get("reason", "")), "parts": []}
    stream = read_report(report_path(settings))
    return {
        "state": str(state.get("state", "starting")),
        "home": str(settings.home),
        "pid": pid,
        "reason": str(state.get("reason", "")),
        "parts": state.get("parts", []),
        "stream": {"state": stream.state, "lag": stream.lag, "at": stream.at} if stream else None,
    }


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


def _end(pid: int, tell: Tell) -> bool:
    """Ask the supervisor to end, kill it if it does not, and say whether it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        tell("draining the stream, then ending all parts")
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
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{found['state']}  {found['home']}", style="bold", highlight=False)
    if found["state"] == "down":
        if found["reason"]:
            console.print(f"last reason: {found['reason']}", highlight=False, markup=False)
        return
    table = Table()
    table.add_column("part", no_wrap=True)
    for heading in ("state", "since (UTC)", "restarts", "process"):
        table.add_column(heading)
    table.add_column("at", overflow="fold")
    table.add_column("reason", overflow="fold")
    for part in found["parts"]:
        table.add_row(
            part["name"],
            part["state"],
            _clock_time(part["since"]),
            str(part["restarts"]),
            str(part["pid"] or ""),
            part["url"],
            part["reason"],
        )
    console.print(table)
    if stream := found["stream"]:
        lag = "unknown" if stream["lag"] is None else stream["lag"]
        console.print(f"stream: {stream['state']}, lag {lag} messages", highlight=False)


def _clock_time(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%H:%M:%S") if epoch_seconds else ""
