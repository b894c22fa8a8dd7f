"""Which commit of this repository is being struck."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_id() -> str:
    """Short, as git shows it; with a plus sign where files differ from it. `unknown` outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"
