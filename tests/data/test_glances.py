"""Glances: read by line, placed on units, of training videos alone, and never shown to a model."""

import re

import feature_folders as ff
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from gfvad.base.types import DataError
from gfvad.data import glances, sampling, streams

COUNTS = {"a": 0, "b": 1, "c": 1, "d": 1}  # video -> label


class Known:
    """Four videos of 10 units of 16 frames; d has its length from its units alone."""

    split, names = "train", tuple(COUNTS)
    labels = np.array(list(COUNTS.values()))
    lengths = np.full(4, 10)

    def meta(self, i):
        cut = {"unit_frames": 0, "num_frames": 160} if self.names[i] == "d" else {}
        blank = tiny.TinyRecords(videos=2).meta(0)._replace(unit_frames=16, num_frames=160)
        return blank._replace(name=self.names[i], label=int(self.labels[i]), **cut)


def written(tmp_path, *rows, header="name,frame"):
    return ff.write_lines(tmp_path / "glances.csv", header, *rows)


def test_frames_in_time_order_each_once(tmp_path):
    table = glances.read_glances(written(tmp_path, "b.mp4,40", "b.mp4,3", "b.mp4,40", "c,0"))
    assert {name: table[name].tolist() for name in table} == {"b": [3, 40], "c": [0]}
    assert glances.glances_path(ConfigDict({"root": "x", "glances": ""})) is None
    path = glances.glances_path(ConfigDict({"root": str(tmp_path), "glances": "glances.csv"}))
    assert path == tmp_path / "glances.csv"


@pytest.mark.parametrize(
    "rows, header, message",
    [
        (["b,4"], "video,frame", "line 1: columns video,frame; expected name,frame"),
        (["b,4"], "name,second", "line 1: columns name,second; expected name,frame"),
        (["b,4.5"], "name,frame", "line 2: frame '4.5' of 'b'; expected a whole number"),
        (["c,1", "b,-1"], "name,frame", "line 3: frame '-1' of 'b'"),
        (["b"], "name,frame", "line 2: 1 fields; expected 2"),
        ([], "name,frame", "no glance; expected a row a glance: name,frame"),
        (["b,160"], "name,frame", "frame 160 of 'b', which has 160 frames; expected frames of the"),
        (["a,1", "b,1"], "name,frame", "1 glances of 'a', which is a normal video"),
        (["q,1"], "name,frame", "none of its 1 names is of a video here"),
    ],
)
def test_bad_files_end_in_one_line(tmp_path, rows, header, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        glances.of_training(written(tmp_path, *rows, header=header), Known(), range(4))
    assert "glances.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_those_of_other_videos_are_left_out_and_counted(tmp_path):
    """Tested, held out, unknown; and where nobody knows which unit a frame is in."""
    path = written(tmp_path, "b,159", "b,0", "b,15", "c,1", "d,4", "q,4")
    found = glances.of_training(path, Known(), [0, 1, 3])
    assert {i: x.tolist() for i, x in found.units.items()} == {1: [0, 9]}
    told = "; ".join(found.notes)
    assert "3 glances in 1 training videos (glances.csv)" in told
    assert "2 of 4 videos with glances are of no video here and are left out: c, q" in told
    assert "1 videos with glances have no known length: d" in told
    assert found.digest != glances.of_training(path, Known(), range(4)).digest


@pytest.mark.parametrize("mode", sampling.MODES)
@pytest.mark.parametrize("n", [5, 8, 29])
def test_marks_against_loops(mode, n):
    """Each slot holds the glances from its first unit up to the next slot's."""
    rng = np.random.default_rng(n)
    for target in (4, 8):
        units = sampling.sample_units(n, target, mode, rng)
        own = np.unique(rng.integers(0, n, 3))
        found = glances.marked(units, own)
        assert found.shape == (target, 1) and found.dtype == np.float32
        real = np.flatnonzero(units.mask)
        for k in range(target):
            reach = units.start[k + 1] if k + 1 < len(real) else units.stop[k]
            reach = max(reach, units.stop[k])
            held = k in real and any(units.start[k] <= g < reach for g in own)
            repeated = k + 1 < len(real) and units.start[k + 1] == units.start[k]
            assert found[k, 0] == (held and not repeated), (mode, n, k)
        if mode != "window":  # nothing is lost
            assert found.any()
    assert not glances.marked(units, np.zeros(0, np.int64)).any()


def test_batches_carry_marks_of_abnormal_videos_in_training_alone():
    c, records = tiny.config(data__train_sampling="mean"), tiny.TinyRecords(videos=8)
    abnormal = np.flatnonzero(records.labels == 1)
    own = glances.Glances({int(i): np.array([int(i) % 3]) for i in abnormal}, "digest")
    plain = streams.TrainStream(streams.Examples(records, range(8), c.data), 8, 0)
    marked = streams.TrainStream(streams.Examples(records, range(8), c.data, glances=own), 8, 0)
    a, b = plain.local_batch(1), marked.local_batch(1)
    assert glances.GLANCE not in a.features and "glances" not in plain.identity
    assert marked.identity == plain.identity | {"glances": "digest"}
    for m, x in a.features.items():
        np.testing.assert_array_equal(x, b.features[m])
    seen = b.features[glances.GLANCE]
    assert seen.shape == (8, tiny.UNITS, 1)
    np.testing.assert_array_equal(seen.any((1, 2)), b.label == 1)
