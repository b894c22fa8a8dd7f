from __future__ import annotations

import hashlib
import hmac as reference_hmac
from base64 import b32encode
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.fake_keys import FakeKeys
from warehouse.identity import (
    RejectedMessage,
    SealError,
    Tokenizer,
    associated_data,
    seal,
    seal_rejects,
    subject_token,
    unseal,
    unseal_reject,
)

KEY = bytes(range(32))
DAY = date(2026, 11, 22)


def test_a_token_is_26_characters_of_lower_case_base32():
    token = subject_token(KEY, "urn:x", "P000123")
    assert len(token) == 26
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_a_token_is_hmac_sha256_cut_to_128_bits():
    parts = b"\0\0\0\x05urn:x\0\0\0\x07P000123\0\0\0\x010"
    digest = reference_hmac.new(KEY, parts, hashlib.sha256).digest()[:16]
    assert subject_token(KEY, "urn:x", "P000123") == b32encode(digest).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    "other",
    [(KEY, "urn:y", "P1", 0), (KEY, "urn:x", "P2", 0), (KEY, "urn:x", "P1", 1), (KEY[::-1], "urn:x", "P1", 0)],
    ids=["system", "identifier", "epoch", "key"],
)
def test_a_token_depends_on_every_part(other):
    assert subject_token(*other) != subject_token(KEY, "urn:x", "P1", 0)


def test_moving_a_character_between_system_and_identifier_gives_another_token():
    assert subject_token(KEY, "urn:x1", "2") != subject_token(KEY, "urn:x", "12")


def test_the_tokenizer_agrees_with_the_definition_also_when_it_remembers():
    tokenizer = Tokenizer(KEY, "urn:x")
    expected = [subject_token(KEY, "urn:x", name) for name in ("P1", "P2", "P1")]
    assert tokenizer.tokens(["P1", "P2", "P1"]) == expected
    assert tokenizer.tokens(["P1", "P2", "P1"]) == expected


@given(st.binary())
def test_what_was_sealed_opens(payload):
    place = associated_data("s", "c", "t")
    assert unseal(seal(payload, KEY, place), KEY, place) == payload


def test_sealing_twice_gives_different_bytes():
    place = associated_data("s", "c", "t")
    assert seal(b"x", KEY, place) != seal(b"x", KEY, place)


@pytest.mark.parametrize("place", [("s2", "c", "t"), ("s", "c2", "t"), ("s", "c", "t2"), ("s", "c", "t", 1)])
def test_sealed_bytes_open_in_no_other_place(place):
    sealed = seal(b"x", KEY, associated_data("s", "c", "t"))
    with pytest.raises(SealError):
        unseal(sealed, KEY, associated_data(*place))


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(40)])
def test_garbage_does_not_open(sealed):
    with pytest.raises(SealError):
        unseal(sealed, KEY, b"")


def test_a_reject_is_sealed_under_its_person_else_under_its_day():
    messages = [RejectedMessage(b"P1", b"{"), RejectedMessage(None, None)]
    person, day = seal_rejects(FakeKeys(), "s", messages, ["token", None], [DAY, DAY])
    assert (person.under, day.under) == ("person", "day:2026-11-22")
    assert unseal_reject(FakeKeys(), "s", person.payload, person.under, "token") == messages[0]
    assert unseal_reject(FakeKeys(), "s", day.payload, day.under, None) == messages[1]


def test_a_reject_of_a_person_whose_key_was_destroyed_goes_under_the_day():
    (sealed,) = seal_rejects(FakeKeys(frozenset({"token"})), "s", [RejectedMessage(b"k", b"v")], ["token"], [DAY])
    assert sealed.under == "day:2026-11-22"
    assert unseal_reject(FakeKeys(), "s", sealed.payload, sealed.under, "token").value == b"v"


def test_no_day_key_is_asked_for_when_every_person_is_known():
    class NoDays(FakeKeys):
        def reject_key(self, day):
            raise AssertionError("asked")

    assert seal_rejects(NoDays(), "s", [RejectedMessage(b"k", b"v")], ["token"], [DAY])[0].under == "person"


@pytest.mark.parametrize("token", ["token", None])
def test_a_reject_cannot_be_opened_once_its_key_is_gone(token):
    (sealed,) = seal_rejects(FakeKeys(), "s", [RejectedMessage(b"k", b"v")], [token], [DAY])
    with pytest.raises(SealError):
        unseal_reject(FakeKeys(frozenset({"token", DAY})), "s", sealed.payload, sealed.under, token)


def test_nothing_is_sealed_in_clear_when_no_key_is_left():
    with pytest.raises(SealError):
        seal_rejects(FakeKeys(frozenset({DAY})), "s", [RejectedMessage(b"k", b"v")], [None], [DAY])
