"""A small program between the supervisor and a child: the child ends when the supervisor does, however it ends.

    python -IS tether.py exec|tree SUPERVISOR_PID COMMAND...

`exec` asks the kernel for SIGKILL at the parent's death and becomes the command: for programs that fork nothing.
`tree` stays, adopts every orphan below it (child subreaper), hands SIGTERM and SIGINT on, and kills the whole tree
when the parent dies or the command ends: for programs that start others. Run as a script, standard library only,
so that it costs milliseconds and its death signal is set from a process with a single thread.
Does not hold: when a child is started or stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_DIED = signal.SIGHUP
"""Also what a supervisor sends to have the whole tree killed."""

NOT_EXECUTABLE = 127
EXIT_BY_SIGNAL = 128


def die_with_parent(parent: int, how: int) -> None:
    """Have the kernel send this process a signal when its parent dies. Exits at once if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_BY_SIGNAL + signal.SIGKILL)


def run_tree(parent: int, command: list[str]) -> int:
    """Run the command, return its exit code (128 + n if signal n ended it) once nothing below is left."""
    watched = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, PARENT_DIED}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    die_with_parent(parent, PARENT_DIED)
    child = _fork(command, watched)
    code = None
    while code is None:
        arrived = signal.sigwait(watched)
        if arrived == PARENT_DIED:
            code = EXIT_BY_SIGNAL + signal.SIGKILL
        elif arrived == signal.SIGCHLD:
            code = _reap(child)
        else:
            _send(child, arrived)
    kill_tree()
    return code


def kill_tree() -> None:
    """Kill every child until there is none; grandchildren become children as their parents die."""
    while children := _children():
        for pid in children:
            _send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _fork(command: list[str], watched: set[signal.Signals]) -> int:
    me = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(me, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        os.execvp(command[0], command)
    finally:
        os._exit(NOT_EXECUTABLE)


def _reap(command: int) -> int | None:
    """Collect whatever ended; the command's exit code if it was among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                status = os.waitstatus_to_exitcode(ended[1])
                code = status if status >= 0 else EXIT_BY_SIGNAL - status
    return code


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:
        return [int(pid) for pid in listing.read().split()]


def _send(pid: int, how: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def main(arguments: list[str]) -> int:
    """Entry point; see the module's first lines."""
    mode, parent, command = arguments[0], int(arguments[1]), arguments[2:]
    if mode == "tree":
        return run_tree(parent, command)
    die_with_parent(parent, signal.SIGKILL)
    try:
        os.execvp(command[0], command)
    except OSError:
        return NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
