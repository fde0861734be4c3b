"""What an artefact's folder may hold in the place of its files: each is refused by the file's
name, and never believed."""

import hashlib
import json
import os

import numpy as np
import pytest

from gfvad.commands import score
from gfvad.tasks import artefact, exported
from gfvad.tasks.fusion import standalone

MANIFEST = {
    "format": 1,
    "kind": "weak",
    "name": "own, motion",
    "step": 4,
    "threshold": 0.5,
    "threshold_rule": "half",
    "encoders": None,
    "platforms": ["cpu"],
    "rules": {"modalities": {"motion": 3}, "lengths": [8], "segments": 0, "clock": True},
    "sha256": hashlib.sha256(b"model").hexdigest(),
}


@pytest.fixture
def folder(tmp_path):
    artefact.write_manifest(tmp_path, MANIFEST)
    (tmp_path / exported.MODEL).write_bytes(b"model")
    return tmp_path


def edit(folder, change):
    path = folder / exported.MANIFEST
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def said(folder, capsys, inside=exported.MANIFEST):
    """What `gfvad.score` says of an artefact; checks that it is one clear error."""
    (folder / "films").mkdir(exist_ok=True)
    assert score.main([f"--model={folder}", str(folder / "films"), f"--out={folder / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and inside in error and "Traceback" not in error
    return error


def test_a_whole_manifest_is_read_and_one_of_an_earlier_version(folder):
    assert exported.SEAL in standalone.read_manifest(folder)
    (folder / exported.MANIFEST).write_bytes(b"\xef\xbb\xbf" + json.dumps(MANIFEST).encode())
    assert standalone.read_manifest(folder) == MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(threshold=0.4),
        lambda t: t["rules"].update(lengths=[16]),
        lambda t: t.update(name="other"),
        lambda t: t.update(mine=1),
        lambda t: t.pop("encoders"),
        lambda t: t.update(manifest_sha256=3),
    ],
)
def test_a_changed_manifest_is_not_believed(folder, change, capsys):
    edit(folder, change)
    assert "checksum" in said(folder, capsys)


@pytest.mark.parametrize(
    "key, value",
    [
        ("threshold", "x"),
        ("threshold", None),
        ("threshold", True),
        ("threshold_rule", None),
        ("name", 3),
        ("name", "\ud83d"),
        ("encoders", []),
        ("encoders", {"motion": 3}),
        ("rules", []),
        ("rules.modalities", {}),
        ("rules.modalities", {"motion": 0}),
        ("rules.lengths", ["a"]),
        ("rules.lengths", []),
        ("rules.segments", -1),
        ("rules.clock", 3),
        ("sha256", 3),
        ("format", 2),
        ("kind", {}),
    ],
)
def test_a_manifest_without_checksum_has_each_key_checked(folder, key, value, capsys):
    def change(tree):
        del tree[exported.SEAL]
        *groups, leaf = key.split(".")
        (tree[groups[0]] if groups else tree)[leaf] = value

    edit(folder, change)
    assert key.split(".")[-1] in said(folder, capsys)


TEXTS = {
    "twice": '{"format": 1, "kind": "weak", "kind": "weak"}',
    "lists": "[" * 100_000,
    "objects": '{"a":' * 100_000,
    "list": "[]",
    "number": "3",
    "null": "null",
    "NaN": '{"threshold": NaN}',
    "cut": "{",
    "empty": "",
    "byte": "\0",
    "deep": json.dumps(MANIFEST)[:-1] + ', "deep": ' + "[" * 5000 + "]" * 5000 + "}",
    "digits": json.dumps(MANIFEST)[:-1] + ', "long": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_manifest(folder, text, capsys):
    (folder / exported.MANIFEST).write_text(TEXTS[text])
    said(folder, capsys)


def test_text_in_another_encoding(folder, capsys):
    (folder / exported.MANIFEST).write_text(json.dumps(MANIFEST), encoding="utf-16")
    said(folder, capsys)


PLACES = {
    "nothing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("file", [exported.MANIFEST, exported.MODEL])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file(folder, file, place, capsys):
    (folder / file).unlink()
    PLACES[place](folder / file)
    said(folder, capsys, file)


def test_a_changed_model(folder, capsys):
    (folder / exported.MODEL).write_bytes(b"medal")
    assert "hash" in said(folder, capsys, exported.MODEL)


@pytest.mark.parametrize("content", [b"", b"PK", b"text", "array", "folder", "pipe"])
def test_features_of_the_standalone_program(tmp_path, content):
    path = tmp_path / "features.npz"
    if content in PLACES:
        PLACES[content](path)
    elif content == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(exported.Refused, match="features.npz"):
        standalone.read_features(str(path))
