"""What consent keeps out, and only where a stream rests on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.known_outcomes import KnownOutcomes, PartitionOutcomes
from pipelines.lake_rows import withheld_rows
from pipelines.revocations import deletion_requests
from pipelines.withhold import said, withhold
from warehouse.consent.histories import Histories
from warehouse.contract import FOLDER, StreamContract, load_contracts, read_contract
from warehouse.tables import arrow_schema

CONTRACTS = load_contracts()
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
NOTHING = KnownOutcomes()
STREAMS = ["patient.app.events", "device.vitals"]


def stream(*purposes: str) -> StreamContract:
    """The contract of vitals as a stream for these purposes."""
    return replace(CONTRACTS.stream("device.vitals"), name="patient.app.events", purposes=purposes)


APP = stream("research")
WITHHELD = read_contract(FOLDER / "consent_withheld.odcs.yaml")


def batch(*of: tuple[str | None, float], first: int = 0) -> StreamBatch:
    """A row a (token, seconds after noon), in one partition."""
    n = len(of)
    tokens = pa.array([token for token, _ in of], pa.string()).dictionary_encode()
    times = pa.array([NOON + timedelta(seconds=at) for _, at in of], pa.timestamp("us", "UTC"))
    offsets = np.arange(first, first + n)
    messages = MessageBatch(
        "patient.app.events", "topic", np.zeros(n, np.int32), offsets, np.full(n, NOON_MS), [b"k"] * n, [b"v"] * n,
        {0: (first, first + n)},
    )  # fmt: skip
    return StreamBatch(messages, tokens=tokens, rows=pa.table({"event_time": times}), row_index=np.arange(n))


def consents(*told: tuple[str, str, float]) -> Histories:
    """(token, action, seconds after noon) of research."""
    columns = {
        "subject_token": [token for token, _, _ in told],
        "action": [action for _, action, _ in told],
        "category": ["research"] * len(told),
        "scope": ["all"] * len(told),
        "provision_time": [NOON + timedelta(seconds=at) for _, _, at in told],
        "expires_at": pa.nulls(len(told), pa.timestamp("us", "UTC")),
        "sequence": pa.nulls(len(told), pa.int64()),
        "kafka_time": [NOON + timedelta(seconds=at) for _, _, at in told],
    }
    known = Histories(STREAMS)
    known.take(pa.table(columns))
    return known


def now(seconds: float) -> int:
    return NOON_MS * 1000 + int(seconds * 1e6)


GRANT_1_REVOKE_2 = [("t1", "GRANT", 0.0), ("t2", "GRANT", 0.0), ("t2", "REVOKE", 60.0)]


def test_a_row_stays_only_where_its_patient_consented_then_and_does_now() -> None:
    known = consents(*GRANT_1_REVOKE_2)
    done = withhold(batch(("t1", -1), ("t1", 1), ("t2", 1), ("t3", 1), (None, 1)), known, APP, now(4000), NOTHING)
    assert done.row_index.tolist() == [1]
    assert done.withheld.tolist() == [0, 2, 3, 4]
    before = withhold(batch(("t2", 1)), consents(*GRANT_1_REVOKE_2[:2]), APP, now(4000), NOTHING)
    assert before.row_index.tolist() == [0], "before the revoke was known"


@pytest.mark.parametrize("purposes", [("care",), ("care", "research"), ("operations",), ("payment", "marketing")])
def test_what_rests_on_law_is_never_withheld(purposes: tuple[str, ...]) -> None:
    given = batch(("t3", 1), (None, 2))
    assert stream(*purposes).consented == ()
    assert withhold(given, consents(("t3", "REVOKE", 0.0)), stream(*purposes), now(4000), NOTHING) is given


def test_one_of_several_consented_purposes_is_enough() -> None:
    both = stream("research", "marketing")
    assert both.consented == ("research", "marketing")
    assert withhold(batch(("t1", 1)), consents(*GRANT_1_REVOKE_2), both, now(4000), NOTHING).row_index.tolist() == [0]


def test_no_contract_of_ours_that_alerts_rest_on_asks_for_consent() -> None:
    asking = {name for name, each in CONTRACTS.items() if each.consented}
    assert not asking & {"device.vitals", "adt.events", "lab.results", "clinical.alerts", "clinical.alerts.withheld"}


def test_every_message_is_in_one_place_however_the_batch_is_cut() -> None:
    done = withhold(
        batch(("t1", 1), ("t3", 1), ("t1", 2), ("t3", 2), first=10), consents(*GRANT_1_REVOKE_2), APP, now(9), NOTHING
    )
    for cut in range(10, 15):
        low, high = done.below({0: cut}), done.beyond({0: cut})
        rows = [*low.messages.offsets[low.row_index], *high.messages.offsets[high.row_index]]
        withheld = [*low.messages.offsets[low.withheld], *high.messages.offsets[high.withheld]]
        assert (rows, withheld) == ([10, 12], [11, 13])


def test_of_what_is_withheld_only_the_position_is_kept() -> None:
    done = withhold(batch(("t3", 1), ("t1", 1), first=7), consents(*GRANT_1_REVOKE_2), APP, now(9), NOTHING)
    table = WITHHELD.tables[0]
    (row,) = withheld_rows(done, table, ("research",), 0).cast(arrow_schema(table)).to_pylist()
    assert (row["stream"], row["categories"], row["kafka_offset"]) == ("patient.app.events", "research", 7)
    assert set(row) == {
        "stream", "categories", "topic_id", "kafka_partition", "kafka_offset", "kafka_time", "ingest_time"
    }  # fmt: skip


# --- positions that are read again


def placed(rows_end: int, log_end: int, withheld_end: int, rows: set[int], log: set[int], withheld: set[int]):
    """What the tables have of one partition, each up to its own end."""
    below = [np.array(sorted(x for x in told if x < end)) for told, end in ((rows, rows_end), (withheld, withheld_end))]
    in_log = np.array(sorted(x for x in log if x < log_end), np.int64)
    kept = [each.astype(np.int64) for each in below]
    return PartitionOutcomes(rows_end, log_end, kept[0], in_log, in_log - 1, withheld_end, kept[1])


@pytest.mark.parametrize("seed", range(40))
def test_a_position_read_again_goes_where_it_went_though_memory_and_consent_changed(seed: int) -> None:
    """Whatever the tables have come to and whatever is decided now, what is committed and what will be make one place
    a position."""
    dice = np.random.default_rng(seed)
    n = 40
    offsets = np.arange(n, dtype=np.int64)
    before = dice.integers(0, 3, n)  # 0 a row, 1 a duplicate, 2 withheld
    rows, log, withheld = ({int(x) for x in offsets[before == kind]} for kind in range(3))
    ends = [int(x) for x in dice.integers(0, n + 1, 3)]
    outcomes = KnownOutcomes({0: placed(*ends, rows, log, withheld)})
    partitions = np.zeros(n, np.int32)
    remembered = np.where(dice.random(n) < 0.4, np.maximum(offsets - 1, 0), offsets)
    first = outcomes.applied(partitions, offsets, remembered)
    is_row = first == offsets
    kept_out = np.zeros(n, bool)
    kept_out[is_row] = outcomes.withheld(partitions[is_row], offsets[is_row], dice.random(is_row.sum()) < 0.5)
    now = np.where(~is_row, 1, np.where(kept_out, 2, 0))
    for at in range(n):
        committed = [kind for kind, end in enumerate(ends) if at < end and before[at] == kind]
        coming = [kind for kind, end in enumerate(ends) if at >= end and now[at] == kind]
        assert len(committed) + len(coming) == 1, (at, before[at], now[at], ends)


# --- what a revoke leads to


def updates(*told: dict) -> StreamBatch:
    """A batch of the registry's stream as it stands behind the steps."""
    n = len(told)
    rows = {
        "action": [each.get("action", "REVOKE") for each in told],
        "category": [each.get("category", "research") for each in told],
        "scope": [each.get("scope", "all") for each in told],
        "reason": pa.array([each.get("reason") for each in told], pa.string()),
        "provision_time": pa.array([each.get("at", NOON) for each in told], pa.timestamp("us", "UTC")),
        "expires_at": pa.nulls(n, pa.timestamp("us", "UTC")),
        "sequence": pa.nulls(n, pa.int64()),
        "patientId": [each.get("patient", "P000001") for each in told],
    }
    given = batch(*(("t" + each.get("patient", "P000001"), 0.0) for each in told))
    return replace(given, rows=pa.table(rows))


def test_a_revoke_asks_for_the_end_of_its_category_and_a_grant_for_nothing() -> None:
    requests = deletion_requests(
        updates({}, {"action": "GRANT"}, {"reason": "ambiguous"}, {"scope": "device.vitals"}), STREAMS
    )
    ((key, value),) = requests
    message = msgspec.json.decode(value)
    assert key == b"P000001"
    assert {name: message[name] for name in ("patient_id", "category", "reason", "requested_by")} == {
        "patient_id": "P000001", "category": "research", "reason": "consent revoked",
        "requested_by": "consent-processor",
    }  # fmt: skip
    assert message["event_id"] == message["request_id"]
    assert message["requested_at"] == "2026-11-22T12:00:00.000+00:00"


def test_the_same_revoke_read_again_is_the_same_request_and_another_is_another() -> None:
    def ids(*told: dict) -> list[str]:
        return [msgspec.json.decode(value)["request_id"] for _, value in deletion_requests(updates(*told), STREAMS)]

    assert ids({}) == ids({"category": " Research "})
    assert len({*ids({}, {"at": NOON + timedelta(seconds=1)}, {"patient": "P000002"}, {"category": "marketing"})}) == 4
    assert len(set(ids({"category": "all"}))) == 2, "one for each category that rests on consent"


def test_a_revoke_of_what_rests_on_law_leads_to_no_request() -> None:
    words = ("operations", "care", "Payment", "a category of the site", "")
    assert deletion_requests(updates(*({"category": word} for word in words)), STREAMS) == []


def test_what_a_batch_says_is_known_from_then_on() -> None:
    known = Histories(STREAMS)
    known.take(said(updates({"action": "GRANT", "patient": "P000007"})))
    done = withhold(batch(("tP000007", 1), ("tP000008", 1)), known, APP, now(9), NOTHING)
    assert done.row_index.tolist() == [0]
