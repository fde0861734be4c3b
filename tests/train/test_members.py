"""Ensembles: members trained side by side in one program are what they would be alone, and their
mean is the score."""

from functools import cache, partial

import jax
import numpy as np
import pytest
import tiny

from gfvad.tasks.fusion import step, training
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.train import loop, optim, parallel, state
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.loop import SingleRun

MEMBERS = 3
STEPS = 10
# As in test_parallel.py, over 10 steps and not 50: batching over members changes the order of
# float32 sums.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def problem():
    config = tiny.config(
        train__steps=STEPS, train__members=MEMBERS, data__eval_lengths=(tiny.UNITS,)
    )
    model = tiny.detector(config)
    optimiser = optim.make_optimiser(config.optim, STEPS)
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    return (
        config,
        model,
        optimiser,
        cache(partial(state.init_state, model, optimiser.transform, example, 5)),
    )


@pytest.fixture(scope="module")
def one(problem):
    """The step on one device: a program for an ensemble, and one for all members alone."""
    config, model, optimiser, _ = problem
    return jax.jit(
        partial(
            step.train_step, axis_name=None, model=model, optimiser=optimiser, loss_cfg=config.loss
        )
    )


def member(whole, i):
    """The state of one member."""
    part = jax.tree.map(lambda x: x[i], (whole.params, whole.opt_state, whole.key))
    return whole._replace(params=part[0], opt_state=part[1], key=part[2])


def train(one, first):
    now, rows = first, []
    for i in range(STEPS):
        now, metrics = one(now, tiny.batch(seed=i))
        rows.append(float(metrics["loss"]))
    return jax.tree.map(np.asarray, now), rows


def difference(a, b):
    return max(
        float(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.fixture(scope="module")
def ensemble(problem, one):
    return train(one, problem[3](MEMBERS))


def test_members_start_apart_and_the_first_is_the_run_without_an_ensemble(problem):
    whole, alone = problem[3](MEMBERS), problem[3]()
    assert difference(member(whole, 0).params, alone.params) == 0
    assert difference(member(whole, 0).params, member(whole, 1).params) > 0.01
    assert (
        whole.key.shape == (MEMBERS, 2)
        and whole.step.shape == ()
        and state.is_ensemble(whole)
        and not state.is_ensemble(alone)
    )
    assert difference(whole.constants, alone.constants) == 0


def test_each_member_is_trained_as_it_would_be_alone(problem, one, ensemble):
    """Parameters after 10 steps, dropout and a random pair included; the metrics are the
    members' means."""
    whole, rows = ensemble
    alone = [train(one, member(problem[3](MEMBERS), i)) for i in range(MEMBERS)]
    for i, (single, _) in enumerate(alone):
        apart = difference(member(whole, i).params, single.params)
        assert apart < TOLERANCE, f"member {i}: {apart}"
    np.testing.assert_allclose(rows, np.mean([losses for _, losses in alone], axis=0), rtol=1e-5)


def test_an_ensemble_on_many_devices(problem, ensemble):
    config, model, optimiser, init = problem
    mapper = parallel.make_mapper("shard_map", 4)
    mapped = mapper.map_train(
        partial(
            step.train_step,
            axis_name=mapper.axis_name,
            model=model,
            optimiser=optimiser,
            loss_cfg=config.loss,
        )
    )
    now, rows = mapper.replicate(init(MEMBERS)), []
    for i in range(STEPS):
        now, metrics = mapped(now, mapper.shard(tiny.batch(seed=i)))
        rows.append(float(mapper.unreplicate(metrics)["loss"]))
    assert difference(mapper.unreplicate(now).params, ensemble[0].params) < TOLERANCE
    np.testing.assert_allclose(rows, ensemble[1], rtol=1e-5)


def test_the_score_is_the_mean_of_the_members_scores(problem, ensemble):
    config, model = problem[0], problem[1]
    records, mapper = tiny.TinyRecords(videos=6), parallel.make_mapper("pmap", 1)
    evaluator = Evaluator(mapper, model, config)
    together = evaluator.unit_scores(ensemble[0], records, range(6))
    apart = [
        evaluator.unit_scores(member(ensemble[0], i), records, range(6)) for i in range(MEMBERS)
    ]
    for video in range(6):
        np.testing.assert_allclose(
            together[video], np.mean([scores[video] for scores in apart], axis=0), atol=1e-6
        )


def test_a_run_with_members_trains_and_restores(problem, ensemble, tmp_path):
    config = tiny.config(
        train__steps=STEPS, train__members=MEMBERS, data__eval_lengths=(tiny.UNITS,)
    )
    mapper = parallel.make_mapper("pmap", 1)
    task = training.Training(
        config, tiny.TinyRecords(), tiny.TinyDetector(), mapper, say=lambda text: None
    )
    result = loop.train(SingleRun(task), tmp_path)
    with Checkpoints(tmp_path / loop.CHECKPOINTS, config) as kept:
        restored = kept.restore("last", result.state)
    assert difference(restored.state.params, result.state.params) == 0
    assert result.state.key.shape == (MEMBERS, 2)
    assert training.coefficients(problem[0], ensemble[0])["a"].ndim == 4
