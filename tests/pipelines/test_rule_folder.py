"""Rule packs: a bad file says what to mend and changes nothing; versions hold by append time."""

from datetime import UTC, datetime

import numpy as np
import pytest

from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.rule_packs import PacksInForce, RulePackError, built_in, load, parse
from pipelines.rule_folder import LOOK_AGAIN_S, RuleFolder
from tests.pipelines.clinical.wards import BASE, MINUTE, reading, table

PACK = """
pack: site
version: "{version}"
from: {start}
rules:
  threshold.heart_rate: {{warning_high: {high}{more}}}
"""


def pack(version="2", minute=10, high=100, more=""):
    start = datetime.fromtimestamp((BASE + minute * MINUTE) / 1000, UTC).isoformat()
    return PACK.format(version=version, start=start, high=high, more=more)


WRONG = {
    "a: [": "not YAML in line",
    "pack: x": "missing required field `version`",
    pack().replace("from:", "since:"): "unknown field `since`",
    pack().replace("+00:00", ""): "from: write the append time",
    pack(version="1"): "is the version of the pack that is built in",
    pack(high="many"): r"rules.threshold.heart_rate: Expected `float \| null`, got `str`",
    pack(high=20): "limits must rise",
    pack(more=", colour: 3"): "unknown field `colour`",
    pack().replace("heart_rate", "hart_rate"): "there is no such rule",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_with_what_to_write(text):
    with pytest.raises(RulePackError, match=WRONG[text]):
        parse(text, "site.yaml")


def test_only_the_rules_that_a_pack_names_are_another_version():
    made = parse(pack(), "site.yaml")
    assert {name for name, version in made.versions.items() if version != "1"} == {"threshold.heart_rate"}
    assert made.rules["news2"] == built_in().rules["news2"]


def test_a_version_that_comes_back_later_is_refused(tmp_path):
    for minute, version in ((0, "5"), (10, "6"), (20, "5")):
        (tmp_path / f"{minute}.yaml").write_text(pack(version, minute, 100 + minute))
    with pytest.raises(RulePackError, match="2 packs are version 5"):
        load(tmp_path)


def pulses(*told):
    return table([reading("t0", "8867-4", value, minute, minute) for minute, value in told])


def test_each_message_is_judged_by_the_pack_of_its_append_time_however_batches_are_cut():
    packs = PacksInForce([parse(pack(), "site.yaml")])
    told = [(0, 105.0), (9, 105.0), (10, 105.0), (11, 140.0)]
    together = WardMonitor(packs=packs).observe(pulses(*told))
    apart = WardMonitor(packs=packs)
    alerts = [alert for each in told for alert in apart.observe(pulses(each))]
    of_rule = [a for a in together if a.rule == "threshold.heart_rate"]
    assert [(a.rule_version, a.level, a.offset) for a in of_rule] == [("2", 1, 10), ("2", 2, 11)]
    assert alerts == together


def test_another_version_of_a_rule_begins_episodes_of_its_own_and_other_rules_go_on():
    packs = PacksInForce([parse(pack(high=110), "site.yaml")])
    alerts = WardMonitor(packs=packs).observe(pulses((0, 140.0), (9, 140.0), (10, 140.0), (11, 140.0)))
    told = [(a.rule, a.rule_version, a.offset) for a in alerts]
    assert told == [("threshold.heart_rate", "1", 0), ("news2", "1", 0), ("threshold.heart_rate", "2", 10)]


def test_a_rule_that_is_off_or_looks_in_another_ward_finds_nothing():
    for changes in ("{enabled: false}", "{wards: [ICU-2]}"):
        text = pack(minute=0).replace("{warning_high: 100}", changes)
        monitor = WardMonitor(packs=PacksInForce([parse(text, "site.yaml")]))
        assert {a.rule for a in monitor.observe(pulses((1, 140.0)))} == {"news2"}


class Clock:
    now = 0.0

    def __call__(self):
        self.now += LOOK_AGAIN_S + 1
        return self.now


def test_a_bad_file_leaves_what_was_read_last_and_says_why(tmp_path):
    folder = RuleFolder(tmp_path, Clock())
    assert len(folder.packs) == 1
    (tmp_path / "site.yaml").write_text(pack())
    assert folder.look(decided_ms=BASE)
    assert (len(folder.packs), folder.trouble) == (2, "")
    (tmp_path / "site.yaml").write_text(pack(high="nonsense"))
    assert not folder.look(decided_ms=BASE)
    assert len(folder.packs) == 2
    assert "site.yaml: rules.threshold.heart_rate" in folder.trouble


def test_a_pack_that_would_decide_the_past_otherwise_is_not_taken_while_the_stream_runs(tmp_path):
    folder = RuleFolder(tmp_path, Clock())
    (tmp_path / "site.yaml").write_text(pack(minute=10))
    assert not folder.look(decided_ms=BASE + 11 * MINUTE)
    assert "already decided on" in folder.trouble
    assert len(RuleFolder(tmp_path, Clock()).packs) == 2, "a start decides everything by what is there"


def test_a_pack_in_force_may_not_be_rewritten(tmp_path):
    (tmp_path / "site.yaml").write_text(pack(minute=10))
    folder = RuleFolder(tmp_path, Clock())
    (tmp_path / "site.yaml").write_text(pack(minute=10, high=105))
    assert not folder.look(decided_ms=BASE + 11 * MINUTE)
    assert folder.packs.nth(1).rules["threshold.heart_rate"].warning_high == 100


def test_the_pack_of_a_moment_is_found_by_its_edges():
    packs = PacksInForce([parse(pack(), "site.yaml")])
    edge = BASE + 10 * MINUTE
    assert [packs.at(at) for at in (0, edge - 1, edge, np.int64(edge + 1))] == [0, 0, 1, 1]
