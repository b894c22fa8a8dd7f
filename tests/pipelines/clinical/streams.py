"""Rows of every stream that rules look at, as the hot path hands them on, for the tests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tests.pipelines.clinical.wards import BASE, MINUTE, TIMESTAMP, reading, table

VITALS, LABS, WEARABLES, MEDICATION = "device.vitals", "lab.results", "iot.patient", "medication.events"
OWN_TABLE = {VITALS: "vitals", LABS: "labs", WEARABLES: "wearables", MEDICATION: "medication_events"}
WBC, LACTATE, PLATELETS, CREATININE, PACO2 = "6690-2", "2524-7", "777-3", "2160-0", "2019-8"


def result(token, code, value, minute, offset, order, status="F", reported=None, appended=None, event=None, flag=None):
    """A result: specimen at `minute`, reported and appended when it says, or at once."""
    appended = minute if appended is None else appended
    return {
        "token": token, "code": code, "number": value, "order": order, "status": status, "flag": flag,
        "collected": BASE + round(minute * MINUTE),
        "reported": BASE + round((appended if reported is None else reported) * MINUTE),
        "appended": BASE + round(appended * MINUTE), "partition": 0, "offset": offset,
        "event_id": event or f"result-{offset:06d}",
    }  # fmt: skip


def dose(token, code, rate, minute, offset, action="administered", unit="ug/kg/min"):
    """A drug given at a rate, or stopped."""
    at = BASE + round(minute * MINUTE)
    return {
        "token": token, "code": code, "dose": rate, "unit": unit if rate is not None else None, "action": action,
        "event": at, "appended": at, "partition": 0, "offset": offset,
    }  # fmt: skip


def sample(token, value, minute, offset, appended=None):
    """A glucose sensor's reading."""
    return reading(token, "99504-3", float(value), minute, offset, appended=appended)


def rows_of(stream, told):
    """The messages of a stream as rows."""
    if stream in (VITALS, WEARABLES):
        return table(told)
    common = {
        "patient_id": _texts(told, lambda r: r["token"] and f"P{r['token']}"),
        "subject_token": _texts(told, lambda r: r["token"]),
        "code": _texts(told, lambda r: r["code"]),
        "kafka_partition": pa.array([r["partition"] for r in told], pa.int32()),
        "kafka_offset": pa.array([r["offset"] for r in told], pa.int64()),
        "kafka_time": _times(told, "appended"),
    }
    if stream == LABS:
        return pa.table(
            common
            | {
                "event_id": pa.array([r["event_id"] for r in told], pa.string()),
                "order_id": _texts(told, lambda r: r["order"]),
                "numeric_value": pa.array([r["number"] for r in told], pa.float64()),
                "status": _texts(told, lambda r: r["status"]),
                "quality_flag": _texts(told, lambda r: r["flag"]),
                "collected_at": _times(told, "collected"),
                "reported_at": _times(told, "reported"),
            }
        )
    return pa.table(
        common
        | {
            "order_id": _texts(told, lambda r: "order"),
            "action": _texts(told, lambda r: r["action"]),
            "dose": pa.array([r["dose"] for r in told], pa.float64()),
            "unit": _texts(told, lambda r: r["unit"]),
            "event_time": _times(told, "event"),
        }
    )


def _texts(told, of):
    return pa.array([of(r) for r in told], pa.string()).dictionary_encode()


def _times(told, name):
    return pa.array([r[name] * 1000 for r in told], pa.int64()).cast(TIMESTAMP)


def hospital(seed, minutes=600, patients=4):
    """(stream, message) in the order of appending: signals, results in versions, glucose and vasopressors of people who
    fall ill and get well. Append times differ by a second at least, so the order is one order."""
    rng = np.random.default_rng(seed)
    offsets = dict.fromkeys(OWN_TABLE, 0)
    told = []
    values = {"9279-1": (16.0, 26.0), "8867-4": (80.0, 118.0), "8310-5": (37.0, 38.9), "8480-6": (124.0, 92.0)}
    values |= {"8478-0": (85.0, 62.0), "59408-5": (97.0, 92.0)}
    analytes = {WBC: (8.0, 17.0), LACTATE: (1.2, 4.4), PLATELETS: (240.0, 90.0), CREATININE: (0.9, 2.4)}
    analytes |= {PACO2: (40.0, 28.0)}
    orders = []
    for second in range(0, minutes * 60, 20):
        minute = second / 60
        token = f"t{rng.integers(patients)}"
        is_ill = (minute / 97 + int(token[1:]) * 0.31) % 1 < 0.45
        chance, appended = rng.random(), minute
        if chance < 0.72:
            code = list(values)[rng.integers(len(values))]
            value = values[code][int(is_ill)] + rng.normal(0, 1.0)
            stream, message = VITALS, reading(token, code, value, minute - rng.exponential(0.3), 0, appended=appended)
        elif chance < 0.88:
            code, nth = list(analytes)[rng.integers(len(analytes))], len(orders)
            value, status, collected, order = analytes[code][int(is_ill)], "F", minute - rng.uniform(5, 40), f"o{nth}"
            if orders and rng.random() < 0.35:
                token, code, collected, order = orders[rng.integers(max(0, len(orders) - 12), len(orders))]
                status = ("C", "X")[int(rng.random() < 0.25)]
                value = analytes[code][int(rng.random() < 0.5)]
            else:
                orders.append((token, code, collected, order))
            value = None if status == "X" else value
            message = result(token, code, value, collected, 0, order, status, appended=appended)
            stream = LABS
        elif chance < 0.97:
            value = rng.choice([50.0, 62.0, 66.0, 72.0, 110.0, 190.0], p=[0.05, 0.2, 0.2, 0.1, 0.3, 0.15])
            stream, message = WEARABLES, sample(token, value, minute - rng.choice([0, 0, 0, 7]), 0, appended=appended)
        else:
            rate = rng.choice([0.05, 0.2])
            stream, message = (
                MEDICATION,
                dose(token, "7512", rate, minute, 0, ("administered", "stopped")[int(not is_ill)]),
            )
        message["offset"] = offsets[stream]
        message["event_id"] = f"{stream[:3]}-{offsets[stream]:06d}"
        offsets[stream] += 1
        told.append((stream, message))
    return told


def past(alerts) -> pa.Table:
    """Alerts as the tables tell them."""

    def time(pick):
        return pa.array([pick(a) * 1000 for a in alerts], pa.int64()).cast(pa.timestamp("us", "UTC"))

    texts = ("alert_id", "rule", "rule_version", "severity", "subject_token", "retracts", "withheld_because")
    columns = {name: pa.array([getattr(a, name) for a in alerts], pa.string()) for name in texts}
    evidence = pa.array([list(a.evidence) or None for a in alerts], pa.list_(pa.string()))
    return pa.table(
        columns
        | {
            "level": pa.array([a.level for a in alerts], pa.int64()),
            "episode_start": time(lambda a: a.episode_start_ms),
            "effective_at": time(lambda a: a.effective_ms),
            "evidence": evidence,
        }
    )
