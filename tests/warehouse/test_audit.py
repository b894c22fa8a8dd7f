"""A line of the file is there before anything is shown, and no line changes unseen."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from warehouse.audit import FILE, AuditError, record, verify

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for number in range(3):
        record(tmp_path / FILE, NOON, {"who": "nurse", "why": f"reason {number}"})
    return tmp_path / FILE


def test_a_line_says_when_who_and_why(file: Path):
    line = json.loads(file.read_text().splitlines()[1])
    assert (line["at"], line["who"], line["why"]) == ("2026-11-22T12:00:00+00:00", "nurse", "reason 1")


def test_an_untouched_file_is_whole(file: Path):
    assert verify(file) == 3


def test_only_its_owner_reads_the_file(file: Path):
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (lambda lines: [lines[0].replace("reason 0", "reason 9"), *lines[1:]], 2),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
        (lambda lines: [lines[0], "not JSON\n", *lines[1:]], 2),
        (lambda lines: [*lines[:2], lines[2].rstrip("\n")], 3),
    ],
    ids=["changed", "removed", "first removed", "reordered", "doubled", "put in", "torn"],
)
def test_a_line_that_was_tampered_with_is_found(file: Path, tamper, line: int):
    file.write_text("".join(tamper(file.read_text().splitlines(keepends=True))))
    with pytest.raises(AuditError, match=f"line {line}:"):
        verify(file)


def test_writers_at_a_time_keep_one_chain(file: Path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record(file, NOON, {"who": str(n)}), range(40)))
    assert verify(file) == 43


def test_a_file_that_cannot_be_written_stops_the_showing(tmp_path: Path):
    (tmp_path / "audit").write_text("a file where the folder should be")
    with pytest.raises(AuditError, match="nothing is shown without it"):
        record(tmp_path / FILE, NOON, {"who": "nurse"})
