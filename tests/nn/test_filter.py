"""Sparse feature filter against a float64 loop over units and experts, its masking, gradients
and published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.nn.experts import ExpertParams, loop
from gfvad.nn.filter import SparseFeatureFilter, balance_loss, entropy, route

N, D, E, K, B = 7, 6, 5, 2, 3
MASK = np.array([True] * 5 + [False] * 2)


def layer(experts=E, topk=K, **kw):
    return SparseFeatureFilter(experts=experts, topk=topk, bottleneck=B, **kw)


@jax.jit
def run(params, x, mask):
    """The layer of most tests, compiled once a float width."""
    return layer().apply(params, x, mask)


def problem(seed=0):
    """Features [N, D] and random parameters (biases and norms too, so that each of them is
    seen)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    shapes = jax.eval_shape(
        lambda: layer().init(jax.random.key(0), jnp.zeros((N, D)), jnp.ones(N, bool))
    )
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) * 0.7, shapes)
    return x, params


def oracle_expert(p, e, row):
    """One expert on one unit, written out; expert 0 is the shared one."""
    norm = (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + 1e-5)
    pre = (norm * p["scale"][e] + p["shift"][e]) @ p["w_in"][e] + p["b_in"][e]
    return (pre / (1 + np.exp(-pre))) @ p["w_out"][e] + p["b_out"][e]


def oracle(x, params, mask, topk=K, scale=2.0):
    """y, balance, usage, entropy by explicit loops in float64."""
    p = params["params"]
    experts = p["router"].shape[1]
    y, slots, mass, entropy = np.zeros_like(x), np.zeros(experts), np.zeros(experts), 0.0
    for i in np.flatnonzero(mask):
        logits = x[i] @ p["router"]
        probability = np.exp(logits - logits.max())
        probability /= probability.sum()
        kept = np.argsort(-probability)[:topk]
        y[i] = oracle_expert(p, 0, x[i])
        for e in kept:
            y[i] += scale * probability[e] / probability[kept].sum() * oracle_expert(p, 1 + e, x[i])
            slots[e] += 1
        mass += probability
        entropy -= (probability * np.log(probability)).sum()
    units = max(mask.sum(), 1)
    f = slots / units * experts / topk
    return y, (f * mass / units).sum(), slots / max(slots.sum(), 1), entropy / units


def test_agrees_with_loop_oracle():
    x, params = problem()
    with jax.enable_x64(True):
        y, stats = run(params, x, MASK)
    expected = oracle(x, params, MASK)
    np.testing.assert_allclose(y, expected[0], rtol=1e-12, atol=1e-12)
    # statistics are kept in float32
    np.testing.assert_allclose(stats.balance, expected[1], rtol=1e-6)
    np.testing.assert_allclose(stats.usage, expected[2], rtol=1e-6)
    np.testing.assert_allclose(stats.router_entropy, expected[3], rtol=1e-6)
    assert (np.asarray(y)[~MASK] == 0).all()


def test_float32_agrees_with_oracle():
    x, params = problem(1)
    y, _ = run(jax.tree.map(jnp.float32, params), jnp.float32(x), MASK)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, oracle(x, params, MASK)[0], rtol=2e-5, atol=2e-5)


def test_padded_content_changes_nothing_even_if_not_finite():
    x, params = problem(2)
    params = jax.tree.map(jnp.float32, params)
    weight = jnp.float32(np.random.default_rng(0).normal(size=(N, D)))

    @jax.jit
    def value_and_gradients(x):
        def loss(params, x):
            y, stats = run(params, x, MASK)
            return (y * weight).sum() + stats.balance + stats.router_entropy, (y, stats)

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    base = value_and_gradients(jnp.float32(x))
    for content in (np.nan, np.inf, 1e6):
        other = value_and_gradients(jnp.float32(np.where(MASK[:, None], x, content)))
        jax.tree.map(np.testing.assert_array_equal, base, other)
    assert (np.asarray(base[1][1])[~MASK] == 0).all()


def test_permuting_units_permutes_output():
    x, params = problem(3)
    order = np.random.default_rng(0).permutation(N)
    with jax.enable_x64(True):
        y, stats = run(params, x, MASK)
        y2, stats2 = run(params, x[order], MASK[order])
    np.testing.assert_allclose(y2, y[order], rtol=1e-12, atol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stats, stats2)


def test_one_video_equals_its_row_of_a_batch():
    x, params = problem(4)
    params = jax.tree.map(jnp.float32, params)
    batch = jnp.float32(np.stack([x, 3 * x[::-1], np.zeros_like(x)]))
    masks = jnp.asarray(np.stack([MASK, ~MASK, np.zeros(N, bool)]))
    together = jax.vmap(run, (None, 0, 0))(params, batch, masks)
    for i in range(3):
        alone = run(params, batch[i], masks[i])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b[i], rtol=1e-5, atol=1e-6), alone, together
        )
    # a video without a real unit
    assert float(together[1].balance[2]) == 0 and float(together[1].usage[2].sum()) == 0


def test_gradients_agree_with_finite_differences():
    x, params = problem(5)
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(N, D))
    with jax.enable_x64(True):

        @jax.jit
        @jax.value_and_grad
        def loss_and_gradient(arguments):
            params, x = arguments
            return (run(params, x, MASK)[0] * weight).sum()

        arguments = (params, x)
        _, gradient = loss_and_gradient(arguments)
        for _ in range(4):
            direction = jax.tree.map(lambda a: rng.normal(size=a.shape), arguments)
            plus, minus = (
                loss_and_gradient(jax.tree.map(lambda a, d: a + s * d, arguments, direction))[0]
                for s in (1e-6, -1e-6)
            )
            exact = sum(
                jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction))
            )
            np.testing.assert_allclose(exact, (plus - minus) / 2e-6, rtol=1e-6)


def test_zero_units_give_finite_gradients():
    _, params = problem(6)
    params = jax.tree.map(jnp.float32, params)

    def loss(params, x):
        y, stats = run(params, x, MASK)
        return (y**2).sum() + stats.balance

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.zeros((N, D)))
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))


def test_all_experts_kept_is_a_soft_mixture():
    """Limit K = E: the weights are the probabilities themselves, times the scale."""
    x, params = problem(7)
    with jax.enable_x64(True):
        y, stats = jax.jit(layer(topk=E).apply)(params, x, MASK)
    np.testing.assert_allclose(y, oracle(x, params, MASK, topk=E)[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stats.usage, np.full(E, 1 / E), rtol=1e-6)


def test_balance_is_one_when_uniform_and_experts_over_topk_when_collapsed():
    n, experts, topk = 10, 10, 2
    uniform = np.full((n, experts), 1 / experts, np.float32)
    spread = np.zeros((n, experts), bool)
    spread[np.arange(n), np.arange(n)] = spread[np.arange(n), (np.arange(n) + 1) % n] = True
    np.testing.assert_allclose(balance_loss(uniform, spread, np.ones(n, bool)), 1.0, rtol=1e-6)
    collapsed = np.zeros((n, experts), bool)
    collapsed[:, :topk] = True
    certain = np.where(collapsed, 1 / topk, 0).astype(np.float32)
    np.testing.assert_allclose(
        balance_loss(certain, collapsed, np.ones(n, bool)), experts / topk, rtol=1e-6
    )


def test_dead_experts_show_in_usage_and_are_counted():
    x, params = problem(8)
    x = np.abs(x)
    params["params"]["router"][:, 2] = -100.0
    params = jax.tree.map(jnp.float32, params)
    _, stats = run(params, jnp.float32(x), MASK)
    assert float(stats.usage[2]) == 0.0
    np.testing.assert_allclose(stats.usage.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(stats.dead, (np.asarray(stats.usage) == 0).mean(), rtol=1e-6)
    assert stats.dead >= 0.2
    # one real unit keeps K experts; without any, nothing is said to be dead
    np.testing.assert_allclose(
        run(params, jnp.float32(x), np.arange(N) == 3)[1].dead, 1 - K / E, rtol=1e-6
    )
    assert float(run(params, jnp.float32(x), np.zeros(N, bool))[1].dead) == 0.0


def test_entropy_has_a_finite_gradient_at_certainty():
    certain = jnp.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    np.testing.assert_allclose(entropy(certain), [0.0, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda p: entropy(p).sum())(certain)[:, 2], 0.0)


def test_ties_of_the_router_keep_exactly_k():
    routing = route(jnp.zeros((3, E)), K, 2.0)
    assert (np.asarray(routing.kept).sum(1) == K).all()
    np.testing.assert_allclose(
        np.take_along_axis(np.asarray(routing.weights), np.asarray(routing.index), 1),
        np.full((3, K), 2 / K),
        rtol=1e-6,
    )
    np.testing.assert_array_equal(np.asarray(routing.weights) > 0, routing.kept)


def test_expert_mixture_of_no_weight_is_zero():
    _, params = problem(9)
    experts = ExpertParams(
        *(jnp.float32(params["params"][field]) for field in ExpertParams._fields)
    )
    assert (
        np.asarray(
            jax.jit(loop)(experts, jnp.ones((N, D)), jnp.zeros((N, 1 + E)), jnp.zeros((N, K), int))
        )
        == 0
    ).all()


@pytest.mark.parametrize(
    "bottleneck, millions, count", [(8, 0.33, 327_936), (16, 0.59, 590_592), (192, 6.4, 6_369_024)]
)
def test_published_parameter_counts(bottleneck, millions, count):
    """0.33 M at b = 8: 64 experts (63 routed, 1 shared) of 4,872 each, and the router, 256 x 63
    without bias."""
    module = SparseFeatureFilter(experts=63, topk=7, bottleneck=bottleneck)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((4, 256)), jnp.ones(4, bool))
    )
    found = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    norm, first, second = 2 * 256, 256 * bottleneck + bottleneck, bottleneck * 256 + 256
    assert found == count == 64 * (norm + first + second) + 256 * 63
    assert float(f"{found / 1e6:.2g}") == millions


def test_more_kept_than_experts_is_refused():
    with pytest.raises(ConfigError, match="model.filter.topk is 6"):
        layer(topk=E + 1).init(jax.random.key(0), jnp.zeros((N, D)), jnp.ones(N, bool))
