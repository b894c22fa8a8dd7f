"""What the monitor decides and what the oracle, which shares no code with it, works out from the same rows."""

import pytest

from pipelines.alerts.message import Evidence
from tests.oracle import alerts as offline
from tests.oracle import results_and_glucose, scores_across
from tests.pipelines.clinical.streams import LABS, MEDICATION, VITALS, WEARABLES, hospital, reading, rows_of
from tests.pipelines.clinical.test_streams import observed


def tables(told):
    """The rows of each stream, as its table has them."""
    made = {}
    for stream in (VITALS, LABS, WEARABLES, MEDICATION):
        rows = rows_of(stream, [message for of, message in told if of == stream])
        made[stream] = rows.drop_columns(["patient_id"])
    return made


def told_by(alerts):
    """Id -> the alert in the oracle's words."""
    return {
        a.alert_id: offline.Decided(
            a.rule, a.subject_token, a.episode_start_ms, a.level, a.withheld_because, a.partition, a.offset,
            a.effective_ms, a.retracts,
        )
        for a in alerts
    }  # fmt: skip


def calming(minutes=150):
    """A pulse that varies less and less while pressure falls, every twenty seconds."""
    told = []
    for nth in range(minutes * 3):
        share = max(0.0, (nth / 3 - 60) / 90)
        swing = (6.0 - 4.5 * share) * (1, -1, 0.5, -0.5)[nth % 4]
        told.append((VITALS, reading("t9", "8867-4", 88.0 + swing, nth / 3, 2 * nth)))
        told.append((VITALS, reading("t9", "8478-0", 90.0 - 30 * share, nth / 3, 2 * nth + 1)))
    return told


@pytest.mark.parametrize("told", [hospital(1, minutes=200), calming()], ids=["hospital", "calming"])
def test_rules_of_one_stream_are_recomputed_to_the_id(told):
    rows, alerts = tables(told), observed(told)
    decided = [
        *offline.recompute(rows[VITALS], {}),
        *results_and_glucose.of_results(rows[LABS], {}),
        *results_and_glucose.of_glucose(rows[WEARABLES], {}),
    ]
    mine = [alert for alert in alerts if alert.rule not in scores_across.LEVELS]
    assert told_by(mine) == {d.alert_id: d._replace(revision=0) for d in decided}


def test_a_trend_towards_shock_is_among_what_is_recomputed():
    assert "shock_trend" in {alert.rule for alert in observed(calming())}


def test_scores_over_several_streams_are_borne_out_by_rows():
    told = hospital(2, minutes=200)
    rows, alerts = tables(told), observed(told)
    known = scores_across.inputs(rows[VITALS], rows[LABS], rows[MEDICATION])
    across = [alert for alert in alerts if alert.rule in scores_across.LEVELS and alert.retracts is None]
    assert {alert.rule for alert in across} == {"sirs", "sofa"}
    for alert in across:
        evidence = scores_across.read_evidence(alert.evidence)
        place = (alert.rule, alert.level, alert.effective_ms, evidence, known, alert.subject_token)
        assert scores_across.is_borne_out(*place)
        first = Evidence.of(alert.evidence[0])
        forged = [(first.code, first.value + 1, first.at_ms), *evidence[1:]]
        assert not scores_across.is_borne_out(*place[:3], forged, *place[4:])
    assert offline.meets_sirs(rows[VITALS]) <= {alert.subject_token for alert in alerts if alert.rule == "sirs"}
