"""No command removes or replaces what it did not write: the record of own files, and every
command that writes."""

from __future__ import annotations

import contextlib
import json
import os

import pytest

from gfvad.base import owned
from gfvad.base.errors import DataError
from gfvad.base.owned import Owned


def of(folder, ours=owned.none_of_ours):
    return Owned(folder, "thing", "python -m thing", ours)


def put(found, **files):
    with found.staged(last="c") as folder:
        for name, text in files.items():
            (folder / name).write_text(text)


def test_own_files_are_replaced_and_others_stay(tmp_path):
    found = of(tmp_path / "new" / "out")
    put(found, a="1", c="2")
    (found.folder / "notes").write_text("mine")
    put(of(found.folder), a="3", c="4")
    assert {
        p.name: p.read_text() for p in found.folder.iterdir() if not p.name.startswith(".")
    } == {"a": "3", "c": "4", "notes": "mine"}
    assert (
        of(found.folder).remove(["a", "b", "notes"]) == ["notes"]
        and not (found.folder / "a").exists()
    )
    assert not list(found.folder.glob("*staged*"))


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda p: p.write_text("9"), "changed since python -m thing wrote it"),
        (lambda p: (p.unlink(), p.symlink_to("elsewhere")), "a link to elsewhere"),
        (lambda p: (p.unlink(), p.mkdir()), "a folder, not made by"),
        (lambda p: (p.unlink(), os.mkfifo(p)), "a named pipe"),
    ],
)
def test_what_is_not_ours_is_refused(tmp_path, make, expected):
    put(of(tmp_path), a="1", b="2")
    make(tmp_path / "a")
    with pytest.raises(DataError, match=expected) as error:
        of(tmp_path).claim(["a", "b"])
    assert str(tmp_path / "a") in str(error.value) and "another place" in str(error.value)
    with pytest.raises(DataError, match=expected):
        put(of(tmp_path), a="3", b="3")
    assert (tmp_path / "b").read_text() == "2" and not list(tmp_path.glob("*staged*"))


def test_without_a_record_content_tells(tmp_path):
    (tmp_path / "a").write_text("thing 1")
    (tmp_path / "b").write_text(json.dumps({"kind": "other"}))
    of(tmp_path, lambda path: path.read_text().startswith("thing")).claim(["a", "c"])
    (tmp_path / ".gfvad-thing.json").write_text("{")  # a damaged record is none
    with pytest.raises(DataError, match="b: a file of 17 bytes, not written by python -m thing"):
        of(tmp_path, lambda path: path.read_text().startswith("thing")).claim(["a", "b"])


def test_killed_at_any_moment_its_files_are_known(tmp_path, monkeypatch):
    put(of(tmp_path), a="1", b="2", c="3")
    replace, left = os.replace, [0]
    for moment in range(1, 8):
        left[0] = moment

        def dies(source, target):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", dies)
        with contextlib.suppress(KeyboardInterrupt):
            put(of(tmp_path), a=f"a{moment}", b=f"b{moment}", c=f"c{moment}")
        monkeypatch.setattr(os, "replace", replace)
        of(tmp_path).claim(["a", "b", "c"])
    put(of(tmp_path), a="x", b="x", c="x")
    assert of(tmp_path).known().keys() == {"a", "b", "c"} and all(
        len(v) == 1 for v in of(tmp_path).known().values()
    )


def test_files_that_grow(tmp_path):
    found = of(tmp_path, lambda path: path.read_text().startswith("head"))
    found.begin(["a"])
    (tmp_path / "a").write_text("head, and mor")  # killed
    found.begin(["a"])
    (tmp_path / "a").write_text("head, and more")
    found.finish(["a"])
    (tmp_path / "a").write_text("head, and a user's note")
    with pytest.raises(DataError, match="changed since"):
        found.begin(["a"])


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="not a folder"):
        of(tmp_path / "out").claim(["a"])
