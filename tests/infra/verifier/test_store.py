"""What a bucket keeps of a deleted object is an object that is not gone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from infra.verifier.store import Store, remote_store
from infra.verifier.verify import check
from tests.conftest import READER, WRITER


@pytest.fixture
def bucket(store: str) -> str:
    """A bucket of this test's own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    client(store).create_bucket(Bucket=name)
    return name


def client(endpoint: str):
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=WRITER[0], aws_secret_access_key=WRITER[1],
        region_name="us-east-1",
    )  # fmt: skip


def asked(endpoint: str) -> Store:
    return remote_store(endpoint, "us-east-1", {"key": WRITER[0], "secret": WRITER[1]})


@pytest.mark.parametrize("versioned", [False, True])
def test_a_deleted_object_is_there_as_long_as_a_version_of_it_is(store: str, bucket: str, versioned: bool) -> None:
    s3 = client(store)
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("lake/a.parquet", "lake/a.parquet.other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"rows")
    assert asked(store).has(f"{bucket}/lake/a.parquet")
    s3.delete_object(Bucket=bucket, Key="lake/a.parquet")
    assert asked(store).has(f"{bucket}/lake/a.parquet") == versioned
    for each in s3.list_object_versions(Bucket=bucket, Prefix="lake/a.parquet").get("Versions", ()):
        if each["Key"] == "lake/a.parquet":
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
    assert not asked(store).has(f"{bucket}/lake/a.parquet"), "a delete marker is no object"
    assert asked(store).has(f"{bucket}/lake/a.parquet.other")


def test_a_version_that_is_left_makes_a_certificate_wrong(store: str, bucket: str, tmp_path: Path) -> None:
    s3 = client(store)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="lake/a.parquet", Body=b"rows")
    s3.delete_object(Bucket=bucket, Key="lake/a.parquet")
    said = {"certificate": {"objects": [{"object": f"s3://{bucket}/lake/{name}.parquet"} for name in "ab"]}}
    verdict, _ = check(said, tmp_path, asked(store), datetime.now(UTC), trusted=bytes(32))
    assert "2 objects that had the person are gone: 1 are there" in verdict.wrong


def test_who_may_not_look_is_told_so_and_nothing_is_called_gone(store: str) -> None:
    stranger = remote_store(store, "us-east-1", {"key": READER[0], "secret": "wrong"})
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403|SIGNATURE|[Aa]ccess|[Ss]ignature"):
        stranger.has("warehouse/lake/a.parquet")
