"""Every form of the expert mixture against a float64 loop over experts: values, gradients,
batches, odd routings, sharded experts."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from gfvad.base.types import ConfigError
from gfvad.nn.expert_blocks import plan_blocks
from gfvad.nn.experts import (
    EXPERT_AXIS,
    FORMS,
    ExpertParams,
    choose,
    expert_sharding,
    folded,
)
from gfvad.nn.filter import SparseFeatureFilter

N, D, E, K, B = 40, 6, 5, 2, 3
FAST = [name for name in FORMS if name != "loop"]


def problem(seed=0, units=N, experts=E, topk=K, b=B, width=D):
    """(params, x [N, D], weights [N, 1 + E], index [N, K]) in float64, every parameter away from
    where it starts."""
    rng = np.random.default_rng(seed)
    shapes = {
        "scale": (width,),
        "shift": (width,),
        "w_in": (width, b),
        "b_in": (b,),
        "w_out": (b, width),
        "b_out": (width,),
    }
    params = ExpertParams(
        **{name: 0.7 * rng.normal(size=(1 + experts, *shape)) for name, shape in shapes.items()}
    )
    index = np.argsort(rng.normal(size=(units, experts)), axis=1)[:, :topk].astype(np.int32)
    weights = np.zeros((units, 1 + experts))
    np.put_along_axis(weights, 1 + index, rng.uniform(0.1, 1.0, size=index.shape), axis=1)
    weights[:, 0] = rng.uniform(0.5, 1.5, size=units)
    return params, rng.normal(size=(units, width)), weights, index


def oracle(params, x, weights, index):
    """A Python loop over experts, each with its own LayerNorm, in numpy."""
    total = np.zeros_like(x)
    for e in range(weights.shape[1]):
        norm = (x - x.mean(1, keepdims=True)) / np.sqrt(
            x.var(1, keepdims=True) + 1e-5
        ) * params.scale[e] + params.shift[e]
        before = norm @ params.w_in[e] + params.b_in[e]
        total += weights[:, e, None] * (
            before / (1 + np.exp(-before)) @ params.w_out[e] + params.b_out[e]
        )
    return total


@cache
def with_gradients(form):
    """(params, x, weights, index, gradient of y) -> (y, gradients of params, x and of the
    weights that are slots), compiled once a shape."""

    def run(params, x, weights, index, g):
        y, pull = jax.vjp(lambda p, x, w: FORMS[form](p, x, w, index), params, x, weights)
        d_params, d_x, d_weights = pull(g)
        # a weight that is no slot is the constant 0: forms that skip it have no gradient there
        return (
            y,
            d_params,
            d_x,
            jnp.take_along_axis(d_weights, jnp.pad(1 + index, ((0, 0), (1, 0))), axis=1),
        )

    return jax.jit(run)


def gradient_of_y(x, seed=9):
    return np.random.default_rng(seed).normal(size=x.shape)


def assert_close(found, expected, tolerance):
    """Every array of two trees, relative to the largest entry of that array."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1e-3, float(np.abs(b).max())))


@pytest.mark.parametrize("form", FORMS)
def test_agrees_with_oracle_in_both_precisions(form):
    arguments = problem()
    y = oracle(*arguments)
    narrow = jax.tree.map(lambda a: np.float32(a) if a.dtype == np.float64 else a, arguments)
    g = gradient_of_y(y)
    assert_close(with_gradients(form)(*narrow, np.float32(g))[0], y, 1e-6)
    with jax.enable_x64(True):
        assert_close(with_gradients(form)(*arguments, g)[0], y, 1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_differences_of_the_oracle(form):
    """Central differences of the numpy loop along random directions of all parameters, units and
    kept weights at once."""
    params, x, weights, index = problem(1)
    g, rng = gradient_of_y(x), np.random.default_rng(2)
    with jax.enable_x64(True):
        _, d_params, d_x, d_slots = jax.tree.map(
            np.asarray, with_gradients(form)(params, x, weights, index, g)
        )
    for _ in range(3):
        p, v, w = (
            jax.tree.map(lambda a: rng.normal(size=a.shape), tree) for tree in (params, x, weights)
        )
        w = np.where(weights > 0, w, 0.0)
        ends = [
            oracle(
                ExpertParams(*(a + s * d for a, d in zip(params, p))),
                x + s * v,
                weights + s * w,
                index,
            )
            for s in (1e-6, -1e-6)
        ]
        slots = np.concatenate([w[:, :1], np.take_along_axis(w, 1 + index, 1)], 1)
        found = (
            sum((a * d).sum() for a, d in zip(d_params, p))
            + (d_x * v).sum()
            + (d_slots * slots).sum()
        )
        np.testing.assert_allclose(found, ((ends[0] - ends[1]) * g).sum() / 2e-6, rtol=1e-6)


# what a form could get wrong: groups over several blocks and a wide bottleneck, K = E, one expert,
# one unit and experts without any, all units on the same two experts
CASES = {
    "long and wide": {"units": 700, "b": 24},
    "all kept": {"topk": E},
    "one expert": {"experts": 1, "topk": 1},
    "one unit": {"units": 1, "experts": 17},
    "collapsed": {},
}


@pytest.mark.parametrize("case", CASES)
def test_forms_agree_with_loop_in_float32(case):
    params, x, weights, index = problem(3, **CASES[case])
    if case == "collapsed":
        weights[:, 1:], index[:] = 0.0, (3, 1)
        weights[:, [2, 4]] = np.random.default_rng(0).uniform(size=(N, 2))
    narrow = jax.tree.map(np.float32, (params, x, weights))
    g = np.float32(gradient_of_y(x))
    expected = with_gradients("loop")(*narrow, index, g)
    for form in FAST:
        assert_close(with_gradients(form)(*narrow, index, g), expected, 5e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_under_vmap_is_the_batch_flattened(form):
    """y and its gradients of units; the parameters' gradient is the sum over videos."""
    videos = [problem(seed, units=24) for seed in range(3)]
    params = jax.tree.map(np.float32, videos[0][0])
    x, weights, index = (np.stack([v[i] for v in videos]) for i in (1, 2, 3))
    x, weights, g = np.float32(x), np.float32(weights), np.float32(gradient_of_y(x))

    @jax.jit
    def batched(params, x, weights):
        y, pull = jax.vjp(jax.vmap(FORMS[form], (None, 0, 0, 0)), params, x, weights, index)
        return y, *pull(g)[:2]

    flat = with_gradients(form)(
        params, *(a.reshape(-1, a.shape[-1]) for a in (x, weights, index, g))
    )
    y, d_params, d_x = batched(params, x, weights)
    assert_close((y.reshape(-1, D), d_params, d_x.reshape(-1, D)), flat[:3], 5e-6)


@pytest.mark.parametrize("form", FAST)
def test_permuting_units_and_slots_changes_nothing(form):
    params, x, weights, index = problem(5)
    order = np.random.default_rng(0).permutation(N)
    with jax.enable_x64(True):
        y, d_params, *_ = with_gradients(form)(params, x, weights, index, gradient_of_y(x))
        y2, d_params2, *_ = with_gradients(form)(
            params, x[order], weights[order], index[order][:, ::-1], gradient_of_y(x)[order]
        )
    assert_close((y2, d_params2), (y[order], d_params), 1e-12)


def test_blocks_hold_every_slot_once_and_one_expert_each():
    plan, rng = jax.jit(plan_blocks, static_argnums=1), np.random.default_rng(0)
    for experts, topk, units in ((5, 2, 40), (63, 7, 100), (3, 1, 1), (4, 4, 300)):
        for skew in (0.0, 8.0):
            index = np.argsort(
                rng.normal(size=(units, experts)) + skew * np.arange(experts), axis=1
            )[:, :topk]
            slot, expert, count = map(np.asarray, plan(jnp.asarray(index), experts))
            used = slot < index.size
            assert used[:count].any(1).all() and not used[count:].any()
            assert sorted(slot[used]) == list(range(index.size))
            assert (
                index.reshape(-1)[slot[used]] == np.broadcast_to(expert[:, None], slot.shape)[used]
            ).all()


@pytest.mark.parametrize("form", FAST)
def test_the_filter_gives_the_same_in_every_form(form):
    """The whole layer: output, statistics and gradients, with padding that is not finite."""
    rng, mask = np.random.default_rng(6), np.arange(N) < 30
    x = np.where(mask[:, None], rng.normal(size=(N, D)), np.nan).astype(np.float32)
    weight = np.float32(rng.normal(size=(N, D)))

    def layer(name):
        module = SparseFeatureFilter(E, K, B, form=name)

        def loss(params, x):
            y, stats = module.apply(params, x, mask)
            return (y * weight).sum() + stats.balance, (y, stats)

        return module, jax.jit(jax.grad(loss, (0, 1), has_aux=True))

    module, run = layer("loop")
    params = jax.tree.map(
        lambda a: np.float32(0.7 * rng.normal(size=a.shape)),
        module.init(jax.random.key(0), x, mask),
    )
    expected, found = run(params, x), layer(form)[1](params, x)
    assert_close(found, expected, 5e-6)
    assert (np.asarray(found[0][1])[~mask] == 0).all() and (
        np.asarray(found[1][0])[~mask] == 0
    ).all()


def test_experts_sharded_over_devices_give_the_same():
    """Folded form, 8 experts cut over 4 emulated devices: output and gradients of the whole, and
    the gradients lie as the parameters."""
    params, x, weights, index = jax.tree.map(
        lambda a: np.float32(a) if a.dtype == np.float64 else a, problem(7, experts=7)
    )
    g = np.float32(gradient_of_y(x))
    mesh = Mesh(np.array(jax.devices()[:4]), (EXPERT_AXIS,), axis_types=(AxisType.Auto,))
    shardings = expert_sharding(mesh, params)

    def run(params, x, weights):
        y, pull = jax.vjp(lambda p, x: folded(p, x, weights, index), params, x)
        return y, *pull(g)

    expected = jax.jit(run)(params, x, weights)
    cut = jax.device_put(params, shardings)
    y, d_params, d_x = jax.jit(run, out_shardings=(None, shardings, None))(cut, x, weights)
    assert_close((y, d_params, d_x), expected, 2e-6)
    assert all(
        a.addressable_shards[0].data.shape[0] == 2 and len(a.sharding.device_set) == 4
        for a in (*cut, *d_params)
    )
    compiled = jax.jit(lambda p: folded(p, x, weights, index)).lower(cut).compile().as_text()
    # one sum over devices, no device gathers the experts
    assert "all-reduce" in compiled and "all-gather" not in compiled


def test_experts_that_do_not_divide_are_refused():
    mesh = Mesh(np.array(jax.devices()[:4]), (EXPERT_AXIS,), axis_types=(AxisType.Auto,))
    with pytest.raises(
        ConfigError,
        match=r"6 experts \(1 \+ model.filter.experts\) on 4 devices: expected a multiple of 4",
    ):
        expert_sharding(mesh, problem()[0])


def test_the_choice():
    """auto takes dense matmuls where there are few units, and sorts where there are many or
    experts are wide; a named form is taken as it is."""
    published = {"experts": 63, "topk": 7}
    assert choose("auto", **published, bottleneck=8, units=64, backend="cpu") == "folded"
    assert choose("auto", **published, bottleneck=8, units=4096, backend="cpu") == "blocks"
    assert choose("auto", **published, bottleneck=192, units=4096, backend="cpu") == "blocks"
    assert choose("auto", **published, bottleneck=192, units=4096, backend="gpu") == "folded"
    assert (
        choose("auto", **published | {"topk": 63}, bottleneck=192, units=4096, backend="cpu")
        == "folded"
    )
    assert choose("loop", **published, bottleneck=8, units=1, backend="cpu") == "loop"
    with pytest.raises(ConfigError, match=r"form = 'fold'; did you mean 'folded'\?"):
        choose("fold", **published, bottleneck=8, units=1, backend="cpu")
