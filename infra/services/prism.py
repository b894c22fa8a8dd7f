"""Beam's portable runner Prism: one Go program, built once per user and version.

Holds: how it is built, where it lies, and the program to start.
Does not hold: how a pipeline is run on it (pipelines.runner).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.services.jars import Progress, exclusive
from infra.services.ports import LOOPBACK, accepts, port, prism_ports
from infra.services.processes import Program

PRISM_VERSION = "v2.77.0"
MODULE = "github.com/apache/beam/sdks/v2"
PROGRAM = "go/cmd/prism"
LISTENER = "go/pkg/beam/runners/prism/internal/jobservices/server.go"
NOT_GO = ("java", "python", "typescript")
EVERYWHERE = 'net.Listen("tcp", fmt.Sprintf(":%d", port))'
ON_LOOPBACK = 'net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))'
BUILD_SECONDS = 1_200


class PrismError(RuntimeError):
    """Prism is not there and cannot be built. The message says what is missing."""


def prism_binary(cache: Path) -> Path:
    """Where the built program lies, whether or not it is there."""
    return cache / f"prism-{PRISM_VERSION}" / "prism"


def find_go() -> str | None:
    """The `go` command, or None."""
    return shutil.which("go")


def build_prism(cache: Path, progress: Progress) -> Path:
    """The Prism program, built by `go install` if it is not cached (3 minutes on two cores, 45 MB).

    Safe when several processes ask at once. Raises `PrismError`, `JarError` where the cache cannot be written.
    """
    binary = prism_binary(cache)
    if binary.exists():
        return binary
    with exclusive(cache, binary.parent.name):
        if not binary.exists():
            _build(binary, progress)
    return binary


def prism_program(binary: Path, port_base: int, log: Path) -> Program:
    """Prism as a program to start: job service on the loopback, no web pages."""
    listen = port(port_base, "prism")
    return Program(
        name="prism",
        command=(str(binary), f"-job_port={listen}", "-serve_http=false", "-log_kind=text"),
        log=log,
        ports=prism_ports(port_base),
        ready=lambda logged: accepts(LOOPBACK, listen),
    )


def _build(binary: Path, progress: Progress) -> None:
    go = find_go()
    if go is None:
        raise PrismError(
            "Prism must be built and Go is missing: install Go 1.25 or newer (Debian: apt-get install golang-go), "
            "or use WARDSTREAM_RUNNER=embedded"
        )
    binary.parent.mkdir(parents=True, exist_ok=True)
    progress(f"building Prism {PRISM_VERSION} with {go} (about 3 minutes, once)")
    with tempfile.TemporaryDirectory(dir=binary.parent.parent, prefix="prism-") as scratch:
        source = _loopback_source(go, Path(scratch))
        _go(go, source, "build", "-ldflags=-s -w", "-o", str(binary.with_suffix(".part")), f"./{PROGRAM}")
    os.replace(binary.with_suffix(".part"), binary)


def _loopback_source(go: str, scratch: Path) -> Path:
    """A copy of Beam's Go module, its checksum proved by `go`, with Prism's one listener moved to the loopback.

    As published it listens on every interface, without credentials, and runs what it is sent.
    """
    module = json.loads(_go(go, scratch, "mod", "download", "-json", f"{MODULE}@{PRISM_VERSION}"))
    source = scratch / "beam"
    # Without modes: Go's module cache is read-only and this copy is to be patched.
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(*NOT_GO))
    listener = source / LISTENER
    text = listener.read_text()
    if text.count(EVERYWHERE) != 1:
        raise PrismError(f"Prism {PRISM_VERSION} does not listen where it was expected to ({LISTENER}); not built")
    listener.write_text(text.replace(EVERYWHERE, ON_LOOPBACK))
    return source


def _go(go: str, folder: Path, *arguments: str) -> bytes:
    environment = {**os.environ, "GOFLAGS": ""}
    try:
        done = subprocess.run(
            [go, *arguments], check=True, capture_output=True, timeout=BUILD_SECONDS, cwd=folder, env=environment
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or b"")[-400:].decode(errors="replace").strip()
        raise PrismError(
            f"go {arguments[0]} of Prism {PRISM_VERSION} failed ({type(error).__name__}): {said}"
        ) from error
    return done.stdout
