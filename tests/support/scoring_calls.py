"""The command that scores, with a stand-in for the model, on small feature files."""

from __future__ import annotations

from types import SimpleNamespace

import feature_folders as ff
import numpy as np
import pytest
from ml_collections import ConfigDict

from gfvad.base.files import write_json, write_table
from gfvad.commands import score
from gfvad.tasks.fusion.scorer import WeakScorer
from gfvad.tasks.fusion.standalone import CLOCK, UnitScorer

FORMULA = '=HYPERLINK("http:__x")'


NAMES = ("calm", FORMULA, "@street", "-1+2")


def program(features, mask):
    """Each unit's score is its first number."""
    return {
        "scores": np.where(mask, features["motion"][..., 0], 0.0),
        "graph": np.zeros((1, mask.shape[1], mask.shape[1]), np.float32),
    }


@pytest.fixture
def scorer(monkeypatch):
    """In the place of a trained model; `seen` counts the videos it was given."""
    units = UnitScorer(
        program, {"modalities": {"motion": 2}, "lengths": [4], "segments": 0, CLOCK: False}
    )
    config = ConfigDict({"data": {"layout": "generic"}})
    model = WeakScorer(units, "model", "model", 0.5, "made up", None, config)
    found = SimpleNamespace(units=units, seen=[])
    units.score = lambda name, *given, score=units.score, **more: (
        found.seen.append(name),
        score(name, *given, **more),
    )[1]
    monkeypatch.setattr("gfvad.scoring.job.open_scorer", lambda request: model)
    return found


@pytest.fixture
def features(tmp_path):
    """A folder of features as `extract` leaves it, of videos with the names above."""
    folder = tmp_path / "features"
    for k, name in enumerate(NAMES):
        ff.save(folder / "motion" / f"{name}.npy", np.full((3, 2), 0.6 + 0.1 * k, np.float32))
    write_table(
        folder / "units.csv",
        ("name", "unit", "start", "end"),
        [(n, i, 0.64 * i, 0.64 * (i + 1)) for n in NAMES for i in range(3)],
    )
    record = {
        "fps": 25.0,
        "frames": 48,
        "units": 3,
        "missing": [],
        "size": 1,
        "mtime_ns": 1,
        "sha256": "",
        "encoders": {},
    }
    videos = {
        n: {**record, "path": f"/films/{n}.mp4", "files": {"motion": f"motion/{n}.npy"}}
        for n in NAMES
    }
    write_json(
        folder / "manifest.json",
        {
            "format": 1,
            "kind": "gfvad.features",
            "layout": "generic",
            "encoders": {},
            "videos": videos,
            "failed": {},
        },
    )
    return folder


@pytest.fixture
def call(scorer, features, tmp_path):
    return lambda *more: score.main(
        [f"--model={tmp_path}", str(features), f"--out={tmp_path / 'out'}", *more]
    )
