from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.batch import StreamBatch
from pipelines.pseudonymise import pseudonymise
from tests.pipelines.messages import ALERTS, KEY, VITALS, messages, tokenizer
from warehouse.identity import Tokenizer, subject_token

SYSTEM = VITALS.topic.key_system


def _done(keys, contract=VITALS):
    return pseudonymise(StreamBatch(messages([b""] * len(keys), keys, contract)), tokenizer(), contract)


def test_each_message_has_the_token_of_its_key():
    batch = _done([b"P000001", b"P000002", b"P000001"])
    one, two = (subject_token(KEY, SYSTEM, name) for name in ("P000001", "P000002"))
    assert batch.tokens.to_pylist() == [one, two, one]
    assert batch.subjects.to_pylist() == ["P000001", "P000002", "P000001"]
    assert batch.rejects == ()


def test_a_device_has_no_token_and_is_no_reject():
    batch = _done([b"device:MON-1", b"P000001"])
    assert batch.tokens.to_pylist()[0] is None
    assert batch.subjects.to_pylist() == [None, "P000001"]
    assert batch.rejects == ()


def test_a_message_without_a_key_is_rejected():
    batch = _done([None, b"P000001"])
    assert [(r.index, r.stage, r.reason) for r in batch.rejects] == [(0, "pseudonymise", "missing_key")]
    assert batch.tokens.null_count == 1


@pytest.mark.parametrize(
    "key",
    [b"", b"P12", b"xP000001", b"P000001\n", b"P000001x", b"device:", b"\xff\xfe", b"P00000\xff", b"P000001|P000002"],
)
def test_a_key_of_no_known_shape_is_rejected_and_harms_no_neighbour(key):
    batch = _done([b"P000001", key, b"device:MON-1"])
    assert [(r.index, r.reason) for r in batch.rejects] == [(1, "unreadable_key")]
    assert [token is None for token in batch.tokens.to_pylist()] == [False, True, True]


def test_a_stream_about_persons_only_takes_no_device_key():
    assert [r.reason for r in _done([b"device:MON-1"], ALERTS).rejects] == ["unreadable_key"]


def test_an_identifier_that_is_no_text_is_refused_where_the_pattern_would_let_it_in():
    from dataclasses import replace

    loose = replace(VITALS, topic=replace(VITALS.topic, key_pattern="P.*"))
    batch = _done([b"P\xff", b"P1"], loose)
    assert [(r.index, r.reason) for r in batch.rejects] == [(0, "unreadable_key")]
    assert batch.subjects.to_pylist() == [None, "P1"]


@pytest.mark.parametrize("keys", [[], [None, None], [b"?"] * 3])
def test_batches_without_any_subject_pass(keys):
    batch = _done(keys)
    assert batch.tokens.to_pylist() == [None] * len(keys)
    assert len(batch.rejects) == len(keys)


def test_no_key_stands_in_a_reject():
    batch = _done([b"canary"])
    assert "canary" not in repr(batch.rejects)


class Erased:
    """A ledger on which some tokens stand."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens

    def changes(self) -> int:
        return 1

    def epoch_of(self, first_token: str) -> int | None:
        return None if first_token in self.tokens else 0


class Returned(Erased):
    """A ledger on which some tokens stand whose people came back at one instant."""

    since_ms = 1_000

    def epoch_of(self, first_token: str) -> int | None:
        return 1 if first_token in self.tokens else 0

    def returned_ms(self, token: str) -> int:
        return self.since_ms


def test_of_a_person_who_returned_messages_from_before_stay_refused_whoever_reads_them():
    one, two = tokenizer().tokens(["P000001", "P000002"])
    keys = [b"P000001", b"P000002", b"device:x", b"P000001", b"P000001"]
    read = replace(messages([b"{}"] * 5, keys, VITALS), appended_ms=np.array([999, 999, 0, 1_000, 500]))
    batch = pseudonymise(StreamBatch(read), Tokenizer(KEY, SYSTEM, Returned(one)), VITALS)
    assert [(reject.index, reject.reason) for reject in batch.rejects] == [(0, "erased"), (4, "erased")]
    assert batch.tokens.to_pylist() == [None, two, None, subject_token(KEY, SYSTEM, "P000001", 1), None]
    assert batch.subjects.to_pylist() == [None, "P000002", None, "P000001", None]


def test_what_comes_of_an_erased_person_is_refused_and_has_no_token():
    one, two = tokenizer().tokens(["P000001", "P000002"])
    keys = [b"P000002", b"P000001", b"device:x", b"P000001"]
    knowing = Tokenizer(KEY, SYSTEM, Erased(one))
    batch = pseudonymise(StreamBatch(messages([b"{}"] * 4, keys, VITALS)), knowing, VITALS)
    assert [(reject.index, reject.reason) for reject in batch.rejects] == [(1, "erased"), (3, "erased")]
    assert batch.tokens.to_pylist() == [two, None, None, None]
    assert batch.subjects.to_pylist() == ["P000002", None, None, None]
