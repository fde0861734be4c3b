"""Descriptions of frames: reading, gaps, embedding, and writing them with a (fake) captioner."""

import json

import numpy as np
import pytest
from video_files import write_set

from gfvad.base.types import ConfigError, DataError
from gfvad.commands import extract
from gfvad.data.frames.cache import Cache
from gfvad.data.frames.descriptions import embed_descriptions, fill, read_descriptions
from gfvad.data.frames.store import open_frames
from gfvad.data.frames.video_folders import open_layout
from gfvad.encoders.captioner import load_captioner
from gfvad.encoders.registry import open_sentences
from gfvad.extraction.describe import describe_frames

NAMES, LENGTHS = ("01", "02"), (4, 3)


def _lines(tmp_path, *rows):
    path = tmp_path / "texts.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"
    )
    return path


def _frame(video, frame, text):
    return {"video": video, "frame": frame, "text": text}


def _clip(video, start, end, text):
    return {"video": video, "start": start, "end": end, "text": text}


def test_frames_and_clips(tmp_path):
    path = _lines(
        tmp_path,
        _frame("01", 2, " own "),
        "",
        _clip("01", 3, 4, "late"),
        _clip("01", 1, 4, "early"),
        _clip("Test002", 1, 3, "b"),
    )
    found = read_descriptions(path, NAMES, LENGTHS)
    assert found.texts == (("early", "own", "late", "late"), ("b", "b", "b"))
    assert found.filled.tolist() == [0, 0] and found.report(NAMES) == ""


def test_frames_without_a_description(tmp_path):
    """Filled from the past; only leading frames take what comes after them."""
    found = read_descriptions(
        _lines(tmp_path, _frame("01", 2, "a"), _frame("01", 4, "b"), _frame("02", 1, "c")),
        NAMES,
        LENGTHS,
    )
    assert found.texts == (("a", "a", "a", "b"), ("c", "c", "c")) and found.filled.tolist() == [
        2,
        2,
    ]
    assert (
        found.report(NAMES)
        == "4 frames without a description take the last one before them: 01 (2), 02 (2)"
    )
    assert fill([None, None, "x", None]) == ["x"] * 4


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            [_frame("01", 1, "a"), '{"video": "01", "fra'],
            r"line 2, column 17: not usable JSON .*; expected",
        ),
        ([["01", 1, "a"]], "line 1: a JSON list; expected"),
        ([{"video": "01", "frame": 1}], "line 1: lacks text"),
        (
            [_frame("01", 1, "a"), _frame("07", 1, "a")],
            "line 2: unknown video '07'; expected one of 01, 02",
        ),
        ([_frame("01", 5, "a")], "line 1: frames 5 to 5 of video '01', which has frames 1 to 4"),
        ([_frame("01", 0, "a")], "line 1: frames 0 to 0"),
        ([_clip("01", 3, 2, "a")], "line 1: frames 3 to 2"),
        ([_frame("01", 1.5, "a")], "line 1: frames 1.5 to 1.5; expected whole numbers"),
        ([_frame("01", 1, " ")], "line 1: text ' '; expected a sentence"),
        (
            [_frame("01", 1, "a"), _frame("01", 1, "b")],
            "line 2: frame 1 of video '01' is described twice",
        ),
        ([_frame("01", 1, "a")], "no description of 1 videos, e.g. '02'"),
    ],
)
def test_bad_descriptions(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_descriptions(_lines(tmp_path, *rows), NAMES, LENGTHS)


def test_missing_descriptions_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_descriptions(tmp_path / "absent.jsonl", NAMES, LENGTHS)


def test_embeddings_are_cached(tmp_path):
    found = read_descriptions(
        _lines(tmp_path, _clip("01", 1, 4, "a man walks"), _clip("02", 1, 3, "a car stops")),
        NAMES,
        LENGTHS,
    )
    first = embed_descriptions(found, "hash", tmp_path / "cache")
    assert first.shape == (7, 384) and first.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    assert (
        (first[:4] == first[0]).all()
        and (first[4:] == first[4]).all()
        and (first[0] != first[4]).any()
    )
    np.testing.assert_array_equal(embed_descriptions(found, "hash", tmp_path / "cache"), first)
    with pytest.raises(ConfigError, match="not a sentence encoder"):
        embed_descriptions(found, "bert", tmp_path / "cache")


def test_long_texts_are_counted():
    assert open_sentences("hash").count_cut(["short", "word " * 300]) == 0
    assert open_sentences("minilm").count_cut(["short", "word " * 200, "word " * 300]) == 1


def test_ped2_descriptions(shared_data):
    """Test clip 12 lacks three frames."""
    folder = shared_data / "ped2"
    frames = [
        len(list(path.iterdir())) for path in sorted((folder / "testing" / "frames").iterdir())
    ]
    found = read_descriptions(
        folder / "captions_gpt4o_test.jsonl", [f"{k:02d}" for k in range(1, 13)], frames
    )
    assert found.filled.tolist() == [0] * 11 + [3] and sum(map(len, found.texts)) == 2010


# ---- describing


@pytest.fixture
def store(tmp_path):
    folder = open_layout("auto", write_set(tmp_path / "set", test=(5, 3)))
    return open_frames(folder, "test", (16, 24, 3), Cache(tmp_path / "cache"))


def _captioner(asked, stop_after=None):
    def caption(frame, prompt):
        if len(asked) == stop_after:
            raise KeyboardInterrupt
        asked.append(frame)
        assert frame.shape == (16, 24, 3) and prompt == "what?"
        return f"text\n {len(asked)}"

    return caption


@pytest.mark.parametrize("every, count", [(1, 8), (2, 5), (100, 2)])
def test_describe(tmp_path, store, every, count):
    asked = []
    out = describe_frames(
        store, "", tmp_path / "out.jsonl", every=every, prompt="what?", captioner=_captioner(asked)
    )
    found = read_descriptions(out, store.names, store.lengths)
    assert len(asked) == count and not found.filled.any() and found.texts[0][0] == "text 1"
    np.testing.assert_array_equal(asked[-1], store.video(1)[(2 // every) * every])


def test_describing_goes_on(tmp_path, store):
    out = tmp_path / "out.jsonl"
    whole = describe_frames(
        store, "", tmp_path / "whole.jsonl", every=2, prompt="what?", captioner=_captioner([])
    ).read_text()
    with pytest.raises(KeyboardInterrupt):
        describe_frames(
            store, "", out, every=2, prompt="what?", captioner=_captioner([], stop_after=2)
        )
    with out.open("a") as file:
        file.write('{"video": "01", "sta')  # cut off in the middle of a line
    asked = []
    describe_frames(store, "", out, every=2, prompt="what?", captioner=_captioner(asked))
    assert len(asked) == 3
    strip = lambda text: [
        json.dumps({k: v for k, v in json.loads(row).items() if k != "text"})
        for row in text.splitlines()
    ]
    assert strip(out.read_text()) == strip(whole)
    describe_frames(store, "", out, every=2, captioner=None)  # nothing left: no model is opened
    with pytest.raises(DataError, match="lines of other frames, .*every=3"):
        describe_frames(store, "", out, every=3, captioner=_captioner([]))
    with pytest.raises(ConfigError, match="every 0"):
        describe_frames(store, "", out, every=0)


def test_describe_says_what_to_fetch(tmp_path, store):
    with pytest.raises(
        DataError,
        match=(
            "config.json: not found; expected the folder of an image-text-to-text model .*"
            " fetch one"
        ),
    ):
        describe_frames(store, tmp_path / "model", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="no such folder"):
        describe_frames(store, "", tmp_path / "absent" / "out.jsonl", captioner=_captioner([]))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(
        DataError,
        match="expected (torch, transformers and pillow: run `pip install|all files of one)",
    ):
        load_captioner(tmp_path / "model")


def test_describe_command_ends_with_2_on_bad_input(tmp_path, store, capsys):
    code = extract.main(
        [
            "describe",
            f"--root={tmp_path / 'set'}",
            "--model=/absent",
            f"--out={tmp_path / 'o.jsonl'}",
            f"--cache={tmp_path / 'cache'}",
        ]
    )
    assert code == 2 and "error: /absent/config.json: not found" in capsys.readouterr().err


def test_a_real_model_describes(tmp_path):
    """A vision-language model of random weights; set GFVAD_VLM to the folder of one."""
    import os

    pytest.importorskip("torch", reason="torch is not installed (launch/requirements-encoders.txt)")
    pytest.importorskip(
        "transformers", reason="transformers is not installed (launch/requirements-encoders.txt)"
    )
    if not os.environ.get("GFVAD_VLM"):
        pytest.skip("no vision-language model: set GFVAD_VLM to the folder of one")
    assert isinstance(
        load_captioner(os.environ["GFVAD_VLM"])(np.zeros((64, 96, 3), np.uint8), "What is this?"),
        str,
    )
