"""Upkeep of a real embedded store: deleted bytes leave the disk."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.erasure.places import VolumeStore
from infra.services.ports import port
from infra.services.processes import Child
from infra.services.store import EmbeddedStore, answer_of
from infra.services.store_upkeep import (
    StoreUpkeepError,
    await_let_go,
    keep_up,
    purge_unclaimed,
    require_all_claimed,
    unclaimed,
)
from tests.conftest import READER, WRITER
from warehouse.settings import Settings

GONE = os.urandom(3 << 20)
"""Nothing that the store could compress."""


@pytest.fixture
def own(tmp_path: Path, free_port_base) -> Settings:
    return Settings.from_environment(
        {
            "WARDSTREAM_HOME": str(tmp_path),
            "WARDSTREAM_PORT_BASE": str(free_port_base()),
            "WARDSTREAM_S3_ACCESS_KEY": WRITER[0],
            "WARDSTREAM_S3_SECRET_KEY": WRITER[1],
        }
    )


@pytest.fixture
def own_store(own: Settings, tmp_path: Path):
    store = EmbeddedStore.of(own)
    child = Child.start(store.program(tmp_path / "store.log"))
    try:
        child.wait_ready()
        yield store
    finally:
        child.kill()


def volumes_with(store: EmbeddedStore, what: bytes) -> int:
    return sum(what in volume.read_bytes() for volume in store.folder.rglob("*.dat"))


def bucket_of(store: EmbeddedStore) -> Any:
    """Its objects, to put, get and delete."""
    s3 = boto3.resource(
        "s3", endpoint_url=store.endpoint, aws_access_key_id=WRITER[0], aws_secret_access_key=WRITER[1],
        region_name="us-east-1",
    )  # fmt: skip
    return s3.Bucket(store.bucket)


def test_what_was_deleted_leaves_the_volumes(own_store: EmbeddedStore) -> None:
    bucket = bucket_of(own_store)
    bucket.put_object(Key="lake/gone", Body=GONE)
    bucket.put_object(Key="lake/stays", Body=b"stays")
    bucket.Object("lake/gone").delete()
    assert volumes_with(own_store, GONE[:64])
    await_let_go(own_store)
    assert keep_up(own_store, days_of_logs=0).freed_bytes > 1 << 20
    assert not volumes_with(own_store, GONE[:64])
    assert bucket.Object("lake/stays").get()["Body"].read() == b"stays"


def test_an_erasure_leaves_nothing_in_the_volumes_however_soon_it_comes_after_the_deletion(
    own: Settings, own_store: EmbeddedStore
) -> None:
    bucket = bucket_of(own_store)
    for nth in range(3):  # the store lets go about once a second, so one try might come at the right moment by luck
        bucket.put_object(Key=f"lake/{nth}", Body=GONE)
        bucket.Object(f"lake/{nth}").delete()
        VolumeStore(own).erase([])
        assert not volumes_with(own_store, GONE[:64])


def test_bytes_that_no_object_claims_are_counted_and_go_when_no_upload_can_be_bringing_them(
    own_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a store leaves them that is killed between its answer to a deletion and the deletion."""
    assert unclaimed(own_store) == 0
    _write_without_object(own_store, GONE)
    monkeypatch.setattr("infra.services.store_upkeep.YOUNG_SECONDS", 1)
    time.sleep(2.5)
    assert unclaimed(own_store) == 1
    purge_unclaimed(own_store)
    with pytest.raises(StoreUpkeepError, match="1 pieces of deleted objects"):
        require_all_claimed(own_store)
    monkeypatch.setattr("infra.services.store_upkeep.UPLOAD_SECONDS", 1)
    purge_unclaimed(own_store)
    require_all_claimed(own_store)
    keep_up(own_store)
    assert not volumes_with(own_store, GONE[:64])


def _write_without_object(store: EmbeddedStore, data: bytes) -> None:
    _, assigned = answer_of(f"http://127.0.0.1:{port(store.port_base, 'master')}/dir/assign?collection={store.bucket}")
    where = f"http://127.0.0.1:{port(store.port_base, 'volume')}/{json.loads(assigned)['fid']}"
    assert answer_of(where, "PUT", data)[0] == 201


def test_a_store_that_is_down_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.services.store_upkeep.SHELL_SECONDS", 2)
    store = EmbeddedStore(tmp_path, 9_000, "warehouse", WRITER, READER)
    with pytest.raises(StoreUpkeepError, match="is the store up"):
        keep_up(store)
    with pytest.raises(StoreUpkeepError, match="is it up"):
        await_let_go(store)
