"""An own encoder: one class, one declaration. It says how bright a unit of 16 frames is, and how
much that changes.

    python docs/examples/own_encoder.py

With GFVAD_PLUGINS=docs/examples/own_encoder.py, `gfvad extract VIDEOS --encoder=light=brightness
--out=DIR` makes features `light` of videos; a run that is trained on them makes those of new videos
by itself. A file and a camera are cut into the same units, so both give the same numbers.
"""

import numpy as np

import gfvad
from gfvad.encoders.registry import UnitEncoder, open_encoder
from gfvad.encoders.units import Grouper, Picture


class Brightness(UnitEncoder):
    """Mean brightness of a unit and its mean absolute change from frame to frame, each times
    `scale`."""

    name, modality, width = "brightness", "light", 2
    version = 1  # raise it when equal frames give other numbers: features are then made anew

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = float(scale)
        self.settings = {"scale": self.scale}  # stands in the manifest of the features

    def encode(self, unit) -> np.ndarray:
        """unit.frames uint8 [T, h, w, 3], unit.sound float32 [15360] or None -> float32 [2]."""
        light = unit.frames.mean((1, 2, 3)) / 255  # [T]
        change = np.abs(np.diff(light)).sum() / len(light)
        return (self.scale * np.array([light.mean(), change])).astype(np.float32)


gfvad.register_encoder("brightness", Brightness)


if __name__ == "__main__":
    # 40 frames, 25 a second: grey, and from the 20th on flickering
    rng = np.random.default_rng(0)
    levels = np.where(np.arange(40) < 20, 100, rng.integers(0, 200, 40))
    encoder, units = open_encoder("brightness", scale="10"), Grouper(sound=False)
    found = []
    for i, level in enumerate(levels):
        found += units.push(Picture(i / 25, np.full((24, 32, 3), level, np.uint8)))
    for unit in found + units.finish():
        light, change = encoder.encode(unit)
        print(f"unit {unit.index}   {unit.start:.2f} s   light {light:.2f}, change {change:.2f}")
