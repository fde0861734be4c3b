"""The reader of tracked boxes: every tracker's output, and every way in which it can be wrong."""

import numpy as np
import pytest

from gfvad.base.types import DataError
from gfvad.data.objects.tracks import read_split

ROWS = np.array([[3, 7, 10, 20, 30, 80], [2, 7, 9, 20, 29, 80], [2, 1, 50, 20, 90, 90]], np.int16)


def test_npz_csv_of_corners_and_csv_of_sizes_are_the_same(tmp_path):
    np.savez(tmp_path / "train.npz", walk=ROWS)
    lines = ["frame,id,x1,y1,x2,y2", *(",".join(map(str, row)) for row in ROWS)]
    (tmp_path / "walk.csv").write_text("\n".join(lines) + "\n")
    sizes = ROWS.copy()
    sizes[:, 4:] -= sizes[:, 2:4]
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = ["frame, id, x, y, w, h, score"] + [",".join(map(str, r)) + ",0.9" for r in sizes]
    (folder / "walk.csv").write_text("\n".join(lines))
    found = [read_split(p)["walk"] for p in (tmp_path / "train.npz", tmp_path / "walk.csv", folder)]
    for tracks in found:
        assert tracks.person.tolist() == [1, 7, 7] and tracks.frame.tolist() == [2, 2, 3]
        assert tracks.box[2].tolist() == [10, 20, 30, 80] and tracks.frames == 4


@pytest.mark.parametrize(
    "row, said",
    [
        ([0.5, 1, 0, 0, 1, 1], "whole numbers"),
        ([-1, 1, 0, 0, 1, 1], "a frame from 0"),
        ([1e9, 1, 0, 0, 1, 1], "a frame from 0"),
        ([0, 1, 5, 0, 5, 1], "x1 < x2"),
        ([0, 1, 0, np.nan, 1, 1], "finite"),
        ([2, 7, 0, 0, 1, 1], "id 7 has two boxes in frame 2"),
    ],
)
def test_a_wrong_box_is_named(tmp_path, row, said):
    np.savez(tmp_path / "train.npz", walk=np.concatenate([ROWS.astype(float), [row]]))
    with pytest.raises(DataError, match=said) as error:
        read_split(tmp_path / "train.npz")
    assert "train.npz: walk" in str(error.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "the first line"),
        ("frame,x\n1,2\n", "the first line is 'frame, x'"),
        ("frame,id,x1,y1,x2,y2\n1,2,a,4,5,6\n", "line 2"),
        ("frame,id,x1,y1,x2,y2\n1,2\n", "line 2"),
    ],
)
def test_a_wrong_csv_says_where(tmp_path, text, said):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_split(tmp_path / "v.csv")


def test_what_is_no_split_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for path in ("a.txt", "gone.npz", "empty"):
        with pytest.raises(DataError, match="expected"):
            read_split(tmp_path / path)
    np.savez(tmp_path / "b.npz", walk=np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"\[3, 5\]"):
        read_split(tmp_path / "b.npz")
