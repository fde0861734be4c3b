"""An own dataset, in a layout of its own: one reader, one config. Run it as it is.

One LABEL_NUMBER.npy [snippets, D] a video in train/ and test/, and spans.txt with the frames of the
events. (What `gfvad extract` writes needs no reader: `c.data.layout = "generic"`, docs/data.md.)
"""

import tempfile
from pathlib import Path

import numpy as np

import gfvad
from configs import common
from gfvad.data.features.layouts import Entry, Layout, open_layout
from gfvad.data.ground_truth import Truth


class Numbered(Layout):
    """What a reader says: which videos there are, their labels and files, and when events are."""

    kind = "numbered"  # config.data.layout
    dims = {"motion": 0}  # modalities and their widths; 0: as the first file says
    split_rule = "the folders train and test"

    def scan(self, split: str):
        """The videos of a split, and what is wrong with them (Problem); no features are read."""
        files = sorted((self.root / split).glob("*.npy"))
        entry = lambda f: Entry(f.stem, split, int("event" in f.stem), (), {"motion": (f,)})
        return list(map(entry, files)), []

    def truth(self, entry: Entry, units: int) -> Truth:
        """Frames of a test video, and [start, end) of its events."""
        words = map(str.split, (self.root / "spans.txt").read_text().splitlines())
        spans = np.array([w[1:] for w in words if w[0] == entry.name], int).reshape(-1, 2)
        return Truth(16 * units, spans, ("",) * len(spans))


gfvad.register_layout(Numbered)


def get_config(variant: str | None = None):
    """Train by --config=FILE --config.data.root=FOLDER."""
    c = common.get_config()
    c.data.dataset = c.data.layout = "numbered"
    c.data.modalities = ("motion",)
    return c


if __name__ == "__main__":
    root, config = Path(tempfile.mkdtemp()), get_config()
    for name in ("train/normal_1", "train/event_2", "test/normal_3", "test/event_4"):
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / f"{name}.npy", np.ones((10, 6), np.float32))
    (root / "spans.txt").write_text("event_4 32 96\n")
    config.data.root = str(root)
    layout = open_layout(config.data)
    for video in map(layout.load, layout.entries("train") + layout.entries("test")):
        shape, spans = video.features["motion"].shape, video.spans.tolist()
        print(f"{video.split:<5}  {video.name:<8} {shape}, events {spans}")
