"""Readers of the published layouts: what they give on tiny folders. Their errors are in
test_layout_errors.py."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base.types import DataError
from gfvad.data.features import layouts
from gfvad.data.features.layouts import arrays, entries


def load_all(layout, split):
    return {e.name: layout.load(e) for e in layout.entries(split)}


def check_video(video, layout):
    """What `types.Video` promises."""
    units = {a.shape[1] for a in video.features.values()}
    assert len(units) == 1 and tuple(video.features) == layout.asked and video.num_frames > 0
    for m, array in video.features.items():
        assert (
            array.ndim == 3
            and array.shape[2] == layout.modalities[m]
            and array.dtype in (np.float16, np.float32)
        )
    assert video.spans.shape == (len(video.span_classes), 2) and video.spans.dtype == np.int64
    assert (video.spans >= 0).all() and (video.spans <= video.num_frames).all()
    assert video.label != 0 or not (video.classes or len(video.spans))


@pytest.fixture(scope="module")
def xd_root(tmp_path_factory):
    return ff.xd(tmp_path_factory.mktemp("xd"))


@pytest.fixture
def xd_copy(xd_root, tmp_path):
    return shutil.copytree(xd_root, tmp_path / "xd")


# ---- each layout


def test_xd(xd_root):
    layout = layouts.open_layout(ff.config("xd_violence", xd_root, "rgb", "audio"))
    assert (
        layout.modalities == {"rgb": 1024, "audio": 128}
        and layout.name == "xd_violence"
        and layout.fps == 24.0
    )
    train, test = load_all(layout, "train"), load_all(layout, "test")
    assert list(train) == sorted(ff.XD_TRAIN) and list(test) == sorted(ff.XD_TEST)
    for video in (*train.values(), *test.values()):
        check_video(video, layout)
    assert layout.notes["aligned"] == 6  # audio has a row more everywhere
    assert (train["v=abc__#1_label_B1-0-0"].label, train["v=abc__#1_label_B1-0-0"].classes) == (
        1,
        ("fighting",),
    )
    assert train["Film.B__#00-03-00_00-04-00_label_B2-G-0"].classes == ("shooting", "explosion")
    assert train["Film.A__#00-01-00_00-02-00_label_A"].num_frames == 6 * 16
    video = test["v=def__#1_label_G-0-0"]  # its annotation line ends in .mp4
    assert (
        video.num_frames == 96
        and video.spans.tolist() == [[10, 40], [60, 96]]
        and video.span_classes == ("explosion",) * 2
    )
    # which of the two is not annotated
    assert test["Film.D__#00-05-00_label_B4-B6-0"].span_classes == ("",)
    expected = np.load(xd_root / "i3d-features/RGBTest/v=def__#1_label_G-0-0__3.npy")
    np.testing.assert_array_equal(video.features["rgb"][3], expected)
    assert video.features["rgb"].shape == (5, 6, 1024) and video.features["audio"].shape == (
        1,
        6,
        128,
    )


def test_xd_flow_one_row_short_and_missing_in_test(tmp_path):
    root = ff.xd(tmp_path / "xd", flow=True)
    for crop in range(5):
        (root / f"i3d-features/FlowTest/v=def__#1_label_G-0-0__{crop}.npy").unlink()
    layout = layouts.open_layout(ff.config("xd_violence", root, "rgb", "flow", "audio"))
    video = load_all(layout, "test")["v=def__#1_label_G-0-0"]
    assert video.features["flow"].shape == (1, 6, 1024) and not video.features["flow"].any()
    assert layout.notes["flow absent, zeros in its place"] == 1
    # cut to flow's rows
    assert load_all(layout, "train")["v=abc__#1_label_B1-0-0"].features["rgb"].shape[1] == 5
    (root / "i3d-features/Flow/v=abc__#1_label_B1-0-0__0.npy").unlink()
    with pytest.raises(DataError, match="v=abc.*crops .1, 2, 3, 4.; expected .0, 1, 2, 3, 4."):
        layouts.open_layout(ff.config("xd_violence", root, "flow")).entries("train")


def test_xd_without_frame_counts_and_with_mp4_names(xd_copy):
    (xd_copy / "frame_counts.txt").unlink()
    for path in list((xd_copy / "i3d-features/RGBTest").glob("v=def*")):
        path.rename(path.with_name(path.name.replace("G-0-0__", "G-0-0.mp4__")))
    layout = layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb"))
    assert "16 frames a feature row" in layout.ground_truth
    assert load_all(layout, "test")["v=def__#1_label_G-0-0"].num_frames == 96


def test_xd_text(xd_copy):
    ff.write_captions(xd_copy / "captions.json", **{"v=abc__#1_label_B1-0-0": 4.0})
    layout = layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb", "text"))
    train = load_all(layout, "train")
    text = train["v=abc__#1_label_B1-0-0"].features["text"]
    assert text.shape == (1, 6, 384) and np.allclose(np.linalg.norm(text, axis=-1), 1, atol=1e-5)
    assert (
        not train["Film.A__#00-01-00_00-02-00_label_A"].features["text"].any()
        and layout.notes["without captions, text zeros"] == 2
    )


def test_ucf_families(tmp_path):
    big = layouts.open_layout(ff.config("ucf_crime", ff.ucf(tmp_path / "big", 2048), "i3d"))
    small = layouts.open_layout(ff.config("ucf_crime", ff.ucf(tmp_path / "small", 1024), "i3d"))
    assert big.modalities == {"i3d": 2048} and small.modalities == {"i3d": 1024} and big.fps == 30.0
    for layout in (big, small):
        for split in entries.SPLITS:
            assert [e.split for e in layout.entries(split)] == [split] * 2
            for video in load_all(layout, split).values():
                check_video(video, layout)
                assert video.features["i3d"].shape[0] == 10
    # the end frame counts
    assert load_all(big, "test")["Abuse028_x264"].spans.tolist() == [[20, 41]]
    assert load_all(small, "test")["Abuse028_x264"].spans.tolist() == [[20, 40]]
    raw = np.load(tmp_path / "big/UCF_Test_ten_crop_i3d/Abuse028_x264_i3d.npy")
    np.testing.assert_array_equal(
        load_all(big, "test")["Abuse028_x264"].features["i3d"][7], raw[:, 7]
    )


def test_ucf_lengths(tmp_path):
    for family, frames, expected in ((2048, 50, 64), (1024, 70, 64)):
        root = ff.ucf(tmp_path / str(family), family)
        ff.write_lines(root / "frame_counts.txt", f"Abuse028@{frames}", "Normal003@48")
        assert (
            load_all(layouts.open_layout(ff.config("ucf_crime", root, "i3d")), "test")[
                "Abuse028_x264"
            ].num_frames
            == expected
        )
        ff.write_lines(root / "frame_counts.txt", "Abuse028@500", "Normal003@48")
        with pytest.raises(DataError, match="4 feature rows but 3[12] snippets"):
            load_all(layouts.open_layout(ff.config("ucf_crime", root, "i3d")), "test")


def test_ucf_logits(tmp_path):
    root = ff.ucf_logits(tmp_path / "ucf")
    layout = layouts.open_layout(
        ff.config("ucf_logits", root, "i3d_logits", "text", captions="captions.json")
    )
    assert layout.modalities == {"i3d_logits": 6, "text": 384} and (
        layout.unit_frames,
        layout.fps,
    ) == (0, 30.0)
    train, test = load_all(layout, "train"), load_all(layout, "test")
    # by captions; without
    assert (train["Abuse001_x264"].num_frames, train["Arson001_x264"].num_frames) == (300, 8 * 16)
    video = test["Abuse028_x264"]
    check_video(video, layout)
    assert (
        video.num_frames == 160
        and video.spans.tolist() == [[20, 40], [100, 160]]
        and video.span_classes == ("Abuse", "Abuse")
    )
    assert video.features["i3d_logits"].dtype == np.float16 and video.features["text"].any(-1).all()
    assert test["Normal_Videos_003_x264"].label == 0
    only_text = layouts.open_layout(ff.config("ucf_logits", root, "text", captions="captions.json"))
    np.testing.assert_array_equal(
        load_all(only_text, "test")["Abuse028_x264"].features["text"], video.features["text"]
    )


@pytest.mark.parametrize("lists", [False, True])
def test_shanghaitech(tmp_path, lists):
    layout = layouts.open_layout(
        ff.config("shanghaitech", ff.shanghai(tmp_path / "sht", lists), "i3d")
    )
    test = load_all(layout, "test")
    assert {n: v.label for n, v in test.items()} == {"01_0015": 1, "01_004": 0} and len(
        load_all(layout, "train")
    ) == 2
    # the last label goes on past frame 57
    assert test["01_0015"].num_frames == 64 and test["01_0015"].spans.tolist() == [[30, 64]]
    check_video(test["01_0015"], layout)
    assert "128 frames (none of the published 142,912" in layout.ground_truth


def test_tevad(tmp_path):
    layout = layouts.open_layout(
        ff.config("tevad", ff.tevad_shanghai(tmp_path / "sht"), "i3d", "text")
    )
    assert layout.modalities == {"i3d": 2048, "text": 768}
    train, test = load_all(layout, "train"), load_all(layout, "test")
    assert train["01_0014"].features["text"].shape == (1, 4, 768) and layout.notes["aligned"] == 1
    assert test["01_0015"].spans.tolist() == [[30, 64]] and test["01_004"].label == 0
    check_video(test["01_0015"], layout)


def test_tevad_ped2(tmp_path, shared_data):
    frames = {
        f"Test{i:03d}": n
        for i, n in enumerate((180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180), 1)
    }
    frames |= {
        f"Train{i:03d}": len(list((shared_data / f"ped2/training/frames/{i:02d}").iterdir()))
        for i in range(1, 17)
    }
    for name, n in frames.items():
        ff.save(tmp_path / f"i3d/{name}_i3d.npy", np.ones((-(-n // 16), 10, 8), np.float32))
    shutil.copy(shared_data / "ped2/test_spans.txt", tmp_path)
    layout = layouts.open_layout(ff.config("tevad", tmp_path, "i3d"))
    train, test = load_all(layout, "train"), load_all(layout, "test")
    assert (
        len(train),
        sum(v.label for v in train.values()),
        len(test),
        sum(v.label for v in test.values()),
    ) == (10, 6, 18, 6)
    assert (
        sum(v.num_frames for v in test.values()) == 3200
        and sum(int(np.diff(v.spans).sum()) for v in test.values()) == 904
    )


def test_vadclip(tmp_path):
    layout = layouts.open_layout(ff.config("vadclip", ff.vadclip(tmp_path / "clip"), "clip"))
    train, test = load_all(layout, "train"), load_all(layout, "test")
    assert train["Abuse001_x264"].features["clip"].shape == (10, 4, 512) and test[
        "Abuse028_x264"
    ].features["clip"].shape == (1, 4, 512)
    assert (
        test["Abuse028_x264"].spans.tolist() == [[20, 40]]
        and test["Abuse028_x264"].num_frames == 64
        and layout.fps == 30.0
    )
    assert (
        train["Abuse001_x264"].classes == ("Abuse",) and train["Normal_Videos003_x264"].label == 0
    )


def test_generic_folder(tmp_path):
    layout = layouts.open_layout(
        ff.config("generic", ff.generic_folder(tmp_path / "own"), "pose", "clip")
    )
    assert layout.modalities == {"pose": 7, "clip": 9}
    train, test = load_all(layout, "train"), load_all(layout, "test")
    assert train["b"].classes == ("fall", "fire") and train["b"].features["clip"].shape == (2, 5, 9)
    assert (
        test["c"].num_frames == 96
        and test["c"].spans.tolist() == [[10, 20], [50, 96]]
        and test["c"].span_classes == ("fall", "fall")
    )
    check_video(test["d"], layout)


def test_generic_npz(tmp_path):
    arrays_ = {
        "name": ["a", "b", "c"],
        "label": [0, 1, 1],
        "split": ["train", "train", "test"],
        "lengths": [5, 3, 4],
    }
    np.savez(tmp_path / "set.npz", x=ff.features(3, 5, 4), **arrays_)
    np.savez(tmp_path / "two.npz", pose=ff.features(3, 5, 4), sound=ff.features(3, 5, 2), **arrays_)
    ff.write_lines(tmp_path / "spans.csv", "name,start,end", "c,0,8")
    for file, modalities in (("set.npz", ("anything",)), ("two.npz", ("sound", "pose"))):
        layout = layouts.open_layout(ff.config("generic", tmp_path / file, *modalities))
        assert [v.features[modalities[0]].shape[1] for v in load_all(layout, "train").values()] == [
            5,
            3,
        ]
        assert load_all(layout, "test")["c"].num_frames == 64
    with pytest.raises(DataError, match="no array 'gait'; found"):
        layouts.open_layout(ff.config("generic", tmp_path / "two.npz", "gait", "pose")).entries(
            "train"
        )


# ---- score mode


def test_open_input(xd_root, tmp_path):
    cfg = ff.config("xd_violence", xd_root, "rgb", "audio")
    layout = layouts.open_input(xd_root / "i3d-features/RGBTest", ("rgb",), cfg)
    video = layout.load(layout.entries("test")[0])
    assert len(layout.entries("test")) == 3 and layout.entries("train") == [] and layout.fps == 24.0
    assert (video.label, video.spans.shape, video.num_frames, video.features["rgb"].shape) == (
        -1,
        (0, 2),
        80,
        (5, 5, 1024),
    )
    with pytest.raises(DataError, match="no files of modality 'audio'"):
        layouts.open_input(xd_root / "i3d-features", ("rgb", "audio"), cfg)
    whole = layouts.open_input(xd_root, ("rgb", "audio"), cfg)  # both parts, by folder and suffix
    assert len(whole.entries("test")) == 6 and whole.load(whole.entries("test")[0]).features[
        "audio"
    ].shape == (1, 6, 128)
    single = layouts.open_input(ff.save(tmp_path / "film.npy", ff.features(3, 1024)), ("rgb",), cfg)
    assert [e.name for e in single.entries("test")] == ["film"] and single.load(
        single.entries("test")[0]
    ).num_frames == 48


def test_open_input_other_layouts(tmp_path):
    logits = ff.ucf_logits(tmp_path / "ucf")
    cfg = ff.config("ucf_logits", logits, "i3d_logits", "text")
    layout = layouts.open_input(logits / "i3d_logits_test_dev.npz", ("i3d_logits", "text"), cfg)
    video = layout.load(layout.entries("test")[0])
    assert (
        video.num_frames == 160
        and video.unit_frames == 0
        and video.features["text"].any()
        and video.label == -1
    )
    assert len(layouts.open_input(logits, ("i3d_logits",), cfg).entries("test")) == 5
    # a model of folds of the same set is timed alike
    folds = ff.config("ucf_folds", logits, "i3d_logits", "text")
    layout = layouts.open_input(logits / "i3d_logits_test_dev.npz", ("i3d_logits", "text"), folds)
    again = layout.load(layout.entries("test")[0])
    assert (again.num_frames, again.unit_frames) == (160, 0)
    np.testing.assert_array_equal(again.features["text"], video.features["text"])
    elsewhere = ff.write_captions(tmp_path / "words.json", Normal_Videos_003_x264=4.0)
    layout = layouts.open_input(
        logits / "i3d_logits_test_dev.npz", ("i3d_logits", "text"), cfg, captions=elsewhere
    )
    assert [layout.load(e).num_frames for e in layout.entries("test")] == [8 * 16, 120]
    # the class scores only tell the number of units
    alone = layouts.open_input(logits / "i3d_logits_test_dev.npz", ("text",), cfg)
    np.testing.assert_array_equal(
        alone.load(alone.entries("test")[0]).features["text"], video.features["text"]
    )
    (logits / "captions.json").unlink()
    with pytest.raises(DataError, match="modality 'text' needs timed sentences"):
        layouts.open_input(logits / "i3d_logits_test_dev.npz", ("i3d_logits", "text"), cfg)
    tevad = layouts.open_input(
        ff.tevad_shanghai(tmp_path / "sht") / "sent_emb_n",
        ("text",),
        ff.config("tevad", tmp_path, "text"),
    )
    assert len(tevad.entries("test")) == 4 and tevad.modalities == {"text": 768}
    clip = layouts.open_input(
        ff.vadclip(tmp_path / "clip") / "ucf_CLIP_rgbtest.csv",
        ("clip",),
        ff.config("vadclip", tmp_path, "clip"),
    )
    assert [e.name for e in clip.entries("test")] == ["Abuse028_x264", "Normal_Videos_003_x264"]
    big = layouts.open_input(
        ff.ucf(tmp_path / "big", 2048), ("i3d",), ff.config("ucf_crime", tmp_path, "i3d")
    )
    assert big.load(big.entries("test")[0]).features["i3d"].shape == (10, 5, 2048)


# ---- files themselves


def test_threads_and_formats(tmp_path):
    """Headers in all forms, big-endian and Fortran order, read from many threads at once."""
    expected = ff.features(30, 16)
    types = expected.astype(">f4"), expected.astype(np.float64), expected.astype(np.float16)
    for i, array in enumerate((expected, np.asfortranarray(expected), *types) * 8):
        np.save(tmp_path / f"v{i}.npy", array)
    layout = layouts.open_input(tmp_path, ("x",), ff.config("generic", tmp_path, "x"))
    with ThreadPoolExecutor(8) as pool:
        videos = list(pool.map(layout.load, layout.entries("test") * 5))
    for video in videos:
        np.testing.assert_allclose(video.features["x"][0], expected, rtol=0, atol=2e-3)
    assert {v.features["x"].dtype for v in videos} == {np.dtype(np.float16), np.dtype(np.float32)}


def test_header_only(tmp_path):
    """A header tells a truncated file without its data."""
    path = ff.save(tmp_path / "a.npy", ff.features(5, 4))
    header = arrays.read_header(path)
    assert (header.shape, header.expected, header.found) == (
        (5, 4),
        path.stat().st_size,
        path.stat().st_size,
    )
    assert (
        np.concatenate(list(arrays.read_chunks(path, header))).tolist()
        == np.load(path).ravel().tolist()
    )


def test_fingerprint(xd_copy):
    cfg = ff.config("xd_violence", xd_copy, "rgb", "audio")
    first = layouts.open_layout(cfg).fingerprint()
    assert layouts.open_layout(cfg).fingerprint() == first
    ff.write_lines(
        xd_copy / "annotations.txt",
        "v=def__#1_label_G-0-0 10 41 60 100",
        "Film.D__#00-05-00_label_B4-B6-0 0 50",
    )
    changed = layouts.open_layout(cfg).fingerprint()
    assert (
        changed != first
        and layouts.open_layout(ff.config("xd_violence", xd_copy, "rgb")).fingerprint() != changed
    )


def test_real_ucf_logits(shared_data):
    layout = layouts.open_layout(ff.config("ucf_logits", shared_data / "ucf_crime", "i3d_logits"))
    train, test = layout.entries("train"), layout.entries("test")
    assert (len(train), sum(e.label for e in train), len(test), sum(e.label for e in test)) == (
        1501,
        794,
        60,
        30,
    )
    for entry in test[:5] + train[:5]:
        check_video(layout.load(entry), layout)
    assert layout.load(train[0]).num_frames == 2730 and layout.modalities == {"i3d_logits": 400}
