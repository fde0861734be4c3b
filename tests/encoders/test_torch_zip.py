"""Checkpoints of torch.save read without torch: what is in them, and what is refused unread."""

import argparse
import importlib.util
import zipfile

import numpy as np
import pytest
import torch_checkpoint as made

from gfvad.base.types import DataError
from gfvad.encoders.torch_zip import read_weights

RNG = np.random.default_rng(0)
WEIGHTS = {
    "a.weight": RNG.normal(size=(3, 4)).astype(np.float32),
    "a.turned": RNG.normal(size=(2, 5)).astype(np.float64).T,
    "b.bias": RNG.normal(size=3).astype(np.float16),
    "count": np.array(7),
    "internvl_model.x": RNG.normal(size=4).astype(np.float32),
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(found[name], x)
        assert found[name].dtype == x.dtype


@pytest.mark.parametrize("wrap", ["model_state_dict", "state_dict"])
def test_weights_by_their_names(tmp_path, wrap):
    made.write(tmp_path / "best.pth", WEIGHTS, wrap)
    assert_equal(read_weights(tmp_path / "best.pth"), WEIGHTS)
    left = {n: x for n, x in WEIGHTS.items() if not n.startswith("internvl_model.")}
    assert_equal(read_weights(tmp_path / "best.pth", ("internvl_model.",)), left)


def test_half_of_a_float32(tmp_path):
    """bfloat16, which numpy has not."""
    values = np.array([1.0, -2.5, 0.0078125, 3e38], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    tensor = made.tensor(0, halves, "BFloat16Storage")
    text = b"\x80\x02" + made.table({"x": tensor}) + b"."
    made.write_archive(tmp_path / "best.pth", text, {"0": halves.tobytes()})
    found = read_weights(tmp_path / "best.pth")["x"]
    np.testing.assert_allclose(found, values, rtol=2**-8)
    assert found.dtype == np.float32


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_writes_what_is_read(tmp_path, legacy):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    import torch

    weights = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in WEIGHTS.items()}
    beside = {"best": np.float64(0.9), "args": argparse.Namespace(b=8), "curve": np.zeros(3)}
    whole = weights if legacy else {"model_state_dict": weights, "epoch": 3, **beside}
    torch.save(whole, tmp_path / "best.pth", _use_new_zipfile_serialization=not legacy)
    assert_equal(read_weights(tmp_path / "best.pth"), WEIGHTS)
    made.write(tmp_path / "ours.pth", WEIGHTS)
    back = torch.load(tmp_path / "ours.pth", weights_only=True)["model_state_dict"]
    assert_equal({name: x.numpy() for name, x in back.items()}, WEIGHTS)


def test_nothing_in_a_file_is_run(tmp_path):
    mark = tmp_path / "ran"
    call = made.reference("os.system") + b"(" + made.word(f"touch {mark}") + b"tR"
    made.write(tmp_path / "best.pth", WEIGHTS, extra=call)
    with pytest.raises(DataError, match=r"best.pth: not usable \(it names os.system\)"):
        read_weights(tmp_path / "best.pth")
    assert not mark.exists()


def broken(path, kind):
    data = WEIGHTS["a.weight"].tobytes()
    text = b"\x80\x02" + made.table({"x": made.tensor(0, WEIGHTS["a.weight"])}) + b"."
    if kind == "compressed":
        made.write(path, WEIGHTS, compression=zipfile.ZIP_DEFLATED)
    elif kind == "short storage":
        made.write_archive(path, text, {"0": data[:-4]})
    elif kind == "no storage":
        made.write_archive(path, text, {})
    elif kind == "no tensors":
        made.write_archive(path, b"\x80\x02" + made.table({"x": made.number(1)}) + b".", {})
    elif kind == "cut pickle":
        made.write_archive(path, text[:-9], {"0": data})
    elif kind == "no pickle":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("best/version", "3")
    elif kind == "cut":
        made.write(path, WEIGHTS)
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "text":
        path.write_text("no checkpoint")


@pytest.mark.parametrize(
    "kind",
    ["compressed", "short storage", "no storage", "no tensors", "cut pickle", "no pickle", "cut"]
    + ["text", "missing"],
)
def test_what_is_no_checkpoint_is_one_error(tmp_path, kind):
    broken(tmp_path / "best.pth", kind)
    with pytest.raises(DataError, match="best.pth"):
        read_weights(tmp_path / "best.pth")
