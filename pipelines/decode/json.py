"""JSON messages into Arrow columns, typed as the contract's message says.

Holds: the message's type, made from the contract; decoding; why a message was refused.
Does not hold: what a value means. Times and dates stay text here, units as sent (`pipelines/normalise.py`).

Row i of what comes out is message `row_index[i]`; a message that cannot be read is one reject and touches no other.
As the standard leaves it open: of a key given twice the last value counts; a byte order mark, NaN, Infinity and
numbers beyond 64 bits are refused. A key the contract does not know fails no message, unless it is nested a thousand
deep: it is kept as it was written in `unknown_fields` where the stream's table has that column, and ignored otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, cast

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

from pipelines.batch import Reject, StreamBatch
from warehouse.contract import Column, StreamContract
from warehouse.contract_model import UNKNOWN_FIELDS

STAGE = "decode"

# As many messages as stay in the processor's cache between decoding and their columns.
SLICE = 2_000

_PYTHON = {
    "string": str,
    "timestamptz": str,
    "date": str,
    "double": float,
    "long": int,
    "int": int,
    "boolean": bool,
    "list<string>": list[str],
    "list<double>": list[float],
    "json": msgspec.Raw,
}
_ARROW = {
    str: pa.string(),
    float: pa.float64(),
    int: pa.int64(),
    bool: pa.bool_(),
    list[str]: pa.list_(pa.string()),
    list[float]: pa.list_(pa.float64()),
    msgspec.Raw: pa.binary(),
}
_NUMPY = {float: np.float64, int: np.int64}
_INTEGERS = {"long": 63, "int": 31}
_CANNOT_READ = (msgspec.MsgspecError, UnicodeError, RecursionError)
_ABSENT = msgspec.Raw()
_UNKNOWN_FIELD = "Object contains unknown field"


class JsonDecoder:
    """Decodes the messages of one stream. Holds no state between batches."""

    def __init__(self, contract: StreamContract) -> None:
        keeps_unknown = any(UNKNOWN_FIELDS in table.names for table in contract.tables)
        self._message = _object_of(contract, strict=keeps_unknown)
        self._decode = msgspec.json.Decoder(self._message.struct).decode
        # Nothing is left for it to decode where no unknown field stops the first.
        lenient = _object_of(contract, strict=False) if keeps_unknown else self._message
        self._decode_known = msgspec.json.Decoder(lenient.struct).decode
        leaves = {leaf.column.name: leaf.arrow for leaf in self._message.leaves()}
        self._schema = pa.schema([(column.name, leaves[column.name]) for column in contract.message])

    def decode(self, batch: StreamBatch) -> StreamBatch:
        """The batch with `rows` (columns of the contract's message, in its order) and a reject for each failure.

        Behind them, only where a message has any, `unknown_fields`: binary[rows], a JSON object in clear. Messages
        that are rejected already stay as they are.
        """
        index = _undecided(batch)
        values: Sequence[bytes | None] = batch.messages.values
        if len(index) < len(values):
            values = list(map(values.__getitem__, index.tolist()))
        parts, kept, rejects, unknown = [], np.ones(len(index), bool), [], {}
        for start in range(0, len(values), SLICE):
            read = self._read(values[start : start + SLICE])
            for at, reason, detail in read.refused:
                kept[start + at] = False
                rejects.append(Reject(int(index[start + at]), STAGE, reason, detail))
            unknown.update((start + at, fields) for at, fields in read.unknown.items())
            parts.append(self._columns(read.structs))
        rows = pa.Table.from_batches(parts, self._schema).combine_chunks()
        if unknown:
            rows = rows.append_column(
                UNKNOWN_FIELDS, pa.array(map(unknown.get, np.flatnonzero(kept).tolist()), pa.binary())
            )
        return replace(batch, rows=rows, row_index=index[kept], rejects=(*batch.rejects, *rejects))

    def _read(self, values: Sequence[bytes | None]) -> _Read:
        unreadable = _unreadable(values)
        if not unreadable:
            return self._typed(values, range(len(values)))
        places = [at for at in range(len(values)) if at not in unreadable]
        read = self._typed([values[at] for at in places], places)
        return replace(read, refused=sorted([*read.refused, *((at, *why) for at, why in unreadable.items())]))

    def _typed(self, values: Sequence[Any], places: Sequence[int]) -> _Read:
        read = _Read()
        pending = map(self._decode, values)
        while True:
            try:
                # Runs in C. After an exception the map goes on behind the value that raised it.
                read.structs.extend(pending)
                return read
            except _CANNOT_READ as error:
                at = len(read.structs) + len(read.refused)
                if _UNKNOWN_FIELD in str(error):
                    self._take_with_unknown(values[at], places[at], read)
                else:
                    read.refused.append((places[at], *_refusal(values[at], error)))

    def _take_with_unknown(self, value: bytes, place: int, read: _Read) -> None:
        """A message that says more than the contract knows: as far as it is known, and the rest as it came."""
        try:
            struct = self._decode_known(value)
            read.unknown[place] = msgspec.json.encode(self._message.unknown_of(_members(value)))
            read.structs.append(struct)
        except _CANNOT_READ as error:
            read.refused.append((place, *_refusal(value, error)))

    def _columns(self, structs: list[msgspec.Struct]) -> pa.RecordBatch:
        columns = dict(self._message.columns(structs))
        return pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema)


@dataclass(slots=True)
class _Read:
    """What became of some values: the messages that can be read, in order; (position, reason, detail) of the others, in
    order; position -> what the contract does not know of one that can be read."""

    structs: list[msgspec.Struct] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    unknown: dict[int, bytes] = field(default_factory=dict)


def _members(value: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each as it was written."""
    return msgspec.json.decode(value, type=dict[str, msgspec.Raw])


def _undecided(batch: StreamBatch) -> np.ndarray:
    """int64: the messages that are no reject yet."""
    undecided = np.ones(len(batch.messages), bool)
    undecided[[reject.index for reject in batch.rejects]] = False
    return np.flatnonzero(undecided)


# ------------------------------------------------------------------ why a message was refused


def _unreadable(values: Sequence[bytes | None]) -> dict[int, tuple[str, str]]:
    """Position -> (reason, detail) of values that are no text at all.

    msgspec checks UTF-8 only in the strings it keeps, so fields the contract does not know need this look.
    """
    with suppress(TypeError):  # a tombstone among them
        if b"".join(cast(Sequence[bytes], values)).isascii() or _all_utf8(values):
            return {}
    return {at: why for at, value in enumerate(values) if (why := _not_text(value))}


def _all_utf8(values: Sequence[bytes | None]) -> bool:
    try:
        pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _not_text(value: bytes | None) -> tuple[str, str] | None:
    if value is None:
        return "tombstone", ""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"byte {error.start}"
    return None


# What msgspec says of a message that is JSON but not of the contract's type. Its words name paths, types and the
# contract's own limits, never a value.
_REASONS = (
    ("matching regex", "wrong_pattern"),  # which may hold any of the other words
    ("missing required field", "missing_field"),
    ("got `null` - at `$.values[", "wrong_type"),
    ("got `null`", "missing_field"),
    ("of length", "wrong_length"),
    (">=", "out_of_bounds"),
    ("<=", "out_of_bounds"),
    ("out of range", "out_of_bounds"),
)


def _refusal(value: bytes, error: Exception) -> tuple[str, str]:
    """(reason, detail). The detail never holds anything of the value."""
    if isinstance(error, RecursionError):
        return "nested_too_deep", ""
    if isinstance(error, UnicodeDecodeError):
        return "invalid_utf8", ""
    if not value.strip():
        return "empty_message", ""
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        return next((reason for words, reason in _REASONS if words in text), "wrong_type"), text
    return ("several_objects" if _goes_on_with_an_object(value, text) else "malformed_json"), text


def _goes_on_with_an_object(value: bytes, text: str) -> bool:
    # msgspec counts the first character that is too many: it stands just before the place it names.
    _, trailing, place = text.partition("trailing characters (byte ")
    return bool(trailing) and value[int(place.rstrip(")")) - 1 :].startswith(b"{")


# ------------------------------------------------------------------ the message's type, by contract


@dataclass(slots=True)
class _Leaf:
    """A field that becomes a column. `attribute` is its name in the struct."""

    column: Column
    attribute: str
    python: Any

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW[self.python]


@dataclass(slots=True)
class _Object:
    """A JSON object: its columns, its inner objects by struct attribute, the fields' names by attribute, its struct."""

    fields: list[_Leaf] = field(default_factory=list)
    objects: list[tuple[str, _Object]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    struct: type[msgspec.Struct] = msgspec.Struct
    required: bool = False

    def leaves(self) -> Iterable[_Leaf]:
        yield from self.fields
        for _, inner in self.objects:
            yield from inner.leaves()

    def unknown_of(self, given: dict[str, msgspec.Raw]) -> dict[str, Any]:
        """The fields of a JSON object that this one does not know, as they came; those of inner objects within
        theirs."""
        inner = {self.names[attribute]: known for attribute, known in self.objects}
        unknown: dict[str, Any] = {name: value for name, value in given.items() if name not in self.names.values()}
        for name, known in inner.items():
            value = bytes(given.get(name, _ABSENT))
            if value.startswith(b"{") and (within := known.unknown_of(_members(value))):
                unknown[name] = within
        return unknown

    def columns(self, structs: Sequence[msgspec.Struct]) -> Iterable[tuple[str, pa.Array]]:
        """(column name, array) of every leaf below."""
        # Once through the messages, and not once a field.
        turned = zip(*map(astuple, structs), strict=True) if structs else ((),) * len(self.names)
        values = dict(zip(self.struct.__struct_fields__, turned, strict=True))
        for leaf in self.fields:
            yield leaf.column.name, _column(leaf, values[leaf.attribute])
        for attribute, inner in self.objects:
            inside = values[attribute]
            yield from inner.columns(inside if inner.required else _filled(inside, inner.struct))


def _column(leaf: _Leaf, values: Sequence[Any]) -> pa.Array:
    if values and values[0] is None and values.count(None) == len(values):
        return pa.nulls(len(values), leaf.arrow)
    if leaf.python in _NUMPY:
        with suppress(TypeError):  # a null among integers; among floats it becomes NaN, which JSON cannot say
            return pa.array(np.fromiter(values, _NUMPY[leaf.python], len(values)), from_pandas=True)
    if leaf.python is msgspec.Raw:
        values = [None if value is _ABSENT or bytes(value) == b"null" else bytes(value) for value in values]
    return pa.array(values, leaf.arrow)


def _filled(structs: Sequence[msgspec.Struct | None], struct: type[msgspec.Struct]) -> list[msgspec.Struct]:
    """Absent objects as empty ones: an object may be absent only where all its fields may."""
    given = np.fromiter(structs, object, len(structs))
    return np.where(np.equal(given, np.array(None)), np.array(struct(), object), given).tolist()


def _object_of(contract: StreamContract, strict: bool) -> _Object:
    """`strict`: whether a field that is not known raises."""
    narrow = {c.source for table in contract.tables for c in table.columns if c.source and c.iceberg == "int"}
    columns = [replace(c, iceberg="int") if c.path in narrow and c.iceberg == "long" else c for c in contract.message]
    return _object([(str(column.path).split("."), column) for column in columns], strict)


def _object(members: list[tuple[list[str], Column]], strict: bool) -> _Object:
    """The object of these (path within it, column)."""
    made, definitions = _Object(), []
    by_name: dict[str, list[tuple[list[str], Column]]] = {}
    for (name, *rest), column in members:
        by_name.setdefault(name, []).append((rest, column))
    for number, (name, inside) in enumerate(by_name.items()):
        attribute = f"f{number}"
        made.names[attribute] = name
        if inside[0][0]:
            inner = _object(inside, strict)
            made.objects.append((attribute, inner))
            definitions.append(_definition(attribute, inner.struct, inner.required))
        else:
            column = inside[0][1]
            made.fields.append(_Leaf(column, attribute, _PYTHON[column.iceberg]))
            definitions.append(_definition(attribute, _limited(column), column.required))
        made.required = made.required or len(definitions[-1]) == 2
    # Fields have names of our own, since a contract's need not be identifiers.
    definitions.sort(key=len)
    made.struct = msgspec.defstruct("Message", definitions, rename=made.names, gc=False, forbid_unknown_fields=strict)
    return made


def _definition(attribute: str, python: Any, required: bool) -> tuple:
    if python is msgspec.Raw:
        return attribute, python, _ABSENT
    return (attribute, python) if required else (attribute, python | None, None)


def _limited(column: Column) -> Any:
    """The Python type of a column with the contract's limits, and those of its width, on it."""
    limits: dict[str, Any] = {}
    python: Any = _PYTHON[column.iceberg]
    if python is str and column.iceberg == "string":
        limits = {"min_length": column.min_length, "max_length": column.max_length, "pattern": column.pattern}
    elif python in (int, float):
        limits = {"ge": column.minimum, "le": column.maximum}
    if width := _INTEGERS.get(column.iceberg):
        limits = {"ge": -(1 << width), "le": (1 << width) - 1} | _given(limits)
    limits = _given(limits)
    return Annotated[python, msgspec.Meta(**limits)] if limits else python


def _given(limits: dict[str, Any]) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}
