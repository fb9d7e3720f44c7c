import errno
import json
import os
from pathlib import Path

import pytest

from sottovoce.core.errors import UserError
from sottovoce.core.storage import (
    alone_in,
    append_row,
    durable_file,
    json_lines,
    whole_rows,
    write_whole,
    written_whole,
)

ROWS = [{"id": "1", "text": "voilà\u2028suite"}, {"id": "2", "text": "é"}, {"id": "3", "text": "\x85"}]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json_lines(ROWS), encoding="utf-8")
    assert whole_rows(path) == ROWS


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert whole_rows(tmp_path / "none.jsonl") == []


def test_wherever_a_file_was_cut_its_whole_rows_are_read_and_the_rest_is_cut_off(tmp_path: Path) -> None:
    content = json_lines(ROWS).encode()
    ends = [len(json_lines(ROWS[:count]).encode()) for count in range(len(ROWS) + 1)]
    for length in range(len(content) + 1):
        path = tmp_path / "rows.jsonl"
        path.write_bytes(content[:length])
        count = sum(end <= length for end in ends) - 1
        assert whole_rows(path) == ROWS[:count]
        assert path.read_bytes() == content[: ends[count]]


def test_half_a_line_is_cut_off_where_nothing_more_can_be_written(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "rows.jsonl"
    path.write_text(json_lines(ROWS) + '{"id": "4', encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as on a full disk
    try:
        assert whole_rows(path) == ROWS
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text(encoding="utf-8") == json_lines(ROWS)


@pytest.mark.parametrize("line", [b'{"id": "2", ', b"[1]", b'{"id": "\xff"}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": "1"}\n' + line + b'\n{"id": "3"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2 is damaged: .*; fix that line, or remove it"):
        whole_rows(path)


def test_a_text_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \udc80 letter")
    assert path.read_text() == "old"


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with pytest.raises(ZeroDivisionError), written_whole(folder) as temporary:
        (temporary / "a").write_text("a")
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []
    with written_whole(folder) as temporary:
        (temporary / "a").write_text(json.dumps(1))
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_rows_are_added_one_by_one_and_not_by_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    for row in ROWS[:2]:
        append_row(path, row)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            append_row(path, ROWS[2])
    assert whole_rows(path) == ROWS[:2]
    append_row(path, ROWS[2])
    assert whole_rows(path) == ROWS


def test_a_durable_file_is_on_the_disk_before_it_has_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "a.txt", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append((os.path.samestat(os.fstat(descriptor), tmp_path.stat()), path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with durable_file(path) as temporary:
        temporary.write_text("a")
    assert flushed == [(False, False), (True, True)] and path.read_text() == "a"


def test_a_folder_is_worked_on_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path / "new", "wait"),
        pytest.raises(UserError, match=r"another process is working on .*new; wait"),
        alone_in(tmp_path / "new", "wait"),
    ):
        pass
    with alone_in(tmp_path / "new", "wait"):
        pass
