"""Which ground truth scores fit: lengths, orders, cuts, and what is said where nothing fits."""

import feature_folders
import numpy as np
import pytest

from gfvad.base.types import DataError
from gfvad.data import ground_truth
from gfvad.data.score_files import fitting, known, reading, truths
from gfvad.data.score_files.ways import Choices

FRAMES = {"a": 40, "b": 64, "c": 33}


def labels_of(frames):
    y = np.zeros(frames, np.uint8)
    y[10:25] = 1
    return y


@pytest.fixture
def labels(tmp_path):
    """Labels of three videos; 'c' is normal."""
    arrays = {name: labels_of(t) * (name != "c") for name, t in FRAMES.items()}
    np.savez(tmp_path / "labels.npz", **arrays)
    return truths.open_labels(str(tmp_path / "labels.npz"))


def content(videos=None, one=None, order=(), lengths=()):
    return reading.Content("scores.npz", videos or {}, one, order, lengths)


def each(count):
    """{video: scores} of count(T) entries that tell where they stand."""
    return {name: np.arange(count(t), dtype=float) for name, t in FRAMES.items()}


@pytest.mark.parametrize(
    "count, unit, total",
    [
        (lambda t: t, 1, 137),
        (lambda t: -(-t // 16), 16, 137),  # the last part has a score
        (lambda t: t // 16, 16, 32 + 64 + 32),  # it has none
        (lambda t: -(-t // 16) * 16, 1, 137),  # snippets, repeated for each frame
    ],
)
def test_units(labels, count, unit, total):
    found = fitting.fit_labels(content(each(count)), labels)
    assert sum(len(v.labels) for v in found.videos) == total and found.by_video
    for v in found.videos:
        t = len(v.labels)
        assert (v.labels == (labels_of(FRAMES[v.name]) * (v.name != "c"))[:t]).all()
        assert (v.scores == np.arange(t) // unit).all() and v.unit_frames == unit
        assert v.label == (v.name != "c")


def test_clips_and_predicted_frames(labels):
    """15 frames fewer: 8 before and 7 behind; 4 fewer: the first; others where --first says so."""
    for lacks, choices, first in (
        (15, Choices(), 8),
        (4, Choices(), 4),
        (1, Choices(first=1), 1),
        (1, Choices(first=0), 0),
    ):
        found = fitting.fit_labels(content(each(lambda t, n=lacks: t - n)), labels, choices)
        for v in found.videos:
            whole = labels_of(FRAMES[v.name]) * (v.name != "c")
            assert (v.labels == whole[first : len(whole) - lacks + first]).all()
            assert (ground_truth.labels_from_spans(v.spans, len(v.labels)) == v.labels).all()
    with pytest.raises(DataError, match="--first=K where K of the 1 frames"):
        fitting.fit_labels(content(each(lambda t: t - 1)), labels)


def test_equal_spans(labels):
    thirty = each(lambda t: 8)
    with pytest.raises(DataError, match="--unit=0 where these are equal spans"):
        fitting.fit_labels(content(thirty), labels)
    found = fitting.fit_labels(content(thirty), labels, Choices(unit=0))
    assert [len(v.scores) for v in found.videos] == list(FRAMES.values())


def test_names(labels):
    videos = each(lambda t: t)
    spelt = {"a.mp4": videos["a"], "b": videos["b"], "c": videos["c"], "z": np.zeros(3)}
    found = fitting.fit_labels(content(spelt), labels)
    assert [v.name for v in found.videos] == ["a", "b", "c"]
    assert found.notes == ["1 videos have no labels and are left out: z"]
    del spelt["b"]
    with pytest.raises(DataError, match="no scores of 1 of 3 videos .*: b; .*--partial"):
        fitting.fit_labels(content(spelt), labels)
    partly = fitting.fit_labels(content(spelt), labels, Choices(partial=True))
    assert len(partly.videos) == 2 and "1 of 3 videos have no scores" in partly.notes[0]
    with pytest.raises(DataError, match="none of its 1 videos is in"):
        fitting.fit_labels(content({"other": np.zeros(3)}), labels)


def test_numbers_alone_name_no_video_where_others_have_their_names():
    """Arson039 is not Arrest039; '01' is Test001 only where no name is equal, and one of two."""
    places = fitting.places_of(
        ["Arrest039_x264", "Arson016_x264"], ["Arson016_x264", "Arson039_x264"]
    )
    assert places == [-1, 0]
    assert fitting.places_of(["Test001", "Test002"], ["02", "01.avi"]) == [1, 0]
    assert fitting.places_of(["Test001", "Train001"], ["01", "02"]) == [-1, -1]


@pytest.mark.parametrize("count", [lambda t: t, lambda t: t // 16, lambda t: -(-t // 16)])
def test_one_array_in_a_stated_order(labels, count):
    order = ("c", "a", "b")
    joined = np.concatenate([np.arange(count(FRAMES[name]), dtype=float) for name in order])
    expected = fitting.fit_labels(content(each(count)), labels)
    for given, choices in (
        (content(one=joined, order=order), Choices()),
        (content(one=joined), Choices(order=order)),
        (content(one=joined, order=order), Choices(lengths=[count(FRAMES[n]) for n in order])),
    ):
        found = fitting.fit_labels(given, labels, choices)
        assert {v.name: v.scores.tolist() for v in found.videos} == {
            v.name: v.scores.tolist() for v in expected.videos
        }
    with pytest.raises(DataError, match="nothing says in which order its videos stand"):
        fitting.fit_labels(content(one=joined), labels)
    with pytest.raises(DataError, match="scores for 3 videos; expected .*a score"):
        fitting.fit_labels(content(one=joined[:-1], order=order), labels)
    with pytest.raises(DataError, match="names 1 that are not in"):
        fitting.fit_labels(content(one=joined, order=("a", "b", "z")), labels)
    with pytest.raises(DataError, match="sum to 3"):
        fitting.fit_labels(content(one=joined, order=order), labels, Choices(lengths=(1, 1, 1)))


def test_labels_in_one_array(tmp_path):
    vector = np.concatenate([labels_of(t) for t in (48, 64)])
    np.save(tmp_path / "gt.npy", vector)
    given = truths.open_labels(str(tmp_path / "gt.npy"))
    snippets = np.arange(7.0)
    whole = fitting.fit_labels(content(one=snippets), given)
    assert not whole.by_video and "give --lengths=FILE" in whole.notes[0]
    assert (whole.videos[0].scores == np.repeat(snippets, 16)).all()
    stated = fitting.fit_labels(content(one=snippets, order=("a", "b")), given)
    assert "taken to have the same one" in stated.notes[0]
    cut = fitting.fit_labels(content(one=snippets), given, Choices(lengths=(3, 4)))
    assert cut.by_video and [len(v.labels) for v in cut.videos] == [48, 64]
    assert (np.concatenate([v.labels for v in cut.videos]) == vector).all()
    named = content({"b": snippets[3:], "a": snippets[:3]})
    with pytest.raises(DataError, match="in which order"):
        fitting.fit_labels(named, given)
    again = fitting.fit_labels(named, given, Choices(order=("a", "b")))
    assert [v.scores.tolist() for v in again.videos] == [v.scores.tolist() for v in cut.videos]
    with pytest.raises(DataError, match="6 scores, and 112 labels .* one for 16 labels"):
        fitting.fit_labels(content(one=snippets[1:]), given)


def test_spans_without_lengths(tmp_path):
    path = tmp_path / "spans.csv"
    path.write_text("name,start,end\na,10,25\nb,0,16\n")
    given = truths.open_labels(str(path))
    videos = {"a": np.zeros(3), "b": np.zeros(2), "normal": np.zeros(4)}
    with pytest.raises(DataError, match="expected frame_counts.txt .* or --unit=1"):
        fitting.fit_labels(content(videos), given)
    found = fitting.fit_labels(content(videos), given, Choices(unit=16))
    assert [(v.name, len(v.labels), int(v.labels.sum())) for v in found.videos] == [
        ("a", 48, 15),
        ("b", 32, 16),
        ("normal", 64, 0),
    ]
    with pytest.raises(DataError, match="no scores of 1 of 2 videos with spans"):
        fitting.fit_labels(content({"a": np.zeros(3), "bb": np.zeros(2)}), given, Choices(unit=16))
    with pytest.raises(DataError, match="a span from frame 10 in 3 frames"):
        fitting.fit_labels(content(videos), given, Choices(unit=1))
    (tmp_path / "frame_counts.txt").write_text("a@40\nb@30\nnormal@50\n")
    counted = fitting.fit_labels(content(videos), truths.open_labels(str(tmp_path)))
    assert [len(v.labels) for v in counted.videos] == [40, 30, 50]


def test_spans_as_json(tmp_path):
    path = tmp_path / "spans.json"
    path.write_text('{"a": [[10, 25], [30, 31]], "b.mp4": [[0, 16]], "normal": []}')
    videos = {"a": np.zeros(3), "b": np.zeros(2), "normal": np.zeros(4)}
    found = fitting.fit_labels(content(videos), truths.open_labels(str(path)), Choices(unit=16))
    assert [int(v.labels.sum()) for v in found.videos] == [16, 16, 0]
    path.write_text('{"a": [[0.5, 2]]}')
    with pytest.raises(DataError, match="0.5; expected a whole frame number"):
        truths.open_labels(str(path))
    path.write_text('{"a": [[5, 2]]}')
    with pytest.raises(DataError, match="expected 0 <= start < end"):
        truths.open_labels(str(path))
    path.write_text('{"a": [0, 1, 1], "b": [0, 0]}')  # labels of frames
    assert len(truths.open_labels(str(path)).candidates[0].truths) == 2


def test_xd_violence(tmp_path):
    """Snippets in test_order, by name under both spellings, frames counted as they are; classes."""
    folder = feature_folders.xd(tmp_path / "xd")
    given = truths.open_labels(str(folder))
    official = given.candidates[0].truths
    assert given.metric == "ap" and "official" in given.candidates[0].title
    counts = {name: truth.num_frames // 16 for name, truth in official.items()}
    videos = {name: np.arange(n, dtype=float) for name, n in counts.items()}
    by_name = fitting.fit_labels(content(videos), given)
    assert by_name.title.startswith("XD-Violence, (n - 1) // 16 snippets")
    assert {v.name: len(v.labels) for v in by_name.videos} == {n: 16 * c for n, c in counts.items()}
    bare = {name.removeprefix("v="): x for name, x in videos.items()}
    assert [v.name for v in fitting.fit_labels(content(bare), given).videos] == list(counts)
    if not (folder / "test_order.txt").is_file():
        (folder / "test_order.txt").write_text("".join(f"{n}.mp4\n" for n in reversed(counts)))
        given = truths.open_labels(str(folder))
    joined = np.concatenate([videos[name] for name in given.order])
    found = fitting.fit_labels(content(one=joined), given)
    scores = {v.name: v.scores.tolist() for v in found.videos}
    assert scores == {v.name: v.scores.tolist() for v in by_name.videos}
    assert any(v.classes and v.span_classes for v in found.videos)


def test_real_orders_and_lengths(shared_data):
    """UCF-Crime's usual lengths are told apart; Ped2 needs no file of lengths."""
    given = truths.open_labels("ucf_crime", shared_data / "ucf_crime")
    for candidate, total in zip(given.candidates, (1_114_144, 1_109_824, 1_111_808)):
        frames = [truth.num_frames for truth in candidate.truths.values()]
        assert sum(frames) == total and known.of_frames(total)
        whole = fitting.fit_labels(content(one=np.zeros(total)), given)
        assert whole.title.startswith(candidate.title)
    ped2 = truths.open_labels(str(shared_data / "ped2" / "test_spans.txt"))
    assert (ped2.dataset, len(ped2.candidates[0].truths)) == ("ped2", 12)
    videos = {f"{i:02d}": np.zeros(t) for i, t in enumerate(ground_truth.PED2_FRAMES, 1)}
    found = fitting.fit_labels(content(videos), ped2)
    positive = sum(int(v.labels.sum()) for v in found.videos)
    assert (sum(len(v.labels) for v in found.videos), positive) == (2_010, 1_648)
    assert known.told(2_010, positive) == "the length of Ped2, 12 videos"


def test_places_that_are_no_labels(tmp_path):
    for place, root, said in (
        ("nowhere", None, "expected a file of labels or spans, a folder"),
        ("xd_violence", None, "a set without its folder; expected --data=FOLDER"),
        ("xd_violence", tmp_path, "annotations.txt: not found"),
        (str(tmp_path), None, "no labels in it; expected one of annotations.txt"),
    ):
        with pytest.raises(DataError) as caught:
            truths.open_labels(place, root)
        assert said in str(caught.value)
    (tmp_path / "annotations.txt").write_text("v=abc__#1_label_B1-0-0 0 10\n")
    with pytest.raises(DataError, match="frame_counts.txt: not found; expected lines NAME@FRAMES"):
        truths.open_labels(str(tmp_path))


def test_known_ground_truths():
    assert "16 frames each, 2,330,384 frames: XD-Violence" in known.of_entries(145_649)
    assert "one a frame, 2,330,384 frames" in known.of_entries(2_330_384)
    assert known.of_entries(17) == "17 scores fit no ground truth that is known by its length"
    assert "not that ground truth" in known.told(2_330_384, 5)
    assert known.told(2_330_384, 537_805).startswith("the length of XD-Violence")
