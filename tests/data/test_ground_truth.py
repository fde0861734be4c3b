"""Annotation parsers, published lengths and label vectors; the real ones where the files are at
hand."""

import feature_folders as ff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfvad.base.types import DataError
from gfvad.data import annotations, ground_truth
from gfvad.data.ground_truth import Truth
from gfvad.measure.frames import spans_of

# ---- parsers


def test_parse_xd(tmp_path):
    spans = annotations.parse_xd(
        ff.write_lines(
            tmp_path / "a.txt", "v=x__#1_label_B1-0-0.mp4 5 9 1 3", "", "y_label_G-0-0 0 7"
        )
    )
    assert {k: v.tolist() for k, v in spans.items()} == {
        "v=x__#1_label_B1-0-0": [[1, 3], [5, 9]],
        "y_label_G-0-0": [[0, 7]],
    }
    # without the prefix
    assert annotations.find_name(spans, "x__#1_label_B1-0-0") == "v=x__#1_label_B1-0-0"
    assert (
        annotations.find_name({"z": 0}, "v=z") == "z"
        and annotations.find_name({"z": 0}, "w") is None
    )


def test_parse_ucf(tmp_path):
    path = ff.write_lines(
        tmp_path / "a.txt", *ff.UCF_ANNOTATION, "Arson011_x264  Arson  150  420  680  1267  "
    )
    events = annotations.parse_ucf(path)
    assert events["Abuse028_x264"].spans.tolist() == [[20, 40]] and events[
        "Abuse028_x264"
    ].classes == ("Abuse",)
    assert (
        events["Normal_Videos_003_x264"].spans.shape == (0, 2)
        and events["Normal_Videos_003_x264"].classes == ()
    )
    assert annotations.parse_ucf(path, inclusive=True)["Arson011_x264"].spans.tolist() == [
        [150, 421],
        [680, 1268],
    ]


def test_names():
    assert [
        annotations.ucf_name(n)
        for n in ("Abuse028", "Normal003", "Abuse028_x264.mp4", "Normal_Videos586_x264")
    ] == ["Abuse028_x264", "Normal_Videos_003_x264", "Abuse028_x264", "Normal_Videos586_x264"]
    assert (
        annotations.ucf_class("RoadAccidents001_x264") == (1, ("RoadAccidents",))
        and annotations.ucf_class("Dance001_x264") is None
    )
    assert annotations.xd_classes("f__#1_label_B2-B6-G.mp4") == (
        1,
        ("shooting", "car accident", "explosion"),
    )
    assert annotations.xd_classes("f__#1_label_A") == (0, ())
    assert annotations.xd_classes("f_label_B3-0-0") is None and annotations.xd_classes("f") is None


def test_parse_counts_ped2_spans(tmp_path):
    assert annotations.parse_frame_counts(ff.write_lines(tmp_path / "c", "a@b@12", "v.mp4@3")) == {
        "a@b": 12,
        "v": 3,
    }
    assert annotations.parse_ped2(ff.write_lines(tmp_path / "p", "# clip first last", "01 61 180"))[
        "Test001"
    ].tolist() == [[60, 180]]
    table = annotations.parse_spans_csv(
        ff.write_lines(tmp_path / "s", "name,start,end,class", "a, 7,9,x", "a,1,3,")
    )
    assert table == {"a": [(1, 3, ""), (7, 9, "x")]}


@pytest.mark.parametrize(
    "parse, lines, message",
    [
        (annotations.parse_xd, ("a_label_G-0-0 1 2 3",), "line 1: 3 frame numbers; expected pairs"),
        (annotations.parse_xd, ("a_label_G-0-0 5 5",), r"span \[5, 5\]; expected 0 <= start < end"),
        (annotations.parse_xd, ("a_label_G-0-0 -1 5",), r"span \[-1, 5\]"),
        (annotations.parse_xd, ("a 1 2", "a.mp4 3 4"), "line 2: 'a.mp4' and 'a' are one video"),
        (annotations.parse_xd, ("v=a 1 2", "a 3 4"), "line 2: 'a' and 'v=a' are one video"),
        (annotations.parse_ucf, ("a_x264 Abuse 1 2", "a Abuse 3 4"), "video 'a_x264' stands twice"),
        (
            annotations.parse_ucf,
            ("a_x264 Abuse 1 2 -1 -1", "b_x264 Abuse 3 4"),
            "last line has 4 columns, all others 6 .*cut short",
        ),
        (
            annotations.parse_frame_counts,
            ("a.avi@3", "a.mp4@4"),
            "line 2: 'a.mp4' and 'a.avi' are one video",
        ),
        (annotations.parse_xd, ("a 1 x",), "expected whole frame numbers"),
        (annotations.parse_xd, ("a",), "has no span"),
        (annotations.parse_xd, ("",), "empty"),
        (annotations.parse_ucf, ("a_x264 Abuse 1 2 3",), "5 columns"),
        (annotations.parse_ucf, ("a_x264 Normal 1 2",), "class 'Normal' with 1 spans"),
        (annotations.parse_ucf, ("a_x264 Abuse -1 -1",), "class 'Abuse' with 0 spans"),
        (annotations.parse_ucf, ("a_x264 Dance 1 2",), "class 'Dance'"),
        (annotations.parse_frame_counts, ("a@0",), "expected NAME@FRAMES"),
        (annotations.parse_frame_counts, ("a 12",), "expected NAME@FRAMES"),
        (
            annotations.parse_spans_csv,
            ("name,end", "a,2"),
            "columns name,end; expected name,start,end",
        ),
        (annotations.parse_spans_csv, ("name,start,end", "a,2"), "line 2: 2 fields; expected 3"),
        (annotations.parse_ped2, ("01 61",), "2 columns; expected clip, first and last"),
    ],
)
def test_parser_errors(tmp_path, parse, lines, message):
    with pytest.raises(DataError, match=message):
        parse(ff.write_lines(tmp_path / "file.txt", *lines))


def test_absent_and_binary_files(tmp_path):
    with pytest.raises(DataError, match="cannot be read .not found.*docs/data.md"):
        annotations.parse_xd(tmp_path / "annotations.txt")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="UTF-16, or no text"):
        annotations.parse_xd(tmp_path / "b")


# ---- lengths and labels


@given(st.integers(1, 10**6))
def test_lengths(frames):
    down, up, xd = (
        ground_truth.snippets_down(frames),
        ground_truth.snippets_up(frames),
        ground_truth.xd_frames(frames),
    )
    assert down % 16 == up % 16 == xd % 16 == 0 and down <= frames <= up < frames + 16
    assert xd == (down - 16 if frames % 16 == 0 else down)  # XD loses a whole last snippet


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_spans_and_labels_are_inverse(bits):
    labels = np.array(bits, np.uint8)
    spans = spans_of(labels)
    np.testing.assert_array_equal(
        ground_truth.labels(Truth(len(bits), spans, ("",) * len(spans))), labels
    )
    assert (spans[1:, 0] > spans[:-1, 1]).all()  # maximal runs


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 50)), max_size=6), st.integers(1, 120))
def test_cut(pairs, frames):
    spans = np.array([(s, s + n) for s, n in pairs], np.int64).reshape(-1, 2)
    oracle = np.array([any(s <= t < e for s, e in spans) for t in range(frames)])
    truth = ground_truth.cut(spans, frames, ("riot",))
    np.testing.assert_array_equal(ground_truth.labels(truth), oracle)
    assert (
        truth.span_classes == ("riot",) * len(truth.spans)
        and ground_truth.labels(truth).sum() == oracle.sum()
    )


@pytest.mark.parametrize(
    "frames, expected", [(10, [[4, 10]]), (6, [[4, 6]]), (5, [[4, 5]]), (4, [])]
)
def test_mask_truth(frames, expected):
    assert ground_truth.mask_truth(np.array([0, 0, 0, 0, 1, 1]), frames).spans.tolist() == expected


def test_order_and_scores():
    truths = {
        "a": Truth(32, np.array([[1, 3]]), ("",)),
        "b": Truth(16, np.zeros((0, 2), np.int64), ()),
    }
    vector = ground_truth.label_vector(truths, ["b", "a"])
    assert np.flatnonzero(vector).tolist() == [17, 18] and len(vector) == 48
    parts = ground_truth.split_snippets(np.arange(3.0), truths, ["b", "a"])
    assert {n: p.tolist() for n, p in parts.items()} == {"b": [0.0], "a": [1.0, 2.0]}
    for order, message in (
        ("a", "1 different of 1 names"),
        ("aa", "1 different of 2"),
        ("ac", "1 without ground truth, e.g. 'c'"),
    ):
        with pytest.raises(DataError, match=message):
            ground_truth.label_vector(truths, list(order))
    with pytest.raises(DataError, match="expected one for each of the 3 snippets"):
        ground_truth.split_snippets(np.zeros(4), truths, ["b", "a"])


def test_xd_truth_disagreements():
    spans = {"a_label_G-0-0": np.array([[1, 3]]), "b_label_A": np.array([[1, 3]])}
    for name in ("b_label_A", "c_label_B1-0-0", "nameless"):
        with pytest.raises(DataError, match="expected '_label_A' without or '_label_'"):
            ground_truth.xd_truth(name, 32, spans)


# ---- real files


def test_xd_totals(shared_data):
    folder = shared_data / "xd_violence"
    truths = ground_truth.xd_test(folder)
    assert (len(truths), sum(bool(len(t.spans)) for t in truths.values())) == (800, 500)
    assert sum(t.num_frames for t in truths.values()) == ground_truth.XD_TOTAL == 2_330_384
    vector = ground_truth.label_vector(truths, ground_truth.read_order(folder / "test_order.txt"))
    assert len(vector) == 2_330_384 and vector.sum() == ground_truth.XD_POSITIVE == 537_805
    classes = [annotations.xd_classes(name)[1] for name in truths]
    counts = {c: sum(c in group for group in classes) for c in ("fighting", "abuse", "explosion")}
    assert counts == {"fighting": 126, "abuse": 11, "explosion": 103}


def test_xd_published_scores(shared_data):
    """A published model's snippet scores against our vector, by scikit-learn."""
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    folder = shared_data / "xd_violence"
    truths, order = ground_truth.xd_test(folder), ground_truth.read_order(folder / "test_order.txt")
    snippets = np.load(folder / "hlnet_offline_snippet_scores.npy")
    parts = ground_truth.split_snippets(snippets, truths, order)
    assert len(parts) == 800 and np.array_equal(np.concatenate(list(parts.values())), snippets)
    labels, scores = ground_truth.label_vector(truths, order), np.repeat(snippets, 16)
    precision, recall, _ = precision_recall_curve(labels, scores)
    found = (
        average_precision_score(labels, scores),
        auc(recall, precision),
        roc_auc_score(labels, scores),
    )
    np.testing.assert_allclose(found, (0.78998, 0.78997, 0.93421), atol=5e-6)


def test_ucf_totals(shared_data):
    up, down = (
        ground_truth.ucf_test(shared_data / "ucf_crime", counted) for counted in ("up", "down")
    )
    assert sum(t.num_frames for t in up.values()) == ground_truth.UCF_TOTAL_2048 == 1_114_144
    # 20 videos divide by 16; 9 of them lack a last snippet in the published vector, and which ones
    # only the features say
    assert sum(t.num_frames for t in down.values()) - ground_truth.UCF_TOTAL_1024 == 9 * 16
    counts = annotations.parse_frame_counts(shared_data / "ucf_crime" / "frame_counts.txt")
    assert sum(n % 16 == 0 for n in counts.values()) == 20
    assert (len(up), sum(bool(len(t.spans)) for t in up.values())) == (290, 140)
    with pytest.raises(DataError, match="counted 'both'"):
        ground_truth.ucf_test(shared_data / "ucf_crime", "both")


def test_ucf_dev_labels_agree_with_the_annotation(shared_data):
    """The 60 label arrays are exactly the official spans with the end frame out, over lengths
    counted down."""
    truths = ground_truth.ucf_test(shared_data / "ucf_crime", "down")
    with np.load(shared_data / "ucf_crime" / "frame_labels_test_dev.npz") as labels:
        assert len(labels.files) == 60
        for name in labels.files:
            mask = labels[name]
            np.testing.assert_array_equal(ground_truth.labels(truths[name]), mask, err_msg=name)


def test_ped2_totals(shared_data):
    spans = annotations.parse_ped2(shared_data / "ped2" / "test_spans.txt")
    frames = {
        f"Test{i:03d}": len(list((shared_data / f"ped2/testing/frames/{i:02d}").iterdir()))
        for i in range(1, 13)
    }
    assert tuple(frames.values()) == ground_truth.PED2_FRAMES
    # the set's own pixel masks carry the true spans
    with np.load(shared_data / "ped2" / "test_masks_packed.npz") as masks:
        for name, n in frames.items():
            truth = Truth(n, spans[name], ("",) * len(spans[name]))
            np.testing.assert_array_equal(
                ground_truth.labels(truth), masks[name[-2:]].any((1, 2)), err_msg=name
            )


def test_shanghaitech_published_labels(shared_data):
    """199 videos, 44 abnormal: the four-digit clips. The labels are of whole videos, 140,704
    frames, none of the published lengths."""
    from gfvad.data.features.layouts.mixed_rules import ShanghaiRules

    with np.load(shared_data / "published_scores" / "tevad_shanghaitech.npz") as file:
        labels = {
            key.removeprefix("labels/"): file[key]
            for key in file.files
            if key.startswith("labels/")
        }
    assert len(labels) == 199 and sum(map(len, labels.values())) == 140_704
    assert all(
        len(ground_truth.mask_truth(mask, len(mask)).spans) > 0
        for name, mask in labels.items()
        if len(name) == 7
    )
    assert {name for name, mask in labels.items() if mask.any()} == {
        name for name in labels if len(name) == 7
    }
    assert (
        all(ShanghaiRules.pattern.fullmatch(name) for name in labels)
        and sum(len(name) == 7 for name in labels) == 44
    )


def test_spans_from_the_end_on_are_dropped():
    """A span that begins where the ground truth ends has no frame in it, and neither has an
    empty one."""
    truth = ground_truth.cut(np.array([[5, 8], [9, 14], [10, 12], [3, 3]]), 10, ("fight",))
    assert truth.spans.tolist() == [[5, 8], [9, 10]] and truth.span_classes == ("fight", "fight")
