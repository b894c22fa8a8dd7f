"""Tab offers what can stand there, in a real line editor on a terminal too."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from infra.cli.completion import Vocabulary

WORDS = Vocabulary(
    {"codes": ["code", "name"], "labs_current": ["code", "order_id"], "vitals": ["code", "event_time", "ward"]},
    ["census", "codes_seen"],
    ["csv", "json"],
)


@pytest.mark.parametrize(
    ("before", "word", "offered"),
    [
        ("", ".fo", [".format"]),
        (".format ", "c", ["csv"]),
        ("", "@c", ["@census", "@codes_seen"]),
        ("SELECT * FROM ", "", ["codes", "labs_current", "vitals"]),
        ("SELECT * FROM vitals\nleft join ", "l", ["labs_current"]),
        ("SELECT * FROM vitals v WHERE ", "v.e", ["v.event_time"]),
        ("SELECT * FROM vitals AS v JOIN labs_current AS l ON v.code = ", "L.o", ["L.order_id"]),
        ("SELECT * FROM vitals WHERE ", "wa", ["ward"]),
        ("SELECT * FROM vitals WHERE ", "or", ["or", "order by"]),
        ("SELECT ", "or", ["order_id", "or", "order by"]),
        ("SELECT * FROM vitals ORDER ", "vitals.w", ["vitals.ward"]),
        ("SELECT * FROM nothing WHERE ", "nothing.", []),
    ],
)
def test_what_can_stand_there_is_offered(before: str, word: str, offered: list[str]):
    assert WORDS.offered(before, word) == offered


_PROGRAM = """
from infra.cli.completion import Vocabulary, install
install(Vocabulary({"vitals": ["event_time"]}, ["census"], []), lambda: "SELECT * FROM vitals WHERE\\n")
print("typed", input("> "))
"""


def test_tab_completes_on_a_terminal_with_the_lines_before_in_mind():
    leader, follower = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=follower, stdout=follower, stderr=follower) as shell:
        os.close(follower)
        _read_until(leader, b"> ")
        os.write(leader, b"ev\t IS NULL\n")
        seen = _read_until(leader, b"typed ", b"NULL\r\n")
        shell.wait(30)
    os.close(leader)
    assert seen.endswith(b"typed event_time IS NULL\r\n")


def _read_until(terminal: int, *wanted: bytes, seconds: float = 30) -> bytes:
    """What the terminal shows until all of `wanted` stands there one after the other."""
    seen, pattern = b"", re.compile(b".*".join(map(re.escape, wanted)), re.DOTALL)
    until = time.monotonic() + seconds
    while not pattern.search(seen) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 1024)
    return seen
