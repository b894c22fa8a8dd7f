"""A file that is replaced is whole to whoever reads it, whoever else writes it, and whatever goes wrong."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from warehouse.whole_file import write_whole

WRITERS = 8
TIMES = 200


def test_many_writers_of_one_file_hinder_nobody_and_readers_see_one_of_them(tmp_path):
    file = tmp_path / "stream.json"
    texts = [str(writer) * 5000 for writer in range(WRITERS)]
    start = threading.Barrier(WRITERS + 1)

    def write(text: str) -> None:
        start.wait()
        for _ in range(TIMES):
            write_whole(file, text)

    write_whole(file, texts[0])
    with ThreadPoolExecutor(WRITERS) as pool:
        done = [pool.submit(write, text) for text in texts]
        start.wait()
        while not all(each.done() for each in done):
            assert file.read_text() in texts
    assert [each.exception() for each in done] == [None] * WRITERS
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("durable", [False, True])
def test_text_is_utf_8_and_bytes_are_themselves(tmp_path, durable):
    write_whole(tmp_path / "a.html", "Größe\n", durable=durable)
    write_whole(tmp_path / "b", b"\xff\x00", durable=durable)
    assert (tmp_path / "a.html").read_bytes() == "Größe\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\xff\x00"


def test_what_cannot_be_written_leaves_what_was_there_and_no_litter(tmp_path, monkeypatch):
    file = tmp_path / "certificate.json"
    write_whole(file, "before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "after")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
