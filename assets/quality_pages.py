"""The pages of verdicts as files under the home: `quality/index.html`, `quality/<table>/<day>.html`.

Holds: where they lie and how they are replaced.
Does not hold: what they say (`expectations/pages.py`). They can be made again from nothing but new verdicts.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from warehouse.whole_file import write_whole

FOLDER = "quality"


def page_path(home: Path, table: str, day: date) -> Path:
    """Where the page of a table's day lies."""
    return home / FOLDER / table / f"{day}.html"


def index_path(home: Path) -> Path:
    return home / FOLDER / "index.html"


def write_page(path: Path, text: str) -> None:
    """Put a page in place of the one before, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
