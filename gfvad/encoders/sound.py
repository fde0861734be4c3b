"""Sound of a unit: the front end of VGGish (Hershey et al. 2017, CNN architectures for large-scale
audio classification), its network where weights are at hand, statistics where not.

The front end: 0.96 s of mono sound at 16 kHz, windows of 25 ms (periodic Hann) every 10 ms,
magnitudes of an FFT of 512, 64 mel bands from 125 to 7,500 Hz (HTK's mel, triangles in mel, no
constant component), log(x + 0.01): [96, 64].
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.fft import dct

from gfvad.base.seals import file_hash
from gfvad.encoders.onnx_image import open_onnx, run_onnx
from gfvad.encoders.registry import UnitEncoder
from gfvad.encoders.units import PATCH, RATE, Unit

WINDOW, HOP, FFT = 400, 160, 512  # samples
BANDS, LOW, HIGH = 64, 125.0, 7500.0  # Hz
OFFSET = 0.01
STEPS = 96  # windows of a patch
CEPSTRA = 20
LEVEL, SILENCE = 0.1, 1e-4  # root mean squares of sound in [-1, 1]
EMBEDDING = 128  # of VGGish


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


def mel_bands() -> np.ndarray:
    """Weights of the FFT's bins in the mel bands, float64 [FFT / 2 + 1, BANDS]."""
    edges = np.linspace(mel(LOW), mel(HIGH), BANDS + 2)
    bins = mel(np.arange(FFT // 2 + 1) * RATE / FFT)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Sound float32 [n] at RATE -> log-mel windows float32 [(n - WINDOW) // HOP + 1, BANDS]."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    samples = np.asarray(samples, np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * hann
    return np.log(np.abs(np.fft.rfft(windows, FFT)) @ mel_bands() + OFFSET).astype(np.float32)


def patch(samples: np.ndarray) -> np.ndarray:
    """VGGish's input of a unit's sound [PATCH * RATE]: [STEPS, BANDS]. The last windows reach
    over the end, into silence."""
    return log_mel(np.pad(samples, (0, WINDOW - HOP)))[:STEPS]


class LogMel(UnitEncoder):
    """Shape of the log-mel patch, free of its loudness: how loud a recording is says which camera
    made it. Cepstra: mean over windows [19, without the constant one], spread [20], mean change
    [20]; loudness of windows against the patch's: spread, largest, least [3].

    The sound is brought to the root mean square LEVEL before the logarithm, and the mean of the
    patch is taken off. A silent patch (below SILENCE) is no sound, so that a track without sound
    and no track are the same, and neither tells anything.
    """

    name = modality = "audio"
    width = 3 * CEPSTRA + 2
    version = 2
    earlier = {1: {"loudness": True}}  # what opens the encoder of that version

    def __init__(self, loudness: bool = False) -> None:
        """loudness: the first version, for models that were trained on it: all 20 means of
        cepstra, loudness as it is, and silence is sound [64]."""
        super().__init__()
        self.loudness = loudness
        if loudness:
            self.version, self.width = 1, 3 * CEPSTRA + 4

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [width]; None without sound."""
        if self.loudness:
            return None if unit.sound is None else with_loudness(unit.sound)
        level = 0.0 if unit.sound is None else np.sqrt(np.square(unit.sound, dtype=float).mean())
        if unit.sound is None or level < SILENCE:
            return None
        x = patch(unit.sound * (LEVEL / level))  # [96, 64]
        x = x - x.mean()
        cepstra = np.asarray(dct(x, axis=1, norm="ortho"))[:, :CEPSTRA]
        loud, change = x.mean(1), np.abs(np.diff(cepstra, axis=0)).mean(0)
        against = [loud.std(), loud.max(), loud.min()]
        parts = cepstra.mean(0)[1:], cepstra.std(0), change, against
        return np.concatenate(parts).astype(np.float32)


def with_loudness(sound: np.ndarray) -> np.ndarray:
    """Statistics of the first version, float32 [64]."""
    x = patch(sound)  # [96, 64]
    cepstra = np.asarray(dct(x, axis=1, norm="ortho"))[:, :CEPSTRA]
    loud, change = x.mean(1), np.abs(np.diff(cepstra, axis=0)).mean(0)
    level = [loud.mean(), loud.std(), loud.max(), loud.min()]
    return np.concatenate([cepstra.mean(0), cepstra.std(0), change, level]).astype(np.float32)


class Vggish(UnitEncoder):
    """VGGish's network, as an ONNX file that takes [1, 96, 64], [1, 1, 96, 64] or [1, 96, 64, 1]
    and gives 128 numbers."""

    name, modality, width = "vggish", "audio", EMBEDDING

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        what = (
            "VGGish's network as an ONNX file (export the published TensorFlow or PyTorch weights"
            " by their owners' tools)"
        )
        self.settings = {"path": path, "sha256": file_hash(path, what)}

    @cached_property
    def session(self) -> Any:
        """The network."""
        return open_onnx(self.path)

    def encode(self, unit: Unit) -> np.ndarray | None:
        """float32 [128]; None without sound."""
        if unit.sound is None:
            return None
        stated, shape = self.session.get_inputs()[0].shape, (1, STEPS, BANDS)
        if len(stated) > 3:
            shape = (1, 1, STEPS, BANDS) if stated[1] in (1, "1") else (1, STEPS, BANDS, 1)
        return run_onnx(self.session, self.path, patch(unit.sound).reshape(shape), EMBEDDING)


assert round(PATCH * RATE) == STEPS * HOP
