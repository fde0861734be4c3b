"""gfvad/base: the atomic writer, the guarded readers, names, locks, secrets, exit codes."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys

import pytest

from gfvad.base import errors, files, locks, names, secrets
from gfvad.base.errors import ConfigError, DataError
from gfvad.main import COMMANDS


def test_atomic_writer_leaves_the_old_file_when_the_content_fails(tmp_path):
    path = files.write_text(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(RuntimeError):
        files.atomically(
            path, lambda file: (file.write(b"new"), (_ for _ in ()).throw(RuntimeError()))[0]
        )
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "code, expected",
    [
        (errno.ENOSPC, "make some"),
        (errno.EROFS, "right to write"),
        (errno.ENOTDIR, "another path"),
        (errno.ENOENT, "removed"),
    ],
)
def test_errors_of_writing_say_what_to_do(tmp_path, code, expected):
    def fail(file):
        raise OSError(code, os.strerror(code))

    with pytest.raises(DataError, match=expected) as found:
        files.atomically(tmp_path / "a", fail)
    assert str(tmp_path / "a") in str(found.value) and not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="parts are all folders"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.parametrize(
    "content, expected",
    [
        ("\ufefföl".encode(), None),
        ("a\nb\xe9".encode("latin-1"), r"line 2, byte 2 \(0xe9\)"),
        ("a".encode("utf-16"), "UTF-16"),
        (b"a\nb\0c", "line 2: a null byte"),
    ],
)
def test_text(tmp_path, content, expected):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    if expected is None:
        assert files.read_text(path, "a list") == "öl"
    else:
        with pytest.raises(DataError, match=expected):
            files.read_text(path, "a list")


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda p: os.mkfifo(p), "named pipe"),
        (lambda p: p.mkdir(), "a folder"),
        (lambda p: p.symlink_to(p), "cannot be read"),
        (lambda p: None, "not found"),
    ],
)
def test_only_regular_files_are_read(tmp_path, make, expected):
    make(tmp_path / "x.json")
    with pytest.raises(DataError, match=expected):
        files.read_json(tmp_path / "x.json", "an object")


@pytest.mark.parametrize(
    "text, expected",
    [
        ('{"a": 1', "line 1, column"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[1]", "JSON list"),
        ('{"a": {"b": ["x\\ud83d"]}}', "'a', 'b', item 0: half a character"),
        ("[" * 100_000, "JSON"),
        ('{"a": ' + "1" * 5000 + "}", "not usable JSON"),
    ],
)
def test_json(tmp_path, text, expected):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=expected) as found:
        files.read_json(tmp_path / "x.json", "an object")
    str(found.value).encode()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("name\nx", "expected name,label"),
        ("name,label\nx,1,2", "line 2: 3 fields"),
        ("name,label\nx", "line 2: 1 fields"),
        ('name,label\n"x,1', "line 2"),
        (f"name,label\n{'x' * (files.WIDEST_FIELD + 1)},1", "line 2"),
        ("name,label,name\nx,1,y", "each once"),
        ("", "empty"),
    ],
)
def test_tables_say_the_line(tmp_path, text, expected):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=expected):
        list(files.read_table(tmp_path / "x.csv", ("name", "label")))


def test_cells_do_not_run_and_come_back(tmp_path):
    cells = ['=HYPERLINK("http://x")', "+1+1", "-1", "@a", "a,b", "'x", "\tx", "ordinary", "-0.5e3"]
    path = files.write_table(tmp_path / "x.csv", ["cell", "number"], [(cell, 1) for cell in cells])
    lines = path.read_text()
    assert "\n=" not in lines and "\n+" not in lines and "\n@" not in lines and "\n-1,1" in lines
    assert [row["cell"] for _, row in files.read_table(path, ("cell", "number"))] == cells


@pytest.mark.parametrize(
    "spelt", ["caf\u00e9", "cafe\u0301", "caf\u00e9.mp4", "cafe\u0301.MP4", " caf\u00e9.AVI "]
)
def test_spellings_of_one_video(spelt):
    assert names.canonical(spelt) == "caf\u00e9"


def test_a_table_of_names_refuses_a_second_spelling():
    table = names.Names()
    table.add("a.csv, line 2", "x.mp4", 1)
    assert (
        table["x"] == table["x.MP4"] == 1 and list(table) == ["x"] and table.spelt("x") == "x.mp4"
    )
    with pytest.raises(DataError, match="'x' and 'x.mp4' are one video"):
        table.add("a.csv, line 3", "x", 1)
    assert names.near("tr01", ["Tr01", "other"]) == ", near 'Tr01'"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://user:pass@host/a",
        "cannot open rtsp://us%20er:p@ss@host:554/a?b=1 now",
        "http://token@host",
        "http://host/a?password=pass&x=1",
        "rtsps://host/a?x=1&Token=pass",
    ],
)
def test_secrets_are_taken_out(text):
    clean = secrets.redact(text)
    assert (
        "pass" not in clean.replace("password=", "")
        and "user:" not in clean
        and "us%20er" not in clean
        and "host" in clean
        and "token@" not in clean
    )


def test_ordinary_text_is_left_alone():
    text = "mail a@b.c, file:///a/b@c, rtsp://host/a?x=1, http://host:80/@b"
    assert secrets.redact(text) == text


def test_the_second_process_says_who_has_the_folder_and_leaves(tmp_path):
    code = (
        "import sys; from gfvad.base import locks\nwith locks.locked(sys.argv[1], 'run'):"
        " print('in', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"in\n"
        with (
            pytest.raises(DataError, match=f"process {other.pid} .*since .* works in this run"),
            locks.locked(tmp_path, "run"),
        ):
            pass
        other.kill()
        other.wait()
        assert (tmp_path / locks.LOCK).is_file()  # the dead owner's
        with locks.locked(tmp_path, "run"):
            assert json.loads((tmp_path / locks.LOCK).read_text())["process"] == os.getpid()
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error, code",
    [
        (ConfigError("a"), 2),
        (DataError("b"), 2),
        (OSError(errno.ENOSPC, "No space left"), 2),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 2),
        (ModuleNotFoundError("none", name="cv2"), 2),
    ],
)
def test_what_a_user_can_mend_is_one_line(capsys, error, code):
    def body():
        raise error

    assert errors.run_command(body) == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_commands_read_no_library_before_they_can_be_interrupted():
    """Libraries take seconds to read: Ctrl-C meanwhile is no traceback, because `command` is
    around it already."""
    commands = [
        "main",
        "prepare",
        "extract",
        "score",
        "export",
        "report",
        "ablate",
        "bench.__main__",
    ]
    code = (
        f"import sys, {', '.join(f'gfvad.{name}' for name in commands)}; print([m for m in"
        " ('numpy', 'jax', 'absl', 'av') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("name", ["main", *(f"commands.{name}" for name in COMMANDS)])
def test_every_command_has_the_frame(name):
    assert hasattr(importlib.import_module(f"gfvad.{name}").main, "__wrapped__")


def test_a_name_brought_to_its_spelling_stays_as_it_is():
    for name in ("a.avi.mp4", " a .MKV", "e\u0301.mp4", ".mp4", "b.c", "clip.ts.3GP "):
        assert names.canonical(names.canonical(name)) == names.canonical(name)
    assert (
        names.canonical("a.avi.mp4") == "a"
        and names.canonical("e\u0301.MP4") == "é"
        and names.canonical(".mp4") == ".mp4"
    )


def test_names_of_a_table_that_no_video_has():
    table, videos = names.Names(), names.Names()
    for name in ("te01.mp4", "te9"):
        table.add("spans.csv", name, 1)
    for name in ("te01", "te09"):
        videos.add("", name, 1)
    note = names.matched("spans.csv", table, videos, "spans")
    assert note == "1 of 2 spans are of no video here and are left out: te9 ('te9', near 'te09')"
    assert not names.matched("spans.csv", videos, videos, "spans")
    with pytest.raises(
        DataError, match="spans.csv: none of its 2 names .* te01.mp4, te9; the videos are x"
    ):
        names.matched("spans.csv", table, {"x": 1}, "spans")


def test_a_message_that_quotes_a_megabyte_is_short(capsys):
    def body():
        raise errors.DataError(
            f"a.csv, line 3: found {'x' * 10**6!r}; expected a number: write it again"
        )

    assert errors.run_command(body) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: a.csv, line 3")
        and said.endswith("write it again\n")
        and len(said) < 5000
        and "characters ...]" in said
    )


def test_a_dead_owner_s_lock_is_waited_for(tmp_path, monkeypatch):
    """The system may let go of it a moment after the process is gone."""
    import fcntl
    import threading

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = tmp_path / locks.LOCK
    path.write_text(
        json.dumps(
            {
                "process": ended.pid,
                "host": locks.socket.gethostname(),
                "command": "x",
                "since": "now",
            }
        )
    )
    with open(path, "a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(locks, "PATIENCE", 0.2)
        with pytest.raises(DataError, match=f"process {ended.pid}"), locks.locked(tmp_path):
            pass
        monkeypatch.setattr(locks, "PATIENCE", 20.0)
        threading.Timer(0.2, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        with locks.locked(tmp_path):
            assert json.loads(path.read_text())["process"] == os.getpid()
