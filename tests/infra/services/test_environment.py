"""Children read back exactly the settings of their parent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import warehouse.settings
from infra.services.environment import environment_of
from warehouse.settings import SettingError, Settings

VARIABLE = re.compile(r"WARDSTREAM_[A-Z0-9_]+")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WARDSTREAM_KAFKA_BOOTSTRAP": "broker:9092", "WARDSTREAM_KAFKA_OPTIONS": "a=b,c=d=e"},
        {"WARDSTREAM_S3_ENDPOINT": "http://s3:1", "WARDSTREAM_CATALOG_URI": "postgresql://u@h/d"},
        {
            "WARDSTREAM_S3_ENDPOINT": "http://s3:1",
            "WARDSTREAM_COLD_WAREHOUSE": "s3://cold/lake",
            "WARDSTREAM_COLD_STORAGE_CLASS": "GLACIER_IR",
            "WARDSTREAM_RETENTION": "apply",
            "WARDSTREAM_PRICES": "warm=0.02,currency=EUR",
            "WARDSTREAM_KAFKA_TIERED": "on",
        },
        {"WARDSTREAM_PARTITIONS": "0,2", "WARDSTREAM_COMMIT_SECONDS": "0.1", "WARDSTREAM_PORT_BASE": "20000"},
        {"WARDSTREAM_INTENSIVE_CARE": "INT-*,CHIR-INT=surgical", "WARDSTREAM_RULES": "/rules"},
    ],
    ids=["nothing", "kafka", "lake", "retention", "numbers", "wards"],
)
def test_settings_survive_the_environment(tmp_path: Path, given: dict[str, str]) -> None:
    settings = Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path), **given})
    assert Settings.from_environment(environment_of(settings)) == settings


def test_every_variable_is_handed_on_and_explained() -> None:
    read = set(VARIABLE.findall(Path(warehouse.settings.__file__).read_text()))
    settings = Settings.from_environment({})
    assert set(environment_of(settings)) == read
    example = Path(__file__).parents[3] / ".env.example"
    assert set(VARIABLE.findall(example.read_text())) >= read


def test_wards_of_intensive_care_are_taken_in_their_order() -> None:
    given = Settings.from_environment({"WARDSTREAM_INTENSIVE_CARE": " INT-* , CHIR-INT=surgical, M?D-3 = medical,"})
    assert list(given.intensive_care.items()) == [("INT-*", ""), ("CHIR-INT", "surgical"), ("M?D-3", "medical")]


@pytest.mark.parametrize("wards", ["INT-1=cardiac", "INT-1,INT-1", "=medical", "INT-1=", "INT-1=medical=surgical"])
def test_wards_that_cannot_be_read_are_refused_with_how_to_write_them(wards: str) -> None:
    with pytest.raises(SettingError, match="WARDSTREAM_INTENSIVE_CARE must be wards parted by commas"):
        Settings.from_environment({"WARDSTREAM_INTENSIVE_CARE": wards})


@pytest.mark.parametrize(
    "place", ["s3://warehouse/lake/cold", "s3://warehouse", "s3://warehouse/lake/", "file:///cold"]
)
def test_a_cold_place_in_the_lake_or_around_it_or_of_another_kind_is_refused(place: str) -> None:
    with pytest.raises(SettingError, match="WARDSTREAM_COLD_WAREHOUSE must be s3://BUCKET/PREFIX beside"):
        Settings.from_environment({"WARDSTREAM_COLD_WAREHOUSE": place})


def test_the_embedded_store_keeps_cold_files_in_its_one_bucket() -> None:
    assert Settings.from_environment({"WARDSTREAM_COLD_WAREHOUSE": "s3://warehouse/cold/"}).cold_warehouse
    with pytest.raises(SettingError, match="must begin with s3://warehouse/: the embedded store has one bucket"):
        Settings.from_environment({"WARDSTREAM_COLD_WAREHOUSE": "s3://cold/lake"})


def test_a_storage_class_that_does_not_answer_at_once_is_refused() -> None:
    with pytest.raises(SettingError, match="WARDSTREAM_COLD_STORAGE_CLASS must be one of"):
        Settings.from_environment({"WARDSTREAM_COLD_STORAGE_CLASS": "DEEP_ARCHIVE"})
