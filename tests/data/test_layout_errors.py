"""Every bad input of the layouts gets an error that names the file or video, what was found and
what was expected."""

import os
import shutil

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base.types import ConfigError, DataError
from gfvad.data import truth_audit
from gfvad.data.features import layouts


def load_all(layout, split):
    return {e.name: layout.load(e) for e in layout.entries(split)}


@pytest.fixture(scope="module")
def xd_root(tmp_path_factory):
    return ff.xd(tmp_path_factory.mktemp("xd"))


@pytest.fixture
def xd_copy(xd_root, tmp_path):
    return shutil.copytree(xd_root, tmp_path / "xd")


ABUSE = "i3d-features/RGB/v=abc__#1_label_B1-0-0__2.npy"


def overwrite(path, content=None, cut=0):
    path.write_bytes(path.read_bytes()[:-cut] if cut else content)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda p: overwrite(p, cut=100), "truncated, 24,604 bytes; expected 24,704"),
        (lambda p: overwrite(p, p.read_bytes() + b"xx"), "too long"),
        (lambda p: overwrite(p, b""), "empty file"),
        (lambda p: overwrite(p, b"<html>not found</html>"), "not a whole .npy file"),
        (
            lambda p: np.save(p, np.array([{"a": 1}], object), allow_pickle=True),
            "pickled Python objects",
        ),
        (
            lambda p: np.save(p, ff.features(6, 1023)),
            r"shape \(6, 1023\); expected \[units, 1024\]",
        ),
        (lambda p: np.save(p, ff.features(6, 1, 1024)), r"shape \(6, 1, 1024\)"),
        (lambda p: np.save(p, np.zeros((0, 1024), np.float32)), "no rows"),
        (lambda p: np.save(p, np.zeros((6, 1024), np.int64)), "type int64; expected float16"),
        (
            lambda p: np.save(p, np.where(np.arange(1024) == 7, np.nan, ff.features(6, 1024))),
            r"6 values are NaN.*first at \(0, 7\)",
        ),
        (lambda p: np.save(p, ff.features(4, 1024)), "crops of rgb have shapes"),
        (lambda p: p.unlink(), r"crops \[0, 1, 3, 4\]; expected \[0, 1, 2, 3, 4\]"),
        (lambda p: (p.unlink(), p.mkdir()), "a folder; expected a .npy file there"),
    ],
)
def test_bad_files(xd_copy, spoil, message):
    spoil(xd_copy / ABUSE)
    layout = layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb", "audio"))
    with pytest.raises(DataError, match=message) as caught:
        load_all(layout, "train")
    assert "v=abc" in str(caught.value)


def test_alignment(xd_copy):
    audio = xd_copy / "vggish-features/train/v=abc__#1_label_B1-0-0__vggish.npy"
    np.save(audio, ff.features(4, 128))
    with pytest.raises(
        DataError, match="modalities of rgb 6, audio 4 rows; expected a difference of at most 1"
    ):
        load_all(layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb", "audio")), "train")
    cut, n = truth_audit.align(
        {"a": np.zeros((2, 5, 3)), "b": np.zeros((1, 6, 2)), "c": np.zeros((1, 5, 2))}, "x"
    )
    assert n == 1 and {m: a.shape[1] for m, a in cut.items()} == {"a": 5, "b": 5, "c": 5}


def test_wrong_pairing_and_annotations(xd_copy):
    for crop in range(5):
        (xd_copy / f"i3d-features/RGB/v=abc__#1_label_B1-0-0__{crop}.npy").unlink()
    layout = layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb", "audio"))
    with pytest.raises(
        DataError, match="1 x pairing: v=abc__#1_label_B1-0-0: no rgb file for its audio"
    ):
        layout.entries("train")
    ff.write_lines(
        xd_copy / "annotations.txt",
        "Film.D__#00-05-00_label_B4-B6-0 0 50",
        "Film.E__label_B1-0-0 1 2",
    )
    with pytest.raises(DataError, match="annotation: v=def.*no line in annotations.txt"):
        layouts.open_layout(ff.config("xd_violence", xd_copy, "audio")).entries("test")
    audio = xd_copy / "vggish-features/train"
    (audio / "Film.A__#00-01-00_00-02-00_label_A__vggish.npy").rename(audio / "Film.A__vggish.npy")
    with pytest.raises(DataError, match="name: Film.A: no '_label_' with known classes"):
        layouts.open_layout(ff.config("xd_violence", xd_copy, "audio")).entries("train")
    (xd_copy / "vggish-features/test/Film.C__#00-01-00_label_A__vggish.npy").unlink()
    ff.write_lines(
        xd_copy / "annotations.txt", *(" ".join(map(str, (n, *s))) for n, s in ff.XD_SPANS.items())
    )
    with pytest.raises(
        DataError,
        match="missing: Film.C__#00-01-00_label_A: in frame_counts.txt but without features",
    ):
        layouts.open_layout(ff.config("xd_violence", xd_copy, "audio")).entries("test")
    shutil.rmtree(xd_copy / "vggish-features")
    with pytest.raises(
        DataError, match="no such folder; expected audio features of the train part"
    ):
        layouts.open_layout(ff.config("xd_violence", xd_copy, "audio")).entries("train")


def test_frame_counts_out_of_step(xd_copy):
    ff.write_lines(
        xd_copy / "frame_counts.txt", *(f"{name}@{n + 40}" for name, n in ff.XD_TEST.items())
    )
    with pytest.raises(DataError, match="5 feature rows but 7 snippets by .*frame_counts.txt"):
        load_all(layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb")), "test")


def test_mixed_ucf_families(tmp_path):
    ff.ucf(tmp_path, 2048)
    ff.ucf(tmp_path, 1024)
    with pytest.raises(
        DataError,
        match=(
            "4 files like Abuse028_x264_i3d.npy .2048-d. and 40 files like Abuse028_x264__0.npy"
            " .1024-d."
        ),
    ):
        layouts.open_layout(ff.config("ucf_crime", tmp_path, "i3d"))


def test_mixed_datasets_and_lists(tmp_path):
    root = ff.tevad_shanghai(tmp_path)
    ff.write_lines(root / "more-test.list", "01_001_i3d.npy")
    with pytest.raises(DataError, match="1 videos are in lists of both parts: 01_001"):
        layouts.open_layout(ff.config("tevad", root, "i3d"))
    ff.save(root / "x/Abuse001_x264_i3d.npy", ff.features(4, 10, 2048))
    with pytest.raises(DataError, match="names of several datasets in one folder"):
        layouts.open_layout(ff.config("tevad", root, "i3d"))


def test_ucf_logits_errors(tmp_path):
    root = ff.ucf_logits(tmp_path)
    np.savez(root / "frame_labels_test_dev.npz", Abuse028_x264=np.zeros(160, np.uint8))
    layout = layouts.open_layout(ff.config("ucf_logits", root, "i3d_logits"))
    with pytest.raises(DataError, match="Normal_Videos_003_x264: no array of frame labels"):
        layout.entries("test")
    with pytest.raises(DataError, match="Abuse028_x264 has label 1 and no abnormal frame"):
        layout.load(layout.survey("test")[0][0])
    np.savez(root / "i3d_logits_train.npz", x=ff.features(1, 8, 6), name=["Abuse028_x264"])
    with pytest.raises(DataError, match="1 videos are in both parts: Abuse028_x264"):
        layouts.open_layout(ff.config("ucf_logits", root, "i3d_logits"))
    np.savez(root / "i3d_logits_train.npz", x=ff.features(2, 8, 6), name=["Abuse001_x264"] * 2)
    with pytest.raises(DataError, match="'Abuse001_x264' stands twice"):
        layouts.open_layout(ff.config("ucf_logits", root, "i3d_logits"))
    overwrite(root / "i3d_logits_train.npz", cut=50)
    with pytest.raises(DataError, match="not a whole .npz file"):
        layouts.open_layout(ff.config("ucf_logits", root, "i3d_logits"))


def test_generic_errors(tmp_path):
    root = ff.generic_folder(tmp_path)
    ff.write_lines(root / "spans.csv", "name,start,end", "d,0,5")
    with pytest.raises(DataError, match="annotation: c, d: label 1 and no span in spans.csv"):
        layouts.open_layout(ff.config("generic", root, "pose")).entries("test")
    ff.write_lines(root / "spans.csv", "name,start,end", "c,0,500")
    with pytest.raises(DataError, match="a span to frame 500 of 96"):
        load_all(layouts.open_layout(ff.config("generic", root, "pose")), "test")
    ff.write_lines(root / "labels.csv", "name,label", "a,yes")
    with pytest.raises(DataError, match="labels.csv, line 2: 'a', label 'yes', split ''; expected"):
        layouts.open_layout(ff.config("generic", root, "pose"))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"layout": "xd_violance"}, ConfigError, "did you mean 'xd_violence'"),
        ({"modalities": ("rbg",)}, ConfigError, "did you mean 'rgb'"),
        (
            {"root": "/nowhere/at/all"},
            DataError,
            "found nothing; expected the folder of the features",
        ),
        ({"modalities": ("rgb", "text")}, DataError, "modality 'text' needs timed sentences"),
        (
            {"modalities": ("rgb", "text"), "captions": "words.json"},
            DataError,
            "words.json: not found",
        ),
    ],
)
def test_bad_config(xd_root, change, error, message):
    with pytest.raises(error, match=message):
        layouts.open_layout(_changed(xd_root, change))


def _changed(root, change):
    c = ff.config("xd_violence", root, "rgb")
    for key, value in change.items():
        c[key] = value
    return c


def test_not_a_folder(tmp_path):
    with pytest.raises(DataError, match="found a file"):
        layouts.open_layout(ff.config("xd_violence", ff.write_lines(tmp_path / "file", "x"), "rgb"))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p / "nothing", "nothing there"),
        (lambda p: ff.write_lines(p / "film.mp4", "x"), "expected .npz, .npy or a folder"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "empty folder"),
        (lambda p: ff.write_lines(p / "other" / "readme.txt", "x").parent, "no .npy files"),
        (
            lambda p: ff.save(p / "pair" / "a.npy", ff.features(3, 4)).parent,
            "Expected one sub-folder a modality",
        ),
    ],
)
def test_open_input_errors(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        layouts.open_input(make(tmp_path), ("pose", "gait"), ff.config("generic", tmp_path, "pose"))


OPTIONAL = [
    *(
        ("generic", f)
        for f in ("labels.csv", "spans.csv", "frame_counts.txt", "units.csv", "captions.json")
    ),
    *(
        (form, f)
        for form, f in (
            ("xd_violence", "frame_counts.txt"),
            ("xd_violence", "annotations.txt"),
            ("ucf_crime", "frame_counts.txt"),
            ("ucf_crime", "temporal_annotations.txt"),
            ("ucf_logits", "temporal_annotations.txt"),
        )
    ),
]


@pytest.mark.parametrize("form, file", OPTIONAL)
def test_a_table_that_is_no_file_is_not_taken_for_absent(tmp_path, form, file):
    make, *modalities = {
        "generic": (ff.generic_folder, "pose", "text"),
        "xd_violence": (ff.xd, "rgb"),
        "ucf_crime": (lambda root: ff.ucf(root, 2048), "rgb"),
        "ucf_logits": (ff.ucf_logits, "i3d_logits"),
    }[form]
    root = make(tmp_path)
    path = root / file
    path.unlink(missing_ok=True)
    for place in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(file),
        lambda: path.symlink_to("nowhere"),
        path.mkdir,
    ):
        path.unlink(missing_ok=True)
        place()
        with pytest.raises(DataError, match=file.replace(".", r"\.")):
            layouts.open_layout(ff.config(form, root, *modalities))
