"""Every known way out of the views is refused, each shown open without the guard where it is one; questions pass."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from warehouse.statement_guard import StatementRefused, admit

TABLES = ("vitals", "alerts")
UNGUARDED = {"autoinstall_known_extensions": "false", "allow_persistent_secrets": "false", "temp_directory": ""}

# {lake} is the folder the session may read: DuckDB's own locks leave it open, for reading and for writing.
OPEN_WITHOUT_THE_GUARD = {
    "base file by read_parquet": "SELECT * FROM read_parquet('{lake}/vitals.parquet')",
    "base file by parquet_scan": "SELECT * FROM parquet_scan('{lake}/vitals.parquet')",
    "base file by its name": "SELECT * FROM '{lake}/vitals.parquet'",
    "base file, FROM first": "FROM '{lake}/vitals.parquet'",
    "base file by TABLE": "TABLE '{lake}/vitals.parquet'",
    "another's file as text": "SELECT content FROM read_text('{lake}/secret.csv')",
    "another's file as bytes": "SELECT content FROM read_blob('{lake}/secret.csv')",
    "another's file by read_csv": "SELECT * FROM read_csv('{lake}/secret.csv')",
    "another's file by sniff_csv": "SELECT * FROM sniff_csv('{lake}/secret.csv')",
    "listing by glob": "SELECT file FROM glob('{lake}/*')",
    "bounds by parquet_metadata": "SELECT stats_min_value FROM parquet_metadata('{lake}/vitals.parquet')",
    "schema by parquet_schema": "SELECT name FROM parquet_schema('{lake}/vitals.parquet')",
    "SQL text by query()": "SELECT * FROM query('SELECT * FROM read_text(''{lake}/secret.csv'')')",
    "table name by query_table()": "SELECT * FROM query_table('vitals')",
    "serialised SQL": "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM duckdb_secrets()'))",
    "planned SQL": "SELECT json_serialize_plan('SELECT 1')",
    "write by COPY": "COPY (SELECT 1) TO '{lake}/written.parquet'",
    "write a view's rows by COPY": "COPY vitals TO '{lake}/written.csv'",
    "export": "EXPORT DATABASE '{lake}/exported'",
    "database in memory by ATTACH": "ATTACH ':memory:' AS other",
    "database file by ATTACH": "ATTACH '{lake}/other.db' AS other_file",
    "table": "CREATE TABLE copy_of_vitals AS FROM vitals",
    "temporary table": "CREATE TEMP TABLE copy_of_vitals AS FROM vitals",
    "view replaced": "CREATE OR REPLACE VIEW vitals AS SELECT 1 AS forged",
    "view dropped": "DROP VIEW alerts",
    "macro": "CREATE MACRO peek(p) AS TABLE SELECT * FROM read_text(p)",
    "macro named as an allowed function": "CREATE MACRO upper(x) AS (SELECT content FROM read_text(x))",
    "type": "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "sequence": "CREATE SEQUENCE counter",
    "variable": "SET VARIABLE found = (SELECT content FROM read_text('{lake}/secret.csv'))",
    "variable read": "SELECT getvariable('found')",
    "setting read": "SELECT current_setting('allowed_directories')",
    "settings listed": "SELECT * FROM duckdb_settings()",
    "secrets listed": "SELECT * FROM duckdb_secrets()",
    "secret of a path": "SELECT * FROM which_secret('s3://warehouse/x', 's3')",
    "views' text": "SELECT sql FROM duckdb_views()",
    "functions listed": "SELECT * FROM duckdb_functions()",
    "logs read": "SELECT * FROM duckdb_logs()",
    "log written": "SELECT write_log('forged')",
    "logging turned on": "CALL enable_logging()",
    "information_schema": "SELECT * FROM information_schema.tables",
    "pg_catalog": "SELECT * FROM pg_catalog.pg_views",
    "pg_catalog without its schema": "SELECT * FROM pg_tables",
    "sqlite_master": "SELECT * FROM sqlite_master",
    "view's text by function": "SELECT pg_get_viewdef(1)",
    "PRAGMA": "PRAGMA database_list",
    "PRAGMA as a table": "SELECT * FROM pragma_database_size()",
    "CALL": "CALL pragma_version()",
    "PREPARE": "PREPARE peek AS SELECT * FROM read_text('{lake}/secret.csv')",
    "EXPLAIN": "EXPLAIN SELECT * FROM vitals",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE SELECT * FROM vitals",
    "SHOW": "SHOW ALL TABLES",
    "SHOW inside": "SELECT * FROM (SHOW TABLES)",
    "DESCRIBE": "DESCRIBE vitals",
    "DESCRIBE of a file": "DESCRIBE SELECT * FROM '{lake}/secret.csv'",
    "SUMMARIZE": "SUMMARIZE vitals",
    "SUMMARIZE of a file": "SUMMARIZE '{lake}/vitals.parquet'",
    "PIVOT": "PIVOT vitals ON code USING avg(numeric_value)",
    "PIVOT inside": "SELECT * FROM (PIVOT vitals ON code IN ('a') USING avg(numeric_value))",
    "UNPIVOT": "UNPIVOT vitals ON code",
    "two statements": "SELECT 1; SELECT * FROM duckdb_secrets()",
    "second statement behind a comment": "SELECT 1 /* ; */ ; -- \nCOPY (SELECT 1) TO '{lake}/second.parquet'",
    "transaction": "BEGIN; SELECT 1; COMMIT",
    "checkpoint": "CHECKPOINT",
    "VACUUM": "VACUUM",
    "USE": "USE memory",
    "aggregate named by text": "SELECT list_aggregate([1, 2], 'sum')",
    "sleep": "SELECT sleep_ms(1)",
    "seed set for the session": "SELECT setseed(0.5)",
    "schema-qualified view": "SELECT * FROM main.vitals",
    "catalog-qualified view": "SELECT * FROM memory.main.vitals",
    "WITH table out of its scope": """
        SELECT * FROM (WITH "{lake}/secret.csv" AS (SELECT 1 AS x) SELECT x FROM "{lake}/secret.csv"),
                      "{lake}/secret.csv" """,
    "WITH table defined by the file of its name": """
        WITH "{lake}/secret.csv" AS (SELECT * FROM "{lake}/secret.csv") SELECT 1""",
    "file in a scalar subquery": "SELECT (SELECT content FROM read_text('{lake}/secret.csv'))",
    "file in WHERE": "SELECT * FROM vitals WHERE code IN (SELECT name FROM '{lake}/secret.csv')",
    "file in EXISTS": "SELECT * FROM vitals WHERE EXISTS (FROM '{lake}/secret.csv')",
    "file in HAVING": "SELECT code FROM vitals GROUP BY code HAVING count(*) > (SELECT count(*) FROM glob('{lake}/*'))",
    "file in QUALIFY": "SELECT code FROM vitals QUALIFY row_number() OVER () < (SELECT count(*) FROM glob('{lake}/*'))",
    "file in ORDER BY": "SELECT code FROM vitals ORDER BY (SELECT count(*) FROM glob('{lake}/*'))",
    "file in LIMIT": "SELECT code FROM vitals LIMIT (SELECT count(*) FROM glob('{lake}/*'))",
    "file in DISTINCT ON": "SELECT DISTINCT ON ((SELECT count(*) FROM glob('{lake}/*'))) code FROM vitals",
    "file in FILTER": "SELECT count(*) FILTER (code < (SELECT max(file) FROM glob('{lake}/*'))) FROM vitals",
    "file in an aggregate's order": "SELECT first(code ORDER BY (SELECT count(*) FROM glob('{lake}/*'))) FROM vitals",
    "file in a window": "SELECT sum(1) OVER (PARTITION BY (SELECT count(*) FROM glob('{lake}/*'))) FROM vitals",
    "file in CASE": "SELECT CASE WHEN true THEN (SELECT max(file) FROM glob('{lake}/*')) END",
    "file in a join's condition": """
        SELECT * FROM vitals v JOIN alerts a ON v.code < (SELECT max(file) FROM glob('{lake}/*'))""",
    "file in a lateral join": """
        SELECT * FROM vitals v, LATERAL (SELECT v.code, content FROM read_text('{lake}/secret.csv'))""",
    "file in VALUES": "VALUES ((SELECT max(file) FROM glob('{lake}/*')))",
    "file in a union": "SELECT code FROM vitals UNION ALL SELECT content FROM read_text('{lake}/secret.csv')",
    "file in WITH": "WITH f AS MATERIALIZED (SELECT content FROM read_text('{lake}/secret.csv')) SELECT * FROM f",
    "file in a recursive WITH": """
        WITH RECURSIVE f AS (
            SELECT '' AS c UNION ALL SELECT content FROM f, read_text('{lake}/secret.csv') WHERE c = ''
        ) SELECT * FROM f""",
    "file in a table function's argument": "SELECT * FROM range((SELECT count(*) FROM glob('{lake}/*')))",
    "file in REPLACE": "SELECT * REPLACE ((SELECT max(file) FROM glob('{lake}/*')) AS code) FROM vitals",
    "file in a struct": "SELECT {{'a': (SELECT max(file) FROM glob('{lake}/*'))}}",
    "setting in a lambda": "SELECT list_transform([1], lambda x: current_setting('threads'))",
    "setting in a list comprehension": "SELECT [current_setting('threads') FOR x IN [1]]",
    "setting in a column filter": "SELECT columns(lambda c: c > current_setting('TimeZone')) FROM vitals",
    "setting in a cast": "SELECT CAST(current_setting('threads') AS VARCHAR)",
    "setting in BETWEEN": "SELECT 1 BETWEEN 0 AND current_setting('threads')",
    "setting by its full name": "SELECT system.main.current_setting('threads')",
    "setting in quotes and capitals": 'SELECT "CURRENT_Setting"(\'threads\')',
    "function of another schema": "SELECT pg_catalog.pg_get_viewdef(1)",
    "method call": "SELECT code.upper() FROM vitals",
}  # fmt: skip

REFUSED_TOO = {
    "environment": "SELECT getenv('HOME')",
    "Iceberg table by its metadata": "SELECT * FROM iceberg_scan('s3://warehouse/lake/x/metadata/1.metadata.json')",
    "erased rows by an older snapshot": "SELECT * FROM vitals AT (VERSION => 1)",
    "Iceberg files": "SELECT * FROM iceberg_metadata('s3://warehouse/lake/x/metadata/1.metadata.json')",
    "object by address": "SELECT * FROM 's3://warehouse/lake/x.parquet'",
    "web page by address": "SELECT * FROM 'https://localhost/x.parquet'",
    "local file": "SELECT * FROM '/etc/passwd'",
    "unknown table": "SELECT * FROM patients",
    "table of a Python variable": "SELECT * FROM TABLES",
    "look-alike of a view's name": "SELECT * FROM vital\u017f",
    "look-alike of a function's name": "SELECT \u017fum(1)",
    "raised text": "SELECT error(code) FROM vitals",
    "sequence used": "SELECT nextval('s')",
    "DELETE": "DELETE FROM vitals",
    "INSERT": "INSERT INTO vitals VALUES (1)",
    "UPDATE": "UPDATE vitals SET code = 'x'",
    "MERGE": "MERGE INTO vitals USING alerts USING (code) WHEN MATCHED THEN DELETE",
    "INSERT in WITH": "WITH x AS (INSERT INTO vitals VALUES (1) RETURNING *) SELECT * FROM x",
    "INSTALL": "INSTALL spatial",
    "LOAD": "LOAD spatial",
    "SET": "SET enable_external_access = true",
    "RESET": "RESET enable_external_access",
    "secret created": "CREATE SECRET other (TYPE s3, KEY_ID 'x', SECRET 'y')",
    "secret dropped": "DROP SECRET lake",
    "EXECUTE": "EXECUTE peek",
    "DETACH": "DETACH memory",
    "IMPORT": "IMPORT DATABASE 'x'",
    "SELECT INTO": "SELECT 1 INTO x",
    "self reference without RECURSIVE": "WITH x AS (SELECT * FROM x) SELECT * FROM x",
    "WITH table used before its time": "WITH a AS (FROM b), b AS (SELECT 1) FROM a",
    "USING KEY": "WITH RECURSIVE c USING KEY (a) AS (SELECT 1 a UNION SELECT a FROM recurring.c) FROM c",
    "type by its name": "SELECT code::mood FROM vitals",
    "type by its name, in a struct": "SELECT CAST({'a': 1} AS STRUCT(a mood))",
    "DEFAULT": "SELECT DEFAULT",
    "nothing": "",
    "only a comment": "-- SELECT 1",
    "syntax": "SELEC 1",
}

LEGITIMATE = {
    "star": "SELECT * FROM vitals",
    "capitals and quotes": 'SELECT V."code" FROM "VITALS" AS V',
    "FROM first": "FROM vitals SELECT code LIMIT 3",
    "no table": "SELECT 1 + 1 AS two",
    "comment and semicolon": "-- who\nSELECT 1;",
    "join": "SELECT * FROM vitals v LEFT JOIN alerts a USING (subject_token) WHERE a.rule IS NULL",
    "nearest before": "SELECT * FROM alerts a ASOF JOIN vitals v ON a.episode_start >= v.event_time",
    "semi join": "SELECT * FROM vitals SEMI JOIN alerts USING (subject_token)",
    "subqueries": "SELECT (SELECT max(level) FROM alerts), EXISTS (FROM vitals), 1 IN (SELECT 1)",
    "WITH": "WITH v AS (FROM vitals), w AS (FROM v WHERE ward = 'ICU') SELECT count(*) FROM w",
    "WITH narrowing its own view": "WITH vitals AS (FROM vitals WHERE numeric_value > 1) FROM vitals",
    "recursive WITH": "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) FROM n",
    "set operations": """
        (SELECT code FROM vitals EXCEPT SELECT rule FROM alerts) UNION BY NAME SELECT 1 AS x ORDER BY 1""",
    "group by all": "SELECT ward, code, count(*) FROM vitals GROUP BY ALL HAVING count(*) > 2 ORDER BY ALL",
    "grouping sets": "SELECT ward, code, grouping(ward), count(*) FROM vitals GROUP BY ROLLUP (ward, code)",
    "filter": "SELECT count(*) FILTER (WHERE numeric_value > 130), count(DISTINCT ward) FROM vitals",
    "qualify": """
        SELECT * FROM vitals QUALIFY row_number() OVER (PARTITION BY code ORDER BY event_time DESC) = 1""",
    "window frames": """
        SELECT avg(numeric_value) OVER (PARTITION BY code ORDER BY event_time
                                        RANGE BETWEEN INTERVAL 5 MINUTES PRECEDING AND CURRENT ROW),
               lag(numeric_value IGNORE NULLS) OVER w
        FROM vitals WINDOW w AS (ORDER BY event_time)""",
    "times": """
        SELECT date_trunc('hour', event_time), time_bucket(INTERVAL '5 minutes', event_time),
               extract(epoch FROM event_time), event_time AT TIME ZONE 'Europe/Berlin', now() - INTERVAL 1 DAY,
               date_diff('second', event_time, ingest_time), strftime(event_time, '%H:%M'),
               TIMESTAMPTZ '2026-11-22 00:00:00Z', event_time::DATE, current_timestamp, current_date
        FROM vitals""",
    "quantiles": """
        SELECT quantile_cont(numeric_value, [0.5, 0.99]), median(numeric_value), approx_quantile(numeric_value, 0.9),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY numeric_value), mode(code), mad(numeric_value)
        FROM vitals""",
    "lists": """
        SELECT list(code ORDER BY event_time), list_transform([1, 2], lambda x: x + 1), [x + 1 FOR x IN [1] IF x > 1],
               list_contains(['a'], code), [1, 2, 3][1:2], len([1]), list_sort([2, 1]), unnest([1, 2])
        FROM vitals GROUP BY code""",
    "structs": "SELECT {'a': 1, 'b': 'x'}.a, struct_pack(a := 1), row(1, 2), MAP {'k': 1}['k']",
    "unnest in FROM": "SELECT reason FROM alerts, unnest(reasons) AS r(reason)",
    "series": "SELECT * FROM range(3) AS r(i), generate_series(1, 2)",
    "values": "SELECT * FROM (VALUES ('8867-4', 'pulse')) AS names(code, name) JOIN vitals USING (code)",
    "case": """
        SELECT CASE code WHEN 'a' THEN 1 ELSE 0 END, if(true, 1, 2), coalesce(ward, '-'), nullif(1, 2) FROM vitals""",
    "text": """
        SELECT upper(code), code || '!', code LIKE '8%' ESCAPE '!', code ILIKE 'x', code SIMILAR TO '8.*', trim(code),
               code[1], regexp_extract(code, '([0-9]+)', 1), substring(code FROM 1 FOR 2), position('-' IN code)
        FROM vitals""",
    "casts": """
        SELECT numeric_value::INT, try_cast(code AS DECIMAL(10, 2)), CAST([1] AS DOUBLE[]),
               '2026-01-01'::TIMESTAMPTZ, CAST({'a': 1} AS STRUCT(a DOUBLE))
        FROM vitals""",
    "logic": """
        SELECT NOT (1 IS DISTINCT FROM 2 AND 3 BETWEEN 1 AND 4), 1 IN (1, 2), -numeric_value, try(1/0),
               1 > ANY (SELECT 0), numeric_value IS NOT NULL, ward NOT IN ('x', 'y'), ({'a': 1})['a'], ({'a': 1}).a,
               coalesce(*COLUMNS(['code', 'ward']))
        FROM vitals""",
    "columns chosen": "SELECT * EXCLUDE (ward) REPLACE (upper(code) AS code) FROM vitals",
    "columns renamed": "SELECT v.* EXCLUDE (v.ward) RENAME (code AS loinc) FROM vitals v",
    "columns by pattern": "SELECT max(COLUMNS('.*_time')) FROM vitals",
    "distinct on": "SELECT DISTINCT ON (code) code, numeric_value FROM vitals ORDER BY code, event_time DESC",
    "sample": "SELECT * FROM vitals USING SAMPLE 10 ROWS",
    "JSON": "SELECT json_extract_string('{\"a\": 1}', '$.a'), '{\"a\": 1}' ->> 'a', to_json(v) FROM vitals v",
    "named parameters": "SELECT * FROM vitals WHERE ward = $ward AND code = $code",
    "parameters": "SELECT * FROM vitals WHERE ward = ?",
    "literal that looks like a statement": "SELECT * FROM vitals WHERE ward = 'x''; DROP VIEW vitals; --'",
}  # fmt: skip

PARAMETERS = {"named parameters": {"ward": "ICU", "code": "8867-4"}, "parameters": ["ICU"]}


def admitted(sql: str) -> frozenset[str]:
    with duckdb.connect(":memory:") as parser:
        query = "SELECT json_serialize_sql(?::VARCHAR, skip_default := true)"
        return admit(parser.execute(query, [sql]).fetchall()[0][0], TABLES)


@pytest.fixture
def unguarded(tmp_path: Path):
    """A session as ours, with DuckDB's own locks and without the guard, its lake a folder."""
    (tmp_path / "secret.csv").write_text("name,value\nJane,1\n")
    session = duckdb.connect(":memory:", config=UNGUARDED)
    session.execute(f"""COPY (SELECT '8867-4' AS code, 'ICU' AS ward, 80.0::DOUBLE AS numeric_value,
        't' AS subject_token, now() AS event_time, now() AS ingest_time) TO '{tmp_path}/vitals.parquet'""")
    session.execute(f"CREATE VIEW vitals AS FROM read_parquet('{tmp_path}/vitals.parquet')")
    session.execute("""CREATE VIEW alerts AS SELECT 't' AS subject_token, '8867-4' AS code, 'news2' AS rule, 2 AS level,
        now() AS episode_start, ['x', 'y'] AS reasons""")
    session.execute(f"SET allowed_directories = ['{tmp_path}/']")
    session.execute("SET enable_external_access = false")
    session.execute("SET lock_configuration = true")
    yield session
    session.close()


@pytest.mark.parametrize("name", OPEN_WITHOUT_THE_GUARD)
def test_an_escape_that_duckdb_allows_is_refused(name: str, unguarded, tmp_path: Path):
    sql = OPEN_WITHOUT_THE_GUARD[name].format(lake=tmp_path)
    unguarded.execute(sql).fetchall()
    with pytest.raises(StatementRefused):
        admitted(sql)


@pytest.mark.parametrize("name", REFUSED_TOO)
def test_a_statement_that_is_no_question_is_refused(name: str):
    with pytest.raises(StatementRefused):
        admitted(REFUSED_TOO[name])


@pytest.mark.parametrize("name", LEGITIMATE)
def test_a_question_passes_and_runs(name: str, unguarded):
    admitted(LEGITIMATE[name])
    unguarded.execute(LEGITIMATE[name], PARAMETERS.get(name)).fetchall()


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", set()),
        ('SELECT * FROM "VITALS"', {"vitals"}),
        ("SELECT (SELECT max(level) FROM alerts), EXISTS (FROM vitals)", {"vitals", "alerts"}),
        ("WITH v AS (FROM vitals), w AS (FROM v) FROM w", {"vitals"}),
        ("WITH alerts AS (SELECT * FROM vitals) SELECT * FROM alerts", {"vitals"}),
        ("WITH alerts AS (SELECT 1) SELECT 2 UNION ALL FROM (FROM alerts)", set()),
        ("SELECT * FROM (WITH alerts AS (SELECT 1) FROM alerts), alerts", {"alerts"}),
    ],
)
def test_the_tables_a_statement_reads_are_told_from_its_with_tables(sql: str, tables: set[str]):
    assert admitted(sql) == tables


def test_duckdbs_locks_alone_let_a_statement_write_into_the_lake(unguarded, tmp_path: Path):
    unguarded.execute(OPEN_WITHOUT_THE_GUARD["write by COPY"].format(lake=tmp_path))
    assert (tmp_path / "written.parquet").exists()


def test_a_node_that_nobody_wrote_down_is_refused():
    tree = '{"statements": [{"node": {"type": "SELECT_NODE", "from_table": {"type": "NEW_REF"}}}]}'
    with pytest.raises(StatementRefused, match="new ref"):
        admit(tree, TABLES)


def test_an_operator_that_nobody_wrote_down_is_refused():
    operator = '{"class": "OPERATOR", "type": "OPERATOR_NEW", "children": []}'
    tree = f'{{"statements": [{{"node": {{"type": "SELECT_NODE", "select_list": [{operator}]}}}}]}}'
    with pytest.raises(StatementRefused, match="operator new"):
        admit(tree, TABLES)


def test_a_field_that_nobody_wrote_down_is_refused():
    tree = '{"statements": [{"node": {"type": "SELECT_NODE", "new_clause": {"x": 1}}}]}'
    with pytest.raises(StatementRefused, match="new clause in select node"):
        admit(tree, TABLES)


def test_an_expression_hidden_in_a_plain_field_is_refused():
    hidden = '{"class": "FUNCTION", "function_name": "getenv"}'
    tree = f'{{"statements": [{{"node": {{"type": "SELECT_NODE", "aggregate_handling": [{hidden}]}}}}]}}'
    with pytest.raises(StatementRefused):
        admit(tree, TABLES)


@pytest.mark.parametrize("depth", [200, 5_000, 50_000])
def test_deep_nesting_is_answered_not_a_crash(depth: int):
    try:
        admitted("SELECT " + "(" * depth + "1" + ")" * depth + " + 1" * depth)
    except StatementRefused:
        return
    assert depth < 1_000


def test_a_refusal_names_the_construct_and_where_it_stands():
    expected = r"function read_csv in FROM .*allowed are .*unnest.*byte 14"
    with pytest.raises(StatementRefused, match=expected) as refused:
        admitted("SELECT * FROM read_csv('x')")
    assert refused.value.position == 14


def test_a_refusal_names_the_tables_there_are():
    with pytest.raises(StatementRefused, match="table patients is not allowed; tables are alerts, vitals"):
        admitted("SELECT * FROM patients")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM 'canary-7f3a'",
        "SELECT \"canary-7f3a\"('canary-7f3a')",
        "SELECT 'canary-7f3a' 'canary-7f3a'",
        "SELECT getenv('canary-7f3a')",
        "SELECT 'canary-7f3a'::canary_type",
        'WITH "canary-7f3a" AS (SELECT 1) SELECT 1',
        "DELETE FROM vitals WHERE code = 'canary-7f3a'",
    ],
)
def test_a_refusal_does_not_repeat_what_stood_in_quotes(sql: str):
    with pytest.raises(StatementRefused) as refused:
        admitted(sql)
    assert "canary-7f3a" not in str(refused.value)
