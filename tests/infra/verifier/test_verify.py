"""The verifier believes the stores and not the certificate: an alteration, a forgery or anything left is found."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyarrow.fs import LocalFileSystem

from infra.verifier.house import tokens_of
from infra.verifier.search import Trace
from infra.verifier.store import Store
from infra.verifier.verify import LISTS, OF_PEOPLE, check, main
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import PEOPLE, Ward
from warehouse.erasure.certificate import signed
from warehouse.erasure.inventory import KEPT_LISTS, SUSPECT
from warehouse.erasure.run import certificate_file

GONE = PEOPLE[1]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    """A ward of which one person was erased."""
    folder = tmp_path_factory.mktemp("erased")
    made = Ward(lake_settings(folder / "home", f"file://{folder}/home/lake"), tables=("vitals", *KEPT))
    made.ingest(days=[datetime(2026, 11, 20).date()])  # noqa: DTZ001
    made.ask(GONE, name="e-1")
    made.erasure().run()
    return made


KEPT = ("erasure_requests", "erasure_receipts", "retention_holds")


def document(ward: Ward) -> dict:
    return json.loads(certificate_file(ward.settings, "e-1").read_text())


SOMEBODY = Ed25519PrivateKey.from_private_bytes(bytes(32))
REMAINS = {"store": "topic:device.vitals", "until": "2027-01-01T00:00:00+00:00", "topic": "t", "last_offsets": {"0": 7}}


def signed_by_somebody(said: dict) -> dict:
    return signed(said, bytes(32))


def wrong(ward: Ward, said: dict, *traces: Trace, trusted: bytes | None = None) -> list[str]:
    return check(said, ward.settings.home, None, NOW, trusted, traces)[0].wrong


def test_what_was_erased_is_found_to_be(ward: Ward) -> None:
    traces = [Trace("identifier", GONE), Trace("token", ward.token(GONE))]
    assert wrong(ward, document(ward), *traces) == []
    arguments = [str(certificate_file(ward.settings, "e-1")), "--home", str(ward.settings.home), "--patient", GONE]
    assert main(arguments) == 0


def test_a_certificate_that_is_silent_about_a_table_of_people_is_found_and_a_newer_table_is_not(ward: Ward) -> None:
    ward.catalog.create_table((ward.settings.namespace, "copy_for_a_study"), ward.table("vitals").schema())
    assert wrong(ward, document(ward)) == [], "there is nothing in it"
    said, vitals = document(ward), ward.rows("vitals")
    ward.catalog.load_table((ward.settings.namespace, "copy_for_a_study")).append(vitals.slice(0, 1))
    said["certificate"]["issued"]["at"] = "2000-01-01T00:00:00+00:00"
    assert not any("copy_for_a_study" in line for line in wrong(ward, said))
    said["certificate"]["issued"]["at"] = "2030-01-01T00:00:00+00:00"
    assert any("copy_for_a_study" in line for line in wrong(ward, said))
    ward.catalog.drop_table((ward.settings.namespace, "copy_for_a_study"))


def test_the_verifier_knows_the_columns_and_lists_that_the_eraser_knows() -> None:
    """They share no code, so that this is all that keeps them alike."""
    assert set(SUSPECT) == OF_PEOPLE
    assert LISTS == KEPT_LISTS


def test_the_verifier_makes_tokens_by_itself_and_they_are_the_same(ward: Ward) -> None:
    assert tokens_of(ward.settings.home, GONE) == [ward.token(GONE)]


def test_somebody_who_was_not_erased_is_found(ward: Ward) -> None:
    arguments = [str(certificate_file(ward.settings, "e-1")), "--home", str(ward.settings.home), "--patient", PEOPLE[0]]
    assert main(arguments) == 1


def test_an_altered_certificate_is_found(ward: Ward) -> None:
    said = document(ward)
    said["certificate"]["stores"][0]["before"] += 1
    assert any("unaltered" in line for line in wrong(ward, said))


def test_a_certificate_of_another_signer_is_found(ward: Ward) -> None:
    assert any("signed" in line for line in wrong(ward, document(ward), trusted=bytes(31) + b"\x01"))
    own = document(ward) | signed_by_somebody(document(ward)["certificate"])
    assert any("signed" in line for line in wrong(ward, own))
    assert wrong(ward, document(ward), trusted=base64.b64decode(document(ward)["public_key"])) == []


def test_a_forged_certificate_that_tells_nothing_is_no_certificate(ward: Ward, tmp_path: Path) -> None:
    mark = document(ward)["certificate"]["subject"]["mark"]
    said = {"format": "wardstream.erasure/1", "request": "e-x", "subject": {"mark": mark}, "scope": "all of the person"}
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(signed_by_somebody(said)))
    assert main([str(forged), "--home", str(ward.settings.home)]) == 1
    assert main([str(forged), "--home", str(tmp_path)]) == 2, "no key of the house is known there"
    found = wrong(ward, signed_by_somebody(said), trusted=SOMEBODY.public_key().public_bytes_raw())
    words = ("every step", "of tables", "of the vault", "when the key went")
    assert [word for word in words if not any(word in line for line in found)] == []


def test_what_was_not_looked_through_again_is_found(ward: Ward) -> None:
    said = copy.deepcopy(document(ward))
    next(each for each in said["certificate"]["stores"] if each["store"] == "table:vitals")["after"] = None
    assert any("looked through again" in line for line in wrong(ward, said))


def test_a_certificate_of_somebody_else_is_not_this_patients(ward: Ward) -> None:
    verdict, _ = check(document(ward), ward.settings.home, None, NOW, patient=PEOPLE[3])
    assert verdict.wrong == ["it is about this patient"]
    assert check(document(ward), ward.settings.home, None, NOW, patient=GONE)[0].code == 0


def test_what_cannot_be_looked_at_is_not_called_so(ward: Ward) -> None:
    torn = ward.settings.home / "run" / "torn.gz"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"\x1f\x8b\x08torn")
    try:
        verdict, _ = check(document(ward), ward.settings.home, None, NOW, traces=[Trace("identifier", GONE)])
    finally:
        torn.unlink()
    assert (verdict.wrong, verdict.code, len(verdict.untold)) == ([], 2, 1)


def test_a_topic_of_a_broker_elsewhere_is_not_called_let_go(ward: Ward, tmp_path: Path) -> None:
    said = document(ward)["certificate"] | {"remains": [REMAINS]}
    public = SOMEBODY.public_key().public_bytes_raw()
    verdict, _ = check(signed_by_somebody(said), tmp_path, None, NOW, public)
    assert any("broker is elsewhere" in line for line in verdict.untold)
    assert not any("begins above" in line for line in verdict.checked)


def test_a_search_of_the_home_says_nothing_of_a_store_elsewhere(ward: Ward) -> None:
    said = json.loads(json.dumps(document(ward)["certificate"]).replace('"file://', '"s3://'))
    public = SOMEBODY.public_key().public_bytes_raw()
    traces = [Trace("identifier", GONE)]
    verdict, _ = check(signed_by_somebody(said), ward.settings.home, Store(LocalFileSystem()), NOW, public, traces)
    assert (verdict.wrong, verdict.code) == ([], 2)
    assert verdict.untold == ["the store is elsewhere: objects of 1 tables were not searched for the person"]


def test_an_object_that_is_still_there_is_found(ward: Ward) -> None:
    (gone,) = document(ward)["certificate"]["objects"]
    path = Path(gone["object"].removeprefix("file://"))
    assert not path.exists()
    path.write_bytes(b"back")
    try:
        assert any("objects that had the person" in line for line in wrong(ward, document(ward)))
    finally:
        path.unlink()


def test_a_key_that_went_too_late_is_told_and_a_topic_that_did_not_let_go_is_found(ward: Ward) -> None:
    said = copy.deepcopy(document(ward))
    said["certificate"]["key"]["seconds_after_verification"] = 11.0
    said["certificate"]["remains"] = [REMAINS]
    segment = ward.settings.home / "kafka" / "data" / "t-0" / "00000000000000000005.log"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"x")
    found = wrong(ward, said)
    (late,) = check(said, ward.settings.home, None, NOW)[0].late
    assert "11.0 s" in late
    assert any("begins above the last of theirs" in line for line in found)
    segment.rename(segment.with_name("00000000000000000008.log"))
    assert not any("begins above" in line for line in wrong(ward, said))
    (waiting,) = check(said, ward.settings.home, None, datetime(2026, 12, 1, tzinfo=UTC))[0].waiting
    assert "2027" in waiting


def test_a_token_in_a_log_of_the_home_is_found(ward: Ward) -> None:
    log = ward.settings.home / "run" / "stream.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"oops {ward.token(GONE)}")
    try:
        assert any("a token" in line for line in wrong(ward, document(ward), Trace("token", ward.token(GONE))))
    finally:
        log.unlink()
