"""Stores of frames and flow: what they hold, that an interrupted one goes on, that a stale one
is made anew, that workers do not matter."""

import fcntl
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from video_files import picture, write_frames, write_set, write_video

from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import cache as cache_lib
from gfvad.data.frames import decode
from gfvad.data.frames import flow as flow_lib
from gfvad.data.frames.cache import Cache
from gfvad.data.frames.flow import open_flow
from gfvad.data.frames.store import open_frames
from gfvad.data.frames.video_folders import open_layout


def _frames(root, cache, split="test", say=lambda text: None, **options):
    size = (16, 24, options.pop("channels", 1))
    cache = Cache(cache, options.pop("workers", 2), say)
    return open_frames(open_layout("auto", root), split, size, cache, **options)


def _flow(root, cache, workers=2, say=print, **options):
    cache = Cache(cache, workers, say)
    return open_flow(open_layout("auto", root), "test", cache, **options)


def _files(cache):
    return sorted(
        str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_store_holds_the_frames(tmp_path, channels):
    root = write_set(tmp_path / "set", suffix=".png")
    store = _frames(root, tmp_path / "cache", channels=channels)
    assert (
        store.names == ("01", "02")
        and store.lengths.tolist() == [10, 7]
        and store.offsets.tolist() == [0, 10]
    )
    assert (
        store.size == (16, 24)
        and store.source_size == (32, 48)
        and store.source_sizes.tolist() == [[32, 48]] * 2
        and store.fps.tolist() == [0, 0]
    )
    assert (
        store.data.shape == (17, 16, 24, channels)
        and store.data.dtype == np.uint8
        and len(store) == 2
    )
    source = picture(3, 20)
    source = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)[..., None] if channels == 1 else source
    expected = source.reshape(16, 2, 24, 2, channels).mean((1, 3))  # area averages
    assert np.abs(store.video(1)[3] - expected).max() <= 1
    np.testing.assert_array_equal(store.clip(1, [3, 0, 3]), store.video(1)[[3, 0, 3]])
    with pytest.raises(IndexError, match="frames 0 to 7 of a video of 7 frames"):
        store.clip(1, [0, 7])


def test_video_files_in_a_store(tmp_path):
    write_video(tmp_path / "set" / "test" / "a.mp4", 9)
    write_frames(tmp_path / "set" / "test" / "b", 4)
    store = _frames(tmp_path / "set", tmp_path / "cache")
    assert store.lengths.tolist() == [9, 4] and store.fps.tolist() == [25, 0]


def test_direct_mode_equals_store_mode(tmp_path):
    root = write_set(tmp_path / "set")
    store, direct = (
        _frames(root, tmp_path / "cache", mode=mode, channels=3) for mode in ("store", "direct")
    )
    for name in ("names", "size", "source_size", "total"):
        assert getattr(store, name) == getattr(direct, name)
    for name in ("lengths", "offsets", "fps", "source_sizes"):
        np.testing.assert_array_equal(getattr(store, name), getattr(direct, name))
    for i in range(len(store)):
        np.testing.assert_array_equal(store.video(i), direct.video(i))
    np.testing.assert_array_equal(store.clip(1, [6, 0, 0, 2]), direct.clip(1, [6, 0, 0, 2]))
    cv2.imwrite(str(root / "testing/frames/01/009.jpg"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"009\.jpg: 8x8 pixels"):
        _frames(root, tmp_path / "cache", mode="direct").clip(0, [9])
    write_video(tmp_path / "v.mp4", 2)
    with pytest.raises(DataError, match="expected a folder of images for mode='direct'"):
        _frames(tmp_path / "v.mp4", tmp_path / "cache", mode="direct")


def test_workers_change_nothing(tmp_path):
    root = write_set(tmp_path / "set", test=(9, 2, 12, 1, 5))
    made = [_frames(root, tmp_path / str(n), workers=n) for n in (1, 4)]
    flows = [_flow(root, tmp_path / str(n), workers=n) for n in (1, 4)]
    for one, other in (made, flows):
        assert one.lengths.tolist() == other.lengths.tolist() == [9, 2, 12, 1, 5]
        np.testing.assert_array_equal(one.data, other.data)


def test_prepared_once(tmp_path, monkeypatch):
    root, said = write_set(tmp_path / "set"), []
    first = _frames(root, tmp_path / "cache", say=said.append)
    assert len(said) == 1 and "2 videos to prepare" in said[0]
    assert [name.rsplit("/", 1)[-1] for name in _files(tmp_path / "cache")] == [
        "data.bin",
        "manifest.json",
    ]
    monkeypatch.setattr(decode, "read_frames", None)
    again = _frames(root, tmp_path / "cache", say=said.append)
    assert len(said) == 1 and repr(again) == repr(first)
    np.testing.assert_array_equal(first.data, again.data)


def test_changed_sources_are_prepared_anew(tmp_path):
    root, said = write_set(tmp_path / "set"), []
    before = _frames(root, tmp_path / "cache").data.copy()
    cv2.imwrite(str(root / "testing/frames/01/002.jpg"), np.full((32, 48, 3), 200, np.uint8))
    after = _frames(root, tmp_path / "cache", say=said.append).data
    assert "have changed, prepared anew" in said[0]
    assert (after[2] > 190).all() and not (before[2] > 190).all()
    np.testing.assert_array_equal(np.delete(after, 2, 0), np.delete(before, 2, 0))


def _interrupted(monkeypatch, root, cache, error, at):
    """Prepares until frame `at` of the third video raises."""
    real = decode.read_frames

    def read(video, channels):
        for t, frame in enumerate(real(video, channels)):
            if video.name == "03" and t == at:
                raise error
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(decode, "read_frames", read)
        with pytest.raises(type(error)):
            _frames(root, cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("damaged")])
def test_interrupted_preparation_goes_on(tmp_path, monkeypatch, error):
    root = write_set(tmp_path / "set", test=(5, 6, 7, 8))
    whole = _frames(root, tmp_path / "whole")
    _interrupted(monkeypatch, root, tmp_path / "cache", error, 4)
    folder = next((tmp_path / "cache" / "video").glob("frames-*[!k]"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert not manifest["complete"] and [video["name"] for video in manifest["videos"]] == [
        "01",
        "02",
    ]
    with (folder / "data.bin").open("ab") as file:  # half a video whose manifest was never written
        file.write(b"torn")
    read, real = [], decode.read_frames
    monkeypatch.setattr(
        decode,
        "read_frames",
        lambda video, channels: read.append(video.name) or real(video, channels),
    )
    store = _frames(root, tmp_path / "cache")
    assert sorted(read) == ["03", "04"]
    np.testing.assert_array_equal(store.data, whole.data)


def test_damaged_cache_is_made_anew(tmp_path):
    root = write_set(tmp_path / "set")
    whole = _frames(root, tmp_path / "cache").data.copy()
    folder = next((tmp_path / "cache" / "video").glob("frames-*[!k]"))
    os.truncate(folder / "data.bin", 100)
    np.testing.assert_array_equal(_frames(root, tmp_path / "cache").data, whole)
    (folder / "manifest.json").write_text("{")
    np.testing.assert_array_equal(_frames(root, tmp_path / "cache").data, whole)


def test_second_process_waits(tmp_path):
    root, said = write_set(tmp_path / "set"), []
    whole = _frames(root, tmp_path / "cache").data.copy()
    lock = next((tmp_path / "cache" / "video").glob("*.lock"))
    with lock.open("w") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = pool.submit(_frames, root, tmp_path / "cache", say=said.append)
        while not said:
            time.sleep(0.01)
        assert "another process prepares this cache" in said[0] and not waiting.done()
        fcntl.flock(file, fcntl.LOCK_UN)
        np.testing.assert_array_equal(waiting.result(timeout=10).data, whole)


def test_errors_come_through_workers(tmp_path):
    root = write_set(tmp_path / "set")
    (root / "testing/frames/02/003.jpg").write_bytes(b"GIF89a" + bytes(50))
    for workers in (1, 3):
        with pytest.raises(DataError, match=r"02/003\.jpg: found a file of kind GIF"):
            _frames(root, tmp_path / "cache", workers=workers)
    with pytest.raises(ConfigError, match="2 channels"):
        _frames(root, tmp_path / "cache", channels=2)
    with pytest.raises(ConfigError, match="mode 'disk'; valid: store, direct"):
        _frames(root, tmp_path / "cache", mode="disk")


def test_no_space_and_no_access(tmp_path, monkeypatch):
    root = write_set(tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr(cache_lib.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
        with pytest.raises(DataError, match="GB free, expected .*mode='direct'"):
            _frames(root, tmp_path / "cache")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written .* data.cache_dir"):
        _frames(root, tmp_path / "file")


def test_one_frame_videos(tmp_path):
    root, said = write_set(tmp_path / "set", test=(4, 1)), []
    store = _frames(root, tmp_path / "cache", say=said.append)
    assert (
        store.lengths.tolist() == [4, 1]
        and "1 videos have one frame, which is repeated to fill a clip: 02" in said[-1]
    )
    flow = _flow(root, tmp_path / "cache", say=said.append)
    assert not flow.video(1).any() and flow.video(0).any()


def test_flow_of_a_moving_square(tmp_path):
    root = write_set(tmp_path / "set", suffix=".png", test=(6,))
    flow = _flow(root, tmp_path / "cache", cell=4)
    assert (
        flow.data.shape == (6, 8, 12, 3)
        and flow.data.dtype == np.float16
        and flow.cell == 4
        and flow.size == (32, 48)
    )
    np.testing.assert_array_equal(flow.video(0)[0], flow.video(0)[1])
    # rows 12 to 20, columns 12 to 16: within the square at frames 3 and 4
    inside = flow.video(0)[4, 3:5, 3].astype(float).mean(0)
    np.testing.assert_allclose(inside, [2, 0, 2], atol=0.5)
    # the texture far from it stands still
    np.testing.assert_allclose(flow.video(0)[4, :, 9:].astype(float), 0, atol=0.4)


def test_cell_means():
    """The magnitude is taken per pixel: opposite motions in one cell cancel in (u, v) but not in
    it."""
    pixels = np.zeros((4, 4, 2), np.float32)
    pixels[0, 0], pixels[1, 1] = (3, 4), (-3, -4)
    np.testing.assert_allclose(flow_lib.cell_means(pixels, 2)[0, 0], [0, 0, 2.5])
    assert not flow_lib.cell_means(pixels, 2)[1:].any()


def test_flow_sizes(tmp_path):
    write_frames(tmp_path / "set" / "test" / "a", 3, size=(37, 51))
    flow = _flow(tmp_path / "set", tmp_path / "cache")
    assert flow.size == (32, 48) and flow.source_size == (37, 51)  # whole cells
    with pytest.raises(ConfigError, match="flow at 30x48 pixels in cells of 8; expected multiples"):
        _flow(tmp_path / "set", tmp_path / "cache", size=(30, 48))


def test_ped2(shared_data, tmp_path):
    folder = open_layout("auto", shared_data / "ped2")
    frames = open_frames(folder, "test", (60, 90, 1), Cache(tmp_path))
    assert (
        frames.data.shape == (2010, 60, 90, 1)
        and frames.source_size == (240, 360)
        and len(frames) == 12
    )


@pytest.mark.parametrize("name", ["data.bin", "manifest.json"])
def test_a_flipped_byte_is_found_and_prepared_anew(tmp_path, name):
    """At the beginning, in the middle and at the end, also in another start of the program, and
    in a store too large to be read at once."""
    root = write_set(tmp_path / "set")
    store = _frames(root, tmp_path / "cache")
    whole, content, path = store.data.copy(), store.content, store.path / name
    for place in (0, path.stat().st_size // 2, path.stat().st_size - 1):
        before, said = path.read_bytes(), []
        path.write_bytes(before[:place] + bytes([before[place] ^ 4]) + before[place + 1 :])
        again = _frames(root, tmp_path / "cache", say=said.append)
        np.testing.assert_array_equal(again.data, whole)
        assert again.content == content and said
        if name == "data.bin":
            assert "is damaged, prepared anew from there on" in said[0]


def test_a_flipped_byte_in_a_large_store_is_found_when_it_is_read(tmp_path, monkeypatch):
    root = write_set(tmp_path / "set")
    store = _frames(root, tmp_path / "cache")
    path = store.path / "data.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(cache_lib, "CHECK_AT_ONCE", 0)
    store = _frames(root, tmp_path / "cache")
    store.video(0)
    for read in (lambda: store.video(1), lambda: store.clip(1, [0])):
        with pytest.raises(DataError, match="frames of '02' is damaged .*remove this folder"):
            read()


def test_a_store_of_an_earlier_version_is_read(tmp_path):
    root = write_set(tmp_path / "set")
    store = _frames(root, tmp_path / "cache")
    manifest = json.loads((store.path / "manifest.json").read_text())
    del manifest["seal"]
    for video in manifest["videos"]:
        del video["sha256"]
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    said = []
    again = _frames(root, tmp_path / "cache", say=said.append)
    assert again.content == {} and not said
    np.testing.assert_array_equal(again.video(1), store.video(1))
