"""A file that leaves is on record before it is written; an erasure deletes it at home and asks for it elsewhere."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from infra.cli import exports
from infra.cli.answers import FORMATS
from infra.cli.sql import sql
from infra.erasure.exports import export_store
from infra.verifier.verify import check
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import DAYS, PEOPLE, START, Ward
from warehouse.analytics import Analytics, Answer
from warehouse.erasure.run import Surroundings, certificate_file
from warehouse.erasure.stores import Subject
from warehouse.settings import Settings

GONE, OTHER = PEOPLE[1], PEOPLE[2]
TABLES = ("vitals", "erasure_requests", "erasure_receipts", "retention_holds", "exports")


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    """A lake in a folder, with readings of people on a day."""
    settings = lake_settings(
        tmp_path / "home", f"file://{tmp_path}/home/lake", WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1"
    )
    made = Ward(settings, tables=TABLES)
    made.ingest(days=DAYS[:1])
    return made


def of(ward: Ward, *people: str, columns: str = "subject_token AS who, numeric_value") -> str:
    tokens = ", ".join(f"'{ward.token(person)}'" for person in people)
    return f"SELECT {columns} FROM vitals WHERE subject_token IN ({tokens})"


def erased(ward: Ward, person: str = GONE) -> tuple[dict, dict]:
    """The certificate's exports by file name, and the document."""
    around = Surroundings()
    erasure = ward.erasure(around)
    around.stores.append(export_store(erasure))
    request = ward.ask(person)
    assert [each.state for each in erasure.run([request])] == ["certified"]
    document = json.loads(certificate_file(ward.settings, request).read_text())
    return {Path(each["path"]).name: each for each in document["certificate"]["exports"]}, document


def told(settings: Settings, capsys: pytest.CaptureFixture[str], **options: bool) -> list[dict]:
    capsys.readouterr()
    assert exports.list_exports(settings, as_json=True, **options) == 0
    return json.loads(capsys.readouterr().out)["exports"]


def test_files_that_hold_the_person_go_at_home_and_are_asked_for_elsewhere_and_others_stay(
    ward: Ward, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, home, away = ward.settings, ward.settings.home, tmp_path / "away"
    away.mkdir()
    theirs, both = of(ward, GONE), of(ward, GONE, OTHER)
    assert sql(settings, theirs, output=home / "theirs.parquet") == 0
    assert sql(settings, of(ward, OTHER), output=home / "others.csv") == 0
    assert sql(settings, both, output=away / "both.csv", recipient="study 12", purpose="care") == 0
    assert sql(settings, of(ward, OTHER), output=away / "others.json") == 0
    assert sql(settings, "SELECT code, name FROM codes LIMIT 3", output=away / "codes.csv") == 0
    assert {each["people"] for each in told(settings, capsys)} == {1, 2}

    found, document = erased(ward)

    assert set(found) == {"theirs.parquet", "both.csv"}
    assert found["theirs.parquet"]["state"] == "deleted"
    assert found["both.csv"]["state"] == "handed out, to be erased by hand"
    assert (found["both.csv"]["recipient"], found["both.csv"]["purpose"]) == ("study 12", "care")
    assert not (home / "theirs.parquet").exists()
    assert [each.exists() for each in (home / "others.csv", away / "both.csv", away / "others.json")] == [True] * 3
    verdict, _ = check(document, home, None, START)
    assert verdict.wrong == []
    assert any("study 12" in line for line in verdict.waiting)
    (open_,) = told(settings, capsys, is_open=True)
    assert open_["path"].endswith("both.csv")
    assert exports.confirm(settings, open_["export"], "study 12 has written that it is gone") == 0
    assert told(settings, capsys, is_open=True) == []
    assert ward.token(GONE) not in json.dumps(told(settings, capsys))


def test_a_file_that_says_not_whose_rows_it_has_is_everybodys(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    file = ward.settings.home / "values.csv"
    assert sql(ward.settings, of(ward, OTHER, columns="numeric_value"), output=file) == 0
    assert "an erasure of anybody in vitals asks for it" in capsys.readouterr().err
    found, _ = erased(ward)
    assert (found["values.csv"]["says_whose"], file.exists()) == (False, False)


def test_one_row_that_says_not_whose_it_is_makes_a_file_everybodys(ward: Ward) -> None:
    file = ward.settings.home / "mixed.csv"
    mixed = f"{of(ward, OTHER)} UNION ALL SELECT NULL, numeric_value FROM vitals"
    assert sql(ward.settings, mixed, output=file) == 0
    found, _ = erased(ward)
    assert (found["mixed.csv"]["says_whose"], file.exists()) == (False, False)


@pytest.mark.parametrize("columns", ["subject_token AS who, numeric_value", "numeric_value"])
def test_no_file_is_written_of_rows_that_were_read_before_an_erasure(
    ward: Ward, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ward.settings.home / "late.csv"

    def while_it_is_formatted(answer: Answer) -> bytes:
        erased(ward)
        return format_csv(answer)

    format_csv = FORMATS["csv"]
    monkeypatch.setitem(FORMATS, "csv", while_it_is_formatted)
    assert sql(ward.settings, of(ward, GONE, columns=columns), output=file) == 1
    assert "was erased since" in capsys.readouterr().err
    assert not file.exists()
    monkeypatch.setitem(FORMATS, "csv", format_csv)
    assert sql(ward.settings, of(ward, OTHER, columns=columns), output=file) == 0


def test_an_erasure_waits_for_a_file_that_is_on_record_and_not_in_its_place_yet(ward: Ward) -> None:
    file, order = ward.settings.home / "slow.csv", []
    with Analytics(ward.settings) as analytics:
        answer = analytics.query(of(ward, GONE))
        waiting = threading.Thread(target=lambda: order.append(erased(ward)[0]["slow.csv"]["state"]))
        known = exports.erasures_so_far(ward.settings)
        with exports.on_record(
            ward.settings, analytics, answer, file, b"rows", erasures=known, purpose=None, recipient="", now=START
        ):
            waiting.start()
            time.sleep(1.5)
            file.write_bytes(b"rows")
            order.append("written")
    waiting.join(60)
    assert order == ["written", "deleted"]
    assert not file.exists()


def test_a_file_that_is_not_at_its_place_is_asked_for_and_not_told_as_deleted(ward: Ward, tmp_path: Path) -> None:
    file = ward.settings.home / "theirs.csv"
    assert sql(ward.settings, of(ward, GONE), output=file) == 0
    file.rename(tmp_path / "moved.csv")
    found, _ = erased(ward)
    assert found["theirs.csv"]["state"] == "handed out, to be erased by hand"


@pytest.mark.parametrize("step", ["delete file", "tell of file"])
def test_who_is_killed_while_a_file_goes_leaves_it_to_the_next_run(ward: Ward, step: str) -> None:
    file = ward.settings.home / "theirs.csv"
    assert sql(ward.settings, of(ward, GONE), output=file) == 0
    subjects = [Subject("r", (ward.token(GONE),))]

    def kill(at: str) -> None:
        if at == step:
            raise KeyboardInterrupt

    store = export_store(ward.erasure(progress=kill))
    with pytest.raises(KeyboardInterrupt):
        store.erase(subjects)
    again = export_store(ward.erasure())
    assert again.locate(subjects).total == 1
    assert again.erase(subjects).evidence["exports"][0]["state"] == "deleted"
    assert again.locate(subjects).total == 0
    assert list(ward.settings.home.glob("*theirs*")) == []


def test_a_verifier_finds_a_deleted_file_that_is_there_again(ward: Ward) -> None:
    file = ward.settings.home / "theirs.csv"
    assert sql(ward.settings, of(ward, GONE), output=file) == 0
    content = file.read_bytes()
    _, document = erased(ward)
    file.write_bytes(b"another file of the same name")
    assert check(document, ward.settings.home, None, START)[0].wrong == []
    file.write_bytes(content)
    assert any("files" in line for line in check(document, ward.settings.home, None, START)[0].wrong)


def test_no_file_is_written_without_a_record_nor_under_a_patients_name(
    ward: Ward, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / f"of-{GONE}.csv"
    assert sql(ward.settings, of(ward, OTHER), output=named) == 1
    assert "names a patient" in capsys.readouterr().err
    ward.catalog.drop_table((ward.settings.namespace, "exports"))
    assert sql(ward.settings, of(ward, OTHER), output=tmp_path / "others.csv") == 1
    assert "without a record" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.csv"))
