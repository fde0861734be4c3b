"""Writes a run as a self-contained artefact: the model by jax.export with all its weights, a manifest, and a program that scores with numpy and jax alone.

    DIR/model.jaxexport   StableHLO of the scoring function for the platforms asked for; batch and number of units are symbols, so any will do
    DIR/manifest.json     modalities and widths, static lengths, threshold and its rule, encoders of the features, versions, SHA-256 of the model
    DIR/score.py          a copy of gfvad/scoring/standalone.py; DIR/requirements.txt what it needs
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from gfvad.eval.calibration import read_calibration
from gfvad.extraction import provenance
from gfvad.scoring import standalone
from gfvad.scoring.standalone import CLOCK, UnitScorer
from gfvad.scoring.weak import WeakRun, name_of, open_run, program, rules
from gfvad.types import ConfigError, DataError

PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-5  # of scores, between the live model and the artefact
REQUIREMENTS = ("jax", "jaxlib", "numpy", "flatbuffers")
CHECKED = ((1, 1), (1, 5), (2, 13))  # batch, units that the artefact is tried with


def write(workdir: Path, out: Path, checkpoint: str = "last", platforms: Sequence[str] = PLATFORMS) -> dict[str, Any]:
    """Exports a checkpoint of a run and checks the artefact against the live model; returns the manifest, with the largest difference found.

    Raises ConfigError for platforms that are not known, DataError where `out` holds something else, or the scores differ by more than TOLERANCE.
    """
    unknown = [p for p in platforms if p not in PLATFORMS]
    if unknown or not platforms:
        raise ConfigError(f"platforms {', '.join(platforms) or '(none)'}; expected some of {', '.join(PLATFORMS)}")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / standalone.MANIFEST).is_file())):
        raise DataError(f"{out}: holds something else than an artefact; expected a new folder or an earlier artefact: give another --out")
    run = open_run(workdir, checkpoint)
    content = export.export(jax.jit(program(run)), platforms=list(platforms))(*arguments(run)).serialize()
    threshold, rule = read_calibration(workdir, run.step)
    manifest = {"format": standalone.FORMAT, "kind": "weak", "name": name_of(run), "step": run.step, "rules": rules(run), "threshold": threshold, "threshold_rule": rule,
                "encoders": provenance.kept(workdir), "platforms": list(platforms), "sha256": hashlib.sha256(content).hexdigest(),
                "versions": {name: version(name) for name in REQUIREMENTS}, "config": run.config.to_dict()}  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        made = Path(folder) / "artefact"
        made.mkdir()
        (made / standalone.MODEL).write_bytes(content)
        shutil.copyfile(standalone.__file__, made / "score.py")
        (made / "requirements.txt").write_text("".join(f"{name}=={number}\n" for name, number in manifest["versions"].items()))
        (made / standalone.MANIFEST).write_text(json.dumps(manifest, indent=1, default=list))
        manifest["difference"] = compare(run, made)
        (made / standalone.MANIFEST).write_text(json.dumps(manifest, indent=1, default=list))
        if out.exists():
            shutil.rmtree(out)
        os.replace(made, out)
    return manifest


def arguments(run: WeakRun) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Shapes of the program's arguments: symbols b (batch) and n (units), the latter fixed where the model is bound to a number of units."""
    segments = run.config.data.train_units if run.config.data.eval_mode == "segments" else 0
    b, n = export.symbolic_shape(f"b, {segments or 'n'}")
    widths = run.dims | ({CLOCK: 1} if run.config.data.clock else {})
    return {m: jax.ShapeDtypeStruct((b, n, d), jnp.float32) for m, d in widths.items()}, jax.ShapeDtypeStruct((b, n), jnp.bool_)


def compare(run: WeakRun, folder: Path) -> float:
    """Largest difference between scores of the live model and of an artefact, on random features and on a missing modality. Raises DataError above TOLERANCE."""
    exported = standalone.open_artefact(folder)
    live = jax.jit(program(run))
    here = UnitScorer(lambda features, mask: live(dict(features), mask), rules(run))
    rng = np.random.default_rng(0)
    stats = run.state.constants["constants"]
    worst = 0.0
    for case, (_, units) in enumerate(CHECKED):
        features = {m: np.asarray(stats[f"mean_{m}"] + stats[f"std_{m}"] * rng.normal(size=(units, d)), np.float32) for m, d in run.dims.items()}
        if case == 1 and len(features) > 1:
            features.pop(next(iter(features)))
        features[CLOCK] = np.arange(units) * 0.6 + 0.3
        one, other = (s.score("check", features, graph=True) for s in (here, exported))
        worst = float(np.maximum(worst, np.abs(one["scores"] - other["scores"]).max()))  # NaN stays NaN, unlike by max()
    if not worst <= TOLERANCE:
        raise DataError(f"{folder}: scores of the artefact differ by {worst:.2g} from the live model's, expected at most {TOLERANCE:g}; nothing was written: score by the run itself, or export it on another machine")
    return worst
