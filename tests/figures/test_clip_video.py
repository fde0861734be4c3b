"""Annotated clips: what a player finds in the file, where the truth is red, that a failure
leaves nothing behind."""

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs launch/requirements-video.txt")
pytest.importorskip("cv2", reason="needs launch/requirements-video.txt")

from gfvad.base.types import DataError  # noqa: E402
from gfvad.figures import video  # noqa: E402
from gfvad.figures.heatmaps import ScoredFrames  # noqa: E402

SPANS = np.array([[5, 9]])
TERMS = {"appearance": np.linspace(0, 1, 12), "motion – signed": np.linspace(-1, 2, 12)}


def clip(height=41, width=61, frames=12, channels=1):
    """Grey frames of odd size, maps with one hot cell, scores."""
    maps = np.zeros((frames, 5, 6))
    maps[:, 2, 3] = np.arange(frames)
    return np.full((frames, height, width, channels), 120, np.uint8), maps, np.arange(frames) / 3


def read(path):
    """(stream facts, frames uint8 [T, H, W, 3])."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        return (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)), pictures


def is_red(pictures):
    """bool [...]: near the vermillion of the truth, after lossy coding."""
    return np.abs(pictures.astype(int) - np.array([213, 94, 0])).max(axis=-1) < 40


@pytest.mark.parametrize("channels, terms", [(1, TERMS), (3, {})])
def test_file(tmp_path, channels, terms):
    frames, maps, scores = clip(channels=channels)
    told = ScoredFrames(frames, maps, scores, terms)
    path = video.write_annotated(tmp_path / "out" / "clip.mp4", told, SPANS, 12.5)
    facts, pictures = read(path)
    assert facts == ("h264", "yuv420p", 12.5) and len(pictures) == 12
    assert pictures.shape[1:3] == video.size_of(41, 61, len(terms)) and not any(
        side % 2 for side in pictures.shape[1:3]
    )
    assert pictures.shape[2] >= video.MIN_WIDTH
    assert [p.name for p in path.parent.iterdir()] == ["clip.mp4"]
    scale = video.scale_of(61)
    border = is_red(pictures[:, 100 : 41 * scale - 100, 2:5]).mean(axis=(1, 2)) > 0.9
    np.testing.assert_array_equal(border, (np.arange(12) >= 5) & (np.arange(12) < 9))
    marks = is_red(pictures[:, 41 * scale + video.CURVE - 20 : 41 * scale + video.CURVE - 8]).sum(
        axis=(1, 2)
    )
    # they grow, then stay
    assert (
        not marks[:5].any()
        and (np.diff(marks[5:9]) > 100).all()
        and np.ptp(marks[8:]) < 0.1 * marks[8]
    )


def test_heat_is_where_the_map_is_high(tmp_path):
    frames, maps, scores = clip()
    told = ScoredFrames(frames, maps, scores, limits=(0, 11))
    _, pictures = read(video.write_annotated(tmp_path / "clip.mp4", told, np.zeros((0, 2))))
    scale = video.scale_of(61)
    colour = np.ptp(pictures[-1, : 41 * scale, : 61 * scale].astype(int), axis=-1)  # grey has none
    y, x = np.unravel_index(np.argmax(colour), colour.shape)
    assert abs(y / (41 * scale) - 2.5 / 5) < 0.1 and abs(x / (61 * scale) - 3.5 / 6) < 0.1
    assert (
        colour[60 : 41 * scale // 4].max() < 20 < 100 < colour.max() and not is_red(pictures).any()
    )


def test_bounds_of_one_frame_and_constant_scores(tmp_path):
    frames, maps, scores = clip(frames=1)
    told = ScoredFrames(frames, maps * 0, scores * 0, {"zero": np.zeros(1)})
    facts, pictures = read(video.write_annotated(tmp_path / "clip.mp4", told, [[0, 1]], 29.97))
    assert len(pictures) == 1 and facts[2] == pytest.approx(29.97, abs=0.01)
    assert (
        video.scale_of(360) == 2
        and video.scale_of(1920) == 2
        and video.size_of(240, 360, 0)[1] == 720
    )


def test_errors_leave_nothing(tmp_path, monkeypatch):
    frames, maps, scores = clip()
    path = tmp_path / "clip.mp4"
    for change, text in [
        ({"scores": scores[:3]}, "'scores': 3"),
        ({"terms": {"a": [1.0]}}, "'a': 1"),
        ({"fps": 0.0}, "frames a second"),
        ({"spans": [[-1, 2]]}, "start"),
    ]:
        with pytest.raises(DataError, match=text):
            how = {"spans": SPANS, "fps": 10.0}
            how = {key: change.pop(key, value) for key, value in how.items()}
            told = ScoredFrames(frames, maps, scores)._replace(**change)
            video.write_annotated(path, told, **how)
    path.write_bytes(b"before")
    broken = [*frames[:6], frames[6].astype(float), *frames[7:]]
    with pytest.raises(DataError, match="uint8"):  # in the midst of encoding
        video.write_annotated(path, ScoredFrames(broken, maps, scores), SPANS)
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"] and path.read_bytes() == b"before"
