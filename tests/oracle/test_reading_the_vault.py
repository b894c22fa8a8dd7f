"""The oracle opens what the product seals. The one test here that imports the product: it makes vault and rows."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.lake_rows import reject_rows, table_rows
from pipelines.normalise import normalise
from pipelines.validate import validate
from tests.pipelines.messages import APPENDED_MS, KEY, VITALS, decoded, reading
from warehouse.contract import load_contracts
from warehouse.identity import RejectedMessage, seal_for, seal_rejects
from warehouse.vault import open_vault

from .checks import _check_sealed, _Placed
from .history import Stream, log_positions, row_positions, where_in
from .kafka_log import log_table
from .reading import read_messages
from .vault import Keys, NotOpened, message_of, read_vault

DAY = date(2026, 11, 22)
STREAM = "lab.results"
ONE, OTHER = "one".ljust(26, "a"), "other".ljust(26, "a")
MESSAGES = [
    RejectedMessage(b"P000123", b"{"),
    RejectedMessage(None, None),
    RejectedMessage(b"device:MON-1", b"x" * 70_000),
    RejectedMessage(b"k" * 300, b"y" * 300),
]
TOKENS = [ONE, None, None, OTHER]


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, list[tuple[bytes, str]]]:
    """A vault with an outer key of its own beside the first, and the four messages as rejects keep them."""
    vault = open_vault(f"sqlite:///{tmp_path / 'vault.db'}", lambda: 0.0)
    cells = seal_rejects(vault, STREAM, MESSAGES, TOKENS, [DAY] * 4)
    vault.rotate_outer_key(1.0)
    vault.close()
    return tmp_path / "vault.db", [tuple(cell) for cell in cells]


def test_every_rejected_message_is_read_as_it_was(sealed: tuple[Path, list[tuple[bytes, str]]]) -> None:
    path, cells = sealed
    keys = read_vault(path)

    for message, token, (cell, under) in zip(MESSAGES, TOKENS, cells, strict=True):
        opened = keys.opened(STREAM, "sealed_payload", cell, under, token)
        assert opened is not None
        assert message_of(opened) == (message.key, hashlib.sha256(message.value or b"").digest())


@pytest.mark.parametrize(("stream", "column", "token"), [
    ("device.vitals", "sealed_payload", ONE), (STREAM, "unknown_fields", ONE), (STREAM, "sealed_payload", OTHER),
])  # fmt: skip
def test_a_cell_in_another_place_does_not_open(
    sealed: tuple[Path, list[tuple[bytes, str]]], stream: str, column: str, token: str
) -> None:
    path, ((cell, under), *_) = sealed

    with pytest.raises(NotOpened):
        read_vault(path).opened(stream, column, cell, under, token)


def test_a_destroyed_key_opens_nothing_and_is_known_to_be_destroyed(
    sealed: tuple[Path, list[tuple[bytes, str]]],
) -> None:
    path, ((cell, under), *_) = sealed
    vault = open_vault(f"sqlite:///{path}", lambda: 0.0)
    vault.destroy(ONE)
    vault.close()

    assert read_vault(path).opened(STREAM, "sealed_payload", cell, under, ONE) is None
    with pytest.raises(NotOpened):
        read_vault(path).opened(STREAM, "sealed_payload", cell, under, "never".ljust(26, "a"))


def test_fields_that_nobody_knows_open_too(tmp_path: Path) -> None:
    vault = open_vault(f"sqlite:///{tmp_path / 'vault.db'}", lambda: 0.0)
    ((cell, under),) = seal_for(vault, STREAM, "unknown_fields", [b'{"a":1}'], [ONE], [DAY])
    vault.close()

    assert read_vault(tmp_path / "vault.db").opened(STREAM, "unknown_fields", cell, under, ONE) == b'{"a":1}'


@pytest.mark.parametrize(
    "opened", [b"", b"\x92", b"\x92\xc0", b"\x93\xc0\xc0\xc0", b"\x92\xc0\xc4\x05ab", b"\x92\xc0\x01"]
)
def test_what_is_no_message_is_not_taken_for_one(opened: bytes) -> None:
    with pytest.raises(NotOpened):
        message_of(opened)


def test_what_the_stream_seals_is_what_the_oracle_reads_in_the_message(tmp_path: Path) -> None:
    more = {"firmware": "2.1", "vendor": {"batch": "überprüft", "site": [1, 2.5, None, True]}}
    values = [reading(event_id="a", **more), reading(event_id="b"), reading(event_id="c", code="no such code")]
    values.append(reading(event_id="d", patient_id=None, **more))
    wire, keys = [json.dumps(value).encode() for value in values], [b"P000123"] * 3 + [b"device:MON-0042"]
    vault = open_vault(f"sqlite:///{tmp_path / 'vault.db'}", lambda: 0.0)
    batch = validate(normalise(decoded(wire, keys, VITALS), VITALS), VITALS)
    batch = deduplicate(batch, FirstPositions(1000, 1000, KEY), VITALS)
    rows = table_rows(batch, vault, VITALS.tables[0], 0)
    rejects = reject_rows(batch, vault, load_contracts().table("rejects"), 0)
    vault.close()

    place = batch.messages.partitions.tolist(), batch.messages.offsets.tolist()
    log = log_table(*place, np.full(4, APPENDED_MS * 1000), keys, wire, read_messages)
    log = log.sort_by([("partition", "ascending"), ("offset", "ascending")])
    stream = Stream(VITALS.name, "topic-1", {}, log)
    places = [where_in(log_positions(log), row_positions(each)) for each in (rows, rejects)]
    placed = _Placed(log_positions(log), rows, rejects, rejects.slice(0, 0), *places, np.array([], np.int64))

    assert log["unknown_digest"].null_count == 2
    assert ([len(at[at >= 0]) for at in places], rows["unknown_fields"].null_count) == ([3, 1], 1)
    assert [each for each in _check_sealed(read_vault(tmp_path / "vault.db"), stream, placed) if each.count] == []


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Keys({"person:x": b"secret"}, b"secret"))
