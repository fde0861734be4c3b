"""Any image network as an ONNX file, on the CPU. The only importer of onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from gfvad.base.seals import file_hash
from gfvad.base.types import ConfigError, DataError
from gfvad.encoders.registry import INSTALL, UnitEncoder
from gfvad.encoders.units import Unit

# mean and deviation that most published image networks expect
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def open_onnx(path: str) -> Any:
    """A network of one input, on the CPU, one thread (files run side by side). Raises DataError."""
    try:
        import onnxruntime
    except ImportError:
        raise DataError(
            f"{path}: package onnxruntime not found; expected it for ONNX files: run {INSTALL}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's own classes: Fail, InvalidProtobuf, NoSuchFile, NotImplemented, ...
        raise DataError(
            f"{path}: not a usable ONNX file ({str(error).splitlines()[0]}); expected a network as"
            " an ONNX file: export it again"
        ) from None
    if len(session.get_inputs()) != 1:
        raise DataError(
            f"{path}: a network of {len(session.get_inputs())} inputs"
            f" ({', '.join(i.name for i in session.get_inputs())}); expected one of one input"
        )
    return session


def run_onnx(session: Any, path: str, x: np.ndarray, width: int = 0) -> np.ndarray:
    """First output of a network for one example, flattened to float32 [D]; maps and tokens
    become their means. Raises DataError where D is not `width` (0: any)."""
    try:
        inputs = {session.get_inputs()[0].name: x.astype(np.float32)}
        y = np.asarray(session.run(None, inputs)[0], np.float32)[0]
    except Exception as error:
        expected = session.get_inputs()[0].shape
        raise DataError(
            f"{path}: the network fails on an input of shape {list(x.shape)}"
            f" ({str(error).splitlines()[0]}); it states {expected}"
        ) from None
    # [D], [D, h, w] or [L, D]
    y = y.mean((1, 2)) if y.ndim == 3 else y.mean(0) if y.ndim == 2 else y
    if width and y.shape != (width,):
        raise DataError(
            f"{path}: gives {y.size} numbers, expected {width}: export the layer of that width"
        )
    return y.ravel()


class OnnxImage(UnitEncoder):
    """An image network on the middle frame: [1, 3, rows, columns], RGB in [0, 1] less `mean`,
    over `std`."""

    name = "onnx"

    def __init__(
        self,
        path: str,
        modality: str = "appearance",
        mean: str | None = None,
        std: str | None = None,
        size: int | str = 224,
    ) -> None:
        super().__init__()
        self.path, self.modality = path, modality
        self.mean, self.std = (
            triple(given, default) for given, default in zip((mean, std), IMAGENET)
        )
        self.settings = {
            "path": path,
            "sha256": file_hash(path, "an image network as an ONNX file"),
            "mean": self.mean,
            "std": self.std,
            "size": int(size),
        }
        fixed = [n for n in self.session.get_inputs()[0].shape[2:] if isinstance(n, int) and n > 0]
        self.size = tuple(fixed) if len(fixed) == 2 else (int(size), int(size))

    @cached_property
    def session(self) -> Any:
        """The network."""
        return open_onnx(self.path)

    @cached_property
    def width(self) -> int:
        """D, by running it once."""
        return len(run_onnx(self.session, self.path, np.zeros((1, 3, *self.size), np.float32)))

    def encode(self, unit: Unit) -> np.ndarray:
        """float32 [D]."""
        frame = cv2.resize(unit.middle, self.size[::-1], interpolation=cv2.INTER_AREA)
        mean, deviation = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        x = (frame.astype(np.float32) / 255 - mean) / deviation
        return run_onnx(self.session, self.path, x.transpose(2, 0, 1)[None], self.width)


def triple(
    given: str | float | Sequence[float] | None, default: tuple[float, ...]
) -> tuple[float, ...]:
    """'0.5/0.5/0.5', 0.5 or three numbers -> three numbers. Raises ConfigError."""
    if given is None:
        return default
    parts = given if isinstance(given, (list, tuple)) else str(given).split("/")
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if len(found) not in (1, 3):
        raise ConfigError(
            f"encoder onnx: {given!r}; expected one number or three, one a colour, as 0.5/0.5/0.5"
        )
    return found * (3 // len(found))
