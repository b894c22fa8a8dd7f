"""Upkeep of a real embedded store: deleted bytes leave the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import boto3
import pytest

from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from infra.services.store_upkeep import StoreUpkeepError, keep_up
from tests.conftest import READER, WRITER

GONE = os.urandom(3 << 20)
"""Nothing that the store could compress."""


@pytest.fixture
def own_store(tmp_path: Path, free_port_base):
    store = EmbeddedStore(tmp_path, free_port_base(), "warehouse", WRITER, READER)
    child = Child.start(store.program(tmp_path / "store.log"))
    try:
        child.wait_ready()
        yield store
    finally:
        child.kill()


def volumes_with(store: EmbeddedStore, what: bytes) -> int:
    return sum(what in volume.read_bytes() for volume in store.folder.rglob("*.dat"))


def test_what_was_deleted_leaves_the_volumes(own_store: EmbeddedStore) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=own_store.endpoint, aws_access_key_id=WRITER[0], aws_secret_access_key=WRITER[1],
        region_name="us-east-1",
    )  # fmt: skip
    s3.put_object(Bucket="warehouse", Key="lake/gone", Body=GONE)
    s3.put_object(Bucket="warehouse", Key="lake/stays", Body=b"stays")
    s3.delete_object(Bucket="warehouse", Key="lake/gone")
    assert volumes_with(own_store, GONE[:64])
    # The store takes what was deleted out of its volumes' index some seconds later, by itself.
    deadline, freed = time.monotonic() + 60, 0
    while volumes_with(own_store, GONE[:64]) and time.monotonic() < deadline:
        time.sleep(1)
        freed += keep_up(own_store, days_of_logs=0).freed_bytes
    assert not volumes_with(own_store, GONE[:64])
    assert freed > 1 << 20
    assert s3.get_object(Bucket="warehouse", Key="lake/stays")["Body"].read() == b"stays"


def test_a_store_that_is_down_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.services.store_upkeep.SHELL_SECONDS", 2)
    store = EmbeddedStore(tmp_path, 9_000, "warehouse", WRITER, READER)
    with pytest.raises(StoreUpkeepError, match="is the store up"):
        keep_up(store)
