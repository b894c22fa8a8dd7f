"""The command answers, refuses and fails with its codes; a shell goes on after an error."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc
from pyarrow import parquet as pq

from infra.cli import answers
from infra.cli.sql import sql
from tests.warehouse.test_analytics import created, lake, vitals
from warehouse.analytics import Answer
from warehouse.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(store: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = lake(store, tmp_path_factory.mktemp("sql"))
    created(settings, "vitals").append(vitals(80.0, 90.0))
    created(settings, "exports")
    return settings


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    def typed(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))

    return typed


def test_a_statement_is_answered_on_standard_output(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(settings, "SELECT ward, count(*) AS readings FROM vitals GROUP BY ALL") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["ward   readings", "─────  ────────", "ICU-1         2"]
    assert err.startswith("1 row in ")
    assert "· vitals " in err


def test_a_kept_question_is_asked_by_its_name(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(settings, "@vitals_latest", format="json", clock=lambda: NOON) == 0
    by_at = json.loads(capsys.readouterr().out)
    assert sql(settings, named="vitals_latest", format="json", clock=lambda: NOON) == 0
    by_option = json.loads(capsys.readouterr().out)
    assert by_at["rows"] == by_option["rows"]
    assert by_at["rows"][0]["numeric_value"] == 90.0
    assert by_at["snapshots"].keys() == {"vitals"}


def test_the_kept_questions_are_listed_without_a_lake(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(dataclasses.replace(settings, catalog_uri="sqlite:////nowhere/x"), list_named=True) == 0
    assert "@alert_latency\n    How long" in capsys.readouterr().out


def test_a_moment_to_come_is_answered_with_what_is_known_now_and_said_to_be(settings: Settings, capsys):
    assert sql(settings, "SELECT count(*) AS n FROM vitals", as_of="2026-11-22T12:00:01Z", clock=lambda: NOON) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["n", "─", "2"]
    assert "lies in the future: this is what is known now" in err
    assert sql(settings, "SELECT count(*) AS n FROM vitals", as_of="2026-11-22T12:00Z", clock=lambda: NOON) == 0
    assert "future" not in capsys.readouterr().err


def test_as_of_shows_what_was_known_then(settings: Settings, capsys: pytest.CaptureFixture[str]):
    statement = "SELECT count(*) AS n FROM vitals"
    assert sql(settings, statement, as_of="2026-11-22T11:59:59", format="csv") == 0
    assert sql(settings, statement, as_of="2026-11-22T13:00+01:00", format="csv") == 0
    assert capsys.readouterr().out == "n\n0\nn\n2\n"


def test_a_refused_statement_is_shown_where_and_ends_in_one(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(settings, "SELECT 'µg',\n  getenv('HOME')") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("wardstream sql: statement refused: function getenv is not allowed")
    assert err.splitlines()[1:] == ["    getenv('HOME')", "    ^"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"statement": "SELECT wrad FROM vitals"}, '"wrad" not found'),
        ({"statement": "@nothing"}, "alert_latency"),
    ],
)
def test_what_cannot_be_answered_ends_in_one(
    settings: Settings, asked: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
):
    assert sql(settings, **asked) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"statement": "SELECT 1", "as_of": "yesterday"}, "--as-of: this is no time in ISO 8601"),
        ({"statement": "SELECT 1", "as_of": ""}, "--as-of"),
        ({"statement": "SELECT 1", "format": "xml"}, "--format is one of table, line, csv"),
        ({"statement": "SELECT 1", "named": "vitals_latest"}, "--named and a statement"),
        ({"statement": "SELECT 1", "format": "csv", "as_json": True}, "--format and --json"),
        ({"statement": "SELECT 1", "list_named": True}, "--list stands alone"),
        ({"output": Path("answer.csv")}, "--output takes the answer to one question"),
    ],
)
def test_options_that_cannot_be_used_end_in_two_before_anything_is_asked(
    settings: Settings, asked: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
):
    assert sql(dataclasses.replace(settings, catalog_uri="nonsense", s3_endpoint="nowhere"), **asked) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


def test_the_list_of_kept_questions_is_json_where_asked(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(settings, list_named=True, as_json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"vitals_latest", "device_health"} < {query["name"] for query in listed}
    assert all(query["question"] and query["units"] for query in listed)


def test_a_kept_question_may_be_named_with_its_at(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert sql(settings, named="@vitals_latest", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["rows"]


@pytest.mark.parametrize(("name", "column"), [("vitals_latest", "age_s"), ("device_health", "silent_s")])
def test_ages_are_counted_to_now_or_to_the_moment_asked_for(settings: Settings, name: str, column: str, capsys):
    def age(**asked: Any) -> float:
        assert sql(settings, named=name, as_json=True, clock=lambda: NOON + timedelta(hours=2), **asked) == 0
        return json.loads(capsys.readouterr().out)["rows"][0][column]

    assert age() - age(as_of="2026-11-22T13:00Z") == 3_600


def test_a_store_that_is_down_ends_in_two(settings: Settings, capsys: pytest.CaptureFixture[str]):
    down = dataclasses.replace(settings, s3_endpoint="http://127.0.0.1:1")
    assert sql(down, "SELECT * FROM vitals") == 2
    assert "did not answer" in capsys.readouterr().err


def test_a_shell_goes_on_after_an_error(settings: Settings, type_in, capsys: pytest.CaptureFixture[str]):
    type_in("SELECT count(*) AS n", "FROM vitals;", "", "DROP TABLE vitals;", ".format csv", "@vitals_latest", ".quit")
    assert sql(settings) == 1
    out, err = capsys.readouterr()
    assert out.startswith("n\n─\n2\nsubject_token,ward,name,")
    assert "statement refused: only one SELECT" in err


@pytest.mark.parametrize("script", [("SELECT 1;", "SELECT nothing"), ("SELECT nothing;", "SELECT 1;", ".quit")])
def test_a_script_piped_in_fails_if_any_statement_does(settings: Settings, type_in, script: tuple[str, ...]):
    type_in(*script)
    assert sql(settings) == 1


@pytest.mark.parametrize("word", ["quit", "EXIT", "quit;", ".exit", ".quit"])
def test_a_shell_is_left_with_or_without_the_dot_also_within_a_statement(settings: Settings, type_in, word, capsys):
    for opened in ((), ("SELECT 1 AS open",)):
        type_in(*opened, word, "SELECT 2 AS beyond;")
        assert sql(settings) == 0
        assert "beyond" not in capsys.readouterr().out


def test_a_command_within_a_statement_is_done_and_the_statement_stays_open(settings: Settings, type_in, capsys):
    type_in("SELECT ('a')", "  .upper() AS x", ".format csv", "help", ";")
    assert sql(settings) == 0
    out, err = capsys.readouterr()
    assert ".as-of T" in out
    assert out.endswith("x\nA\n")
    assert err.count("still open") == 2


def test_an_unknown_command_is_said_to_be_unknown(settings: Settings, type_in, capsys):
    type_in(".foo")
    assert sql(settings) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "unknown: .foo; .help" in err


def test_a_semicolon_in_a_literal_or_comment_ends_nothing(settings: Settings, type_in, capsys):
    type_in("SELECT ';", "' AS x -- don't;", ", 2 AS y;")
    assert sql(settings) == 0
    assert "x" in capsys.readouterr().out.splitlines()[0]


def test_a_shell_asks_as_of_a_moment_until_told_otherwise(settings: Settings, type_in, capsys):
    type_in(".format csv", ".as-of 2026-11-22T11:00Z", "SELECT count(*) AS n FROM vitals;", ".as-of", ".as-of never")
    assert sql(settings) == 1
    out, err = capsys.readouterr()
    assert out == "n\n0\n"
    assert "ISO 8601" in err


def test_a_shell_tells_tables_and_kept_questions(settings: Settings, type_in, capsys):
    type_in(".tables", ".named", ".help")
    assert sql(settings) == 0
    out = capsys.readouterr().out
    assert "\nvitals: event_id, subject_token," in out
    assert "@quality_gate\n" in out
    assert ".as-of T" in out


# Files


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "arrow"])
def test_an_answer_goes_whole_to_a_file_in_the_format_of_its_ending(settings: Settings, tmp_path, ending, capsys):
    file = tmp_path / f"answer.{ending}"
    file.write_text("the answer of yesterday")
    assert sql(settings, "SELECT numeric_value FROM vitals ORDER BY ALL", output=file) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}: {file.stat().st_size:,} bytes" in err
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]
    read = {
        "csv": lambda: [float(row["numeric_value"]) for row in csv.DictReader(file.open())],
        "json": lambda: [row["numeric_value"] for row in json.loads(file.read_bytes())["rows"]],
        "parquet": lambda: pq.read_table(file)["numeric_value"].to_pylist(),
        "arrow": lambda: ipc.open_stream(file.read_bytes()).read_all()["numeric_value"].to_pylist(),
    }
    assert read[ending]() == [80.0, 90.0]


def test_a_format_given_goes_before_a_files_ending(settings: Settings, tmp_path):
    assert sql(settings, "SELECT 1 AS x", output=tmp_path / "answer.parquet", format="csv") == 0
    assert (tmp_path / "answer.parquet").read_text() == "x\n1\n"


def test_a_file_that_cannot_be_written_ends_in_one_and_leaves_nothing(settings: Settings, tmp_path, capsys):
    (tmp_path / "taken.csv").mkdir()
    for file in (tmp_path / "taken.csv", tmp_path / "nowhere" / "answer.csv"):
        assert sql(settings, "SELECT 1 AS x", output=file) == 1
        assert f"cannot write {file} (" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "taken.csv"]


def test_a_statement_that_fails_leaves_the_file_as_it_was(settings: Settings, tmp_path):
    file = tmp_path / "answer.csv"
    file.write_text("the answer of yesterday")
    assert sql(settings, "SELECT wrad FROM vitals", output=file) == 1
    assert file.read_text() == "the answer of yesterday"


def test_in_a_shell_a_file_serves_for_one_answer(settings: Settings, type_in, tmp_path, capsys):
    type_in(".format csv", f".output {tmp_path / 'answer.csv'}", "SELECT 1 AS x;", "SELECT 2 AS y;")
    assert sql(settings) == 0
    assert (tmp_path / "answer.csv").read_text() == "x\n1\n"
    assert capsys.readouterr().out == "y\n2\n"


# Formats

ROWS = pa.table(
    {
        "text": ["a", "b\x1b[2J\n", None],
        "number": [1.5, float("nan"), None],
        "decimal": pa.array([Decimal("1.10"), None, None], pa.decimal128(5, 2)),
        "time": pa.array([NOON, None, None], pa.timestamp("us", "UTC")),
        "day": [date(2026, 11, 22), None, None],
        "bytes": [b"\x00\xff", None, None],
        "list": [["x", "y"], [], None],
        "struct": [{"a": 1}, None, None],
    }
)
ANSWER = Answer(ROWS, {"vitals": 7}, 0.25)


def test_every_format_keeps_every_row():
    as_json = json.loads(answers.json_object(ANSWER))
    as_csv = list(csv.DictReader(io.StringIO(answers.csv_rows(ANSWER).decode())))
    as_parquet = pq.read_table(pa.BufferReader(answers.parquet(ANSWER)))
    as_arrow = ipc.open_stream(answers.arrow(ANSWER)).read_all()
    without_nan = ROWS.drop_columns("number")
    assert as_parquet.drop_columns("number").equals(without_nan)
    assert as_arrow.drop_columns("number").equals(without_nan)
    assert len(as_json["rows"]) == len(as_csv) == 3
    assert as_csv[0]["list"] == '["x", "y"]'


def test_json_is_json_for_every_type():
    first, second, third = json.loads(answers.json_object(ANSWER), parse_constant=pytest.fail)["rows"]
    assert first == {
        "text": "a", "number": 1.5, "decimal": "1.10", "time": "2026-11-22T12:00:00Z", "day": "2026-11-22",
        "bytes": "00ff", "list": ["x", "y"], "struct": {"a": 1},
    }  # fmt: skip
    assert second["number"] is None
    assert set(third.values()) == {None}


def test_a_table_does_not_let_text_steer_the_terminal():
    shown = answers.table(ANSWER).decode()
    assert "\x1b" not in shown
    assert r"b\x1b[2J\n" in shown


def test_a_long_answer_says_what_it_leaves_out():
    rows = Answer(pa.table({"n": range(answers.SHOWN_ROWS + 5)}), {}, 0.1)
    assert answers.table(rows).decode().splitlines()[-1] == "… 5 more rows; --format csv prints all"


def test_a_cut_value_is_whole_a_field_a_line_and_the_table_says_so(settings: Settings, capsys):
    statement = f"SELECT '{'x' * 90}' AS long, 1 AS n"
    assert sql(settings, statement) == 0
    assert "--format line" in capsys.readouterr().err
    assert sql(settings, statement, format="line") == 0
    assert capsys.readouterr() == (f"long  {'x' * 90}\nn     1\n", "")
    assert answers.fields(ANSWER).decode().splitlines()[:9][-1] == ""
    assert "\x1b" not in answers.fields(ANSWER).decode()


def test_an_answer_without_rows_shows_its_columns():
    assert answers.table(Answer(ROWS.slice(0, 0), {}, 0.1)).decode().split() == [
        *ROWS.column_names, *("─" * len(name) for name in ROWS.column_names)
    ]  # fmt: skip
