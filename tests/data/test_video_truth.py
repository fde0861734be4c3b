"""Ground truth in every form it is published in, and the clips cut from videos."""

import re
import shutil

import cv2
import numpy as np
import pytest
from video_files import SIZE, write_frames, write_set

from gfvad.base.types import ClipBatch, ConfigError, DataError
from gfvad.data import pipeline
from gfvad.data.frames.clips import eval_clips, report_skipped, split_videos, train_clips
from gfvad.data.frames.truth import find_truth
from gfvad.data.frames.video_folders import open_layout
from gfvad.data.streams import ClipStream
from gfvad.measure.frames import spans_of

LABELS = (np.array([0, 0, 1, 1, 1, 0, 0, 1, 0, 0], np.uint8), np.zeros(7, np.uint8))
SPANS = "# video first last\n01 3 5\n01 8 8\n"


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path)


def _masks():
    masks = [np.zeros((len(row), *SIZE), bool) for row in LABELS]
    for mask, row in zip(masks, LABELS):
        mask[row > 0, 4:9, 40:] = True
    return masks


def _find(root, **given):
    videos = open_layout("auto", root).videos("test")
    return find_truth(root, videos, [len(video.frames) for video in videos], **given)


def _packed(root, masks, names=("01", "02")):
    np.savez(
        root / "test_masks_packed.npz",
        **{name: np.packbits(mask, axis=-1) for name, mask in zip(names, masks)},
    )


def _check(truth, masks=True):
    for found, expected in zip(truth.labels, LABELS):
        np.testing.assert_array_equal(found, expected)
    assert truth.spans[0].tolist() == [[2, 5], [7, 8]] and truth.spans[1].shape == (0, 2)
    if masks:
        for found, expected in zip(truth.masks, _masks(), strict=True):
            np.testing.assert_array_equal(found, expected)
    else:
        assert truth.masks is None


def test_no_truth(root):
    assert _find(root) is None


def test_spans(root):
    (root / "test_spans.txt").write_text(SPANS)
    _check(_find(root), masks=False)


def test_packed_masks(root):
    _packed(root, _masks())
    _check(_find(root))
    (root / "test_spans.txt").write_text(SPANS)
    truth = _find(root)
    _check(truth)
    assert "test_spans.txt and" in truth.source


def test_ucsd_masks(tmp_path):
    for k, (row, masks) in enumerate(zip(LABELS, _masks()), 1):
        write_frames(tmp_path / f"Test/Test{k:03d}", len(row), suffix=".tif", start=1)
        (tmp_path / f"Test/Test{k:03d}_gt").mkdir()
        for t, mask in enumerate(masks, 1):
            cv2.imwrite(
                str(tmp_path / f"Test/Test{k:03d}_gt/{t:03d}.bmp"), mask.astype(np.uint8) * 255
            )
    _check(_find(tmp_path))
    (tmp_path / "Test" / "UCSDped2.m").write_text(
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [3:5,"
        " 8:8];\nTestVideoFile{end+1}.gt_frame = [];\n"
    )
    _check(_find(tmp_path))
    shutil.rmtree(tmp_path / "Test/Test002_gt")  # as in Ped1: masks of some videos only
    _check(_find(tmp_path), masks=False)
    (tmp_path / "Test" / "UCSDped2.m").write_text("TestVideoFile{end+1}.gt_frame = [3:5];\n")
    with pytest.raises(DataError, match="1 lists of frames, expected one for each of 2"):
        _find(tmp_path)


def test_shanghaitech_masks(root):
    for kind, rows in (("frame", LABELS), ("pixel", _masks())):
        (root / f"testing/test_{kind}_mask").mkdir()
        for k, row in enumerate(rows, 1):
            np.save(root / f"testing/test_{kind}_mask/{k:02d}.npy", row)
    _check(_find(root))
    np.save(root / "testing/test_frame_mask/02.npy", np.zeros(9, np.uint8))
    with pytest.raises(
        DataError, match=r"02\.npy: video '02' has ground truth of shape \[9\], expected 7 frames"
    ):
        _find(root)
    (root / "testing/test_frame_mask/02.npy").unlink()
    with pytest.raises(DataError, match="no .npy of video '02', found 1 files"):
        _find(root)


def test_avenue_masks(root):
    from scipy.io import savemat

    folder = root / "ground_truth_demo" / "testing_label_mask"
    folder.mkdir(parents=True)
    for k, masks in enumerate(_masks(), 1):
        cells = np.empty((1, len(masks)), object)
        for t, mask in enumerate(masks):
            cells[0, t] = mask.astype(np.uint8)
        savemat(folder / f"{k}_label.mat", {"volLabel": cells})
    _check(_find(root))
    (folder / "1_label.mat").write_bytes(b"no mat")
    with pytest.raises(DataError, match="1_label.mat: not readable"):
        _find(root)


def test_given_files(root):
    """Named files count, wherever they lie, and must be there."""
    (root / "mine").mkdir()
    (root / "mine" / "spans.txt").write_text(SPANS)
    (root / "test_spans.txt").write_text("not read")
    for k, row in enumerate(LABELS, 1):
        np.save(root / f"mine/{k:02d}.npy", row)
    _check(_find(root, spans="mine/spans.txt"), masks=False)
    _check(_find(root, spans=root / "mine"), masks=False)
    with pytest.raises(DataError, match="mine/masks.npz: not found; expected masks"):
        _find(root, spans="mine", masks="mine/masks.npz")
    with pytest.raises(DataError, match="test_spans.txt: expected masks"):
        _find(root, spans="mine", masks="test_spans.txt")
    with pytest.raises(DataError, match="absent.txt: not found; expected labels of frames"):
        _find(root, spans="absent.txt")


@pytest.mark.parametrize(
    "text, message",
    [
        ("01 3\n", "line 1: '01 3'; expected `video first last`"),
        ("01 3 5\n09 1 2\n", "line 2: unknown video '09'"),
        ("01 3 11\n", "line 1: abnormal frames 3 to 11 of video '01', which has frames 1 to 10"),
        ("01 0 2\n", "line 1: abnormal frames 0 to 2"),
    ],
)
def test_bad_spans(root, text, message):
    (root / "test_spans.txt").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        _find(root)


def test_disagreeing_and_misshapen_masks(root):
    (root / "test_spans.txt").write_text("01 3 6\n01 8 8\n")
    _packed(root, _masks())
    with pytest.raises(
        DataError,
        match=(
            r"disagree on 1 frames of video '01': frame 6 \(from 1\) is 1 by the first, 0 by the"
            r" masks"
        ),
    ):
        _find(root)
    _packed(root, [mask[:6] for mask in _masks()])
    with pytest.raises(
        DataError, match=r"video '01' has ground truth of shape \[6, 32, 48\], expected 10 frames"
    ):
        _find(root)
    _packed(root, [mask[..., :20] for mask in _masks()])
    with pytest.raises(DataError, match="rows of 3 bytes, expected 6 for frames 48 pixels wide"):
        _find(root)
    _packed(root, _masks()[:1])
    with pytest.raises(DataError, match="no masks of video '02'"):
        _find(root)


def test_spans_of_labels():
    assert spans_of(np.array([1, 1, 0, 1])).tolist() == [[0, 2], [3, 4]]
    assert spans_of(np.zeros(3)).shape == (0, 2)


def test_ped2_spans_and_masks_agree(shared_data):
    truth = _find(shared_data / "ped2")
    assert (
        sum(map(len, truth.labels)) == 2010 and sum(int(row.sum()) for row in truth.labels) == 1648
    )
    assert truth.masks[0].shape == (180, 240, 360) and truth.spans[0].tolist() == [[60, 180]]


# ---- clips


def test_eval_clips_hold_every_frame_once():
    clips = eval_clips([5, 1, 3], clip_frames=2, stride=2)
    assert list(zip(clips.video.tolist(), clips.target.tolist())) == [(0, t) for t in range(5)] + [
        (1, 0)
    ] + [(2, t) for t in range(3)]
    assert [clips.frames(i).tolist() for i in (0, 3, 4, 5)] == [
        [0, 0, 0],
        [0, 1, 3],
        [0, 2, 4],
        [0, 0, 0],
    ]
    assert eval_clips([5, 1, 3], 2, videos=[2]).video.tolist() == [2, 2, 2]


def test_train_clips_lie_in_one_video():
    clips = train_clips([5, 1, 3], clip_frames=2)
    assert list(zip(clips.video.tolist(), clips.target.tolist())) == [
        (0, 2),
        (0, 3),
        (0, 4),
        (2, 2),
    ]
    assert clips.frames(0).tolist() == [0, 1, 2] and len(train_clips([5, 1, 3], 2, stride=2)) == 1
    with pytest.raises(
        DataError,
        match="no training clip: 2 videos of at most 3 frames; expected one of at least 4",
    ):
        train_clips([5, 1, 3], 3, videos=[1, 2])
    with pytest.raises(ConfigError, match="clips of 0 frames"):
        train_clips([5], 0)


def test_whole_videos_are_held_out():
    names, lengths = [f"{k:02d}" for k in range(20)], [9] * 18 + [2, 4]
    parts = split_videos(names, lengths, clip_frames=4, stride=1, validation_fraction=0.2)
    assert parts.skipped.tolist() == [18, 19] and len(parts.validation) == 4
    assert sorted([*parts.train, *parts.validation, *parts.skipped]) == list(range(20))
    assert (
        report_skipped(names, lengths, parts)
        == "2 training videos are too short for a clip and left out: 18 (2 frames), 19 (4 frames)"
    )
    again = split_videos(names[::-1], lengths[::-1], 4, 1, 0.2)
    assert {names[::-1][i] for i in again.validation} == {names[i] for i in parts.validation}
    alone = split_videos(["a", "b"], [9, 1], 4, 1, 0.5)
    assert alone.train.tolist() == [0] and not len(alone.validation)


# ---- the iterator over clips


class Source:
    def __init__(self, make, size, identity=None):
        self.example, self.size, self.identity = make, size, identity or {}

    def __len__(self):
        return self.size


def _example(i, place):
    return {"clip": np.full((2, 3), i, np.uint8), "i": np.int32(i)}


def _iterator(size=5, batch_size=4, seed=3, rank=0, ranks=1, **options):
    stream = ClipStream(Source(_example, size, **options), batch_size, seed, (rank, ranks))
    return pipeline.TrainIterator(stream)


def _take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_each_epoch_holds_every_example_once():
    batches = _take(_iterator(), 5)
    drawn = np.concatenate([batch["i"] for batch in batches])
    assert (
        all(sorted(epoch) == list(range(5)) for epoch in drawn.reshape(4, 5))
        and len({tuple(epoch) for epoch in drawn.reshape(4, 5)}) > 1
    )
    assert (
        batches[1]["position"].tolist() == [4, 5, 6, 7] and batches[1]["position"].dtype == np.int32
    )
    assert (
        batches[0]["clip"].shape == (4, 2, 3)
        and (batches[0]["clip"][:, 0, 0] == batches[0]["i"]).all()
    )


def test_batches_do_not_depend_on_processes():
    whole = _take(_iterator(), 6)
    halves = [_take(_iterator(rank=r, ranks=2), 6) for r in range(2)]
    for batch, one, other in zip(whole, *halves):
        np.testing.assert_array_equal(batch["i"][::2], one["i"])
        np.testing.assert_array_equal(batch["i"][1::2], other["i"])
    with pytest.raises(ConfigError, match="multiple of the 3 processes"):
        _iterator(ranks=3)


def test_position_is_saved_and_restored():
    iterator = _iterator()
    _take(iterator, 3)
    state = iterator.get_state()
    expected, other = _take(iterator, 4), _iterator()
    other.set_state(state)
    for batch, again in zip(expected, _take(other, 4)):
        np.testing.assert_array_equal(batch["i"], again["i"])
    with pytest.raises(DataError, match="another stream: examples 5 .now 6."):
        _iterator(size=6).set_state(state)
    with pytest.raises(DataError, match="another stream: clips"):
        _iterator(identity={"clips": 8}).set_state(state)
    with pytest.raises(DataError, match="0 training examples"):
        _iterator(size=0)


def test_examples_may_be_nested():
    nested = lambda i, place: ClipBatch(_example(i, place), True, np.int32(i), place, -1)
    iterator = pipeline.TrainIterator(ClipStream(Source(nested, 5), 4, 3))
    _take(iterator, 1)
    batch, plain = next(iterator), _take(_iterator(), 2)[1]
    assert (
        batch.position.tolist() == batch.frame.tolist() == [4, 5, 6, 7]
        and batch.valid.tolist() == [True] * 4
    )
    np.testing.assert_array_equal(batch.features["clip"], plain["clip"])
