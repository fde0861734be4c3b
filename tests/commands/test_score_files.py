"""The documented commands on score files, on tiny ones of a tiny set."""

import json
import re

import feature_folders
import numpy as np
import pytest
from documented import of

from gfvad.data.score_files import truths
from gfvad.main import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with the files that the pages name, below data/ those of /data."""
    folder = tmp_path / "data/xd_violence"
    feature_folders.xd(folder)
    official = truths.open_labels(str(folder)).candidates[0].truths
    (folder / "test_order.txt").write_text("".join(f"{name}\n" for name in official))
    rng = np.random.default_rng(0)
    mine = {name: rng.random(truth.num_frames // 16) for name, truth in official.items()}
    joined = np.concatenate(list(mine.values()))
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **mine)
    np.savez("theirs.npz", scores=1 - joined, names=list(mine))
    np.save("scores.npy", joined[:, None])
    np.save(folder / "hlnet_offline_snippet_scores.npy", joined)
    (tmp_path / "mine.json").write_text(json.dumps({n: x.tolist() for n, x in mine.items()}))
    (tmp_path / "data/published_scores").mkdir()
    for i, name in enumerate(("memae_ped2", "memae_avenue", "tevad_shanghaitech")):
        arrays = {f"scores_{k}": rng.random(60 - 15 * (i < 2)) for k in range(3)}
        arrays |= {f"labels_{k}": np.repeat([0, 1, 0], 20) * (k > 0) for k in range(3)}
        np.savez(tmp_path / f"data/published_scores/{name}.npz", **arrays)
    return tmp_path


def test_they_are_documented():
    assert len(of("scores")) >= 5


@pytest.mark.parametrize("command", of("scores"))
def test_command(command, place, capsys):
    words = re.sub(r"(?<=[= ])/data", f"{place}/data", command).split()[1:]
    words += ["--resamples=20"] if words[0] == "evaluate" else []
    assert main(words) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "what common mistakes would add" in printed and "fits  " in printed
    if any(word.startswith("--output") for word in words):
        assert (place / "runs/compared/compared.csv").is_file()
