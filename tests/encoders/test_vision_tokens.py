"""Tokens of a vision model, computed once and kept, or brought in a folder of their own."""

import json
import shutil

import numpy as np
import pytest
from vision_models import (  # noqa: F401
    cut,
    libraries,
    random_frames,
    save_model,
)

from gfvad.base.types import ConfigError, DataError
from gfvad.data import prepared_folder
from gfvad.data.frames.tokens import open_tokens
from gfvad.encoders.registry import open_vision
from gfvad.encoders.token_folder import TokenFolder

NAMES, LENGTHS = ("a", "b/c", "d"), (5, 70, 3)


class FakeEncoder:
    """Mean colour of each cell of a 2 x 3 grid, and what it was asked."""

    name, width, grid = "fake", 3, (2, 3)

    def __init__(self, fingerprint="one", fail_after=None):
        self.fingerprint, self.fail_after, self.frames = fingerprint, fail_after, 0

    def encode(self, frames):
        if self.fail_after is not None and self.frames + len(frames) > self.fail_after:
            raise KeyboardInterrupt
        self.frames += len(frames)
        n, h, w, _ = frames.shape
        return (
            frames.reshape(n, 2, h // 2, 3, w // 3, 3)
            .mean((2, 4), dtype=np.float32)
            .reshape(n, 6, 3)
        )


class Store:
    """Frames as the real store gives them."""

    def __init__(self, fingerprint="frames", channels=3, lengths=LENGTHS, seed=0):
        self.videos = [
            random_frames(n, 4, 6, channels, seed=seed + i) for i, n in enumerate(lengths)
        ]
        if fingerprint is not None:
            self.fingerprint = fingerprint

    def video(self, i):
        return self.videos[i]


def tokens_of(tmp_path, encoder=None, frames=None, **more):
    return open_tokens(
        encoder or FakeEncoder(), frames or Store(), NAMES, LENGTHS, tmp_path, **more
    )


# ---- the cache


def test_tokens_are_computed_once(tmp_path):
    encoder, lines = FakeEncoder(), []
    store = tokens_of(tmp_path, encoder, say=lines.append)
    assert (
        store.offsets.tolist() == [0, 5, 75]
        and store.lengths.tolist() == [5, 70, 3]
        and store.total == 78
        and store.grid == (2, 3)
        and store.width == 3
        and encoder.frames == 78
    )
    for i, video in enumerate(Store().videos):
        assert store.video(i).dtype == np.float16 and store.video(i).shape == (LENGTHS[i], 6, 3)
        np.testing.assert_array_equal(
            store.video(i), FakeEncoder().encode(video).astype(np.float16)
        )
    assert len(lines) == 1 and "fake, 3 videos, 78 frames" in lines[0]
    np.testing.assert_array_equal(store.clip(1, [69, 0, 0]), store.video(1)[[69, 0, 0]])
    for outside in ([70], [-1]):
        with pytest.raises(IndexError, match="of a video of 70 frames"):
            store.clip(1, outside)
    again = FakeEncoder(fail_after=0)
    np.testing.assert_array_equal(tokens_of(tmp_path, again).video(1), store.video(1))
    assert [p.name for p in (tmp_path / "tokens").iterdir() if not p.name.startswith(".")] == [
        f"fake-{store.fingerprint[:16]}"
    ]


def test_progress_counts_frames(tmp_path, capsys):
    open_tokens(FakeEncoder(), Store(), NAMES, LENGTHS, tmp_path)
    assert "tokens (fake): 78 frames in" in capsys.readouterr().err


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_run_goes_on(tmp_path, torn):
    with pytest.raises(KeyboardInterrupt):
        tokens_of(tmp_path, FakeEncoder(fail_after=75))
    (partial,) = (tmp_path / "tokens").glob(".fake-*.partial")
    assert not list((tmp_path / "tokens").glob("fake-*"))  # absent, not half
    if torn:
        with open(partial / "done.txt", "a") as file:
            file.write("2")  # killed within the line of the third video
    encoder, lines = FakeEncoder(), []
    store = tokens_of(tmp_path, encoder, say=lines.append)
    assert encoder.frames == 3 and "going on with video 3" in lines[0] and not partial.exists()
    for i, video in enumerate(Store().videos):
        np.testing.assert_array_equal(
            store.video(i), FakeEncoder().encode(video).astype(np.float16)
        )


def test_killed_before_the_last_step(tmp_path, monkeypatch):
    """All tokens are there, the rename is not: the next run computes nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "gfvad.data.frames.tokens.os.rename",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            tokens_of(tmp_path)
    encoder = FakeEncoder()
    assert len(tokens_of(tmp_path, encoder)) == 3 and encoder.frames == 0
    prepared_folder.read(next((tmp_path / "tokens").glob("fake-*")))


def test_a_damaged_cache_is_computed_again(tmp_path):
    store = tokens_of(tmp_path)
    expected = [np.array(store.video(i)) for i in range(3)]
    cut(next((tmp_path / "tokens").glob("fake-*")) / "tokens.npy")
    encoder = FakeEncoder()
    again = tokens_of(tmp_path, encoder)
    assert encoder.frames == 78 and all(
        np.array_equal(again.video(i), expected[i]) for i in range(3)
    )


def test_cache_follows_encoder_frames_and_videos(tmp_path):
    open_one = lambda encoder="one", store=None, names=NAMES: (
        open_tokens(FakeEncoder(encoder), store or Store(), names, LENGTHS, tmp_path).fingerprint
    )
    keys = [
        open_one(),
        open_one("two"),
        open_one(store=Store("others")),
        open_one(names=("x", "y", "z")),
    ]
    # hashed, where the store has no fingerprint
    keys += [open_one(store=Store(None)), open_one(store=Store(None, seed=9))]
    assert len(set(keys)) == 6 and open_one(store=Store(None)) == keys[4]


def test_grey_frames_become_three_equal_channels(tmp_path):
    grey = Store("grey", channels=1)
    tokens = tokens_of(tmp_path, frames=grey).video(0)
    np.testing.assert_array_equal(
        tokens, FakeEncoder().encode(np.repeat(grey.video(0), 3, -1)).astype(np.float16)
    )


@pytest.mark.parametrize(
    "value, match",
    [
        (np.nan, "tokens up to NaN, expected finite float16"),
        (1e6, r"tokens up to 1e\+06, expected finite"),
        (None, r"tokens \[5, 6\], expected \[5, 6, 3\]"),
    ],
)
def test_tokens_that_float16_cannot_hold(tmp_path, value, match):
    class Bad(FakeEncoder):
        def encode(self, frames):
            return (
                np.zeros((len(frames), 6))
                if value is None
                else np.full((len(frames), 6, 3), value, np.float32)
            )

    with pytest.raises(DataError, match=f"fake: video 'a', frames from 0: {match}"):
        tokens_of(tmp_path, Bad())


def test_frames_that_do_not_fit(tmp_path):
    with pytest.raises(
        DataError,
        match=r"video 'a': frames uint8 \[4, 4, 6, 3\], expected uint8 \[5, h, w, 1 or 3\]",
    ):
        tokens_of(tmp_path, frames=Store(lengths=(4, 70, 3)))
    with pytest.raises(DataError, match=r"2 names and 3 lengths"):
        open_tokens(FakeEncoder(), Store(), NAMES[:2], LENGTHS, tmp_path)
    with pytest.raises(ConfigError, match="needs the frames"):
        open_tokens(FakeEncoder(), None, NAMES, LENGTHS, tmp_path)
    with pytest.raises(ConfigError, match="trained in the model"):
        open_tokens(open_vision("patches"), Store(), NAMES, LENGTHS, tmp_path)


def test_a_cache_of_nowhere_and_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to .*data.cache_dir"):
        tokens_of(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(
            "gfvad.data.prepared_folder.shutil.disk_usage",
            lambda _: shutil._ntuple_diskusage(1, 1, 0),
        )
        with pytest.raises(DataError, match="GB free, .* GB needed"):
            tokens_of(tmp_path)


def test_a_real_model_fills_the_cache(tmp_path, libraries):
    save_model(tmp_path / "vit", libraries, "vit")
    encoder = open_vision(f"transformers:{tmp_path / 'vit'}", device="cpu")
    store = open_tokens(encoder, Store(), NAMES, LENGTHS, tmp_path / "cache")
    np.testing.assert_array_equal(
        store.video(2), encoder.encode(Store().video(2)).astype(np.float16)
    )
    unloaded = open_vision(f"transformers:{tmp_path / 'vit'}")
    open_tokens(unloaded, Store(), NAMES, LENGTHS, tmp_path / "cache")
    assert "_model" not in vars(unloaded)  # a finished cache needs no torch


# ---- tokens made elsewhere


def token_folder(folder, length=6, dtype=np.float32, grid=(2, 3)):
    for i, (name, frames) in enumerate(zip(NAMES, LENGTHS)):
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(i).normal(size=(frames, length, 4)).astype(dtype))
    if grid:
        (folder / "grid.json").write_text(json.dumps({"grid": grid}))
    return folder


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_token_folder(tmp_path, dtype):
    encoder = open_vision(f"tokens:{token_folder(tmp_path / 'in', dtype=dtype)}")
    assert isinstance(encoder, TokenFolder) and (encoder.width, encoder.grid) == (4, (2, 3))
    lines = []
    store = open_tokens(encoder, None, NAMES, LENGTHS, tmp_path / "cache", lines.append)
    assert [store.video(i).shape for i in range(3)] == [
        (n, 6, 4) for n in LENGTHS
    ] and store.total == 78
    np.testing.assert_array_equal(store.video(1), np.load(tmp_path / "in" / "b/c.npy"))
    assert len(lines) == 1
    open_tokens(encoder, None, NAMES, LENGTHS, tmp_path / "cache", lines.append)
    assert len(lines) == 1  # values are read once
    with pytest.raises(ConfigError, match="cannot encode other frames"):
        encoder.encode(random_frames(1, 4, 6, 3))
    np.save(tmp_path / "in" / "a.npy", np.ones((5, 6, 4), dtype))
    assert open_vision(f"tokens:{tmp_path / 'in'}").fingerprint != encoder.fingerprint


def test_a_square_needs_no_grid_file(tmp_path):
    assert open_vision(f"tokens:{token_folder(tmp_path, 9, grid=None)}").grid == (3, 3)


def spoil(name, change, match):
    return pytest.param(change, match, id=name)


@pytest.mark.parametrize(
    "change, match",
    [
        spoil(
            "wrong T",
            lambda f: np.save(f / "d.npy", np.zeros((4, 6, 4), np.float32)),
            r"d.npy: tokens \[4, 6, 4\], expected \[3, 6, 4\] \(one row a frame\)",
        ),
        spoil(
            "wrong D",
            lambda f: np.save(f / "d.npy", np.zeros((3, 6, 5), np.float32)),
            r"expected \[3, 6, 4\] \(L and D",
        ),
        spoil(
            "wrong rank",
            lambda f: np.save(f / "d.npy", np.zeros((3, 4), np.float32)),
            r"d.npy: float32 \[3, 4\], expected float16 or float32 tokens",
        ),
        spoil(
            "integers",
            lambda f: np.save(f / "a.npy", np.zeros((5, 6, 4), int)),
            r"a.npy: int64 \[5, 6, 4\], expected float16 or float32",
        ),
        spoil("doubles", lambda f: np.save(f / "b/c.npy", np.zeros((70, 6, 4))), "c.npy: float64"),
        spoil(
            "NaN",
            lambda f: np.save(f / "b/c.npy", nan_at(66)),
            "c.npy: NaN or infinity in frame 66",
        ),
        spoil(
            "missing", lambda f: (f / "d.npy").unlink(), "1 of 3 videos have no tokens, e.g. d.npy"
        ),
        spoil("empty", lambda f: shutil.rmtree(f) or f.mkdir(), "found no .npy file"),
        spoil("no array", lambda f: (f / "a.npy").write_text("x"), "a.npy: unreadable"),
        spoil(
            "pickle",
            lambda f: np.save(f / "a.npy", np.array([{}]), allow_pickle=True),
            "a.npy: unreadable|a.npy: object",
        ),
        spoil(
            "grid",
            lambda f: (f / "grid.json").write_text('{"grid": [2, 2]}'),
            r"grid \[2, 2\], expected \[rows, columns\] with rows \* columns = 6",
        ),
        spoil(
            "no grid", lambda f: (f / "grid.json").unlink(), "L = 6 is no square: write .*grid.json"
        ),
    ],
)
def test_token_folders_that_do_not_fit(tmp_path, change, match):
    change(token_folder(tmp_path / "in"))
    with pytest.raises(DataError, match=match):
        open_tokens(
            open_vision(f"tokens:{tmp_path / 'in'}"),
            None,
            NAMES,
            LENGTHS,
            tmp_path / "cache",
        )


def nan_at(frame):
    tokens = np.zeros((70, 6, 4), np.float32)
    tokens[frame, 1, 2] = np.nan
    return tokens
