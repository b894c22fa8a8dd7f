"""The embedded store, for real: its two identities and its oldest version."""

from __future__ import annotations

import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.services.store import OLDEST, parse_version
from warehouse.settings import Settings


def _client(settings: Settings, key: str, secret: str):
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=settings.s3_region,
        config=Config(retries={"max_attempts": 1}),
    )


@pytest.fixture
def writer(settings: Settings):
    return _client(settings, settings.s3_access_key, settings.s3_secret_key)


@pytest.fixture
def reader(settings: Settings):
    return _client(settings, settings.s3_reader_key, settings.s3_reader_secret)


def test_the_reader_reads_and_lists_what_the_writer_wrote(writer, reader) -> None:
    writer.put_object(Bucket="warehouse", Key="identities/a", Body=b"hello")
    assert reader.get_object(Bucket="warehouse", Key="identities/a")["Body"].read() == b"hello"
    assert reader.list_objects_v2(Bucket="warehouse", Prefix="identities/")["KeyCount"] == 1


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put_object", {"Key": "identities/b", "Body": b"x"}),
        ("delete_object", {"Key": "identities/a"}),
        ("copy_object", {"Key": "identities/c", "CopySource": "warehouse/identities/a"}),
        ("create_multipart_upload", {"Key": "identities/d"}),
        ("delete_bucket", {}),
    ],
)
def test_the_reader_can_change_nothing(writer, reader, operation: str, arguments: dict) -> None:
    writer.put_object(Bucket="warehouse", Key="identities/a", Body=b"hello")
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(reader, operation)(Bucket="warehouse", **arguments)
    assert writer.get_object(Bucket="warehouse", Key="identities/a")["Body"].read() == b"hello"


def test_a_stranger_is_refused(settings: Settings) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{settings.s3_endpoint}/warehouse/identities/a", timeout=10)


def test_the_version_is_read_from_what_weed_prints() -> None:
    assert parse_version("version 8000GB 4.48 pypi linux amd64\n") == (4, 48)
    assert parse_version("no version here") is None
    assert OLDEST > (4, 41)
