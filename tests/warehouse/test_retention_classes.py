"""Retention classes are read whole or refused with what to write, and topics follow them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from warehouse.contract import FOLDER, ContractError, load_contracts
from warehouse.retention_classes import FILE, load_classes

SAID = {
    "kept": "a week",
    "because": "it is a test",
    "hot_days": 3,
    "local_days": 1,
    "cold_after_days": 5,
    "gone_after_days": 7,
    "counted_by": "table",
    "undo_days": 2,
}


def written(folder: Path, **classes: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(yaml.safe_dump(classes))
    return folder


def test_every_table_of_the_house_is_of_a_class_and_every_class_says_why() -> None:
    contracts = load_contracts()
    assert {table.retention_class for table in contracts.tables()} <= set(contracts.retention_classes)
    assert all(len(each.because) > 40 for each in contracts.retention_classes.values())


def test_rejects_are_kept_no_shorter_than_messages_whose_rejects_their_keys_seal() -> None:
    """A reject read again from Kafka must still find the key of its day."""
    contracts = load_contracts()
    rejects = contracts.retention_classes[contracts.table("rejects").retention_class]
    assert rejects.gone_after_days is not None
    assert all(topic.retention_ms <= rejects.gone_after_days * 86_400_000 for topic in contracts.topics())


def test_what_is_derived_is_kept_no_longer_than_what_it_is_made_of() -> None:
    """Else a late row would make an old day anew from what is left of its sources."""
    contracts = load_contracts()

    def kept(table: str) -> float:
        return contracts.retention_classes[contracts.table(table).retention_class].gone_after_days or float("inf")

    for table in contracts.tables():
        if table.derived:
            assert all(kept(table.name) <= kept(source) for source in table.derived_from), table.name


def test_a_site_overrides_a_class_and_its_topics_follow(tmp_path: Path) -> None:
    own = written(tmp_path / "own", clinical_signals=SAID | {"cold_after_days": "never"})
    contracts = load_contracts(own=own)
    assert contracts.retention_classes["clinical_signals"].cold_after_days is None
    assert contracts.retention_classes["derived"].gone_after_days == 730
    topic = contracts.stream("device.vitals").topic
    assert topic is not None
    assert (topic.config["retention.ms"], topic.local_retention_ms) == (str(3 * 86_400_000), 86_400_000)
    other = contracts.stream("lab.results").topic
    assert other is not None
    assert other.config["retention.ms"] == str(30 * 86_400_000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kept": ""}, r"x\.kept: say in words"),
        ({"because": None}, r"x\.because: say what law"),
        ({"gone_after_days": None}, r"x\.gone_after_days: write an age in days, or never"),
        ({"gone_after_days": 2.5}, r"x\.gone_after_days: must be a whole number"),
        ({"gone_after_days": 0}, r"x\.gone_after_days: must be a whole number of at least 1"),
        ({"cold_after_days": 7}, r"x\.cold_after_days: must be less than gone_after_days"),
        ({"hot_days": 8, "cold_after_days": "never"}, r"x\.gone_after_days: Kafka would keep longer"),
        ({"local_days": 3}, r"x\.local_days: must be less than hot_days"),
        ({"counted_by": "moon"}, r"x\.counted_by: .*table, calendar"),
        ({"undo_days": -1}, r"x\.undo_days: must be a whole number of at least 0"),
        ({"colour": "red"}, r"x: is a mapping of"),
    ],
)
def test_a_class_that_is_wanting_is_refused(wrong: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=rf"{FILE}: {message}"):
        load_classes(FOLDER, written(tmp_path, x=SAID | wrong))


@pytest.mark.parametrize("content", [b"\xff", b"a: [", b"- a list"])
def test_what_is_no_file_of_classes_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ContractError, match=rf"{FILE}: file: must be"):
        load_classes(FOLDER, tmp_path)
