"""The documented commands that make a run of an authors' checkpoint."""

import numpy as np
import pytest
import sib_vad_oracle as oracle
import torch_checkpoint
from documented import canonical, of

from gfvad.main import main
from gfvad.models import sib_vad
from gfvad.settings import config

SIZES = sib_vad.Sizes(
    bottleneck=8,
    width=16,
    motion_width=8,
    visual_width=5,
    text_width=6,
    experts=9,
    motion_layers=1,
    joint_layers=1,
    decoder_layers=1,
)


@pytest.mark.parametrize("command", of("convert"))
def test_converting(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights = oracle.random_weights(sib_vad.shapes_of(SIZES))
    torch_checkpoint.write("best.pth", {n: np.float32(x) for n, x in weights.items()})
    words = canonical(command).split()[1:]
    assert main(words) == 0
    count = sum(x.size for x in weights.values())
    assert f"converted best.pth: {count:,} parameters" in capsys.readouterr().out
    avenue = "--config=avenue" in command
    found = config.load("runs/avenue" if avenue else "runs/authors")
    assert (found.variant, found.model.name, found.model.filter.bottleneck) == (
        "paper",
        "sib_vad",
        8,
    )
    assert found.data.dataset == ("avenue" if avenue else "ped2")
    assert found.data.root == ("/data/avenue" if avenue else "/data/ped2")
