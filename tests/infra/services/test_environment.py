"""Children read back exactly the settings of their parent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import warehouse.settings
from infra.services.environment import environment_of
from warehouse.settings import Settings

VARIABLE = re.compile(r"WARDSTREAM_[A-Z0-9_]+")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"WARDSTREAM_KAFKA_BOOTSTRAP": "broker:9092", "WARDSTREAM_KAFKA_OPTIONS": "a=b,c=d=e"},
        {"WARDSTREAM_S3_ENDPOINT": "http://s3:1", "WARDSTREAM_CATALOG_URI": "postgresql://u@h/d"},
        {"WARDSTREAM_PARTITIONS": "0,2", "WARDSTREAM_COMMIT_SECONDS": "0.1", "WARDSTREAM_PORT_BASE": "20000"},
    ],
    ids=["nothing", "kafka", "lake", "numbers"],
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
