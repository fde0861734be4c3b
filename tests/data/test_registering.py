"""An encoder and a layout of one's own: what each takes, from the file to the command."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from media_files import write_media

from gfvad.base.types import ConfigError
from gfvad.data.features import layouts
from gfvad.encoders import registry

ENCODER = '''
import numpy as np

from gfvad.encoders.registry import UnitEncoder, register_encoder


class Brightness(UnitEncoder):
    """Mean and spread of a unit's grey levels."""

    name = modality = "brightness"
    width = 2

    def __init__(self, scale=255):
        super().__init__()
        self.settings = {"scale": scale}

    def encode(self, unit):
        x = unit.frames / self.settings["scale"]
        return np.array([x.mean(), x.std()], np.float32)


register_encoder("brightness", Brightness)
'''

LAYOUT = '''
import numpy as np
from gfvad.data.features.layouts import Entry, Layout, register_layout
from gfvad.data.ground_truth import Truth


@register_layout
class Numbered(Layout):
    """normal_0.npy, abnormal_1.npy, ...: even numbers are for training."""

    kind = "numbered"
    dims = {"speed": 0}
    split_rule = "the number in a file's name"

    def scan(self, split):
        entries = []
        for path in sorted(self.root.glob("*.npy")):
            label, number = path.stem.split("_")
            if (int(number) % 2 == 0) == (split == "train"):
                files = {"speed": (path,)}
                entries.append(Entry(path.stem, split, int(label == "abnormal"), (), files))
        return entries, []

    def truth(self, entry, units):
        spans = np.array([[0, 32]])[: entry.label]
        return Truth(16 * units, spans, ("",) * len(spans))
'''

CONFIG = """
from configs import xd


def get_config(variant=""):
    config = xd.get_config(variant)
    config.data.dataset = config.data.layout = "numbered"
    config.data.modalities = ("speed", "again")[:1]
    config.data.captions = ""
    return config
"""


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "gfvad.main", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_an_encoder_is_one_file(tmp_path):
    """Named on the command line, also in the processes that it starts; its settings too."""
    write_media(tmp_path / "clips" / "a.mp4", 20)
    (tmp_path / "mine.py").write_text(ENCODER)
    called = ("extract", tmp_path / "clips", f"--out={tmp_path / 'out'}", "--workers=1")
    chosen = ("--modalities=brightness", "--encoder=brightness=brightness:scale=51")
    done = command(*called, *chosen, GFVAD_PLUGINS=str(tmp_path / "mine.py"))
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out" / "brightness" / "a.npy")
    assert found.shape == (2, 2) and found.any() and found[:, 0].max() > 1
    stated = json.loads((tmp_path / "out" / "manifest.json").read_text())["encoders"]["brightness"]
    assert (stated["name"], stated["settings"]) == ("brightness", {"scale": 51})
    without = command(*called, *chosen)
    assert without.returncode == 2 and "encoder 'brightness'" in without.stderr


def test_a_layout_is_one_file_and_a_config(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for number in range(8):
        kind = "abnormal" if number // 2 % 2 else "normal"
        x = rng.normal(size=(12, 6)).astype(np.float32)
        np.save(tmp_path / "set" / f"{kind}_{number}.npy", x)
    (tmp_path / "numbered.py").write_text(LAYOUT)
    (tmp_path / "own.py").write_text("import numbered\n" + CONFIG)
    small = {
        "data.root": tmp_path / "set",
        "data.cache_dir": tmp_path / "cache",
        "data.eval_lengths": "(8, 16)",
        "train.steps": 2,
        "train.batch_size": 2,
        "parallel.devices": 1,
        "eval.bootstrap": 10,
        "eval.figures": False,
        "model.embed_dim": 4,
    }
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = command(
        "train",
        f"--config={tmp_path / 'own.py'}",
        f"--workdir={tmp_path / 'run'}",
        *(f"--config.{key}={value}" for key, value in small.items()),
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "results.json").is_file()


def test_names_are_taken_once(tmp_path):
    with pytest.raises(ConfigError, match="registered already"):
        registry.register_encoder("motion", object)
    with pytest.raises(ConfigError, match="registered already"):

        @layouts.register_layout
        class Other(layouts.Layout):
            kind = "generic"

    with pytest.raises(ConfigError, match="data.layout = 'genric', did you mean|'generic'"):
        layouts.LAYOUTS.find("genric")
