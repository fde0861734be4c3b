"""Filters other than the sparse one: interface, masking, oracles of both memories in float64,
their limits, update and names."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.nn.filter import FilterStats, SparseFeatureFilter
from gfvad.nn.filters import FILTERS, make_filter
from gfvad.nn.memory import MNAD, Bottleneck, MemAE, prototype_loss, updated_items

N, D, M = 7, 6, 5
MASK = np.array([True] * 5 + [False] * 2)
SETTINGS = {"experts": 4, "topk": 2, "bottleneck": 3, "memory_items": M, "shrink": 1.0}
PLAIN = {"experts": 63, "topk": 7, "bottleneck": 8, "scale": 2.0, "form": "auto", "epsilon": 1e-5}
CHOICES = {"none": 1, "bottleneck": 1, "sffm": 4, "memae": M, "mnad": M}


def filter_of(kind, name=None, **changed):
    """The filter of a config with some settings changed."""
    plain = {"kind": kind, **PLAIN, "memory_items": 0, "shrink": 1.0}
    return make_filter(SimpleNamespace(**(plain | changed)), name)


def problem(module, seed=0):
    """(x [N, D], variables) in float64; all parameters random, the memory as it starts."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    variables = jax.tree.map(
        np.float64, jax.jit(module.init)(jax.random.key(seed), np.float32(x), MASK)
    )
    if "params" in variables:
        variables["params"] = jax.tree.map(
            lambda a: 0.7 * rng.normal(size=a.shape), variables["params"]
        )
    return x, variables


def narrow(tree):
    return jax.tree.map(np.float32, tree)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def close(found, expected, **tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, **{"rtol": 1e-12, "atol": 1e-12, **tolerance}
        ),
        found,
        expected,
    )


@pytest.mark.parametrize("kind", FILTERS)
def test_every_kind_keeps_the_interface(kind):
    """Shapes and types; padding, even if not finite, changes neither y, nor statistics, nor
    gradients; order and batch do not matter."""
    module = filter_of(kind, **SETTINGS)
    x, variables = narrow(problem(module))
    weight = np.float32(np.random.default_rng(1).normal(size=(N, D)))

    @jax.jit
    def run(variables, x, mask):
        def loss(variables, x):
            y, stats = module.apply(variables, x, mask)
            return (y * weight).sum() + stats.balance, (y, stats)

        return jax.grad(loss, (0, 1), has_aux=True)(variables, x)

    base = run(variables, x, MASK)
    (_, d_x), (y, stats) = base
    assert y.shape == (N, D) and y.dtype == jnp.float32 and isinstance(stats, FilterStats)
    assert stats.usage.shape == (CHOICES[kind],) and all(
        s.shape == () for s in (stats.balance, stats.router_entropy, stats.dead)
    )
    np.testing.assert_allclose(stats.usage.sum(), 1.0, rtol=1e-6)
    assert 0 <= stats.dead < 1 and 0 <= stats.router_entropy <= np.log(CHOICES[kind]) + 1e-6
    assert (np.asarray(y)[~MASK] == 0).all() and (np.asarray(d_x)[~MASK] == 0).all()
    for content in (np.nan, np.inf, 1e6):
        jax.tree.map(
            np.testing.assert_array_equal,
            base,
            run(variables, np.where(MASK[:, None], x, np.float32(content)), MASK),
        )
    # no real unit: all zero; units of zeros: finite
    _, (y0, stats0) = run(variables, x, np.zeros(N, bool))
    assert all((np.asarray(a) == 0).all() for a in (y0, *stats0))
    assert all(
        np.isfinite(a).all() for a in jax.tree.leaves(run(variables, np.zeros_like(x), MASK))
    )
    order = np.random.default_rng(0).permutation(N)
    _, (y2, stats2) = run(variables, x[order], MASK[order])
    close((y2, stats2), (np.asarray(y)[order], stats), rtol=1e-5, atol=1e-6)
    y3, stats3 = jax.jit(jax.vmap(lambda x, mask: module.apply(variables, x, mask)))(
        np.stack([x, x[order]]), np.stack([MASK, MASK[order]])
    )
    close(
        (y3, jax.tree.map(lambda a: a[0], stats3)), (np.stack([y, y2]), stats), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["bottleneck", "memae", "mnad"])
def test_gradients_agree_with_finite_differences(kind):
    """Of y and of the auxiliary loss, along random directions of parameters and units."""
    module = filter_of(kind, **SETTINGS)
    x, variables = problem(module, 3)
    memory = {k: v for k, v in variables.items() if k != "params"}
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(N, D))
    with jax.enable_x64(True):

        @jax.jit
        @jax.value_and_grad
        def run(arguments):
            y, stats = module.apply({"params": arguments[0], **memory}, arguments[1], MASK)
            return (y * weight).sum() + stats.balance

        arguments = (variables["params"], x)
        _, gradient = run(arguments)
        for _ in range(3):
            direction = jax.tree.map(lambda a: rng.normal(size=a.shape), arguments)
            ends = [
                run(jax.tree.map(lambda a, d, s=s: a + s * d, arguments, direction))[0]
                for s in (1e-6, -1e-6)
            ]
            exact = sum(
                jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction))
            )
            np.testing.assert_allclose(exact, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_no_filter_is_the_identity_and_one_bottleneck_is_one_expert():
    x, _ = problem(filter_of("none"))
    y, _ = filter_of("none").apply({}, np.float32(x), MASK)
    np.testing.assert_array_equal(y, np.where(MASK[:, None], np.float32(x), 0))
    module = Bottleneck(3)
    x, variables = problem(module, 1)
    p = variables["params"]
    norm = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * p["scale"][
        0
    ] + p["shift"][0]
    before = norm @ p["w_in"][0] + p["b_in"][0]
    with jax.enable_x64(True):
        y, _ = jax.jit(module.apply)(variables, x, MASK)
    close(
        y,
        np.where(MASK[:, None], before / (1 + np.exp(-before)) @ p["w_out"][0] + p["b_out"][0], 0),
    )


@pytest.mark.parametrize("shrink", [0.0, 1.0, 1.4])
def test_memae_agrees_with_a_loop(shrink):
    module = MemAE(M, shrink)
    x, variables = problem(module, 2)
    items = variables["params"]["items"]
    y, usage, entropy = np.zeros_like(x), np.zeros(M), 0.0
    for i in np.flatnonzero(MASK):
        cosines = np.array([x[i] @ m / np.linalg.norm(x[i]) / np.linalg.norm(m) for m in items])
        a, t = softmax(cosines), shrink / M
        a = np.maximum(a - t, 0) * a / (np.abs(a - t) + 1e-15)  # the paper's form
        a = a / max(a.sum(), 1e-12)
        y[i], usage, entropy = (
            a @ items,
            usage + a / MASK.sum(),
            entropy - sum(v * np.log(v) for v in a if v > 0) / MASK.sum(),
        )
    with jax.enable_x64(True):
        found, stats = jax.jit(module.apply)(variables, x, MASK)
    close(found, y, rtol=1e-9)
    close(stats, FilterStats(entropy, usage, entropy, (usage == 0).mean()), rtol=1e-6, atol=1e-6)
    assert (usage == 0).any() == (shrink == 1.4)  # the threshold does something


def test_limits_of_memae():
    """One item is read by every unit; a threshold above every weight reads nothing, and its
    gradient is finite."""
    x, variables = narrow(problem(MemAE(1, 0.5), 3))
    y, stats = jax.jit(MemAE(1, 0.5).apply)(variables, x, MASK)
    close(np.asarray(y)[MASK], np.repeat(variables["params"]["items"], 5, 0), rtol=1e-6)
    assert float(stats.usage[0]) == 1 and float(stats.balance) == 0 and float(stats.dead) == 0
    none = MemAE(M, 8.0)
    x, variables = narrow(problem(none, 4))

    @jax.jit
    def run(variables, x):
        (y, stats), pull = jax.vjp(lambda v, x: none.apply(v, x, MASK), variables, x)
        return y, stats, pull((y + 1, jax.tree.map(jnp.ones_like, stats)))

    y, stats, gradient = run(variables, x)
    assert (np.asarray(y) == 0).all() and float(stats.dead) == 1
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_mnad_agrees_with_a_loop():
    """Reading, both losses, usage and the update, in numpy as the paper writes them."""
    module = MNAD(M)
    x, variables = problem(module, 5)
    p, dense = variables["memory"]["items"], variables["params"]["project"]
    q = x / np.linalg.norm(x, axis=1, keepdims=True)
    y, usage, entropy, loss, nearest = np.zeros_like(x), np.zeros(M), 0.0, 0.0, np.full(N, -1)
    units = MASK.sum()
    for i in np.flatnonzero(MASK):
        w = softmax(p @ q[i])
        y[i] = np.sqrt(D) * np.concatenate([q[i], w @ p]) @ dense["kernel"] + dense["bias"]
        first, second = np.sort(np.linalg.norm(q[i] - p, axis=1))[:2]
        loss += (first + max(0.0, first - second + 1)) / units
        usage, entropy, nearest[i] = (
            usage + w / units,
            entropy - (w * np.log(w)).sum() / units,
            np.argmax(p @ q[i]),
        )
    expected = p.copy()
    for m in set(nearest[MASK]):
        over_queries = softmax(q[MASK] @ p[m])  # the vertical softmax
        mine = nearest[MASK] == m
        expected[m] += (over_queries[mine] / over_queries[mine].max()) @ q[MASK][mine]
        expected[m] /= np.linalg.norm(expected[m])
    with jax.enable_x64(True):
        (found, stats), written = jax.jit(partial(module.apply, mutable=["memory"]))(
            variables, x, MASK
        )
        kept, _ = jax.jit(module.apply)(variables, x, MASK)
    close(found, y, rtol=1e-9, atol=1e-9)
    close(
        stats, FilterStats(0.1 * loss, usage, entropy, 1 - len(set(nearest[MASK])) / M), rtol=1e-6
    )
    close(written["memory"]["items"], expected, rtol=1e-6, atol=1e-6)
    close(kept, found)  # read before it is written, and not written where not mutable


def test_the_memory_of_mnad_is_no_parameter_and_finds_clusters():
    """No gradient reaches the items; updates over units around two directions move two items
    onto them and leave the rest."""
    module = MNAD(3)
    _, variables = narrow(problem(module, 6))
    gradient = jax.jit(
        jax.grad(lambda v: module.apply(v, np.ones((N, D), np.float32), MASK)[1].balance)
    )(variables)
    assert (np.asarray(gradient["memory"]["items"]) == 0).all()
    assert jax.tree.leaves(variables["memory"])[0].shape == (3, D)
    np.testing.assert_allclose(np.linalg.norm(variables["memory"]["items"], axis=1), 1, rtol=1e-6)
    rng = np.random.default_rng(0)
    q = np.repeat(np.eye(D)[:2], 10, 0) + 0.05 * rng.normal(size=(20, D))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    start = np.float32(np.eye(D)[:3] * 0.8 + 0.6 * np.eye(D)[[3, 4, 5]])
    items, update = start, jax.jit(updated_items)
    for _ in range(20):
        items = update(items, np.float32(q), np.ones(20, bool))
    assert (np.diag(np.asarray(items) @ np.eye(D)[:, :3])[:2] > 0.99).all()
    np.testing.assert_array_equal(items[2], start[2])
    np.testing.assert_array_equal(update(items, np.float32(q), np.zeros(20, bool)), items)


def test_one_item_of_mnad_has_no_second_nearest():
    x, variables = narrow(problem(MNAD(1), 7))
    _, stats = jax.jit(MNAD(1).apply)(variables, x, MASK)
    q = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = np.linalg.norm(q - variables["memory"]["items"], axis=1)
    np.testing.assert_allclose(stats.balance, 0.1 * distance[MASK].mean(), rtol=1e-5)
    np.testing.assert_allclose(
        prototype_loss(variables["memory"]["items"], q, MASK), distance[MASK].mean(), rtol=1e-5
    )
    assert float(stats.usage[0]) == 1 and float(stats.dead) == 0


def test_filters_by_name():
    assert filter_of(
        "sffm", experts=5, topk=2, bottleneck=4, scale=1.0, form="loop"
    ) == SparseFeatureFilter(5, 2, 4, 1.0, "loop")
    assert filter_of("memae").items == 2000 and filter_of("mnad").items == 10
    assert (
        filter_of("memae", memory_items=7, shrink=2.0) == MemAE(7, 2.0)
        and filter_of("mnad", name="filter_rgb").name == "filter_rgb"
    )
    with pytest.raises(
        ConfigError,
        match=(
            r"config.model.filter.kind = 'memea'; did you mean 'memae'\? \(one of none, bottleneck,"
            r" sffm"
        ),
    ):
        filter_of("memea")
    with pytest.raises(ConfigError, match="model.filter.memory_items is -1, expected 1 or more"):
        filter_of("mnad", memory_items=-1).init(
            jax.random.key(0), jnp.ones((N, D)), jnp.asarray(MASK)
        )
