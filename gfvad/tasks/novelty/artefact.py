"""A run of graph novelty as an artefact (gfvad/tasks/artefact.py) that `gfvad score` takes in the
place of the run: the novelty of a batch of units, with the bank inside, and what turns it into
scores.

    DIR/novelty.json  the calibration
    DIR/config.json   the run's

Reading tracks and pictures is no part of a compiled program, so gfvad itself is among what scoring
needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape

import gfvad
from gfvad.base.seals import read_sealed, write_sealed
from gfvad.base.types import DataError
from gfvad.settings import config as config_lib
from gfvad.tasks import artefact, exported
from gfvad.tasks.novelty import opened
from gfvad.tasks.novelty.model import build_model
from gfvad.tasks.novelty.opened import OpenedModel
from gfvad.tasks.novelty.registry import refuse_comparator
from gfvad.tasks.novelty.score import Reader, new_parts
from gfvad.tasks.novelty.step import UnitBatch, term_novelty
from gfvad.train import parallel
from gfvad.train.state import TrainState

CALIBRATION = "novelty.json"
FILES = (CALIBRATION, config_lib.CONFIG)
CHECKED = (1, 3)  # units that the artefact is tried with


def export(
    workdir: Path, out: Path, checkpoint: str, platforms: Sequence[str]
) -> Mapping[str, Any]:
    """Writes a run as an artefact. Raises as `artefact.write_artefact` and `opened.open_model`."""

    def made() -> artefact.Export:
        config = config_lib.load(str(workdir))
        refuse_comparator(config, "gfvad export")
        mapper = parallel.make_mapper(config.parallel.backend, 1)
        model = opened.open_model(workdir, checkpoint, mapper, config, compared=False)
        facts = {
            "name": opened.name_of(model),
            "step": model.step,
            "threshold": model.threshold,
            "threshold_rule": model.threshold_rule,
        }
        b = symbolic_shape("b")[0]
        widths = model.reader.model.widths
        features = {n: jax.ShapeDtypeStruct((b, width), jnp.float32) for n, width in widths}
        index = jax.ShapeDtypeStruct((b,), jnp.int32)
        return artefact.Export(
            "novelty",
            facts,
            program(model),
            (features, index, index),
            partial(add, model),
            partial(difference, model),
            {"gfvad": gfvad.__version__},
        )

    return artefact.write_artefact(out, platforms, FILES, made)


def program(model: OpenedModel) -> Callable[..., jax.Array]:
    """The pure function (features {set: [B, D]}, camera [B], part [B]) -> novelty of each term [B,
    T], the bank inside."""
    state = jax.tree.map(jnp.asarray, model.state._replace(opt_state=()))
    net, alike = model.reader.model, model.reader.several

    def novelty(features: dict[str, jax.Array], camera: jax.Array, part: jax.Array) -> jax.Array:
        batch = UnitBatch(features, camera, part, None, None, None)
        return term_novelty(state, batch, model=net, alike=alike)

    return novelty


def add(model: OpenedModel, folder: Path) -> dict[str, str]:
    """Writes the calibration and the config; returns their checksums."""
    write_sealed(folder / CALIBRATION, opened.told_of(model))
    config_lib.save(model.config, folder)
    return {name: artefact.sha256(folder / name) for name in FILES}


def difference(model: OpenedModel, folder: Path) -> float:
    """Largest difference between what the run and an artefact say of random units, relative to the
    largest value where that is above 1."""
    live, written = jax.jit(program(model)), exported.open_program(folder, manifest(folder))
    rng, worst = np.random.default_rng(0), 0.0
    for count in CHECKED:
        features = {
            name: rng.normal(size=(count, width)).astype(np.float32)
            for name, width in model.reader.model.widths
        }
        units = features, np.zeros(count, np.int32), new_parts(count)
        before, after = np.asarray(live(*units)), np.asarray(written(*units))
        apart = np.abs(before - after).max(initial=0.0)
        # NaN stays NaN, unlike by max()
        worst = float(np.maximum(worst, apart / np.maximum(1.0, np.abs(before).max(initial=0.0))))
    return worst


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artefact's folder. Raises Refused."""
    needed = lambda tree: [] if isinstance(tree.get("step"), int) else ["step"]
    stated = exported.manifest_of(folder, "novelty", needed)
    artefact.require_files(folder, stated, FILES)
    return stated


class Program(Reader):
    """An artefact's program in the place of the model; its bank is inside, so that no state is
    looked at."""

    def __init__(self, call: Callable[..., jax.Array], model: Any, batch: int):
        self.batch, self.model, self.several = batch, model, model.banks > 1
        self.columns = model.terms
        self.mapper = parallel.make_mapper("pmap", 1)
        self._call = call

    def run(self, state: Any, batch: UnitBatch) -> np.ndarray:
        """float64 [B, T], as `Reader.run`."""
        return np.asarray(self._call(dict(batch.features), batch.camera, batch.part), np.float64)

    def bind(self, state: Any) -> Any:
        """Nothing is looked at."""
        return state


def open_artefact(folder: Path) -> OpenedModel:
    """An artefact in the place of the run it was made of. Raises DataError and ConfigError."""
    try:
        stated = manifest(folder)
        call = exported.open_program(folder, stated)
    except exported.Refused as error:
        raise DataError(str(error)) from None
    config = config_lib.load(str(folder))
    told = read_sealed(folder / CALIBRATION, "a calibration of graph novelty")
    net = build_model(config, told["widths"], told["bank"], told.get("banks", 1))
    reader = Program(call, net, config.data.eval_batch_size)
    # what is asked of the state are the weights of the terms
    weights = {"weight": np.log(np.asarray(told["weights"], np.float64))}
    state = cast(TrainState, TrainState(0, weights, {}, (), None))
    return opened.of_told(config, stated["step"], state, reader, told)
