"""Whether a statement may run: one SELECT over the session's own views, in words from a list, and nothing else.

Holds: the shape of an allowed syntax tree as data, and the walk that compares a parsed statement with it.
Does not hold: the parser (the tree comes as the text `json_serialize_sql` makes, see `analytics.py`), the words
(`statement_functions.py`), nor any connection.

DuckDB's own locks do not hold: with external access off and its configuration locked, a statement still reads
files below an allowed folder and writes there by COPY. So a statement is parsed before it runs, and whatever the tree
below does not name (a node, a field of a node, a function, a type, a table) is refused: a construct that a later
DuckDB adds is refused until somebody writes it down here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from warehouse.statement_functions import DATA_TYPES, FUNCTIONS, TABLE_FUNCTIONS

Scope = frozenset[str]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_SELECT_ONLY = "only one SELECT is allowed (WITH, set operations and subqueries included)"

# What each field of a node may hold is the name of the `_Walk` method that reads it. Fields of every node:
_EVERYWHERE = {"type": "plain", "class": "plain", "alias": "plain", "query_location": "plain"}

_QUERIES = {
    "SELECT_NODE": {
        "cte_map": "done", "modifiers": "modifiers", "select_list": "expressions", "from_table": "table",
        "where_clause": "expression", "group_expressions": "expressions", "group_sets": "plain",
        "aggregate_handling": "plain", "having": "expression", "qualify": "expression", "sample": "plain",
    },
    "SET_OPERATION_NODE": {
        "cte_map": "done", "modifiers": "modifiers", "setop_type": "plain", "setop_all": "plain",
        "left": "query", "right": "query", "children": "queries",
    },
    "RECURSIVE_CTE_NODE": {
        "cte_map": "done", "modifiers": "modifiers", "cte_name": "plain", "union_all": "plain", "aliases": "plain",
        "left": "query", "right": "query",
    },
}  # fmt: skip

_TABLES = {
    "EMPTY": {},
    "BASE_TABLE": {"table_name": "view", "column_name_alias": "plain", "sample": "plain"},
    "SUBQUERY": {"subquery": "subquery", "column_name_alias": "plain", "sample": "plain"},
    "JOIN": {
        "left": "table", "right": "table", "condition": "expression", "join_type": "plain", "ref_type": "plain",
        "using_columns": "plain",
    },
    "EXPRESSION_LIST": {"values": "rows", "column_name_alias": "plain", "expected_names": "plain"},
    "TABLE_FUNCTION": {
        "function": "table_function", "column_name_alias": "plain", "with_ordinality": "plain", "sample": "plain",
    },
}  # fmt: skip

_FUNCTION = {
    "function_name": "plain", "schema": "built_in", "children": "expressions", "filter": "expression",
    "order_bys": "modifier", "distinct": "plain", "is_operator": "plain", "export_state": "plain",
}  # fmt: skip

_EXPRESSIONS = {
    "COLUMN_REF": {"column_names": "plain"},
    "POSITIONAL_REFERENCE": {"index": "plain"},
    "PARAMETER": {"identifier": "plain"},
    "CONSTANT": {"value": "constant"},
    "STAR": {
        "relation_name": "plain", "exclude_list": "plain", "qualified_exclude_list": "plain", "columns": "plain",
        "rename_list": "plain", "replace_list": "replacements", "expr": "expression", "unpacked": "plain",
    },
    "FUNCTION": {**_FUNCTION, "function_name": "function"},
    "WINDOW": {
        "function_name": "function", "schema": "built_in", "children": "expressions", "partitions": "expressions",
        "orders": "orders", "arg_orders": "orders", "start": "plain", "end": "plain", "start_expr": "expression",
        "end_expr": "expression", "offset_expr": "expression", "default_expr": "expression",
        "filter_expr": "expression", "ignore_nulls": "plain", "distinct": "plain", "exclude_clause": "plain",
    },
    "LAMBDA": {"lhs": "expression", "expr": "expression"},
    "SUBQUERY": {
        "subquery_type": "plain", "subquery": "subquery", "child": "expression", "comparison_type": "plain",
    },
    "COMPARISON": {"left": "expression", "right": "expression"},
    "BETWEEN": {"input": "expression", "lower": "expression", "upper": "expression"},
    "CONJUNCTION": {"children": "expressions"},
    "OPERATOR": {"type": "operator", "children": "expressions"},
    "CASE": {"case_checks": "cases", "else_expr": "expression"},
    "CAST": {"child": "expression", "cast_type": "data_type", "try_cast": "plain"},
}  # fmt: skip

_OPERATORS = frozenset(
    {
        "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT", "OPERATOR_COALESCE", "OPERATOR_TRY",
        "OPERATOR_UNPACK", "COMPARE_IN", "COMPARE_NOT_IN", "ARRAY_EXTRACT", "ARRAY_SLICE", "STRUCT_EXTRACT",
        "GROUPING_FUNCTION",
    }
)  # fmt: skip

_MODIFIERS = {
    "ORDER_MODIFIER": {"orders": "orders"},
    "LIMIT_MODIFIER": {"limit": "expression", "offset": "expression"},
    "LIMIT_PERCENT_MODIFIER": {"limit": "expression", "offset": "expression"},
    "DISTINCT_MODIFIER": {"distinct_on_targets": "expressions"},
}

_ORDER = {"null_order": "plain", "expression": "expression"}
_CASE = {"when_expr": "expression", "then_expr": "expression"}
_REPLACEMENT = {"key": "plain", "value": "expression"}
_CTE = {"query": "subquery", "aliases": "plain", "materialized": "plain"}

_REMEDIES = {
    "at_clause": "time travel is by system time; give the moment as as-of",
    "schema_name": "name a table alone, without a schema or catalog",
    "catalog_name": "name a table alone, without a schema or catalog",
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE are no SELECT; the shell's .tables lists tables and columns",
    "PIVOT": "write the columns out with FILTER or CASE",
    "DEFAULT": "write the value",
    "COLLATE": "use lower() or strip_accents()",
    "key_targets": "USING KEY is not allowed; write a plain recursive WITH",
}


class StatementRefused(ValueError):
    """A statement holds something that is not allowed. Says what and what to do.

    `position` is where it stands, in bytes of UTF-8 from 0, if that is known.
    """

    def __init__(self, what: str, position: int | None = None) -> None:
        where = "" if position is None else f" (at byte {position} of the statement)"
        super().__init__(f"statement refused: {what}{where}")
        self.position = position


def admit(serialised: str, tables: Collection[str]) -> frozenset[str]:
    """Check one parsed statement against what is allowed; returns those of `tables` that it reads.

    `serialised` is what `json_serialize_sql(sql, skip_default := true)` answers. Raises `StatementRefused`, whose
    message names the construct and its place, never a literal of the statement.
    """
    try:
        tree = json.loads(serialised)
        statement = _only_statement(tree)
        walk = _Walk(frozenset(name.lower() for name in tables))
        walk.fields(statement, _STATEMENT, "this part of a statement", frozenset())
    except RecursionError:
        raise StatementRefused("it is nested too deeply; split it with WITH") from None
    return frozenset(walk.read)


_STATEMENT = {"node": "query", "named_param_map": "plain"}


def _only_statement(tree: dict[str, Any]) -> dict[str, Any]:
    if tree.get("error"):
        if tree.get("error_type") == "parser":
            raise StatementRefused("its syntax is wrong", _whole(tree.get("position")))
        raise StatementRefused(_SELECT_ONLY)
    statements = tree.get("statements", [])
    if len(statements) != 1:
        raise StatementRefused(f"{_SELECT_ONLY}; {len(statements)} statements were given")
    return statements[0]


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


class _Walk:
    """One pass over a tree. Methods named in the tables above take (value, names of the WITH tables in scope)."""

    def __init__(self, tables: frozenset[str]) -> None:
        self.tables = tables
        self.read: set[str] = set()
        self.position: int | None = None

    def fields(self, node: dict[str, Any], shapes: dict[str, str], kind: str, scope: Scope) -> None:
        """Read each field of a node as `shapes` says; a field that is not there is refused."""
        for field, value in node.items():
            reader = shapes.get(field) or _EVERYWHERE.get(field)
            if reader is None:
                raise self.refusal(_REMEDIES.get(field, f"{_spoken(field)} in {_spoken(kind)} is not allowed"))
            getattr(self, reader)(value, scope)

    def node(self, node: Any, grammar: dict[str, dict[str, str]], tag: str, scope: Scope) -> None:
        kind = node.get(tag) if isinstance(node, dict) else None
        if not isinstance(kind, str) or kind not in grammar:
            raise self.refusal(_REMEDIES.get(str(kind), f"{_spoken(str(kind))} is not allowed"))
        self.position = node.get("query_location", self.position)
        self.fields(node, grammar[kind], kind, scope)

    def refusal(self, what: str) -> StatementRefused:
        return StatementRefused(what, self.position)

    # queries and what stands in FROM

    def query(self, node: dict[str, Any], scope: Scope) -> None:
        self.node(node, _QUERIES, "type", self.with_tables(node, scope))

    def queries(self, nodes: list[dict[str, Any]], scope: Scope) -> None:
        for node in nodes:
            self.query(node, scope)

    def subquery(self, holder: dict[str, Any], scope: Scope) -> None:
        self.fields(holder, _STATEMENT, "a subquery", scope)

    def with_tables(self, node: dict[str, Any], scope: Scope) -> Scope:
        """Check the WITH tables of a query in order; returns the scope its body sees.

        A table sees those before it, and itself only if it is recursive: a name is never taken for a WITH table
        where DuckDB would look further for it.
        """
        for entry in node.get("cte_map", {}).get("map", []):
            name = self.with_name(entry["key"])
            inner = entry["value"].get("query", {}).get("node", {})
            recursive = inner.get("type") == "RECURSIVE_CTE_NODE"
            self.fields(entry["value"], _CTE, "a WITH table", scope | {name} if recursive else scope - {name})
            scope = scope | {name}
        return scope

    def with_name(self, name: str) -> str:
        if not _NAME.match(name):
            raise self.refusal("a WITH table's name is letters, digits and _")
        return name.lower()

    def table(self, node: dict[str, Any], scope: Scope) -> None:
        self.node(node, _TABLES, "type", scope)

    def view(self, name: str, scope: Scope) -> None:
        known = name.lower() if _NAME.match(name) else ""
        if known in scope:
            return
        if known not in self.tables:
            shown = f"table {name}" if known else "a file, address or quoted name as a table"
            raise self.refusal(f"{shown} is not allowed; tables are {', '.join(sorted(self.tables))}")
        self.read.add(known)

    def rows(self, rows: list[list[Any]], scope: Scope) -> None:
        for row in rows:
            self.expressions(row, scope)

    def table_function(self, node: dict[str, Any], scope: Scope) -> None:
        name = str(node.get("function_name", ""))
        if node.get("class") != "FUNCTION" or name.lower() not in TABLE_FUNCTIONS:
            allowed = ", ".join(sorted(TABLE_FUNCTIONS))
            raise self.refusal(f"function {_shown(name)} in FROM is not allowed; allowed are {allowed}")
        self.fields(node, _FUNCTION, "a table function", scope)

    # expressions

    def expression(self, node: dict[str, Any], scope: Scope) -> None:
        self.node(node, _EXPRESSIONS, "class", scope)

    def expressions(self, nodes: list[dict[str, Any]], scope: Scope) -> None:
        for node in nodes:
            self.expression(node, scope)

    def function(self, name: str, _: Scope) -> None:
        if name.lower() not in FUNCTIONS or not name.isascii():
            raise self.refusal(f"function {_shown(name)} is not allowed")

    def operator(self, kind: str, _: Scope) -> None:
        if kind not in _OPERATORS:
            raise self.refusal(f"{_spoken(kind)} is not allowed")

    def built_in(self, schema: str, _: Scope) -> None:
        if schema != "main":
            raise self.refusal("a function with a schema or as a method is not allowed; write name(arguments)")

    def modifier(self, node: dict[str, Any], scope: Scope) -> None:
        self.node(node, _MODIFIERS, "type", scope)

    def modifiers(self, nodes: list[dict[str, Any]], scope: Scope) -> None:
        for node in nodes:
            self.modifier(node, scope)

    def orders(self, orders: list[dict[str, Any]], scope: Scope) -> None:
        for order in orders:
            self.fields(order, _ORDER, "ORDER BY", scope)

    def cases(self, checks: list[dict[str, Any]], scope: Scope) -> None:
        for check in checks:
            self.fields(check, _CASE, "CASE", scope)

    def replacements(self, entries: list[dict[str, Any]], scope: Scope) -> None:
        for entry in entries:
            self.fields(entry, _REPLACEMENT, "REPLACE", scope)

    # leaves

    def data_type(self, data_type: dict[str, Any], _: Scope) -> None:
        for part in _dictionaries(data_type):
            if "class" in part or ("id" in part and part["id"] not in DATA_TYPES):
                raise self.refusal("a cast to this type is not allowed; cast to a built-in scalar, list or struct")

    def plain(self, value: Any, _: Scope) -> None:
        """A name, number, flag or list of such: nothing that could itself be an expression, table or query."""
        for part in _dictionaries(value):
            if part.keys() & {"class", "node", "function_name", "table_name", "subquery"}:
                raise self.refusal("an expression is not allowed here")

    def constant(self, _value: Any, _scope: Scope) -> None:
        """A literal: data, whatever it is."""

    def done(self, _value: Any, _scope: Scope) -> None:
        """WITH tables, which `with_tables` has read."""


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _dictionaries(part)


def _spoken(field: str) -> str:
    return field.replace("_", " ").lower()


def _shown(name: str) -> str:
    return name if _NAME.match(name) else "of that name"
