"""Every format says the same, and bad files say what is wrong with them."""

import json

import numpy as np
import pytest
import scipy.io

from gfvad.base.types import DataError
from gfvad.data.score_files import reading
from gfvad.data.score_files.reading import LABELS, SCORES

A, B = np.array([0.1, 0.2, 0.3]), np.array([0.9, 0.8])
VIDEOS = {"a": A, "b": B}


def cells(*arrays):
    """A cell array."""
    found = np.empty((1, len(arrays)), object)
    for i, array in enumerate(arrays):
        found[0, i] = array
    return found


def names_mat():
    return cells(np.array(["a"]), np.array(["b"]))


def write(path, kind):
    """One way to write VIDEOS, or the two joined."""
    joined = np.concatenate([A, B])
    lists = {name: x.tolist() for name, x in VIDEOS.items()}
    rows = [f"{name},{i},{x}" for name, xs in VIDEOS.items() for i, x in enumerate(xs)]
    text = {
        "named.json": json.dumps(lists),
        "inside.json": json.dumps({"scores": lists, "labels": {"a": [0, 0, 1], "b": [1, 0]}}),
        "lists.json": json.dumps({"names": ["a", "b"], "scores": list(lists.values())}),
        "lengths.json": json.dumps(
            {"order": ["a", "b"], "lengths": [3, 2], "scores": joined.tolist()}
        ),
        "records.json": json.dumps([{"video": n, "scores": x} for n, x in lists.items()]),
        "joined.json": json.dumps(joined.tolist()),
        "column.json": json.dumps(joined[:, None].tolist()),
        "rows.csv": "\n".join(["video,frame,score", *rows]) + "\n",
        "plain.csv": "\n".join(map(str, joined)),
        "headed.csv": "\n".join(["score", *map(str, joined)]),
        "numbers.txt": "\n".join(map(str, joined)),
    }
    arrays = {
        "joined.npy": joined,
        "column.npy": joined[:, None].astype(np.float32),
        "row.npy": joined[None],
    }
    archives = {
        "named.npz": VIDEOS,
        "prefixed.npz": {"scores_a": A, "scores_b": B, "labels_a": A > 1, "labels_b": B > 1},
        "slashed.npz": {"scores/a": A, "scores/b": B},
        "joined.npz": {"scores": joined[:, None]},
        "lengths.npz": {"scores": joined, "names": np.array(["a", "b"]), "lengths": [3, 2]},
        "padded.npz": {"name": ["a", "b"], "lengths": [3, 2], "x": [1.0], "pred": [A, [*B, 0.0]]},
    }
    mats = {
        "named.mat": VIDEOS,
        "cells.mat": {"names": names_mat(), "scores": cells(A[None], B[:, None])},
        "struct.mat": {"scores": VIDEOS},
        "joined.mat": {"scores": joined},
        "lengths.mat": {"scores": joined, "names": names_mat(), "lengths": np.array([[3, 2]])},
    }
    if kind in text:
        path.write_text(text[kind])
    elif kind in arrays:
        np.save(path, arrays[kind])
    elif kind in archives:
        np.savez(path, **archives[kind])
    else:
        scipy.io.savemat(path, mats[kind])


NAMED = [
    "records.json",
    "named.json",
    "inside.json",
    "lists.json",
    "rows.csv",
    "named.npz",
    "prefixed.npz",
]
NAMED += ["slashed.npz", "padded.npz", "named.mat", "cells.mat", "struct.mat"]
JOINED = ["joined.json", "column.json", "plain.csv", "headed.csv", "numbers.txt", "joined.npy"]
JOINED += ["column.npy", "row.npy", "joined.npz", "joined.mat"]
STATED = ["lengths.json", "lengths.npz", "lengths.mat"]


@pytest.mark.parametrize("kind", NAMED)
def test_an_array_a_video(kind, tmp_path):
    write(tmp_path / kind, kind)
    found = reading.read_content(tmp_path / kind)
    assert found.one is None and list(found.videos) == ["a", "b"] and found.total == 5
    for name, x in VIDEOS.items():
        assert found.videos[name].dtype == np.float64
        assert np.allclose(found.videos[name], x)


@pytest.mark.parametrize("kind", JOINED + STATED)
def test_one_array(kind, tmp_path):
    write(tmp_path / kind, kind)
    found = reading.read_content(tmp_path / kind)
    assert np.allclose(found.one, np.concatenate([A, B])) and not found.videos
    assert found.order == (("a", "b") if kind in STATED else ())
    assert found.lengths == ((3, 2) if kind in STATED else ())


def test_folder(tmp_path):
    for name, x in VIDEOS.items():
        np.save(tmp_path / f"{name}.mp4.npy", x)
    assert list(reading.read_content(tmp_path).videos) == ["a", "b"]


def test_labels(tmp_path):
    write(tmp_path / "inside.json", "inside.json")
    found = reading.read_content(tmp_path / "inside.json", LABELS)
    assert found.videos["a"].tolist() == [0, 0, 1] and found.videos["a"].dtype == np.uint8
    np.save(tmp_path / "gt.npy", np.array([0.0, 1.0, 1.0]))  # published vectors are often floats
    assert reading.read_content(tmp_path / "gt.npy", LABELS).one.tolist() == [0, 1, 1]


def bad(path, kind):
    """A file that cannot be used."""
    saved = {
        "nan.npy": np.array([0.1, np.nan]),
        "crops.npy": np.zeros((7, 10)),
        "text.npy": np.array(["a", "b"]),
        "none.npy": np.zeros(0),
        "soft.npy": np.array([0.0, 0.5, 1.0]),
    }
    if kind in saved:
        np.save(path, saved[kind])
    elif kind == "objects.npy":
        np.save(path, np.array([A, B], object), allow_pickle=True)
    elif kind == "labels.npz":
        np.savez(path, labels_a=[0, 1])
    elif kind == "nameless.json":
        path.write_text("[[0.1, 0.2], [0.3]]")
    elif kind == "twice.npz":
        np.savez(path, **{"a.mp4": A, "a": A})
    elif kind == "unordered.csv":
        path.write_text("video,frame,score\na,1,0.5\na,0,0.5\n")
    elif kind == "columns.csv":
        path.write_text("clip,value\na,1\n")
    elif kind == "words.csv":
        path.write_text("video,score\na,high\n")
    elif kind == "entries.json":
        path.write_text('[{"video": "a", "value": 1}]')
    elif kind == "nan.json":
        path.write_text("[0.1, NaN]")
    elif kind != "absent.npy":
        path.write_bytes(b"MATLAB 7.3 MAT-file" if kind.endswith(".mat") else b"\x80\x04")
    return path


@pytest.mark.parametrize(
    "kind, said",
    [
        ("nan.npy", "1 of 2 scores are not finite (the first, nan, at index 1)"),
        ("nan.json", "NaN"),
        ("crops.npy", "shape (7, 10); expected [T] or [T, 1]: take the mean over crops first"),
        ("text.npy", "expected one number a frame or snippet"),
        ("none.npy", "expected [T] or [T, 1]"),
        ("objects.npy", "pickled Python objects, which are never loaded"),
        ("scores.pkl", ".pkl files may run code when they are loaded; expected .npy, .npz"),
        ("scores.pt", ".pt files may run code"),
        ("scores.h5", ".h5 files are not read"),
        ("scores.xyz", "a file .xyz; expected .npy, .npz"),
        ("broken.mat", "not a whole .mat file"),
        ("broken.npy", "not a whole .npy file"),
        ("absent.npy", "not found; expected .npy"),
        ("entries.json", "entry 0: video, value; expected a video's name"),
        ("labels.npz", "no scores, found labels_a"),
        ("nameless.json", "2 arrays and no names"),
        ("twice.npz", "video 'a' stands twice"),
        ("unordered.csv", "line 3: frame 0 of 'a' after 1; expected rows in the order of time"),
        ("columns.csv", "line 1: columns clip, value; expected video,score"),
        ("words.csv", "line 2, score: 'high'; expected a finite number"),
    ],
)
def test_bad_scores(kind, said, tmp_path):
    with pytest.raises(DataError) as caught:
        reading.read_content(bad(tmp_path / kind, kind), SCORES)
    assert said in str(caught.value) and kind in str(caught.value)


def test_bad_labels(tmp_path):
    with pytest.raises(DataError, match=r"a label 0.5; expected 0 \(normal\) and 1"):
        reading.read_content(bad(tmp_path / "soft.npy", "soft.npy"), LABELS)


def test_lengths_and_names_that_cannot_be(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, scores=A, names=["a", "a"])
    with pytest.raises(DataError, match="'a' stands twice"):
        reading.read_content(path)
    np.savez(path, scores=A, lengths=[1.5, 1.5])
    with pytest.raises(DataError, match="a length 1.5; expected whole numbers above 0"):
        reading.read_content(path)
