"""Overlays pixel by pixel; pages, timelines and maps of experts: right size, what they mark,
clear errors. Looks are judged by eye."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from gfvad.base.types import DataError
from gfvad.figures import experts, heatmaps
from gfvad.figures.curves import RED
from gfvad.figures.heatmaps import ScoredFrames

NAME = "Ped2 clip 04"


@pytest.fixture
def drawn(monkeypatch):
    """Collects figures as they are saved; checks afterwards that no setting of matplotlib has
    changed."""
    seen, original, before = [], Figure.savefig, dict(matplotlib.rcParams)

    def savefig(self, *args, **kwargs):
        seen.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    yield seen
    assert dict(matplotlib.rcParams) == before


def width_of(path):
    with Image.open(path) as image:
        return image.size[0]


def clip(frames=8, channels=3):
    """A video with a bright block from frame 4 on, its maps and its masks."""
    rng = np.random.default_rng(0)
    masks = np.zeros((frames, 24, 36), bool)
    masks[4:, 8:16, 12:24] = True
    maps = rng.random((frames, 6, 9)) + 5 * masks.reshape(frames, 6, 4, 9, 4).mean((2, 4))
    return rng.integers(0, 255, (frames, 24, 36, channels), np.uint8), maps, masks


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay(channels):
    frame = clip(channels=channels)[0][0]
    grey = np.broadcast_to(frame, (24, 36, 3))
    values = np.zeros((6, 9))
    np.testing.assert_array_equal(heatmaps.overlay(frame, values, 0, 1), grey)
    np.testing.assert_array_equal(heatmaps.overlay(frame, values - 9, 0, 1), grey)
    values[2, 3] = 7  # above high: as high
    seen = heatmaps.overlay(frame, values, 0, 1, "nearest")
    assert seen.dtype == np.uint8 and seen.shape == (24, 36, 3)
    changed = np.zeros((24, 36), bool)
    changed[8:12, 12:16] = True
    np.testing.assert_array_equal(seen[~changed], grey[~changed])
    top = 255 * np.array(matplotlib.colormaps["viridis"](1.0)[:3])
    np.testing.assert_allclose(
        seen[changed], (1 - heatmaps.OPACITY) * grey[changed] + heatmaps.OPACITY * top, atol=0.51
    )
    smooth = heatmaps.overlay(frame, values, 0, 1)
    assert (smooth != grey).any(axis=-1).sum() > changed.sum()
    two = frame[..., :1].repeat(2, -1)
    for bad, limits, text in [
        (frame.astype(float), (0, 1), "uint8"),
        (two, (0, 1), r"\(24, 36, 2\)"),
        (frame, (1, 1), "low < high"),
    ]:
        with pytest.raises(DataError, match=text):
            heatmaps.overlay(bad, values, *limits)


def test_enlarge_and_limits():
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(heatmaps.enlarge(values, 4, 6), values.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(heatmaps.enlarge(values, 2, 3, "bilinear"), values)
    assert heatmaps.limits_of(np.zeros((2, 3, 4))) == (0, 1)
    spike = np.zeros((10, 100, 100))
    spike[0, 0, 0] = 5
    assert heatmaps.limits_of(spike) == (0, 5)  # rarer than the quantile
    low, high = heatmaps.limits_of(np.linspace(0, 1, 1001).reshape(7, 11, 13), 0.9)
    assert (low, high) == (pytest.approx(0.9), pytest.approx(0.999))


def test_pick_frames():
    scores, labels = np.array([3.0, 1, 2, 9, 5, 7]), np.array([0, 0, 0, 1, 1, 1], bool)
    assert heatmaps.pick_frames(scores, labels) == {
        0: "normal, highest score",
        1: "normal, lowest score",
        3: "event, highest score",
        4: "event, lowest score",
    }
    assert list(heatmaps.pick_frames(scores[:1], labels[:1])) == [0]


def test_heatmap_page(tmp_path, drawn):
    frames, maps, masks = clip(channels=1)
    scores, terms = maps.max((1, 2)), {"appearance": maps * 0.3, "motion": maps * 0.7}
    path = heatmaps.heatmap_page(
        tmp_path / "page.png", ScoredFrames(frames, maps, scores, terms), masks, NAME
    )
    assert width_of(path) == 1000 and drawn[0].get_suptitle() == NAME
    titles = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert (
        "appearance" in titles and "motion" in titles and any("event, highest" in t for t in titles)
    )
    outlined = [axes for axes in drawn[0].axes if axes.get_images() and axes.collections]
    assert {to_hex(axes.collections[0].get_edgecolor()[0]) for axes in outlined} == {RED.lower()}
    assert len(outlined) == 2 * 4  # both abnormal frames, four pictures each
    box = outlined[0].collections[0].get_paths()[0].get_extents()
    # the outline lies where the mask ends
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((12, 24, 8, 16), abs=0.51)
    bounded = ScoredFrames(list(frames), maps, scores, limits=(0, 3))
    heatmaps.heatmap_page(path, bounded, None, NAME, chosen=[2])
    assert not any(axes.collections for axes in drawn[1].axes if axes.get_images())
    with pytest.raises(DataError, match="'scores': 7"):
        heatmaps.heatmap_page(path, ScoredFrames(frames, maps, scores[:7]), masks, NAME)
    with pytest.raises(DataError, match=r"frames \[8\] of 8"):
        heatmaps.heatmap_page(path, ScoredFrames(frames, maps, scores), masks, NAME, chosen=[8])


def test_term_timeline(tmp_path, drawn):
    total = np.r_[np.zeros(10), np.ones(10)]
    terms = {"appearance": 0.25 * total, "motion": 0.75 * total}
    path = heatmaps.term_timeline(
        tmp_path / "terms.png", NAME, total, terms, np.array([[10, 20]]), 10.0
    )
    assert width_of(path) == 1000 and drawn[0].get_suptitle().startswith(NAME)
    score, first, second = drawn[0].axes
    assert first.get_title(loc="left").startswith("appearance: 25 %") and second.get_title(
        loc="left"
    ).startswith("motion: 75 %")
    assert (
        first.get_ylim() == second.get_ylim()
        and second.get_xlabel() == "time (s)"
        and score.get_xlim() == (0, 2)
    )
    # nothing true: no share to give
    heatmaps.term_timeline(path, NAME, total, terms, np.zeros((0, 2)), 0.0)
    assert (
        drawn[1].axes[1].get_title(loc="left") == "appearance"
        and drawn[1].axes[2].get_xlabel() == "time (frames)"
    )
    heatmaps.term_timeline(path, NAME, total, {}, np.array([[0, 20]]), 0.0)
    assert drawn[2].axes[0].get_xlabel() == "time (frames)"
    with pytest.raises(DataError, match=r"'motion': \(3,\)"):
        heatmaps.term_timeline(path, NAME, total, {"motion": np.zeros(3)}, [[0, 2]], 1.0)


def test_expert_usage(tmp_path, drawn):
    rng = np.random.default_rng(0)
    usage = rng.random((2, 12))
    usage[1, 3] = 0
    place, time = rng.integers(0, 12, (6, 9)), rng.random((30, 12))
    path = experts.expert_usage(tmp_path / "experts.png", usage, place, time, NAME, 10.0)
    assert width_of(path) == 1000 and drawn[0].get_suptitle().startswith(NAME)
    titles = {axes.get_title(loc="left") for axes in drawn[0].axes}
    assert {
        "layer 1: 0 of 12 dead",
        "layer 2: 1 of 12 dead",
        "by place: most used expert",
        "by time: share of each expert",
    } <= titles
    ticks = [t.get_text() for axes in drawn[0].axes for t in axes.get_yticklabels()]
    assert f"{len(np.unique(place)) - 7} others" in ticks
    experts.expert_usage(path, rng.random((9, 12)), rng.random((6, 9)), rng.random(30), NAME)
    titles = {axes.get_title(loc="left") for axes in drawn[1].axes}
    assert {
        "9 layers of 12 experts, 0 dead in all",
        "by place: entropy",
        "by time: entropy",
    } <= titles
    with pytest.raises(DataError, match=r"by time \(30, 5\)"):
        experts.expert_usage(path, usage, place, time[:, :5])
