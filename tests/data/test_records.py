"""Prepared sets: exact round trip, complete or absent, statistics, and the error of every way a
folder can be wrong."""

import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest
from fake_layout import FakeLayout, make_video

from gfvad.base.types import DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data.features import records
from gfvad.data.features.records import feature_stats, open_records


def prepare(layout, out):
    return records.prepare(layout, out, progress=None)


def _videos():
    return [
        make_video("v=1_#00-05_label_B1-0-0", 4, label=1),
        make_video("Ünïcode name", 1, label=0),
        make_video("no label", 7, label=-1, fps=0.0, unit_frames=0),
        make_video("test/one", 9, label=1, split="test"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(FakeLayout(_videos()), tmp_path_factory.mktemp("prepared") / "set")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "set")


def _assert_same(read, written):
    for field in (
        "name",
        "split",
        "label",
        "classes",
        "num_frames",
        "span_classes",
        "unit_frames",
        "fps",
    ):
        assert getattr(read, field) == getattr(written, field), field
    np.testing.assert_array_equal(read.spans, written.spans)
    assert read.spans.dtype == np.int64 and read.spans.shape == written.spans.shape
    for m, x in read.features.items():
        assert x.dtype == written.features[m].dtype
        np.testing.assert_array_equal(x, written.features[m])


# --- round trip


def test_round_trip(folder):
    for split in ("train", "test"):
        written = [v for v in _videos() if v.split == split]
        opened = open_records(folder, split)
        assert len(opened) == len(written) and opened.names == tuple(v.name for v in written)
        assert opened.labels.tolist() == [v.label for v in written]
        assert opened.lengths.tolist() == [v.features["rgb"].shape[1] for v in written]
        assert opened.dims == {"rgb": 8, "audio": 3} and opened.modalities == ("rgb", "audio")
        assert {m: c.tolist() for m, c in opened.crops.items()} == {
            "rgb": [5] * len(written),
            "audio": [1] * len(written),
        }
        for i, video in enumerate(written):
            assert set(opened[i].features) == {"rgb", "audio"}
            _assert_same(opened[i], video)
            _assert_same(opened.meta(i), video)
            assert opened.meta(i).features == {}
        _assert_same(opened[-1], written[-1])
        assert sum(x.nbytes for video in opened for x in video.features.values()) == opened.nbytes()
        assert opened.nbytes([0]) == sum(x.nbytes for x in opened[0].features.values())
        with pytest.raises(IndexError):
            opened[len(opened)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("crops", [1, 10])
def test_precision_is_kept(tmp_path, dtype, crops):
    videos = [make_video(f"v{n}", n, crops=crops) for n in (1, 2, 33)]
    videos = [
        v._replace(features={**v.features, "rgb": np.abs(v.features["rgb"] * 9).astype(dtype)})
        for v in videos
    ]
    opened = open_records(prepare(FakeLayout(videos), tmp_path / "set"), "train")
    for i, video in enumerate(videos):
        _assert_same(opened[i], video)


def test_many_shards_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "SHARD_VIDEOS", 3)
    videos = [make_video(f"v{i}", i + 1, label=i % 2) for i in range(8)]
    path = prepare(FakeLayout(videos[::-1]), tmp_path / "set")
    opened = open_records(path, "train")
    assert len(list(path.rglob("*array_record*"))) == 3
    for i, video in enumerate(videos[::-1]):
        _assert_same(opened[i], video)


def test_one_modality_alone(folder):
    opened = open_records(folder, "train", ["audio"])
    assert (
        opened.modalities == ("audio",)
        and set(opened[0].features) == {"audio"}
        and opened.dims == {"audio": 3}
    )


def test_other_byte_order_and_lossless_casts(tmp_path):
    videos = [make_video("a", 3), make_video("b", 4)]
    swapped = videos[1].features["rgb"].astype(">f4")
    # float32 values in float64: nothing is lost
    wide = videos[1].features["audio"].astype(np.float64)
    videos[1] = videos[1]._replace(features={"rgb": swapped, "audio": wide})
    narrow = make_video("t", 3, split="test", dtype=np.float16)
    path = prepare(FakeLayout([*videos, narrow]), tmp_path / "set")
    opened = open_records(path, "train")
    np.testing.assert_array_equal(opened[1].features["rgb"], swapped)
    np.testing.assert_array_equal(opened[1].features["audio"], wide)
    test = open_records(path, "test")[0].features["rgb"]  # one precision holds both splits
    np.testing.assert_array_equal(test, narrow.features["rgb"])
    assert test.dtype == opened[1].features["rgb"].dtype == np.float32


# --- complete or absent


def test_skipped_when_complete(tmp_path):
    layout = FakeLayout(_videos())
    path = prepare(layout, tmp_path / "set")
    loads, before = layout.loads, (path / "manifest.json").stat().st_mtime_ns
    assert prepare(layout, tmp_path / "set") == path and layout.loads == loads
    assert (path / "manifest.json").stat().st_mtime_ns == before


def test_written_again_when_the_source_changes(tmp_path):
    source = tmp_path / "a.npy"
    source.write_bytes(b"1")
    layout = FakeLayout([make_video("a", 3)], files={"a": {"rgb": [source]}})
    path = prepare(layout, tmp_path / "set")
    loads = layout.loads
    source.write_bytes(b"22")
    layout.videos["train", "a"] = make_video("a", 5)
    prepare(layout, path)
    assert layout.loads > loads and open_records(path, "train").lengths.tolist() == [5]
    layout.fingerprint = lambda: "given by the layout"
    prepare(layout, path)
    assert manifest_lib.read(path)["source"] == "given by the layout"


def test_a_damaged_set_is_written_again(copy):
    next(copy.rglob("*train.array_record*")).unlink()
    prepare(FakeLayout(_videos()), copy)
    assert len(open_records(copy, "train")) == 3


class _Interrupted(FakeLayout):
    def load(self, entry):
        if self.loads == 4:
            raise KeyboardInterrupt
        return super().load(entry)


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(_Interrupted(_videos()), tmp_path / "set")
    assert [p.name for p in tmp_path.iterdir()] == [".set.lock"]
    with pytest.raises(DataError, match="no such folder"):
        open_records(tmp_path / "set", "train")


def test_an_interrupt_keeps_the_earlier_set(copy):
    layout = _Interrupted([*_videos(), make_video("new", 2)])
    with pytest.raises(KeyboardInterrupt):
        prepare(layout, copy)
    assert len(open_records(copy, "train")) == 3
    assert sorted(p.name for p in copy.parent.iterdir()) == [".set.lock", "set"]


KILLED = """
import os, sys
from fake_layout import FakeLayout, make_video
from gfvad.data.features import records
class Killed(FakeLayout):
    def load(self, entry):
        if self.loads == 3:
            assert "tensorflow" not in sys.modules
            os.kill(os.getpid(), 9)
        return super().load(entry)
records.prepare(Killed([make_video(f"v{i}", 3) for i in range(5)]), sys.argv[1], progress=None)
"""


def test_a_killed_writer_leaves_no_set(tmp_path, repository):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "tests" / "support")]),
    }
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "set")],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert result.returncode == -9, result.stderr.decode()
    assert list(tmp_path.glob(".set.partial-*")) and not (tmp_path / "set").exists()
    unfinished = next(tmp_path.glob(".set.partial-*"))
    with pytest.raises(DataError, match="unfinished"):
        open_records(unfinished, "train")
    path = prepare(FakeLayout([make_video(f"v{i}", 3) for i in range(5)]), tmp_path / "set")
    assert len(open_records(path, "train")) == 5 and not unfinished.exists()


def test_two_writers_prepare_once(tmp_path):
    layout = FakeLayout(_videos())
    threads = [threading.Thread(target=prepare, args=(layout, tmp_path / "set")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # the first of each split is read twice, for its precision
    assert layout.loads == len(_videos()) + 2
    assert len(open_records(tmp_path / "set", "train")) == 3


def test_videos_are_streamed(tmp_path):
    """Never more than a few videos in memory, though the library keeps every example of a shard."""
    alive, most = [], 0

    class Watched(FakeLayout):
        def load(self, entry):
            nonlocal most
            video = make_video(entry.name, 5)
            alive.append(weakref.ref(video.features["rgb"]))
            most = max(most, sum(ref() is not None for ref in alive))
            return video

    prepare(Watched([make_video(f"v{i}", 5) for i in range(30)]), tmp_path / "set")
    assert len(alive) == 31 and most <= 3


# --- statistics


def test_statistics(tmp_path):
    videos = [make_video(f"v{n}", n, seed=n, dtype=np.float16) for n in (3, 11, 40)]
    for v in videos:
        v.features["rgb"][:, 1:3] = 0  # silent units, in every crop
        v.features["rgb"][0, 0, :4] = 0  # a unit with some zeros counts
        v.features["audio"][...] += 1e4  # a mean far above the deviation
    path = prepare(
        FakeLayout([*videos, make_video("test", 50, split="test", dtype=np.float16)]),
        tmp_path / "set",
    )
    stats = feature_stats(path)
    for m in ("rgb", "audio"):
        units = np.concatenate(
            [v.features[m].reshape(-1, v.features[m].shape[-1]) for v in videos]
        ).astype(np.float64)
        units = units[(units != 0).any(axis=1)]
        np.testing.assert_allclose(stats[m]["mean"], units.mean(0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(stats[m]["std"], units.std(0), rtol=1e-6)
        assert stats[m]["mean"].dtype == stats[m]["std"].dtype == np.float32


def test_statistics_of_a_constant_are_safe(tmp_path):
    video = make_video("a", 4)
    video.features["rgb"][..., 2] = 0.5
    video.features["audio"][...] = 0
    stats = feature_stats(prepare(FakeLayout([video]), tmp_path / "set"))
    assert stats["rgb"]["std"][2] == 1 and stats["rgb"]["mean"][2] == 0.5
    assert (stats["audio"]["mean"] == 0).all() and (stats["audio"]["std"] == 1).all()


def test_no_training_split(tmp_path):
    path = prepare(FakeLayout([make_video("a", 4, split="test")]), tmp_path / "set")
    assert len(open_records(path, "test")) == 1
    with pytest.raises(DataError, match="no training split"):
        feature_stats(path)
    with pytest.raises(DataError, match="no split 'train'; it holds test"):
        open_records(path, "train")


# --- a folder that is wrong


def _edit(path, **changes):
    """As if it had been written so: with its own checksum."""
    manifest = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**manifest, manifest_lib.SEAL: manifest_lib.seal_of(manifest)}))


def test_not_a_set(tmp_path):
    with pytest.raises(DataError, match="no such folder.*prepare it again"):
        open_records(tmp_path / "nothing", "train")
    with pytest.raises(DataError, match="unfinished or foreign"):
        open_records(tmp_path, "train")


def test_wrong_folders(copy):
    with pytest.raises(DataError, match="no modality 'flow'; it holds rgb, audio"):
        open_records(copy, "train", ["rgb", "flow"])
    shard = next(copy.rglob("*test.array_record*"))
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(DataError, match=r"test.array_record.*found nothing, expected \d+"):
        open_records(copy, "train")
    shard.write_bytes(content[:1000])
    with pytest.raises(DataError, match="found 1,000 bytes"):
        feature_stats(copy)
    shard.write_bytes(content)
    _edit(copy / "manifest.json", format=99)
    with pytest.raises(DataError, match="format 99 .gfvad reads 1.*prepare it again"):
        open_records(copy, "train")
    (copy / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        open_records(copy, "train")


def test_records_of_another_set(copy):
    index = json.loads((copy / "index.json").read_text())
    index["train"]["name"][:2] = index["train"]["name"][1::-1]
    (copy / "index.json").write_text(json.dumps(index))
    _edit(copy / "manifest.json", files={})
    with pytest.raises(DataError, match="different sets"):
        open_records(copy, "train")[0]


def test_nothing_foreign_is_overwritten(copy, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    assert prepare(FakeLayout(_videos()), mine) == mine  # an empty folder is free to use
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("kept")
    with pytest.raises(DataError, match="files that are no prepared set"):
        prepare(FakeLayout(_videos()), tmp_path / "notes")
    other = FakeLayout(_videos())
    other.name = "other"
    with pytest.raises(DataError, match="already holds the prepared set 'fake'"):
        prepare(other, copy)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "kept" and len(
        open_records(copy, "train")
    ) == 3


def test_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        prepare(FakeLayout(_videos()), tmp_path / "file" / "set")


def test_a_full_disk(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(manifest_lib.shutil, "disk_usage", lambda path: usage(10, 5, 5))
    with pytest.raises(DataError, match="0.0 GB free"):
        prepare(FakeLayout(_videos()), tmp_path / "set")
    assert not (tmp_path / "set").exists()


# --- videos that are wrong


def _changed(rgb):
    video = make_video("bad", 4)
    return video._replace(features={**video.features, "rgb": rgb(video.features["rgb"].copy())})


def _with(value):
    def change(x):
        x[2, 1, 3] = value
        return x

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (_with(np.nan), "rgb has 1 NaN or infinite"),
        (_with(-np.inf), "rgb has 1 NaN or infinite"),
        (lambda x: x[..., :7], r"rgb is \[5, 4, 7\]; expected \[crops, units, 8\]"),
        (lambda x: x[0], r"rgb is \[4, 8\]"),
        (lambda x: x[:, :0], r"rgb is \[5, 0, 8\]"),
        (lambda x: x[:, :3], "units .*'rgb': 3, 'audio': 4"),
        (lambda x: x.astype(np.float64) + 1e-12, "rgb is float64, the first videos float32"),
        (lambda x: x.astype(complex), "rgb has values of type complex128"),
        (lambda x: x > 0, "rgb has values of type bool"),
    ],
)
def test_bad_videos(tmp_path, change, message):
    with pytest.raises(DataError, match=f"fake/train/bad: {message}"):
        prepare(FakeLayout([make_video("good", 4), _changed(change)]), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_missing_modality_and_unequal_crops(tmp_path):
    video = make_video("bad", 4)
    with pytest.raises(DataError, match="modality 'audio' is missing; found rgb"):
        prepare(
            FakeLayout([video._replace(features={"rgb": video.features["rgb"]})]), tmp_path / "set"
        )
    audio = np.repeat(video.features["audio"], 3, axis=0)
    with pytest.raises(DataError, match="crops .*'rgb': 5, 'audio': 3"):
        prepare(
            FakeLayout([video._replace(features={**video.features, "audio": audio})]),
            tmp_path / "set",
        )


def test_bad_layouts(tmp_path):
    with pytest.raises(DataError, match="no videos"):
        prepare(FakeLayout([]), tmp_path / "set")
    with pytest.raises(DataError, match="2 names stand for more than one video, e.g. 'a'"):
        prepare(FakeLayout([make_video(n, 3) for n in "abcba"]), tmp_path / "set")
    with pytest.raises(DataError, match="modalities"):
        prepare(FakeLayout([make_video("a", 3)], modalities={"a/b": 3}), tmp_path / "set")
    # the same name in both splits stands for two videos
    both = FakeLayout([make_video("a", 3), make_video("a", 4, split="test")])
    both.load = lambda entry: both.videos["train", "a"]
    assert len(open_records(prepare(both, tmp_path / "set"), "test")) == 1


def test_progress_is_told(tmp_path):
    told = []

    class Reporter:
        def __init__(self, total, label):
            told.append((total, label))

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def advance(self, n=1):
            told.append(n)

    records.prepare(FakeLayout(_videos()), tmp_path / "set", Reporter)
    assert told == [(4, "preparing fake"), 1, 1, 1, 1]
