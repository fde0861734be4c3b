"""`gfvad extract` with descriptions that do not fit: one clear message, or what is
left out is named."""

import json
import os

import numpy as np
import pytest
from media_files import write_media

from gfvad.commands import extract
from gfvad.encoders.registry import open_encoder
from gfvad.extraction import one_video

CLIPS = {"calm": 20, "fight": 33}
ROWS = [
    {"video": name, "frame": t, "text": f"people walk, {t}"} for name in CLIPS for t in (1, 9, 17)
]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)


def lines(*more, **changed):
    """The rows with further ones, and with some keys of the first one changed."""
    return "".join(json.dumps(row) + "\n" for row in [{**ROWS[0], **changed}, *ROWS[1:], *more])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for seed, (name, frames) in enumerate(CLIPS.items()):
        write_media(root / f"{name}.mp4", frames, seed=seed, codec="mpeg4")
    return root


def call(clips, path, out):
    one_video._OPENED.__dict__.clear()  # another file of the same name was opened before
    return extract.main(
        [
            str(clips),
            f"--out={out}",
            "--workers=0",
            "--modalities=text",
            f"--encoder=text=text:path={path},encoder=hash",
        ]
    )


BAD = {  # content, exit code, words of the message
    "a frame outside": (
        lines(frame=10**6),
        1,
        "line 1: frames 1000000 to 1000000 of video 'calm', which has frames 1 to 20",
    ),
    "a clip outside": (
        lines({"video": "calm", "start": 18, "end": 21, "text": "x"}),
        1,
        "line 7: frames 18 to 21 of video 'calm', which has frames 1 to 20",
    ),
    "a frame no list could hold": (lines(frame=10**30), 1, "line 1: frames 1" + "0" * 30),
    "frame 0": (lines(frame=0), 2, "line 1: frames 0 to 0; expected whole numbers from 1"),
    "a clip that ends before it starts": (
        lines({"video": "calm", "start": 9, "end": 8, "text": "x"}),
        2,
        "line 7: frames 9 to 8; expected whole numbers from 1, in their order",
    ),
    "no name": (lines(video=" "), 2, "line 1: video ' '; expected the name of a video"),
    "a name that is none": (
        lines(video=None),
        2,
        "line 1: video 'None'; expected the name of a video",
    ),
    "a frame twice": (
        lines({**ROWS[0], "text": "another"}),
        2,
        "line 7: frame 1 of video 'calm' is described twice",
    ),
    "a frame twice in two spellings": (
        lines({**ROWS[0], "video": "calm.MP4"}),
        2,
        "line 7: frame 1 of video 'calm.MP4' is described twice",
    ),
    "no JSON": (TEXT + '{"video": \n', 2, "line 7, column"),
    "nothing": ("", 2, "empty; expected descriptions"),
    "blank lines": ("\n\n", 2, "empty; expected descriptions"),
    "absurd depth": (TEXT + "[" * 100_000, 2, "line 7"),
    "UTF-16": (TEXT.encode("utf-16"), 2, "text in UTF-16"),
    "Latin-1": (TEXT.replace("people", "café").encode("latin-1"), 2, "line 1, byte"),
    "all of other videos": (
        TEXT.replace("calm", "other").replace("fight", "another"),
        2,
        "none of its 2 names is of a video here",
    ),
    "a stranger": (
        lines({"video": "stranger", "frame": 1, "text": "x"}),
        0,
        "1 of 3 sets of descriptions are of no video here and are left out: stranger",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_descriptions_that_do_not_fit(clips, tmp_path, capsys, name):
    content, code, words = BAD[name]
    path, out = tmp_path / "said.jsonl", tmp_path / "out"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert call(clips, path, out) == code
    said = capsys.readouterr().err
    assert words in said and str(path) in said and "Traceback" not in said
    assert code != 2 or not out.exists()  # refused before any work
    assert (
        sorted(p.stem for p in out.glob("text/*.npy"))
        == {0: ["calm", "fight"], 1: ["fight"], 2: []}[code]
    )


def test_a_mark_of_the_byte_order_says_nothing(clips, tmp_path):
    """The features are those of the file without it; a pipe in its place is refused, not waited
    for."""
    for name, content in (("plain", TEXT.encode()), ("marked", b"\xef\xbb\xbf" + TEXT.encode())):
        (tmp_path / f"{name}.jsonl").write_bytes(content)
        assert call(clips, tmp_path / f"{name}.jsonl", tmp_path / name) == 0
    for video in CLIPS:
        plain, marked = (
            np.load(tmp_path / name / "text" / f"{video}.npy") for name in ("plain", "marked")
        )
        np.testing.assert_array_equal(plain, marked)
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert call(clips, tmp_path / "pipe.jsonl", tmp_path / "out") == 2


def test_overlapping_descriptions(tmp_path):
    """A frame's own wins, then the clip that starts last; else the last one before it."""
    rows = [
        {"video": "a", "start": 3, "end": 9, "text": "long"},
        {"video": "a", "start": 5, "end": 6, "text": "inner"},
        {"video": "a", "frame": 6, "text": "own"},
        {"video": "a", "start": 10**12, "end": 10**12, "text": "far"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    bound = open_encoder("text", path=str(tmp_path / "a.jsonl"), encoder="hash").of("a")
    assert [bound.said(t - 1) for t in range(2, 12)] == [
        None,
        "long",
        "long",
        "inner",
        "own",
        "long",
        "long",
        "long",
        "long",
        "long",
    ]
    assert bound.said(10**12 - 1) == "far"
