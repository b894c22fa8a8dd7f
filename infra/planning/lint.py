"""What is wrong with contracts beyond what refuses them at load: the standard's own schema, and rules of the house.

Holds: the findings as data, each with file, field and remedy.
Does not hold: anything that needs a server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from warehouse.contract import (
    FOLDER,
    SUFFIX,
    Column,
    ContractError,
    RetentionClass,
    StreamContract,
    load_contracts,
    read_contract,
    retention_classes,
)
from warehouse.vocabulary import CODE_SYSTEMS, CODES

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_KNOWN_UNITS = {vital.unit for vital in CODES.values()} | {"per code", "per kind", "By", "1", "s", "ms", None}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend: where, and what to write there."""

    file: str
    field: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.remedy}"


def lint(folder: Path = FOLDER, own: Path | None = None) -> list[Finding]:
    """All findings of a folder of contracts, and of a site's own beside it; none if they are in order."""
    folders = [each for each in (folder, own) if each]
    try:
        classes = retention_classes(*folders)
    except ContractError as error:
        return [Finding(error.file, error.field, error.remedy)]
    paths = [path for each in folders for path in sorted(each.glob(f"*{SUFFIX}"))]
    findings = [finding for path in paths for finding in (*_against_standard(path), *_against_house(path, classes))]
    return findings or _together(folder, own)


def _against_standard(path: Path) -> Iterator[Finding]:
    """The JSON Schema of the Open Data Contract Standard, as its own package carries it."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # the house's own reading says so
    for error in _standard().iter_errors(document):
        place = ".".join(str(part) for part in error.absolute_path) or "file"
        yield Finding(path.name, place, f"the standard's schema wants {error.validator}: {error.validator_value!s:.80}")


@cache
def _standard() -> Validator:
    from jsonschema.validators import validator_for

    schema = json.loads((files("open_data_contract_standard") / "schema.json").read_text("utf-8"))
    return validator_for(schema)(schema)


def _against_house(path: Path, classes: Mapping[str, RetentionClass]) -> Iterator[Finding]:
    try:
        stream = read_contract(path, classes)
    except ContractError as error:
        yield Finding(error.file, error.field, error.remedy)
        return
    yield from _kept_nowhere(stream)
    for place, column in _columns(stream):
        yield from _column(stream, place, column)
    yield from _rules(stream)


def _columns(stream: StreamContract) -> Iterator[tuple[str, Column]]:
    for column in stream.message:
        yield f"schema[{stream.name}].{column.path}", column
    for table in stream.tables:
        for column in table.columns:
            yield f"schema[{table.name}].{column.name}", column


def _kept_nowhere(stream: StreamContract) -> Iterator[Finding]:
    kept = {column.source for table in stream.tables for column in table.columns}
    made = {column.name for table in stream.tables for column in table.columns if column.made_by}
    for column in stream.message:
        if column.path not in kept and column.name not in made and column.protection != "dropped":
            remedy = "no table column names it in transformSourceObjects; keep it, or mark it protection: dropped"
            yield Finding(stream.file, f"schema[{stream.name}].{column.path}", remedy)


def _column(stream: StreamContract, place: str, column: Column) -> Iterator[Finding]:
    if column.unit not in _KNOWN_UNITS:
        yield Finding(stream.file, place, f"unit {column.unit} is none the vocabulary knows; add it there or mend it")
    if column.code_system and not column.code_system.startswith("urn:") and column.code_system not in CODE_SYSTEMS:
        yield Finding(stream.file, place, f"code system must be a URN or one of {', '.join(CODE_SYSTEMS)}")
    if column.example is not None and not _fits(column):
        yield Finding(stream.file, place, f"the example is not a {column.type} within the column's bounds")


def _fits(column: Column) -> bool:
    """Whether the example could stand in the column."""
    wanted = {"integer": int, "number": (int, float), "boolean": bool, "array": list}.get(column.type, str)
    if not isinstance(column.example, wanted) or (column.type != "boolean" and isinstance(column.example, bool)):
        return False
    if isinstance(column.example, int | float):
        return (column.minimum is None or column.example >= column.minimum) and (
            column.maximum is None or column.example <= column.maximum
        )
    return not isinstance(column.example, str) or len(column.example) <= (column.max_length or 1 << 20)


def _rules(stream: StreamContract) -> Iterator[Finding]:
    for table in stream.tables:
        names = {column.name for column in table.columns}
        for rule in table.quality:
            keys = ("column", "column_A", "column_B")
            unknown = sorted({rule.arguments[key] for key in keys if key in rule.arguments} - names)
            if unknown:
                yield Finding(stream.file, f"schema[{table.name}].quality[{rule.name}]", f"there is no {unknown[0]}")


def _together(folder: Path, own: Path | None) -> list[Finding]:
    try:
        load_contracts(folder, own)
    except ContractError as error:
        return [Finding(error.file, error.field, error.remedy)]
    return []
