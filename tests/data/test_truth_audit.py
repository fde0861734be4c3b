"""Ground truth that cannot be is refused by the command a user would type, in every layout and
for sets of frames, before any long work."""

import shutil

import feature_folders as ff
import numpy as np
import pytest

from gfvad import main
from gfvad.base.types import DataError, Video
from gfvad.commands import prepare
from gfvad.data import truth_audit
from gfvad.data.features import layouts, records
from gfvad.data.ground_truth import EMPTY


def own(
    root,
    *,
    rows=20,
    counts=None,
    train_counts=None,
    spans=((80, 120),),
    labels=(0, 1),
    train_labels=(0, 1),
    crops_first=False,
):
    """A generic set of six training and four test videos, a spans for each abnormal test video."""
    lines, marked = ["name,label,split"], ["name,start,end"]
    for part, many, given in (("train", 6, train_labels), ("test", 4, labels)):
        for i in range(many):
            name, label = f"{part[:2]}{i:02d}", given[i % len(given)]
            shape = (10, rows - i, 16) if crops_first else (rows, 16)
            ff.save(root / part / f"{name}.npy", ff.features(*shape, seed=10 * many + i))
            lines.append(f"{name},{label},{part}")
            marked += [f"{name},{a},{b}" for a, b in spans] if part == "test" and label else []
    ff.write_lines(root / "labels.csv", *lines)
    if len(marked) > 1:
        ff.write_lines(root / "spans.csv", *marked)
    listed = [(f"te{i:02d}", counts) for i in range(4) if counts] + [
        (f"tr{i:02d}", train_counts) for i in range(6) if train_counts
    ]
    if listed:
        ff.write_lines(root / "frame_counts.txt", *(f"{name}@{n}" for name, n in listed))
    return root


def check(root, capsys, dataset="generic", modalities="x", deep=True):
    code = prepare.main(
        [
            f"--dataset={dataset}",
            f"--source={root}",
            f"--modalities={modalities}",
            "--check",
            *["--deep"] * deep,
        ]
    )
    return code, capsys.readouterr().out


def train(root, tmp_path, capsys, *more):
    flags = [
        "--config=configs/xd.py",
        "--config.data.dataset=generic",
        "--config.data.layout=generic",
        f"--config.data.root={root}",
        "--config.data.modalities=('x',)",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
        *more,
    ]
    code = main.main([*flags, "--config.parallel.devices=1"])
    assert not (tmp_path / "run").exists()  # nothing was written
    return code, capsys.readouterr().err


IMPOSSIBLE = {
    "case 01 half": (
        {"counts": 160},
        ["te00", "160 frames", "10 snippets", "20 rows", "frame_counts.txt"],
    ),
    "case 01 long": ({"counts": 3200}, ["te00", "3,200 frames", "200 snippets", "20 rows"]),
    "case 01 of training": (
        {"counts": 320, "train_counts": 160},
        ["tr00", "160 frames", "20 rows"],
    ),
    "case 03": ({"crops_first": True}, ["tr0", "crops", "axes swapped"]),
    "case 04": ({"spans": ((321, 335),)}, ["te01", "no abnormal frame", "321-335", "spans.csv"]),
    "a span far behind the end": (
        {"spans": ((80, 120), (336, 352))},
        ["te01", "352", "320", "inside the video"],
    ),
    "a span that goes on far behind the end": (
        {"spans": ((80, 5000),)},
        ["te01", "5000", "spans"],
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_the_check_and_training_refuse(case, repository, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(repository)
    made, words = IMPOSSIBLE[case]
    root = own(tmp_path / "set", **made)
    code, said = check(root, capsys)
    assert code == 1 and all(word in said for word in words), said
    code, said = train(root, tmp_path, capsys)
    assert code == 2 and all(word in said for word in words[1:]), said


@pytest.mark.parametrize(
    "case, word",
    [
        ("01-generic-rows-vs-frame-counts/half", "20 rows"),
        ("01-generic-rows-vs-frame-counts/long", "20 rows"),
        ("03-crops-in-a-file/a", "axes swapped"),
        ("04-span-outside-its-video/generic", "te03"),
    ],
)
def test_cases(case, word, repository, capsys):
    root = repository.parent / "shared" / "cases" / case
    if not root.is_dir():
        pytest.skip(f"no case at {root}")
    code, said = check(root, capsys)
    assert code == 1 and word in said


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"counts": 320},
        {"counts": 305},
        {"counts": 335},
        {"counts": 320, "train_counts": 321},
        {"spans": ((160, 330), (321, 335))},
    ],
)
def test_sound_sets_stay_sound(made, tmp_path, capsys):
    """A part of a unit more or less is how published sets are."""
    code, said = check(own(tmp_path, **made), capsys)
    assert code == 0 and "0 errors" in said


@pytest.mark.parametrize(
    "labels, word", [((0,), "0 abnormal and 6 normal"), ((1,), "6 abnormal and 0 normal")]
)
def test_weak_training_needs_both_kinds(labels, word, repository, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(repository)
    code, said = train(own(tmp_path / "set", train_labels=labels), tmp_path, capsys)
    assert code == 2 and word in said and not (tmp_path / "cache").exists()


def test_records_of_one_kind_are_refused_too(repository, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(repository)
    root = own(tmp_path / "set", train_labels=(1,))
    path = records.prepare(
        layouts.open_layout(ff.config("generic", root, "x")), tmp_path / "records", None
    )
    code, said = train("", tmp_path, capsys, f"--config.data.records={path}")
    assert code == 2 and "6 abnormal and 0 normal" in said


def test_a_test_part_without_abnormal_video_is_said():
    assert "undefined" in truth_audit.require_trainable(
        [0, 1], [0, 0], "set"
    ) and not truth_audit.require_trainable([0, 1], [1], "set")
    with pytest.raises(DataError, match="no test videos"):
        truth_audit.require_trainable([0, 1], [], "set")


def far(root):
    """Spans that begin far behind the end of their video."""
    ff.write_lines(
        root / "annotations.txt",
        "v=def__#1_label_G-0-0 9000 9100",
        "Film.D__#00-05-00_label_B4-B6-0 0 50",
    )


def behind(root):
    ff.write_lines(
        root / "annotations.txt",
        "v=def__#1_label_G-0-0 98 100",
        "Film.D__#00-05-00_label_B4-B6-0 0 50",
    )


def ucf_far(root):
    for name in ("temporal_annotations.txt", "Temporal_Anomaly_Annotation.txt"):
        if (root / name).is_file():
            ff.write_lines(
                root / name, "Abuse028_x264.mp4 Abuse 200 900 -1 -1", ff.UCF_ANNOTATION[1]
            )


def ucf_mixed(root):
    ff.write_lines(
        root / "temporal_annotations.txt",
        ff.UCF_ANNOTATION[0],
        "Normal_Videos_003_x264.mp4 Abuse 5 20 -1 -1",
    )


def mask(value, frames=57):
    def spoil(root):
        row = np.zeros(frames, np.float64)
        row[30:] = value
        ff.save(root / "test_frame_mask/01_0015.npy", row)

    return spoil


def normal_mask(root):
    ff.save(root / "test_frame_mask/01_004.npy", np.ones(64, np.uint8))


def logit_labels(value, frames=160):
    def spoil(root):
        row = np.zeros(frames)
        row[20:40] = value
        np.savez(
            root / "frame_labels_test_dev.npz",
            Abuse028_x264=row,
            Normal_Videos_003_x264=np.zeros(96),
        )

    return spoil


PUBLISHED = [
    ("xd_violence", ff.xd, "rgb", far, "9000 to 9100"),
    ("xd_violence", ff.xd, "rgb", behind, "no abnormal frame"),
    ("ucf_crime", lambda r: ff.ucf(r, 2048), "i3d", ucf_far, "200 to"),
    ("ucf_crime", lambda r: ff.ucf(r, 1024), "i3d", ucf_far, "200 to"),
    ("ucf_crime", lambda r: ff.ucf(r, 2048), "i3d", ucf_mixed, "label 0 and 16 abnormal frames"),
    ("shanghaitech", ff.shanghai, "i3d", mask(np.nan), "value nan at frame 30"),
    ("shanghaitech", ff.shanghai, "i3d", mask(-1), "value -1.0 at frame 30"),
    ("shanghaitech", ff.shanghai, "i3d", mask(1, 31), "31 frames"),
    ("shanghaitech", ff.shanghai, "i3d", mask(1, 200), "200 frames"),
    ("shanghaitech", ff.shanghai, "i3d", mask(0), "no abnormal frame"),
    ("shanghaitech", ff.shanghai, "i3d", normal_mask, "label 0 and 64 abnormal"),
    ("tevad", ff.tevad_shanghai, "i3d", mask(np.nan), "value nan at frame 30"),
    ("tevad", ff.tevad_shanghai, "i3d", mask(1, 31), "31 frames"),
    ("ucf_logits", ff.ucf_logits, "i3d_logits", logit_labels(np.nan), "value nan at frame 20"),
    ("ucf_logits", ff.ucf_logits, "i3d_logits", logit_labels(-1), "value -1.0 at frame 20"),
    ("ucf_logits", ff.ucf_logits, "i3d_logits", logit_labels(1, 400), "about 160 frames"),
    ("ucf_logits", ff.ucf_logits, "i3d_logits", logit_labels(0), "no abnormal frame"),
    ("vadclip", ff.vadclip, "clip", ucf_far, "200 to"),
]


@pytest.mark.parametrize("layout, make, modality, spoil, word", PUBLISHED)
def test_published_layouts(layout, make, modality, spoil, word, tmp_path, capsys):
    """The check finds it, and reading it raises it; before it was spoilt the set is sound."""
    root = make(tmp_path)
    assert check(root, capsys, layout, modality, deep=False)[0] == 0
    spoil(root)
    code, said = check(root, capsys, layout, modality, deep=False)
    assert code == 1 and word in said, said
    opened = layouts.open_layout(ff.config(layout, root, modality))
    with pytest.raises(DataError, match=word):
        for entry in opened.entries("test"):
            opened.load(entry)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"label": np.array([0, 1, 0])}, r"label: shape \[3\]; expected 4 entries"),
        ({"label": np.array([0, 2, 0, 1])}, "2 at 1"),
        ({"label": np.array([0, np.nan, 0, 1])}, "nan at 1"),
        ({"split": np.array(["train", "test"])}, r"split: shape \[2\]"),
    ],
)
def test_lists_beside_arrays(change, word, tmp_path):
    arrays = {
        "x": ff.features(4, 5, 3),
        "name": ["a", "b", "c", "d"],
        "label": np.array([0, 1, 0, 1]),
        "split": ["train", "train", "test", "test"],
    }
    np.savez(tmp_path / "set.npz", **arrays | change)
    ff.write_lines(tmp_path / "spans.csv", "name,start,end", "d,0,16")
    with pytest.raises(DataError, match=word):
        layouts.open_layout(ff.config("generic", tmp_path / "set.npz", "x")).entries("train")


def test_times_of_units_of_another_extraction(tmp_path, capsys):
    root = own(tmp_path)
    ff.write_lines(
        root / "units.csv",
        "name,unit,start,end",
        *(f"te00,{k},{k / 2},{k / 2 + 0.5}" for k in range(9)),
    )
    code, said = check(root, capsys)
    assert code == 1 and "9 lines of te00, and 20 rows" in said


def test_what_no_layout_may_give():
    def check(split, label, spans):
        classes = ("",) * len(spans)
        video = Video("v", split, {}, label, (), 320, spans, classes, 16, 24.0)
        truth_audit.check_truth(video, 20, truth_audit.Stated())

    for spans in ([[-1, 4]], [[5, 400]], [[7, 7]]):
        with pytest.raises(DataError, match="expected 0 <= start < end"):
            check("test", 1, np.array(spans))
    check("train", 1, EMPTY)
    check("test", -1, EMPTY)


# ---- sets of frames


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    pytest.importorskip("cv2", reason="OpenCV is not installed (launch/requirements-video.txt)")
    import tiny_clips

    return tiny_clips.write_set(tmp_path_factory.mktemp("clips"), captions=False, truth=False)


def label_files(root, changed=None, **more):
    import tiny_clips

    for name, count in zip(("01", "02", "03"), tiny_clips.TEST):
        row = np.zeros(count)
        row[:1] = 1
        ff.save(
            root / "testing/test_frame_mask" / f"{name}.npy",
            (changed or {}).get(name, row),
        )
    for name, row in more.items():
        ff.save(root / "testing/test_frame_mask" / f"{name}.npy", row)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (
            lambda r: label_files(r, {"02": np.where(np.arange(11) < 4, -1, 0)}),
            ["02.npy", "value -1", "frame 0", "expected 0 and 1"],
        ),
        (
            lambda r: label_files(r, {"02": np.where(np.arange(11) > 4, np.nan, 0)}),
            ["02.npy", "value nan", "frame 5", "expected 0 and 1"],
        ),
        (lambda r: label_files(r, {"02": np.full(11, 0.5)}), ["02.npy", "value 0.5"]),
        (lambda r: label_files(r, {"02": np.zeros(10)}), ["02", "expected 11 frames"]),
        (lambda r: label_files(r, {"02": np.zeros((11, 1))}), ["02.npy", "one 0 or 1 a frame"]),
        (lambda r: label_files(r, **{"04": np.ones(3)}), ["04.npy", "training video", "normal"]),
        (
            lambda r: [
                ff.save(r / f"testing/test_pixel_mask/0{k}.npy", np.full((n, 4, 4), np.nan))
                for k, n in ((1, 14), (2, 11), (3, 1))
            ],
            ["01.npy", "value nan"],
        ),
        (lambda r: None, ["no ground truth found"]),
    ],
)
def test_labels_of_frames(spoil, words, clips, repository, monkeypatch, tmp_path, capsys):
    """Case 06, and all else that labels of frames can have wrong: nothing is decoded, nothing
    written."""
    import tiny_clips

    monkeypatch.chdir(repository)
    root = shutil.copytree(clips, tmp_path / "set")
    spoil(root)
    flags = [
        f"--config.data.root={root}",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
        f"--workdir={tmp_path / 'run'}",
    ]
    assert (
        main.main(
            [
                "--config=configs/ped2.py:no_text",
                *flags,
                "--config.data.spans=",
                "--config.data.masks=",
                *tiny_clips.flags(),
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (tmp_path / "run").exists() and not (tmp_path / "cache").exists()


def test_pictures_may_say_255(tmp_path):
    assert truth_audit.pixel_labels(np.array([[0, 255]], np.uint8), "x").tolist() == [[False, True]]
    with pytest.raises(DataError, match=r"value 7 at place \[0, 1\]"):
        truth_audit.pixel_labels(np.array([[0, 7]], np.uint8), "x")


def test_frames_of_one_kind_are_said():
    from gfvad.data.frames.truth import Truth as Frames
    from gfvad.data.frames.truth import undefined

    made = [
        Frames(tuple(np.array(row, np.uint8) for row in rows), (), None, "spans")
        for rows in ([[0, 0], [0]], [[1], [1]], [[0, 1]])
    ]
    assert [bool(undefined(truth)) for truth in made] == [
        True,
        True,
        False,
    ] and "every frame" in undefined(made[1])
