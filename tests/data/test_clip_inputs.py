"""What of a set reaches a clip, as the authors' predictive model reads it."""

import numpy as np

from gfvad.data.frames.clip_data import clip_text, tokens_of_part
from gfvad.data.frames.store import fit


def test_states_made_elsewhere_may_lie_by_parts(tmp_path):
    """Where videos of both parts have the same names, as those of Ped2."""
    folder = f"tokens:{tmp_path}"
    assert tokens_of_part(folder, "test") == folder
    (tmp_path / "test").mkdir()
    assert tokens_of_part(folder, "test") == folder
    (tmp_path / "test/grid.json").write_text("{}")
    assert tokens_of_part(folder, "test") == f"{folder}/test"
    assert tokens_of_part(folder, "train") == folder
    other = f"transformers:{tmp_path}"
    assert tokens_of_part(other, "test") == other and tokens_of_part("patches", "test") == "patches"


def test_what_a_clip_reads_of_its_descriptions():
    rows = np.random.default_rng(0).normal(size=(5, 3))
    found = clip_text(rows, "last")
    np.testing.assert_array_equal(found["text"], rows[3])
    np.testing.assert_array_equal(found["text_next"], rows[3])
    found = clip_text(rows, "mean")
    np.testing.assert_array_equal(found["text"], rows[:4].mean(0))
    np.testing.assert_array_equal(found["text_next"], rows[4])


def test_bicubic_is_pillows():
    """A picture of one colour stays so; a ramp is a ramp away from its ends, twice as long."""
    flat = fit(np.full((6, 8, 3), 77, np.uint8), (12, 16), "bicubic")
    assert flat.shape == (12, 16, 3) and (flat == 77).all()
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (4, 1))
    found = fit(ramp, (4, 32), "bicubic")[0, 6:-6].astype(float)
    np.testing.assert_allclose(np.diff(found), 5, atol=1)
    assert (fit(ramp, (4, 32)) != fit(ramp, (4, 32), "bicubic")).any()
