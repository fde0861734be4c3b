"""A run of fused features as a self-contained artefact (`gfvad/tasks/artefact.py`), with a program
score.py that scores features with numpy and jax alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape

from gfvad.base.files import write_text
from gfvad.base.types import DataError
from gfvad.extraction import provenance
from gfvad.measure.calibration import read_calibration
from gfvad.tasks import artefact, exported
from gfvad.tasks.fusion import standalone
from gfvad.tasks.fusion.scorer import TrainedModel, open_trained, program, rules
from gfvad.tasks.fusion.standalone import CLOCK, UnitScorer

SCORE = "score.py"
CHECKED = (1, 5, 13)  # units that the artefact is tried with
IMPORT = re.compile(r"^from gfvad\.tasks\.exported import .*\n", re.M)
FUTURE = "from __future__ import annotations\n"


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact. Raises as `artefact.write_artefact`."""
    made = lambda: made_of(open_trained(workdir, checkpoint), workdir, out)
    return artefact.write_artefact(out, platforms, (SCORE,), made)


def made_of(run: TrainedModel, workdir: Path, out: Path) -> artefact.Export:
    """What is exported of a run."""
    threshold, rule = read_calibration(workdir, run.step)
    facts = {
        "name": run.name,
        "step": run.step,
        "rules": rules(run),
        "threshold": threshold,
        "threshold_rule": rule,
        "encoders": provenance.kept(workdir),
        "config": run.config.to_dict(),
    }
    compared = partial(difference, run, out)
    return artefact.Export("weak", facts, program(run), arguments(run), add, compared)


def add(folder: Path) -> Mapping[str, str]:
    """Writes score.py: standalone.py with what it imports of gfvad in the place of that import. Its
    checksum is not kept."""
    own, reader = (inspect.getsource(module) for module in (standalone, exported))
    # by a function: the text is no template
    text = IMPORT.sub(lambda match: reader.partition(FUTURE)[2], own, count=1)
    write_text(folder / SCORE, text)
    return {}


def arguments(run: TrainedModel) -> tuple[dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
    """Shapes of the program's arguments: symbols b (batch) and n (units), the latter fixed where
    the model is bound to a number of units."""
    data = run.config.data
    segments = data.train_units if data.eval_mode == "segments" else 0
    b, n = symbolic_shape(f"b, {segments or 'n'}")
    widths = run.dims | ({CLOCK: 1} if data.clock else {})
    features = {m: jax.ShapeDtypeStruct((b, n, d), jnp.float32) for m, d in widths.items()}
    return features, jax.ShapeDtypeStruct((b, n), jnp.bool_)


def difference(run: TrainedModel, out: Path, folder: Path) -> float:
    """Largest difference between scores of the live model and of an artefact, on random features
    and on a missing modality. Raises DataError where there are none.

    out: where the artefact will be, for messages.
    """
    written = standalone.open_artefact(folder)
    live = jax.jit(program(run))
    here = UnitScorer(lambda features, mask: live(dict(features), mask), rules(run))
    rng = np.random.default_rng(0)
    stats, worst = run.state.constants["constants"], 0.0
    for case, units in enumerate(CHECKED):
        features = {}
        for m, d in run.dims.items():
            x = stats[f"mean_{m}"] + stats[f"std_{m}"] * rng.normal(size=(units, d))
            features[m] = np.asarray(x, np.float32)
        if case == 1 and len(features) > 1:
            features.pop(next(iter(features)))
        features[CLOCK] = np.arange(units) * 0.6 + 0.3
        try:
            before, after = (s.score("check", features, graph=True) for s in (here, written))
        except exported.Refused as error:
            raise DataError(
                f"{out}: the artefact gives no usable scores ({error}); nothing was written: score"
                " by the run itself (--model=RUN)"
            ) from None
        # NaN stays NaN, unlike by max()
        worst = float(np.maximum(worst, np.abs(before["scores"] - after["scores"]).max()))
    return worst
