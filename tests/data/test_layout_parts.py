"""No video is trained on that a folder, its name or a list says is for testing: every layout,
every place where it can be said."""

import shutil
from pathlib import Path

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base.errors import EXIT_BAD_INPUT
from gfvad.base.types import DataError
from gfvad.commands import prepare
from gfvad.data.features import layouts
from gfvad.data.features.layouts import entries, parts, rules
from gfvad.data.frames import video_folders as video_layouts
from gfvad.extraction import labels, videos

FORMS = {  # how a set is made: (layout, builder, modalities)
    "xd": ("xd_violence", ff.xd, ("rgb",)),
    "ucf 2048": ("ucf_crime", lambda p: ff.ucf(p, 2048), ("i3d",)),
    "ucf 1024": ("ucf_crime", lambda p: ff.ucf(p, 1024), ("i3d",)),
    "logits": ("ucf_logits", ff.ucf_logits, ("i3d_logits",)),
    "shanghai": ("shanghaitech", ff.shanghai, ("i3d",)),
    "shanghai lists": ("shanghaitech", lambda p: ff.shanghai(p, True), ("i3d",)),
    "tevad": ("tevad", ff.tevad_shanghai, ("i3d", "text")),
    "vadclip": ("vadclip", ff.vadclip, ("clip",)),
    "generic": ("generic", ff.generic_folder, ("pose",)),
}
XD = "i3d-features/RGB{}/v=def__#1_label_G-0-0__{}.npy"
TRAIN_LIST, TEST_LIST = "shanghai-i3d-train-10crop.list", "shanghai-i3d-test-10crop.list"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One folder of each form, made once."""
    root = tmp_path_factory.mktemp("forms")
    return {name: build(root / name.replace(" ", "_")) for name, (_, build, _) in FORMS.items()}


def opened(form, root):
    layout, _, modalities = FORMS[form]
    return layouts.open_layout(ff.config(layout, root, *modalities))


def both_parts(form, root):
    layout = opened(form, root)
    return [layout.entries(split) for split in entries.SPLITS]


def move(root, old, new, copy=False):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (shutil.copy if copy else shutil.move)(root / old, root / new)


def edit(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def xd_walks(root, folder="", copy=False):
    for crop in range(5):
        move(
            root,
            XD.format("Test", crop),
            f"i3d-features/RGB/{folder}{Path(XD.format('', crop)).name}",
            copy,
        )


def npz_names(root, file, *names):
    with np.load(root / file) as held:
        x = held["x"]
    np.savez(root / file, x=x[: len(names)], name=list(names))


def rewrite(root, old, new, where="temporal_annotations.txt"):
    edit(root / where, (old, new))


ABUSE, NORMAL = (f"{line}\n" for line in ff.UCF_ANNOTATION)
LEAKS = [  # form, what is done to a sound folder, message
    ("xd", lambda r: xd_walks(r, copy=True), "split: v=def.*in both parts .*RGB/.* and .*RGBTest/"),
    (
        "xd",
        xd_walks,
        (
            "for train by its folder, but its line in annotations.txt says test and its line in"
            " frame_counts.txt says test"
        ),
    ),
    ("xd", lambda r: xd_walks(r, "testing/"), "folder 'testing' says test"),
    (
        "shanghai",
        lambda r: move(
            r,
            "SH_Test_ten_crop_i3d/01_004_i3d.npy",
            "SH_Train_ten_crop_i3d/01_004.mp4_i3d.npy",
            True,
        ),
        "in both parts",
    ),
    (
        "shanghai",
        lambda r: move(r, "SH_Test_ten_crop_i3d", "SH_Train_ten_crop_i3d/test"),
        "for test by folders .*, but folder 'SH_Train_ten_crop_i3d' says train",
    ),
    (
        "shanghai lists",
        lambda r: rewrite(r, "01_001_i3d", "01_004.mp4_i3d", TRAIN_LIST),
        "1 videos are in lists of both parts: 01_004",
    ),
    (
        "shanghai lists",
        lambda r: move(r, "SH_ten_crop_i3d/01_001_i3d.npy", "SH_Test/01_001_i3d.npy"),
        "folder 'SH_Test' says test",
    ),
    (
        "shanghai lists",
        lambda r: rewrite(r, "/far/away/01_001", "/far/testing/01_001", TRAIN_LIST),
        "the folder 'testing' in .*train.*list says test",
    ),
    (
        "tevad",
        lambda r: move(r, "sent_emb_n/01_001_emb.npy", "SH_Test/01_001_emb.npy"),
        "for train by shanghai.*, but folder 'SH_Test' says test",
    ),
    (
        "tevad",
        lambda r: rewrite(r, "01_001_i3d", "01_004_i3d", TRAIN_LIST),
        "lists of both parts: 01_004",
    ),
    (
        "logits",
        lambda r: npz_names(r, "i3d_logits_train.npz", "Arson001_x264", "Abuse028_x264.mp4"),
        "1 videos are in both parts: Abuse028_x264",
    ),
    (
        "logits",
        lambda r: npz_names(r, "i3d_logits_train.npz", "Normal_Videos_009_x264"),
        "its name says test",
    ),
    (
        "logits",
        lambda r: (
            npz_names(r, "i3d_logits_test_dev.npz", "Abuse028_x264")
            or npz_names(r, "i3d_logits_train.npz", "Normal_Videos_003_x264")
        ),
        "its array in frame_labels_test_dev.npz says test",
    ),
    (
        "logits",
        lambda r: ff.write_lines(r / "temporal_annotations.txt", "Arson001 Arson 1 2 -1 -1"),
        "its line in temporal_annotations.txt says test",
    ),
    (
        "vadclip",
        lambda r: rewrite(
            r, "path,label", "path,label\nx/Abuse028_x264__5.npy,Abuse", "ucf_CLIP_rgb.csv"
        ),
        r"split: Abuse028_x264: in both parts \(ucf_CLIP_rgb.csv and ucf_CLIP_rgbtest.csv\)",
    ),
    (
        "vadclip",
        lambda r: rewrite(
            r, "Normal/Normal_Videos003", "Testing_Normal/Normal_Videos003", "ucf_CLIP_rgb.csv"
        ),
        "the folder 'Testing_Normal' .* says test",
    ),
    (
        "vadclip",
        lambda r: move(r, "UCFClipFeatures/Abuse", "UCFClipFeatures/test/Abuse"),
        "by ucf_CLIP_rgb.csv, but folder 'test' says test",
    ),
    ("generic", lambda r: move(r, "test/pose/d.npy", "train/pose/d.npy", True), "in both parts"),
    (
        "generic",
        lambda r: move(r, "test/pose/d.npy", "train/pose/d.MOV.npy", True),
        "in both parts",
    ),
    (
        "generic",
        lambda r: edit(
            r / "labels.csv",
            ("class", "class,split"),
            ("a,0,", "a,0,,test"),
            ("b,1,fall;fire", "b,1,,train"),
            ("c,1,fall", "c,1,,"),
            ("d,0,", "d,0,,"),
        ),
        "for train by folder 'train', but its row in labels.csv says test",
    ),
    (
        "generic",
        lambda r: move(r, "train/pose/a.npy", "train/rgbtest/pose/a.npy"),
        "folder 'rgbtest' says test",
    ),
    (
        "generic",
        lambda r: (
            move(r, "train/pose/a.npy", "train/pose/Test001.npy")
            or rewrite(r, "a,0,", "Test001,0,", "labels.csv")
        ),
        "its name says test",
    ),
]
for family in ("ucf 2048", "ucf 1024"):
    LEAKS += [
        (
            family,
            lambda r: rewrite(r, ABUSE, ""),
            (
                "Abuse028_x264: for train by no line in temporal_annotations.txt, but folder"
                " 'UCF_Test_ten_crop_i3d' says test"
            ),
        ),
        (
            family,
            lambda r: rewrite(r, NORMAL, "") or move(r, "UCF_Test_ten_crop_i3d", "all"),
            "its name .normal test videos are called .* says test",
        ),
        (
            family,
            lambda r: (
                move(r, "UCF_Test_ten_crop_i3d", "all")
                or rewrite(r, ABUSE, "")
                or ff.write_lines(r / "frame_counts.txt", "Abuse028@64", "Normal003@48")
            ),
            "its line in frame_counts.txt says test",
        ),
        (
            family,
            lambda r: rewrite(r, "Normal  -1  -1  -1  -1", "Normal  -1  -1"),
            "line 2: the last line has 4 columns, all others 6 .*cut short",
        ),
        (
            family,
            lambda r: move(r, "UCF_Test_ten_crop_i3d", "UCF_Train_ten_crop_i3d/x"),
            "for test by its line in .*, but folder 'UCF_Train_ten_crop_i3d' says train",
        ),
    ]


@pytest.mark.parametrize(
    "form, leak, message", LEAKS, ids=[f"{form}-{i}" for i, (form, *_) in enumerate(LEAKS)]
)
def test_a_test_video_that_would_be_trained_on(made, tmp_path, form, leak, message):
    root = shutil.copytree(made[form], tmp_path / "set")
    leak(root)
    with pytest.raises(DataError, match=message):
        both_parts(form, root)


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_set_says_what_decided_its_parts(made, form, capsys):
    layout, _, modalities = FORMS[form]
    assert not [p for split in entries.SPLITS for p in opened(form, made[form]).survey(split)[1]]
    assert (
        prepare.main(
            [
                f"--dataset={layout}",
                f"--source={made[form]}",
                f"--modalities={','.join(modalities)}",
                "--check",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out.split("split: ")[1]
    assert any(word in said for word in ("folder", ".list", ".csv", "annotations.txt", ".npz"))


@pytest.mark.parametrize("form", ["ucf 2048", "vadclip"])
def test_more_training_videos_than_the_set_has(made, form, monkeypatch):
    """Where nothing but the number of lines tells that the list of test videos is not whole."""
    monkeypatch.setattr(rules, "UCF_TRAIN", 1)
    with pytest.raises(
        DataError, match="2 lines, and 2 videos without one; the set has 290 test and 1 training"
    ):
        both_parts(form, made[form])


def test_arrays_and_tables_that_disagree(tmp_path):
    np.savez(
        tmp_path / "set.npz",
        x=ff.features(2, 4, 3),
        name=["a", "b"],
        label=[0, 0],
        split=["train", "test"],
    )
    ff.write_lines(tmp_path / "labels.csv", "name,label,split", "a.mp4,0,test", "b,0,test")
    layout = layouts.open_layout(ff.config("generic", tmp_path / "set.npz", "x"))
    with pytest.raises(
        DataError, match="a: for test by its row in labels.csv, but its array split says train"
    ):
        layout.entries("test")


def test_a_name_is_weaker_than_a_row(tmp_path):
    ff.save(tmp_path / "Test002.npy", ff.features(3, 4))
    ff.save(tmp_path / "b.npy", ff.features(3, 4))
    ff.write_lines(tmp_path / "labels.csv", "name,label,split", "Test002,0,train", "b,0,test")
    layout = layouts.open_layout(ff.config("generic", tmp_path, "x"))
    assert [e.name for e in layout.entries("train")] == [
        "Test002"
    ] and layout.split_rule == "the column split of labels.csv"
    assert parts.passed_over(layout) == [
        "Test002: called so, but for training by its row in labels.csv"
    ]


@pytest.mark.parametrize(
    "folder, part",
    [
        ("RGBTest", "test"),
        ("rgbtest", "test"),
        ("testing", "test"),
        ("Testing_Normal_Videos_Anomaly", "test"),
        ("UCF_Train_ten_crop_i3d", "train"),
        ("latest", None),
        ("contest_2", None),
        ("pretrained", None),
        ("train_test", None),
        ("RGB", None),
        ("TEST", "test"),
        ("mytestset", "test"),
    ],
)
def test_words_of_folders(folder, part):
    assert parts.part_of_folder(folder) == part


# ---- videos themselves


def frames(root, *names):
    for name in names:
        for t in range(2):
            ff.write_lines(root / name / f"{t}.jpg", "x")
    return root


def test_frames(tmp_path):
    root = frames(tmp_path, "training/frames/01", "training/frames/Test002", "testing/frames/01")
    folder = video_layouts.open_layout("auto", root)
    assert folder.split_rule == "folders training/frames (training) and testing/frames (test)"
    with pytest.raises(DataError, match="1 training videos are called like test videos: Test002"):
        folder.videos("train")
    shutil.move(root / "training/frames/Test002", root / "testing/frames/02")
    (root / "training/frames/03").symlink_to(root / "testing/frames/02")
    with pytest.raises(DataError, match="links into .*testing.*: 03"):
        video_layouts.open_layout("auto", root).videos("train")


def sources(*names):
    return [
        videos.VideoSource(videos.video_name(n), Path("/clips", n), ("clips", *Path(n).parts[:-1]))
        for n in names
    ]


def test_extraction_by_folders():
    many = sources(
        *(f"calm/test/{k}.mp4" for k in range(9)), *(f"fight/train/{k}.mp4" for k in range(9))
    )
    with pytest.raises(
        DataError, match="is for train by the hash of its name, but it lies in the folder 'test'"
    ):
        labels.from_folders(many, ["calm"], ["fight"], 0.2)


@pytest.mark.parametrize("split, folder", [("train", "testing"), ("test", "Train")])
def test_extraction_by_table(tmp_path, split, folder):
    table = ff.write_lines(
        tmp_path / "labels.csv", "name,label,split", f"{folder}/a.mp4,0,{split}", "b,1,test"
    )
    with pytest.raises(
        DataError,
        match=f"is for {split} by its line in .*labels.csv, but it lies in the folder '{folder}'",
    ):
        labels.from_table(table, sources(f"{folder}/a.mp4", "b.mp4"), 0.2)


def test_the_command_says_it_in_one_line(made, tmp_path, capsys):
    root = shutil.copytree(made["ucf 2048"], tmp_path / "set")
    (root / "temporal_annotations.txt").write_text(ABUSE + NORMAL[:-9])
    assert prepare.main(["--dataset=ucf_crime", f"--source={root}", "--check"]) == EXIT_BAD_INPUT
    err = capsys.readouterr().err
    assert "cut short" in err and len(err.strip().splitlines()) == 1


def test_records_made_before_parts_were_compared(tmp_path):
    import fake_layout

    from gfvad.data.features import dataset, records

    made = [
        fake_layout.make_video(n, 4, split=s)
        for s, n in (("train", "a"), ("train", "b.mp4"), ("test", "b"))
    ]
    records.prepare(fake_layout.FakeLayout(made), tmp_path / "set", progress=None)
    config = ff.config("fake", tmp_path, "rgb", "audio", records=str(tmp_path / "set"))
    with pytest.raises(DataError, match="1 videos are in both parts: b.mp4"):
        dataset.given(config, print)
