"""Messages of a step, and parameters cut over a model axis: same numbers, moments are cut too, a
state goes from one layout to the other."""

import re
from functools import partial

import jax
import numpy as np
import pytest
import tiny

from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import step
from gfvad.train import layout, optim, parallel, state

# As in test_parallel.py; measured 6e-8 after 20 steps of the project's detector, which takes longer
# to compile than the linear one here
TOLERANCE = 1e-5
STEPS = 5


def problem(monkeypatch, detector, **loss):
    """(initial state, mapper -> the mapped step)."""
    config = tiny.config()
    config.loss.update(loss)
    if detector:  # 1 + 3 experts
        monkeypatch.setattr(tiny, "EXPERTS", 3)
    model = tiny.detector(config) if detector else tiny.TinyDetector()
    optimiser = optim.make_optimiser(config.optim, STEPS)
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    given = {"model": model, "optimiser": optimiser, "loss_cfg": config.loss}

    def mapped(mapper):
        return mapper.map_train(partial(step.train_step, axis_name=mapper.axis_name, **given))

    return state.init_state(model, optimiser.transform, example, seed=0), mapped


@pytest.mark.parametrize("variance, messages", [(0.0, 2), (1e-3, 5)])
def test_messages_of_a_step(monkeypatch, variance, messages):
    """One all-reduce of gradients and sums, one of the loss's own sums and counts before it. The
    variance term, which is no sum over examples, takes two more, and one for its gradient."""
    first, mapped = problem(monkeypatch, False, variance=variance)
    mapper = parallel.make_mapper("shard_map", 8)
    text = mapped(mapper).lower(*mapper.described(first, tiny.batch())).compile().as_text()
    found = re.findall(r" (all-[a-z-]+|reduce-scatter|collective-permute)(?:-start)?\(", text)
    assert found == ["all-reduce"] * messages


def trained(mapper, mapped, first):
    """(state after STEPS steps, bytes of it on the first device)."""
    replicas, run = mapper.replicate(first), mapped(mapper)
    for i in range(STEPS):
        replicas, _ = run(replicas, mapper.shard(tiny.batch(seed=i)))
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(replicas))
    assert list(mapper.traces.values()) == [1]
    return mapper.unreplicate(replicas), held


def test_a_cut_model_learns_the_same(monkeypatch):
    """8 devices as 4 x 2 and 2 x 4, started from one state, against 8 x 1."""
    monkeypatch.setattr(layout, "LEAST", 2)
    first, mapped = problem(monkeypatch, False)
    expected, whole = trained(parallel.make_mapper("shard_map", 8), mapped, first)
    for model in (2, 4):
        got, held = trained(parallel.make_mapper("shard_map", 8, model), mapped, first)
        assert tiny.largest_difference(got.params, expected.params) < TOLERANCE
        assert held < whole


def test_a_state_goes_from_one_layout_to_the_other(monkeypatch):
    """Checkpoints hold the state of the host: every layout gives back what it was given."""
    first, _ = problem(monkeypatch, True)
    for backend, model in (("shard_map", 4), ("pmap", 1), ("shard_map", 2), ("shard_map", 1)):
        mapper = parallel.make_mapper(backend, 8, model)
        found = mapper.unreplicate(mapper.replicate(first))
        jax.tree.map(np.testing.assert_array_equal, found, first)


@pytest.mark.parametrize(
    "backend, model, match", [("pmap", 2, "pmap"), ("shard_map", 3, "divisor")]
)
def test_refused_layouts(backend, model, match):
    with pytest.raises(ConfigError, match=match):
        parallel.make_mapper(backend, 8, model)


def test_where_arrays_are_cut():
    """Experts by expert also behind an axis of members, others by their last axis that divides."""
    cut = lambda name, *shape: layout.cut_axis((jax.tree_util.DictKey(name),), shape, 4)
    assert cut("w_in", 64, 512, 8) == 0 and cut("w_in", 3, 64, 512, 8) == 1
    assert cut("kernel", 512, 256) == 1 and cut("kernel", 512, 3) == 0
    assert cut("kernel", 511, 3) is None and cut("bias", 64) is None
