"""What P6 and P8 are made of: rows that are all different, and a chart that shows what it was given."""

from __future__ import annotations

from xml.etree import ElementTree

import pyarrow.compute as pc

from infra.bench.chart import Line, line_chart
from infra.bench.growing import readings

SVG = "{http://www.w3.org/2000/svg}"


def test_rows_are_different_events_of_one_day() -> None:
    rows = readings(1_000, 500, day=3)
    assert len(set(rows["event_id"].to_pylist())) == 500
    assert set(rows["event_id"].to_pylist()).isdisjoint(
        readings(1_000, 500, day=3, partition=1)["event_id"].to_pylist()
    )
    assert pc.unique(pc.floor_temporal(rows["event_time"], unit="day")).to_pylist()[0].day == 4
    assert len(pc.unique(pc.floor_temporal(rows["event_time"], unit="day"))) == 1


def test_a_chart_has_a_line_a_series_within_its_frame() -> None:
    lines = [
        Line("10 <a> day", [1, 10, 300], [0.1, 0.12, 0.11]),
        Line("1,000 a day", [1, 1_000, 30_000], [0.1, 0.1, 0.2]),
    ]
    drawn = ElementTree.fromstring(line_chart(lines, "commits", "seconds"))
    found = drawn.findall(f"{SVG}polyline")
    assert len(found) == 2
    points = [tuple(map(float, p.split(","))) for line in found for p in line.get("points", "").split()]
    assert all(0 <= x <= 820 and 0 <= y <= 420 for x, y in points)
    assert "10 <a> day" in {text.text for text in drawn.findall(f"{SVG}text")}
