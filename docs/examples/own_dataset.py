"""An own dataset, in a layout of its own: one reader, one config.

    python docs/examples/own_dataset.py

The set: one .npy [snippets, D] a video, called LABEL_NUMBER.npy, in folders train/ and test/, and
spans.txt with the frames of the events. (A set that is written as `gfvad extract` writes it needs
no reader: `c.data.layout = "generic"`, docs/data.md.)
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
        files = sorted((self.root / split).glob("*_*.npy"))
        label = lambda file: int(file.stem.startswith("event"))
        return [Entry(f.stem, split, label(f), (), {"motion": (f,)}) for f in files], []

    def truth(self, entry: Entry, units: int) -> Truth:
        """Frames of a test video, and [start, end) of its events."""
        lines = [line.split() for line in (self.root / "spans.txt").read_text().splitlines()]
        spans = np.array([line[1:] for line in lines if line[0] == entry.name], int).reshape(-1, 2)
        return Truth(16 * units, spans, ("",) * len(spans))


gfvad.register_layout(Numbered)


def get_config(variant: str | None = None):
    """Train by --config=FILE --config.data.root=FOLDER."""
    c = common.get_config()
    c.data.dataset = c.data.layout = "numbered"
    c.data.modalities, c.data.require_real = ("motion",), True
    return c


if __name__ == "__main__":
    root, config, rng = Path(tempfile.mkdtemp()), get_config(), np.random.default_rng(0)
    for name in ("train/normal_1", "train/event_2", "test/normal_3", "test/event_4"):
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / f"{name}.npy", rng.normal(size=(10, 6)).astype("float32"))
    (root / "spans.txt").write_text("event_4 32 96\n")
    config.data.root = str(root)
    layout = open_layout(config.data)
    for entry in (*layout.entries("train"), *layout.entries("test")):
        x, spans = layout.load(entry).features["motion"], layout.load(entry).spans
        print(f"{entry.split:<5}  {entry.name:<8} {x.shape}, events {spans.tolist()}")
