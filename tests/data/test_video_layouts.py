"""Finding videos on disk, and decoding them: every shape a set comes in, every way its files are
damaged."""

import re
import shutil

import cv2
import numpy as np
import pytest
from video_files import SIZE, picture, write_frames, write_set, write_video

from gfvad.base.names import match_names
from gfvad.base.types import ConfigError, DataError
from gfvad.data.frames import decode
from gfvad.data.frames.video_folders import VideoFile, detect, fingerprint, open_layout


def _names(root, split, layout="auto"):
    return [video.name for video in open_layout(layout, root).videos(split)]


def _video(path, split="test"):
    frames = tuple(sorted(path.iterdir())) if path.is_dir() else ()
    return VideoFile(path.name, split, path, frames)


def test_layout_frames(tmp_path):
    root = write_set(tmp_path)
    assert detect(root) == "frames"
    first = open_layout("frames", root).videos("train")[0]
    assert (
        first.name == "01"
        and first.split == "train"
        and [p.name for p in first.frames[:2]] == ["000.jpg", "001.jpg"]
    )


def test_layout_ucsd_passes_masks_over(tmp_path):
    for name in ("Train/Train001", "Train/Train002", "Test/Test001", "Test/Test001_gt"):
        write_frames(tmp_path / name, 3, suffix=".bmp" if name.endswith("_gt") else ".tif", start=1)
    (tmp_path / "Test" / "Test001" / "._001.tif").write_bytes(b"Mac")
    assert detect(tmp_path) == "ucsd"
    assert _names(tmp_path, "train") == ["Train001", "Train002"] and _names(tmp_path, "test") == [
        "Test001"
    ]
    assert len(open_layout("ucsd", tmp_path).videos("test")[0].frames) == 3


@pytest.mark.parametrize(
    "train, test",
    [
        ("training/videos", "testing/videos"),
        ("training_videos", "testing_videos"),
        ("training/videos", "testing/frames"),
    ],
)
def test_layout_videos(tmp_path, train, test):
    """The last is ShanghaiTech's: training videos, testing frames."""
    for k in (1, 2, 10):
        write_video(tmp_path / train / f"{k}.avi", 3)
    (
        write_frames(tmp_path / test / "01_0014", 2)
        if "frames" in test
        else write_video(tmp_path / test / "01.mp4", 2)
    )
    assert detect(tmp_path) == "videos"
    assert _names(tmp_path, "train") == ["1", "2", "10"]  # natural order
    assert len(_names(tmp_path, "test")) == 1


def test_layout_any(tmp_path):
    file, folder = (
        write_video(tmp_path / "a" / "cam.mp4", 2),
        write_frames(tmp_path / "a" / "shots", 2),
    )
    assert (
        _names(file, "test") == ["cam"]
        and _names(folder, "test") == ["shots"]
        and _names(tmp_path / "a", "test") == ["cam", "shots"]
    )
    with pytest.raises(DataError, match="no train videos in layout 'any'"):
        _names(file, "train")


def test_bare_split_folders(tmp_path):
    write_frames(tmp_path / "train" / "x", 2)
    write_video(tmp_path / "test" / "y.mp4", 2)
    assert _names(tmp_path, "train") == ["x"] and _names(tmp_path, "test") == ["y"]


def test_missing_frame_is_named(tmp_path):
    folder = write_frames(tmp_path / "testing" / "frames" / "01", 6, start=1)
    (folder / "003.jpg").unlink()
    with pytest.raises(
        DataError, match=r"01: frame 003\.jpg is missing, found 002\.jpg and 004\.jpg"
    ):
        _names(tmp_path, "test")


def test_unusable_folders(tmp_path):
    with pytest.raises(DataError, match="not found; expected a folder of frames or videos"):
        open_layout("auto", tmp_path / "absent")
    with pytest.raises(ConfigError, match="'frame'; did you mean 'frames'"):
        open_layout("frame", tmp_path)
    root = write_set(tmp_path / "set", train=())
    with pytest.raises(
        DataError,
        match=(
            r"no folder of train videos of layout 'frames'; expected training/frames or .* Found:"
            r" testing"
        ),
    ):
        _names(root, "train", "frames")
    (root / "training" / "frames").mkdir(parents=True)
    with pytest.raises(DataError, match=r"training/frames: no videos; expected .* Found: nothing"):
        _names(root, "train")
    (root / "training" / "frames" / "01").mkdir()
    with pytest.raises(DataError, match=r"frames/01: no frames; expected images"):
        _names(root, "train")
    (root / "testing" / "frames" / "01" / "cover.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"cover\.jpg: no number in the name"):
        _names(root, "test")
    (root / "testing" / "frames" / "01" / "cover.jpg").rename(
        root / "testing" / "frames" / "01" / "x_0.jpg"
    )
    with pytest.raises(DataError, match="are both frame 0"):
        _names(root, "test")


def test_same_name_twice(tmp_path):
    write_frames(tmp_path / "01", 2)
    write_video(tmp_path / "01.mp4", 2)
    with pytest.raises(DataError, match="two videos named '01'"):
        _names(tmp_path, "test")


def test_match_names():
    assert match_names(["Test001", "1_label", "01", "x", "3"], ["01", "02"]) == [0, 0, 0, -1, -1]
    assert match_names(["01_0014"], ["01_0015", "01_0014"]) == [1]
    assert match_names(["a1"], ["b1", "c1"]) == [-1]  # both fit


def test_fingerprint_follows_files(tmp_path):
    root = write_set(tmp_path)
    before = fingerprint(open_layout("auto", root).videos("test"))
    assert before == fingerprint(open_layout("auto", root).videos("test"))
    (root / "testing/frames/01/004.jpg").write_bytes(
        (root / "testing/frames/02/004.jpg").read_bytes()
    )
    assert before != fingerprint(open_layout("auto", root).videos("test"))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_images(tmp_path, suffix):
    folder = write_frames(tmp_path / "v", 1, suffix=suffix)
    rgb, grey = (decode.read_image(folder / f"000{suffix}", channels) for channels in (3, 1))
    assert rgb.shape == (*SIZE, 3) and grey.shape == SIZE and rgb.dtype == grey.dtype == np.uint8
    assert np.abs(rgb.astype(int) - picture(0)).mean() < (8 if suffix == ".jpg" else 1e-9)


@pytest.mark.parametrize(
    "content, name, message",
    [
        (b"GIF89a" + bytes(90), "000.jpg", "found a file of kind GIF, expected JPEG"),
        (
            cv2.imencode(".png", picture(0))[1].tobytes(),
            "000.jpg",
            "found a file of kind PNG, expected JPEG",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "000.jpg", "Git LFS pointer"),
        (b"", "000.jpg", "empty file"),
        (
            cv2.imencode(".jpg", picture(0))[1].tobytes()[:-300],
            "000.jpg",
            "cut off after .* end marker of a JPEG",
        ),
        (cv2.imencode(".png", picture(0))[1].tobytes()[:-300], "000.png", "end marker of a PNG"),
        (cv2.imencode(".tif", picture(0))[1].tobytes()[:-300], "000.tif", "damaged or cut off"),
        (cv2.imencode(".bmp", picture(0))[1].tobytes()[:-300], "000.bmp", "damaged or cut off"),
    ],
)
def test_damaged_images(tmp_path, content, name, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{re.escape(name)}: .*{message}"):
        decode.read_image(tmp_path / name, 1)


def test_frame_of_another_size(tmp_path):
    folder = write_frames(tmp_path / "v", 3)
    cv2.imwrite(str(folder / "001.jpg"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(DataError, match=r"001\.jpg: 30x40 pixels .* expected 32x48"):
        list(decode.read_frames(_video(folder), 1))


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_video_files(tmp_path, suffix):
    path = write_video(tmp_path / f"v{suffix}", 12)
    frames = list(decode.read_video(path, 3))
    assert len(frames) == 12 and frames[0].shape == (*SIZE, 3)
    assert np.abs(frames[5].astype(int) - picture(5)).mean() < 12
    assert decode.frame_rate(_video(path)) == 25 and decode.stated_frames(_video(path)) == 12
    assert next(decode.read_video(path, 1)).shape == SIZE


def test_rotated_video_stands_upright(tmp_path):
    """A phone's quarter turn: the rotation matrix in the mp4's track header."""
    path = write_video(tmp_path / "v.mp4", 3)
    plain = next(decode.read_video(path, 1))
    content = path.read_bytes()
    numbers = lambda values: b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    one = 1 << 16
    at = content.index(b"tkhd")
    place = content.index(numbers([one, 0, 0, 0, one, 0]), at)
    turned = numbers([0, one, 0, -one, 0, 0])  # clockwise
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    np.testing.assert_array_equal(next(decode.read_video(path, 1)), np.rot90(plain, -1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "not a readable video"),
        ({"movflags": "faststart"}, "cut off: .* whole frames, expected 60"),
    ],
)
def test_truncated_mp4(tmp_path, options, message):
    """Without its index at the end nothing can be read; with the index in front the frames run
    out."""
    path = write_video(tmp_path / "v.mp4", 60, options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(DataError, match=message):
        list(decode.read_video(path, 1))


def test_other_files_as_videos(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"v\.mp4: not a readable video"):
        list(decode.read_video(tmp_path / "v.mp4", 1))
    shutil.copy(tmp_path / "v.mp4", tmp_path / "v.txt")
    # a file that is given is tried, whatever its name
    (video,) = open_layout("auto", tmp_path / "v.txt").videos("test")
    with pytest.raises(
        DataError, match=r"v\.txt: a picture, expected a video|not a readable video"
    ):
        list(decode.read_video(video.path, 1))


def test_real_clips(shared_data):
    """Every tenth surveillance clip decodes to as many frames as its container states."""
    for path in sorted((shared_data / "fight_clips").glob("*/*.mp4"))[::10]:
        assert sum(1 for _ in decode.read_video(path, 1)) == decode.stated_frames(_video(path)) > 0
