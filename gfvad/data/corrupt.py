"""What may go wrong with a modality, put into the features of a split on purpose
(config.data.corruption), to see what a model makes of it.

Pure numpy, before anything else is done with a video. What happens to a video depends on its name,
the modality and the kind alone: it is the same in every epoch, with every seed and on any number of
processes, so that settings are compared on the same damage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gfvad.base.names import nearest
from gfvad.base.types import ConfigError

Features = dict[str, np.ndarray]  # modality -> [C, n, D]


def check_corruption(cfg: Any, modalities: tuple[str, ...]) -> None:
    """Raises ConfigError, by key, for a config.data.corruption that means nothing with these
    modalities."""
    if cfg.at == "none":
        return
    if cfg.modality not in modalities:
        raise ConfigError(
            "config.data.corruption.modality ="
            f" {cfg.modality!r}{nearest(str(cfg.modality), modalities)}; expected one of"
            " config.data.modalities"
        )
    amount, expected = cfg.amount, ""
    if cfg.kind in ("missing", "swap") and not 0 <= amount <= 1:
        expected = f"the share of videos that are {cfg.kind}, 0 to 1"
    elif cfg.kind == "noise" and amount < 0:
        expected = "a noise of 0 or more (1: as strong as the features)"
    elif cfg.kind == "shift" and amount != int(amount):
        expected = "a whole number of units, later where positive"
    if expected:
        raise ConfigError(f"config.data.corruption.amount = {amount!r}: expected {expected}")


def reader(read: Callable[[int], Features], records: Any, cfg: Any) -> Callable[[int], Features]:
    """`read` (video index of `records` -> features) with the damage that cfg
    (config.data.corruption) asks for in this split; as it is without."""
    if cfg is None or cfg.at not in ("both", records.split):
        return read

    def corrupted(i: int) -> Features:
        features = dict(read(i))
        name, x, count = records.names[i], features[cfg.modality], len(records.names)
        if cfg.kind == "swap" and count > 1 and chance(name, cfg) < cfg.amount:
            # another video of the split, whatever its label
            turn = 1 + random(name, cfg).integers(count - 1, size=2)[1]
            features[cfg.modality] = like(read(int((i + turn) % count))[cfg.modality], x)
        elif cfg.kind == "missing" and chance(name, cfg) < cfg.amount:
            features[cfg.modality] = np.zeros_like(x)
        elif cfg.kind == "noise":
            features[cfg.modality] = noisy(x, cfg.amount, random(name, cfg))
        elif cfg.kind == "shift":
            features[cfg.modality] = shifted(x, int(cfg.amount))
        return features

    return corrupted


def random(name: str, cfg: Any) -> np.random.Generator:
    """Random numbers of a video: of its name, the modality and the kind."""
    words = "\n".join((name, cfg.modality, cfg.kind)).encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(words).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def chance(name: str, cfg: Mapping[str, Any]) -> float:
    """A number in [0, 1) of a video: it is hit where this is below the amount, so a larger
    amount hits all that a smaller one does."""
    return float(random(name, cfg).random())


def like(other: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Another video's features at this one's length and crops: [C', n', D] -> [C, n, D], units
    evenly spaced, crops repeated."""
    units = np.linspace(0, other.shape[1] - 1, x.shape[1]).round().astype(np.int64)
    return np.ascontiguousarray(other[np.arange(len(x)) % len(other)][:, units])


def noisy(x: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """x [C, n, D] plus normal noise of `amount` times the root mean square of the video's
    features; units that are all zero stay absent."""
    scale, seen = amount * np.sqrt(np.square(x, dtype=np.float64).mean()), (x != 0).any(-1)
    return np.where(seen[..., None], x + scale * rng.standard_normal(x.shape), x).astype(x.dtype)


def shifted(x: np.ndarray, units: int) -> np.ndarray:
    """x [C, n, D] moved `units` later in time (earlier where negative); the first (last) unit
    holds where nothing came before (after)."""
    n = x.shape[1]
    return x[:, np.clip(np.arange(n) - units, 0, n - 1)]
