"""P5: a thousand people of a hundred thousand erased at once, against copying the bytes of the files they stand in.

Holds: the measuring. Does not hold: erasure (`warehouse/erasure`), the lake's store (surroundings.py).

The limit reads the bytes of the very files and puts them under other names, decoding nothing: what a rewrite must do at
the least. Requests are made and verified beforehand; the clock runs from there to the last certificate, with all lists,
layers and proofs. Topics are not in it: their time is their retention.
"""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.bench.check import CheckFailedError
from infra.bench.growing import TABLE, Progress, fenced, lake, readings
from infra.bench.report import Report
from warehouse.catalog import create_table, load_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.erasure.requests import Asked
from warehouse.erasure.run import Erasure, Surroundings, certificate_file
from warehouse.erasure.states import CERTIFIED
from warehouse.settings import Settings
from warehouse.snapshots import Head as Snapshot
from warehouse.snapshots import LiveFile, live_files, manifests_of
from warehouse.staging import stage
from warehouse.table_session import store_of
from warehouse.vault import open_vault

LISTS = ("erasure_requests", "erasure_receipts", "retention_holds")
COPIES_AT_ONCE = 4


def measure(rows: int, files: int, people: int, erased: int, progress: Progress) -> Report:
    """So many of the people, of so many readings in so many files, evenly spread. Raises `CheckFailedError`."""
    with lake("p5", progress) as settings:
        contracts, catalog = load_contracts(), open_catalog(settings)
        for name in LISTS:
            create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
        progress(f"staging {rows:,} readings of {people:,} people in {files} files")
        size = _fill(settings, rows, files, people)
        before = _sums(settings, erased)
        copies = [_copied(settings, progress)]
        vault = open_vault(settings.vault_uri, time.monotonic)
        marks: dict[str, float] = {}
        erasure = Erasure(
            settings,
            contracts,
            catalog,
            vault,
            Surroundings(),
            who="bench",
            clock=lambda: datetime.now(UTC),
            new_id=lambda: uuid.uuid4().hex,
            progress=lambda step: marks.__setitem__(step, time.monotonic()),
        )
        names = _asked(erasure, erased)
        progress(f"erasing {erased:,} people")
        began = time.monotonic()
        done = erasure.run()
        whole_s = time.monotonic() - began
        copies.append(_copied(settings, progress))
        _require(settings, before, erased, [each.state for each in done])
        deleted = [each for each in erasure.book.receipts() if each.step == "deleted"]
        keys = _key_seconds(settings, names)
        vault.close()
    return _report(
        rows, files, people, erased, size, sum(each.bytes for each in deleted), copies, whole_s, marks, began, keys
    )


def _token(person: int) -> str:
    return f"token{person:021d}"


def _fill(settings: Settings, rows: int, files: int, people: int) -> int:
    """Readings in one commit, files staged apart; bytes of all."""
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    each = rows // files
    words = pa.array([_token(n) for n in range(people)])

    def staged(n: int) -> LiveFile:
        part = readings(n * each, each)
        patients = (np.arange(n * each, (n + 1) * each, dtype=np.int64) * 2_654_435_761 % people).astype(np.int32)
        part = part.set_column(1, "subject_token", pa.DictionaryArray.from_arrays(patients, words))
        return LiveFile(stage(table, part, store_of(table)).files[0], 1)

    with ThreadPoolExecutor(2) as pool:
        live = list(pool.map(staged, range(files)))
    fenced(settings).restore_files(live, {})
    return sum(file.file.file_size_in_bytes for file in live)


def _files(settings: Settings) -> list[LiveFile]:
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    return live_files(Snapshot(table, manifests_of(table)), store_of(table))


def _copied(settings: Settings, progress: Progress) -> float:
    """Seconds to read the bytes of every file and put them under another name."""
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    store, files = store_of(table), _files(settings)

    def copy(live: LiveFile) -> str:
        with store.new_input(live.file.file_path).open() as stream:
            data = stream.read()
        location = f"{settings.warehouse}/limit/{uuid.uuid4()}.parquet"
        store.put(location, data)
        return location

    began = time.monotonic()
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        made = list(pool.map(copy, files))
    seconds = time.monotonic() - began
    store.delete_many(made)
    progress(f"copying {len(files)} files: {seconds:.1f} s")
    return seconds


def _asked(erasure: Erasure, erased: int) -> list[str]:
    """Requests about the first people, verified; their ids."""
    now = erasure.clock()
    book = erasure.book
    new = [
        book.new(Asked(f"e-{n}", _token(n), None, "a benchmark asks", now, "bench"), "bench", now)
        for n in range(erased)
    ]
    book.receive(new)
    at = erasure.clock()
    book.enter(each.moved("verified", at, "bench") for each in new)
    return [each.request_id for each in new]


def _sums(settings: Settings, erased: int) -> tuple[int, int, int]:
    """(rows of those to be erased, rows of all others, sum of the positions of all others)"""
    words = pa.array([_token(n) for n in range(erased)])
    theirs = others = positions = 0
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    for batch in table.scan(selected_fields=("subject_token", "kafka_offset")).to_arrow_batch_reader():
        gone = pc.is_in(batch["subject_token"].cast(pa.string()), words)
        count = pc.sum(gone).as_py() or 0
        theirs, others = theirs + count, others + len(batch) - count
        positions += pc.sum(batch["kafka_offset"].filter(pc.invert(gone))).as_py() or 0
    return theirs, others, positions


def _require(settings: Settings, before: tuple[int, int, int], erased: int, states: list[str]) -> None:
    after = _sums(settings, erased)
    if after != (0, *before[1:]) or not before[0]:
        raise CheckFailedError(f"{before[0]} rows were to go and {after[0]} are left, or rows of others changed")
    if states != [CERTIFIED] * erased:
        raise CheckFailedError(f"{sum(state != CERTIFIED for state in states)} of {erased} have no certificate")


def _key_seconds(settings: Settings, names: list[str]) -> float:
    """The longest time from verification to a key's destruction."""
    said = (json.loads(certificate_file(settings, name).read_text())["certificate"]["key"] for name in names)
    return max(each["seconds_after_verification"] for each in said)


def _report(
    rows: int,
    files: int,
    people: int,
    erased: int,
    size: int,
    rewritten: int,
    copies: list[float],
    whole_s: float,
    marks: dict[str, float],
    began: float,
    keys: float,
) -> Report:
    copy_s = sum(copies) / len(copies)
    steps = {name.removeprefix("entered "): at - began for name, at in marks.items() if name.startswith("entered ")}
    figures = {
        "rows": rows,
        "bytes_touched": size,
        "bytes_rewritten": rewritten,
        "rewritten_share": rewritten / size,
        "copy_s": copies,
        "whole_s": whole_s,
        "ratio": whole_s / copy_s,
        "key_s": keys,
        "entered_s": steps,
    }
    shown = [
        ("bytes rewritten ÷ bytes of the files they stand in (to reach 1.2)", round(rewritten / size, 3)),
        ("from verification to the last certificate, s", round(whole_s, 1)),
        ("copying the same bytes, s (before, after)", " ".join(f"{each:.1f}" for each in copies)),
        ("ratio (to reach 2)", round(whole_s / copy_s, 2)),
        ("key destroyed after verification, s (to reach 10)", round(keys, 1)),
        *((f"{name} after, s", round(at, 1)) for name, at in steps.items()),
    ]
    return Report(
        "p5",
        "erasure of many people at once",
        f"{erased:,} of {people:,} people in {rows:,} readings in {files} files, evenly spread",
        ("what", "figure"),
        tuple(shown),
        figures,
        ("the copy decodes nothing; four files at a time", "requests were made and verified beforehand"),
    )
