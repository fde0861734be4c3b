"""What a video's scene looks like, in a few numbers, to tell which videos come from one source. It
stands in the manifest and is no feature: no model reads it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from gfvad.data.features.sources import cluster
from gfvad.encoders.appearance import Appearance
from gfvad.encoders.units import Unit


class Scene:
    """Outlines and colours (`encoders/appearance.py`), the mean over the middle frames of the
    units 0, 1, 2, 4, 8, ... of a video."""

    def __init__(self) -> None:
        self._encoder, self._sum, self._count = Appearance(), np.zeros(Appearance.width), 0

    def see(self, unit: Unit) -> None:
        """Takes one more unit."""
        if unit.index & (unit.index - 1) == 0:
            self._sum += self._encoder.encode(unit)
            self._count += 1

    def text(self) -> str:
        """As it stands in a manifest; '' without a unit."""
        if not self._count:
            return ""
        mean = (self._sum / self._count).astype("<f2")
        return base64.b64encode(mean.tobytes()).decode()


def read_scene(text: Any) -> np.ndarray | None:
    """The numbers of a manifest's text; None where it holds none."""
    try:
        found = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float64)
    except (ValueError, TypeError):
        return None
    return found if found.shape == (Appearance.width,) and np.isfinite(found).all() else None


def sources(videos: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{video: its source} of the labelled videos of a manifest: as its table of labels says, else
    'scene N' by clustering, training and test videos together, so that N means one thing. A video
    whose scene is not known has ''."""
    stated = {name: r.get("source") or "" for name, r in videos.items()}
    if any(stated.values()):
        return stated
    seen = {name: read_scene(r.get("scene")) for name, r in videos.items()}
    known = {name: x for name, x in seen.items() if x is not None}
    if len(known) < 2:
        return stated
    groups = cluster(np.stack(list(known.values())))
    return stated | {name: f"scene {g + 1}" for name, g in zip(known, groups)}
