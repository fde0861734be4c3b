"""Ensembles of the predictive model: members are trained as they would be alone, each with a memory
of its own, and their errors are averaged."""

from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny_clips
from jax import export
from ml_collections import FrozenConfigDict
from tiny import largest_difference

from gfvad.tasks.prediction import artefact, step
from gfvad.tasks.prediction.model import PredictiveModel
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_from, is_ensemble, member, shapes_from

MEMBERS, STEPS = 2, 2
TOLERANCE = 1e-5  # batching over members changes the order of float32 sums


@pytest.fixture(scope="module", params=["sffm", "mnad"])
def trained(request):
    """(model, states before and after of an ensemble, states after of its members alone)."""
    c = tiny_clips.config(
        "",
        model__filter__kind=request.param,
        model__filter__memory_items=6,
        model__joint_layers=0,
        model__pace=False,
        optim__name="sgd",
        optim__learning_rate=0.05,
    )
    model = PredictiveModel(FrozenConfigDict(c.model), tiny_clips.TEXT, True)
    optimiser = make_optimiser(c.optim, STEPS)
    example = {name: x[0] for name, x in tiny_clips.batch(fast=False).features.items()}
    start = init_from(model, optimiser.transform, (example,), 0, MEMBERS)
    shapes = shapes_from(model, optimiser.transform, (example,), MEMBERS)
    assert jax.tree.map(np.shape, start) == jax.tree.map(lambda x: x.shape, shapes)
    once = partial(
        step.train_step, model=model, optimiser=optimiser, loss_cfg=c.loss, axis_name=None
    )

    def run(state):
        advance = jax.jit(once)
        for i in range(STEPS):
            state, metrics = advance(state, tiny_clips.batch(4, i, fast=False))
        return jax.tree.map(np.asarray, state), jax.tree.map(np.asarray, metrics)

    alone = [run(member(start, i)) for i in range(MEMBERS)]
    return model, start, run(start), alone


def test_members_are_trained_as_alone(trained):
    _, start, (together, metrics), alone = trained
    assert is_ensemble(start) and not is_ensemble(member(start, 0))
    for i, (state, _) in enumerate(alone):
        mine = member(together, i)
        assert largest_difference(mine.params, state.params) < TOLERANCE
        if start.constants:
            assert largest_difference(mine.constants, state.constants) < TOLERANCE
    if start.constants:
        written = [state.constants for state, _ in alone]
        assert largest_difference(*written) > 100 * TOLERANCE  # of each its own
    mean = np.mean([told["loss"] for _, told in alone])
    np.testing.assert_allclose(metrics["loss"], mean, rtol=1e-5)


def test_errors_are_the_means_of_the_members(trained):
    model, _, (together, _), _ = trained
    batch = tiny_clips.batch(4, 7, fast=False)
    errors = jax.jit(partial(step.eval_step, model=model, cell=tiny_clips.CELL))
    apart = [errors(member(together, i), batch) for i in range(MEMBERS)]
    for name, x in errors(together, batch).items():
        mean = np.mean([found[name] for found in apart], axis=0)
        np.testing.assert_allclose(x, mean, rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_ensemble_is_exported(trained):
    """One program with the weights of all members, for any number of clips."""
    model, _, (together, _), _ = trained
    run = SimpleNamespace(
        state=together,
        config=SimpleNamespace(model=SimpleNamespace(cell=tiny_clips.CELL)),
        reader=SimpleNamespace(model=model),
    )
    batch = tiny_clips.batch(3, 7, fast=False)
    b = export.symbolic_shape("b")[0]
    shapes = {
        n: jax.ShapeDtypeStruct((b, *x.shape[1:]), x.dtype) for n, x in batch.features.items()
    }
    written = export.export(jax.jit(artefact.program(run)), platforms=["cpu"])(shapes)
    found = export.deserialize(written.serialize()).call(dict(batch.features))
    live = jax.jit(partial(step.eval_step, model=model, cell=tiny_clips.CELL))(together, batch)
    for name, x in live.items():
        np.testing.assert_allclose(found[name], x, rtol=1e-5, atol=1e-6, err_msg=name)
