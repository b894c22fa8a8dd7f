"""The page of results, and the reading of what the peers' harness wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.bench import peers, results
from infra.bench.report import Report

FLINK = {"name": "catchup_flink_dedupe", "rows": 10, "rows_per_s": 108_000, "cpu_s_per_m": 15.9, 
         "cpu_s_per_m_all": 21.8, "peak_rss_mb": 3271, "first_commit_s": 14.5}  # fmt: skip


def of_peers(tmp_path: Path, *lines: dict) -> Report:
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return peers.report(file)


def test_a_peer_is_told_with_what_its_check_found(tmp_path: Path) -> None:
    wrong = FLINK | {"name": "catchup_spark"}
    report = of_peers(
        tmp_path,
        FLINK,
        {"table": "catchup_flink_dedupe", "exact": True},
        wrong,
        {"table": "catchup_spark", "exact": False},
    )
    assert report.rows[0] == ("flink-dedupe", 108_000, 15.9, 21.8, 3271, 14.5, "yes")
    assert (report.rows[1][0], report.rows[1][-1]) == ("spark", "no")


def test_runs_that_are_no_catch_up_or_wrote_nothing_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(peers.PeersError, match="no catch-up run"):
        of_peers(tmp_path, FLINK | {"name": "light_flink"}, FLINK | {"rows": 0})


def test_half_a_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half").write_text('{"name": "catch')
    with pytest.raises(peers.PeersError, match="cannot be read"):
        peers.report(tmp_path / "half")


def test_a_benchmark_run_again_replaces_its_own_record_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RECORDS", tmp_path / "results")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    first = Report("p1", "ingest", "4 M messages", ("what", "CPU-s"), (("ours", 7.123),), {}, ("quiet",))
    other = Report("p2", "freshness", "2,000/s", ("what", "s"), (("p50", 1.5),), {})
    results.record([first, other], "bench all", datetime(2026, 11, 22, tzinfo=UTC))
    again = Report("p1", "ingest", "4 M messages", ("what", "CPU-s"), (("ours", 6.0),), {})
    results.record([again], "bench p1", datetime(2026, 11, 23, tzinfo=UTC))
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| ours | 6.00 |" in page
    assert "7.12" not in page
    assert "`bench p1`, 2026-11-23" in page
    assert "`bench all`, 2026-11-22" in page
