"""What streams are forked from: `python -m tests.fork_server`, orders on standard input, answers on standard output,
both pickled.

Holds: the forks. Does not hold: who orders them (forked.py).
"""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import sys

from pipelines.lean_beam import hide_data_frames  # before anything of Beam

if __name__ == "__main__":
    hide_data_frames()  # as in a stream that is the whole process

# isort: split
from pipelines import stream
from tests.forked import Orders

_PR_SET_PDEATHSIG = 1


def serve() -> None:
    """Until whoever orders is gone; the streams go with this process."""
    while True:
        try:
            question = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = _forked(question) if isinstance(question, Orders) else _ended(question.pid)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _forked(orders: Orders) -> int:
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        try:
            _live(orders, parent)
        finally:
            os._exit(stream.EXIT_FAILED)
    return pid


def _ended(pid: int) -> int | None:
    """The exit code of a child that has ended, once."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _live(orders: Orders, parent: int) -> None:
    """The child's whole life."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(orders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for ours, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(ours, standard)
    os.environ.clear()
    os.environ.update(orders.environment)
    try:
        for prepare in orders.before:
            prepare()
        code = stream.main(list(orders.arguments))
    except BaseException:
        logging.exception("the stream ends")
        raise
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    serve()
