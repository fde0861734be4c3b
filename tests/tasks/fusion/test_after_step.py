"""A model that changes variables of its own after each step: by itself, in an ensemble, on several
devices, in a group of settings and seeds, and after an interruption."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad.ablation.groups import Group
from gfvad.ablation.program import Program
from gfvad.ablation.sweep import Setting
from gfvad.base.types import Output
from gfvad.tasks.fusion import step, training
from gfvad.train import loop, optim, parallel, state
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.loop import SingleRun

STEPS, KEPT = 6, 0.8


class Taught(nn.Module):
    """Logits of a dense layer, beside those of a slow copy of it, which the next step sees."""

    @nn.compact
    def __call__(self, features, mask, *, train: bool) -> Output:
        x = jnp.concatenate([features[name] for name in sorted(features)], -1)
        x = nn.Dropout(0.3, deterministic=not train)(jnp.where(mask[:, None], x, 0.0))
        own = nn.Dense(1, name="logit")
        logits = own(x)[:, 0]
        start = lambda: jnp.full((x.shape[-1],), 0.1)
        slow = self.variable("teacher", "kernel", start).value
        graph = jnp.zeros((0, len(mask), len(mask)))
        return Output(logits + jnp.where(mask, x @ slow, 0.0), graph, {})

    @nn.nowrap
    def after_step(self, variables, given):
        slow, new = variables["teacher"]["kernel"], variables["params"]["logit"]["kernel"][:, 0]
        return {"teacher": {"kernel": KEPT * slow + (1 - KEPT) * new}}


def config_of(**changed):
    return tiny.config(train__steps=STEPS, data__eval_lengths=(tiny.UNITS,), **changed)


def problem(config):
    """(optimiser, the step of one device)."""
    optimiser = optim.make_optimiser(config.optim, STEPS)
    given = {"model": Taught(), "optimiser": optimiser, "loss_cfg": config.loss}
    return optimiser, partial(step.train_step, **given)


def start(optimiser, seed=5, members=1):
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    return state.init_state(Taught(), optimiser.transform, example, seed, members)


@pytest.fixture(scope="module")
def alone():
    """The states of a run, one after each step."""
    optimiser, one = problem(config_of())
    take, now, states = jax.jit(partial(one, axis_name=None)), start(optimiser), []
    for i in range(STEPS):
        now, _ = take(now, tiny.batch(seed=i))
        states.append(jax.tree.map(np.asarray, now))
    return states


def kernel(now):
    return np.asarray(now.constants["teacher"]["kernel"])


def test_it_sees_the_new_parameters(alone):
    slow = 0.1
    for now in alone:
        slow = KEPT * slow + (1 - KEPT) * now.params["logit"]["kernel"][:, 0]
        np.testing.assert_allclose(kernel(now), slow, atol=1e-6)
    assert np.ptp(slow) > 0.01


def test_each_member_has_its_own(alone):
    optimiser, one = problem(config_of())
    take, now = jax.jit(partial(one, axis_name=None)), start(optimiser, members=2)
    for i in range(STEPS):
        now, _ = take(now, tiny.batch(seed=i))
    np.testing.assert_allclose(kernel(now)[0], kernel(alone[-1]), atol=1e-6)
    assert np.abs(np.diff(kernel(now), axis=0)).max() > 0.01
    np.testing.assert_array_equal(kernel(state.member(now, 1)), kernel(now)[1])


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_devices_have_the_same(alone, kind):
    optimiser, one = problem(config_of())
    mapper = parallel.make_mapper(kind, 2)
    mapped = mapper.map_train(partial(one, axis_name=mapper.axis_name))
    now = mapper.replicate(start(optimiser))
    for i in range(STEPS):
        now, _ = mapped(now, mapper.shard(tiny.batch(seed=i)))
    now = mapper.unreplicate(now)
    np.testing.assert_allclose(kernel(now), kernel(alone[-1]), atol=1e-5)


def test_each_run_of_a_group_has_its_own():
    """Two settings and two seeds in one program; each is as by itself."""
    configs = [config_of(loss__smoothness=weight) for weight in (0.1, 5.0)]
    mapper = parallel.make_mapper("pmap", 1)
    settings = tuple(Setting(f"s{i}", c, {}) for i, c in enumerate(configs))
    quiet = lambda text: None
    records = tiny.TinyRecords()
    tasks = [training.Training(c, records, Taught(), mapper, say=quiet) for c in configs]
    program = Program(Group(settings, (5, 6)), tasks)
    group = mapper.replicate(program.initial())
    take = program.mapped_step(mapper)
    for i in range(STEPS):
        batches = tuple(mapper.shard(tiny.batch(seed=10 * seed + i)) for seed in (5, 6))
        group, _ = take(group, batches)
    group = mapper.unreplicate(group)
    seen = []
    for u, seed in enumerate((5, 6)):
        for k, config in enumerate(configs):
            optimiser, one = problem(config)
            by_itself, now = (
                jax.jit(partial(one, axis_name=None)),
                tasks[k].initial(optimiser.transform, seed),
            )
            for i in range(STEPS):
                now, _ = by_itself(now, tiny.batch(seed=10 * seed + i))
            seen.append(kernel(program.run_state(group, u, k)))
            np.testing.assert_allclose(seen[-1], kernel(now), atol=1e-5)
    assert all(np.abs(seen[0] - other).max() > 1e-4 for other in seen[1:])


def test_an_interrupted_run_goes_on_to_the_bit(tmp_path):
    """Broken off after 3 of 6 steps, and started again."""
    mapper, records, config = parallel.make_mapper("pmap", 1), tiny.TinyRecords(), config_of()
    config.train.checkpoint_every = 1

    class Broken(SingleRun):
        taken = 0

        def advance(self, steps):
            self.taken += steps
            if self.taken == 3:
                raise InterruptedError

    def train(folder, kind=SingleRun):
        task = training.Training(config, records, Taught(), mapper, say=lambda text: None)
        return loop.train(kind(task), tmp_path / folder).state

    whole = train("whole")
    with pytest.raises(InterruptedError):
        train("broken", Broken)
    again = train("broken")
    with Checkpoints(tmp_path / "broken" / loop.CHECKPOINTS, config) as kept:
        restored = kept.restore("last", again).state
    for now in (again, restored):
        same = jax.tree.map(np.array_equal, now, whole)
        assert all(jax.tree.leaves(same)), same
