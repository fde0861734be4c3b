"""Timed sentences: validation, assignment to units, cache."""

import json
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfvad.base.types import ConfigError, DataError
from gfvad.data import text
from gfvad.encoders.registry import open_sentences

HASH = open_sentences("hash")
GOOD = {
    "duration": 10.0,
    "timestamps": [[0, 4.0], [6.0, 9.0]],
    "sentences": ["A man walks.", "A car stops."],
}


def written(tmp_path, content) -> str:
    path = tmp_path / "captions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def counting_encoder(dim: int = 4):
    """Embeds a text as its length in the first axis and remembers what it was asked for."""
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([[len(text), *[1.0] * (dim - 1)] for text in texts], np.float32).reshape(
            -1, dim
        )

    return SimpleNamespace(id="counting-1", width=dim, encode=encode, asked=asked)


# ---- captions


def encode_cached(texts, encoder, folder):
    return text.embed(texts, encoder, text.open_cache(folder, encoder))


def test_without_a_duration_a_video_ends_with_its_last_sentence(tmp_path):
    told = {"timestamps": [[4, 9.5], [0, 2]], "sentences": ["a man runs", "a street"]}
    captions = text.load_captions(written(tmp_path, {"V1": told}))
    assert captions["V1"].duration == 9.5 and len(captions["V1"].sentences) == 2
    with pytest.raises(DataError, match="duration None"):
        text.load_captions(written(tmp_path, {"V1": {"timestamps": [], "sentences": []}}))


def test_good_captions(tmp_path):
    captions = text.load_captions(
        written(tmp_path, {"V1": GOOD, "V2": {"duration": 3, "timestamps": [], "sentences": []}})
    )
    assert captions["V1"].duration == 10.0 and captions["V1"].sentences == (
        "A man walks.",
        "A car stops.",
    )
    np.testing.assert_array_equal(captions["V1"].spans, [[0, 4], [6, 9]])
    assert captions["V2"].spans.shape == (0, 2)
    assert captions["V2"].sentences == ()


def test_repairs(tmp_path):
    entry = {
        "duration": 10,
        "timestamps": [[2, 12.5], [3, 4], [10, 10]],
        "sentences": ["Too long.", "  ", " At the end. "],
    }
    captions = text.load_captions(written(tmp_path, {"V": entry}))["V"]
    np.testing.assert_array_equal(captions.spans, [[2, 10], [10, 10]])
    assert captions.sentences == ("Too long.", "At the end.")


@pytest.mark.parametrize(
    "change, found",
    [
        ({"duration": 0}, "duration 0"),
        ({"duration": float("nan")}, "duration nan"),
        ({"duration": True}, "duration True"),
        ({"timestamps": [[0, 4]]}, "1 and 2"),
        ({"timestamps": {"0": [0, 4]}}, "dict and 2"),
        ({"timestamps": [[0, 4], [9, 6]]}, r"sentence 1: timestamp \[9, 6\]"),
        ({"timestamps": [[-1, 4], [6, 9]]}, r"sentence 0: timestamp \[-1, 4\]"),
        ({"timestamps": [[0, 4], [11, 12]]}, r"sentence 1: timestamp \[11, 12\]"),
        ({"timestamps": [[0, 4], [6]]}, r"sentence 1: timestamp \[6\]"),
        ({"timestamps": [[0, 4], ["6", "9"]]}, "sentence 1: timestamp"),
        ({"timestamps": [[0, 4], [6, float("inf")]]}, "sentence 1: timestamp"),
        ({"sentences": ["A man walks.", None]}, "sentence 1: None"),
    ],
)
def test_bad_entries_name_file_and_video(tmp_path, change, found):
    path = written(tmp_path, {"fine": GOOD, "bad one": GOOD | change})
    with pytest.raises(DataError, match=found) as error:
        text.load_captions(path)
    assert str(path) in str(error.value) and "'bad one'" in str(error.value)


@pytest.mark.parametrize(
    "content, found",
    [
        ("{", "not usable JSON"),
        ("[]", "a JSON list"),
        ('{"V": 3}', "found int"),
        ('{"V": {"duration": 3}}', r"found \['duration'\]"),
        ('{"V": {}, "W": {}, "V": {}}', "'V' stands twice"),
    ],
)
def test_bad_files(tmp_path, content, found):
    with pytest.raises(DataError, match=found):
        text.load_captions(written(tmp_path, content))


def test_absent_and_undecodable_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        text.load_captions(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes(b'{"V\xe9": 1}')
    with pytest.raises(DataError, match=r"latin.json, line 1, byte 4 .*not UTF-8"):
        text.load_captions(tmp_path / "latin.json")


def test_real_captions(shared_data):
    captions = text.load_captions(shared_data / "ucf_crime" / "captions.json")
    sentences = [s for c in captions.values() for s in c.sentences]
    assert (len(captions), len(sentences), len(set(sentences))) == (1526, 10781, 10606)
    raw = json.loads((shared_data / "ucf_crime" / "captions.json").read_text())
    # nothing needed repair
    assert all(
        np.array_equal(c.spans, np.array(raw[n]["timestamps"]).reshape(-1, 2))
        for n, c in captions.items()
    )


# ---- units


def slow_weights(units, spans, assign):
    """Independent oracle, one unit at a time."""
    out = np.zeros((len(units), len(spans)))
    for n, (a, b) in enumerate(units):
        taken, fade = (
            [
                s
                for s, (c, d) in enumerate(spans)
                if (c < b and d > a and min(b, d) > max(a, c)) or (c == d and a <= c < b)
            ],
            1.0,
        )
        if not taken and assign != "overlap" and len(spans):
            gaps = [max(c - b, a - d, 0) for c, d in spans]
            taken = [s for s, gap in enumerate(gaps) if gap <= min(gaps) + 1e-9]
            if assign == "decay":
                fade = max(np.exp(-min(gaps) / 1.0), 1e-6)
        for s in taken:
            out[n, s] = fade / len(taken)
    return out


SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=7).map(
    lambda pairs: np.array(
        [[start / 2, (start + length) / 2] for start, length in pairs], float
    ).reshape(-1, 2)
)


@settings(max_examples=80, deadline=None)
@given(spans=SPANS, n=st.integers(1, 9), assign=st.sampled_from(text.ASSIGNMENTS))
def test_weights_against_oracle(spans, n, assign):
    edges = np.linspace(0, 10, n + 1)
    units = np.stack([edges[:-1], edges[1:]], 1)
    weights = text.assignment_weights(units, spans, assign)
    np.testing.assert_allclose(weights, slow_weights(units, spans, assign), atol=1e-12)
    rows = weights.sum(1)
    if assign == "decay" and len(spans):
        assert np.all((rows > 0) & (rows <= 1 + 1e-12))
    else:
        assert np.all(
            (np.abs(rows - 1) < 1e-12)
            | ((rows == 0) if assign == "overlap" or not len(spans) else False)
        )


def test_features_nearest_and_overlap():
    captions = text.Captions(
        10.0, np.array([[0.0, 4.0], [3.0, 4.0], [9.0, 10.0]]), ("a b", "c", "d")
    )
    units = np.array([[0, 2], [2, 4], [4, 6], [7, 8]], float)
    a, c, d = HASH.encode(["a b", "c", "d"])
    near = text.text_features(captions, units, HASH)
    # the third has two sentences at the same gap
    np.testing.assert_allclose(near, [a, (a + c) / 2, (a + c) / 2, d], atol=1e-6)
    np.testing.assert_allclose(
        text.text_features(captions, units, HASH, "overlap"),
        [a, (a + c) / 2, 0 * a, 0 * a],
        atol=1e-6,
    )
    assert near.dtype == np.float32


def test_features_without_captions():
    units = np.array([[0.0, 1.0], [1.0, 2.0]])
    for captions in (None, text.Captions(2.0, np.zeros((0, 2)), ())):
        np.testing.assert_array_equal(
            text.text_features(captions, units, HASH), np.zeros((2, HASH.width), np.float32)
        )


def test_unknown_assignment():
    with pytest.raises(ConfigError, match="text_assign is 'closest'"):
        text.assignment_weights(np.zeros((1, 2)), np.zeros((1, 2)), "closest")


# ---- cache


def test_embeds_each_sentence_once(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "FLUSH", 2)
    encoder, calls = counting_encoder(), []
    texts = ["ccc", "a", "bb", "a", "ccc"]
    first = text.embed(
        texts,
        encoder,
        text.open_cache(tmp_path, encoder),
        lambda done, total: calls.append((done, total)),
    )
    np.testing.assert_array_equal(first[:, 0], [3, 1, 2, 1, 3])
    # shortest first, saved after each two
    assert encoder.asked == ["a", "bb", "ccc"] and calls == [(2, 3), (3, 3)]
    again = text.embed(
        texts + ["new"],
        encoder,
        text.open_cache(tmp_path, encoder),
        lambda *_: calls.append("again"),
    )
    assert encoder.asked == ["a", "bb", "ccc", "new"] and calls[2:] == ["again"]
    np.testing.assert_array_equal(again[:5], first)
    assert encode_cached([], encoder, tmp_path).shape == (0, 4)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_encoders_do_not_share_entries(tmp_path):
    one, other = counting_encoder(), counting_encoder(6)
    other.id = "counting-2"
    assert encode_cached(["a"], one, tmp_path).shape == (1, 4) and encode_cached(
        ["a"], other, tmp_path
    ).shape == (1, 6)
    assert len(list(tmp_path.glob("text-*.bin"))) == 2 and text.text_key("x", "a") != text.text_key(
        "y", "a"
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_damaged_cache_is_rebuilt(tmp_path, caplog, damage):
    encoder = counting_encoder()
    good = encode_cached(["a", "bb"], encoder, tmp_path)
    path = text.open_cache(tmp_path, encoder).path
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(
        {
            "flip": bytes(content),
            "cut": path.read_bytes()[:-5],
            "empty": b"",
            "foreign": b"something else",
        }[damage]
    )
    np.testing.assert_array_equal(encode_cached(["a", "bb"], encoder, tmp_path), good)
    assert "damaged" in caplog.text and encoder.asked == ["a", "bb", "a", "bb"]
    assert len(text.open_cache(tmp_path, encoder).vectors) == 2


def test_keys_that_end_in_zero_bytes_survive(tmp_path):
    vectors = {bytes(32): np.ones(4, np.float32), b"k" + bytes(31): np.zeros(4, np.float32)}
    text._merge(tmp_path / "c.bin", dict(vectors), 4)
    assert set(text._read(tmp_path / "c.bin", 4)) == set(vectors)


def _embed_many(folder, first):
    text.FLUSH = 3
    encode_cached([f"text {i}" for i in range(first, first + 30)], HASH, folder)


def test_two_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_embed_many, args=(tmp_path, first)) for first in (0, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    cache = text.open_cache(tmp_path, HASH)
    assert set(cache.vectors) == {text.text_key(HASH.id, f"text {i}") for i in range(50)}
    np.testing.assert_array_equal(text.embed(["text 7"], HASH, cache), HASH.encode(["text 7"]))


def test_unwritable_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="data.cache_dir"):
        encode_cached(["a"], counting_encoder(), tmp_path / "file" / "cache")
