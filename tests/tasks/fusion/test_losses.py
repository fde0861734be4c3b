"""Losses against float64 loops, their limits, and that the mean of per-device gradients is the
gradient of the global batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.common import get_config
from gfvad.base.types import Batch, Output
from gfvad.tasks.fusion import losses

B, G, N = 8, 2, 12
LENGTHS = np.array([12, 7, 9, 12, 5, 1, 0, 10])
LABEL = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, -1.0])
VALID = np.array([True, True, True, True, True, True, False, True])
MASK = np.arange(N) < LENGTHS[:, None]


def loss_config(**changes) -> ConfigDict:
    cfg = get_config().loss
    values = {
        "topk_divisor": 4,
        "label_smoothing": 0.1,
        "variance": 0.3,
        "variance_alpha": 0.4,
        "variance_k": 3,
    }
    cfg.update({**values, "smoothness": 0.2, "sparsity": 0.1, "balance": 0.5, **changes})
    return cfg


def problem(seed=0) -> tuple[Output, Batch]:
    rng = np.random.default_rng(seed)
    graph = rng.uniform(-0.2, 1.0, size=(B, G, N, N))
    aux = {"balance": rng.uniform(1, 2, size=B), "reconstruction": rng.uniform(size=(B, N)) * MASK}
    output = Output(rng.normal(size=(B, N)) * 3, graph + np.swapaxes(graph, -1, -2), aux)
    batch = Batch({}, MASK, LABEL, VALID, np.arange(B), np.zeros(B, int), np.arange(B))
    return output, batch


CFG = loss_config()
run = jax.jit(lambda output, batch: losses.total_loss(output, batch, CFG))
run_with_gradient = jax.jit(
    jax.value_and_grad(lambda output, batch: losses.total_loss(output, batch, CFG), has_aux=True)
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def oracle(output: Output, batch: Batch, cfg) -> dict[str, float]:
    """Every term by explicit loops over videos and units."""
    bce, smooth, sparse, balance, reconstruction = [], [], [], [], []
    normal = [[] for _ in range(output.graph.shape[1])]
    abnormal = [[] for _ in range(output.graph.shape[1])]
    for b in range(len(batch.label)):
        if not batch.valid[b] or batch.label[b] < 0:
            continue
        real = np.flatnonzero(batch.mask[b])
        score = sigmoid(output.logits[b][real])
        video = np.sort(score)[::-1][: max(1, len(real) // cfg.topk_divisor)].mean()
        target = batch.label[b] * (1 - cfg.label_smoothing) + cfg.label_smoothing / 2
        bce.append(-target * np.log(video) - (1 - target) * np.log(1 - video))
        balance.append(output.aux["balance"][b])
        for g in range(output.graph.shape[1]):
            graph = output.graph[b, g][np.ix_(real, real)]
            degree = np.array([row[row >= cfg.variance_alpha].sum() for row in graph])
            if batch.label[b] == 0:
                normal[g].extend(degree)
            else:
                abnormal[g].extend(np.sort(degree)[::-1][: cfg.variance_k])
        if batch.label[b] == 1:
            smooth.append(sum((score[t] - score[t - 1]) ** 2 for t in range(1, len(score))))
            sparse.append(score.sum())
        else:
            reconstruction.extend(output.aux["reconstruction"][b][real])
    gaps = [(np.var(n) - np.var(a)) ** 2 if n and a else 0.0 for n, a in zip(normal, abnormal)]
    terms = {
        "bce": bce,
        "variance": gaps,
        "smoothness": smooth,
        "sparsity": sparse,
        "balance": balance,
        "reconstruction": reconstruction,
    }
    return {name: float(np.mean(values)) if len(values) else 0.0 for name, values in terms.items()}


def weigh(terms: dict[str, float], cfg) -> float:
    return terms["bce"] + sum(cfg[name] * value for name, value in terms.items() if name != "bce")


def test_all_terms_agree_with_loop_oracle():
    for seed in range(3):
        output, batch = problem(seed)
        with jax.enable_x64(True):
            total, terms = run(output, batch)
        expected = oracle(output, batch, CFG)
        assert set(terms) == set(expected)
        for name in expected:
            np.testing.assert_allclose(terms[name], expected[name], rtol=1e-11, err_msg=name)
        np.testing.assert_allclose(total, weigh(expected, CFG), rtol=1e-11)


@pytest.mark.parametrize("holes", [(), (0,), (5,), (2,), (1, 4)])
def test_smoothness_takes_pairs_of_real_neighbours(holes):
    """A pair counts where both of its units are real, wherever the padding lies and whatever it
    holds; normal videos do not."""
    logits = np.array([[0.3, -1.0, 2.0, 0.5, -0.2, 4.0], [1.0, -3.0, 2.0, 0.0, 0.0, 9.0]])
    mask = np.ones((2, 6), bool)
    mask[:, list(holes)] = False
    score = sigmoid(logits[0])
    expected = sum(
        (score[t] - score[t - 1]) ** 2 for t in range(1, 6) if not {t, t - 1} & set(holes)
    )
    output = Output(jnp.where(mask, logits, 7.0), jnp.zeros((2, 0, 6, 6)), {})
    abnormal = jnp.array([True, False])
    total, count = losses.smoothness(
        losses.LossInputs(
            output, None, None, None, jnp.asarray(mask), abnormal | True, ~abnormal, abnormal
        )
    )
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert int(count) == 1


def test_weight_zero_or_missing_output_leaves_a_term_out():
    output, batch = problem()
    off = loss_config(variance=0.0, smoothness=0.0, sparsity=0.0, balance=0.0, reconstruction=0.0)
    assert set(losses.total_loss(output, batch, off)[1]) == {"bce"}
    bare = output._replace(graph=np.zeros((B, 0, N, N)), aux={})
    assert set(losses.total_loss(bare, batch, loss_config())[1]) == {
        "bce",
        "smoothness",
        "sparsity",
    }


@pytest.mark.parametrize("case", ["no abnormal", "no normal", "unknown only", "nothing valid"])
def test_missing_kinds_of_videos_stay_finite(case):
    output, batch = problem()
    if case == "nothing valid":
        batch = batch._replace(valid=np.zeros(B, bool), mask=np.zeros((B, N), bool))
    else:
        batch = batch._replace(
            label=np.full(B, {"no abnormal": 0.0, "no normal": 1.0, "unknown only": -1.0}[case])
        )
    with jax.enable_x64(True):
        (total, terms), gradient = run_with_gradient(output, batch)
    expected = oracle(output, batch, CFG)
    for name in expected:
        np.testing.assert_allclose(terms[name], expected[name], rtol=1e-11, err_msg=name)
    assert np.isfinite(total) and all(
        bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient)
    )
    assert float(terms["variance"]) == 0.0
    if case in ("unknown only", "nothing valid"):
        assert float(total) == 0.0 and all(
            (np.asarray(g) == 0).all() for g in jax.tree.leaves(gradient)
        )


def test_padding_and_uncounted_examples_change_nothing():
    """Values and gradients are bitwise those of other contents of padded units and of uncounted
    examples, NaN included."""
    output, batch = jax.tree.map(
        lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, problem()
    )
    counted = VALID & (LABEL >= 0)
    real = MASK & counted[:, None]
    parts = (output.logits, output.graph, output.aux["balance"], output.aux["reconstruction"])
    pairs = (real[:, :, None] & real[:, None, :])[:, None]
    base = run_with_gradient(output, batch)
    for junk in (np.nan, np.inf, 50.0):
        logits, graph, each, error = (
            np.where(keep, part, np.float32(junk))
            for part, keep in zip(parts, (real, pairs, counted, real))
        )
        other = run_with_gradient(
            Output(logits, graph, {"balance": each, "reconstruction": error}), batch
        )
        jax.tree.map(np.testing.assert_array_equal, base, other)


def test_wider_padding_and_permuted_videos_change_nothing():
    output, batch = problem(1)
    wide = lambda a, axes: np.pad(a, [(0, 5 if axis in axes else 0) for axis in range(a.ndim)])
    aux = {**output.aux, "reconstruction": wide(output.aux["reconstruction"], (1,))}
    padded = Output(wide(output.logits, (1,)), wide(output.graph, (2, 3)), aux)
    order = np.random.default_rng(0).permutation(B)
    with jax.enable_x64(True):
        base = run(output, batch)
        others = [
            run(padded, batch._replace(mask=wide(MASK, (1,)))),
            run(*jax.tree.map(lambda a: a[order], (output, batch))),
        ]
    for other in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), base, other)


def test_gradients_agree_with_finite_differences():
    output, batch = problem(2)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        loss = lambda o: run(o, batch)[0]
        _, gradient = run_with_gradient(output, batch)
        for _ in range(4):
            direction = jax.tree.map(lambda a: rng.normal(size=a.shape), output)
            plus, minus = (
                loss(jax.tree.map(lambda a, d: a + s * d, output, direction)) for s in (1e-6, -1e-6)
            )
            exact = sum(
                jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction))
            )
            np.testing.assert_allclose(exact, (plus - minus) / 2e-6, rtol=2e-6)


def test_bce_is_exact_at_huge_logits():
    """Where sigmoid is 0 or 1 in float32, the loss is still the logit, and its gradient finite."""
    mask, ones = np.ones((1, 32), bool), np.ones(1, bool)
    loss = jax.jit(
        jax.value_and_grad(
            lambda logits, label: losses.multiple_instance_bce(logits, mask, label, ones, 16)[0]
        )
    )
    for logit in (-1e4, -90.0, 90.0, 1e4):
        for label in (0.0, 1.0):
            value, gradient = loss(
                np.full((1, 32), logit, np.float32), np.array([label], np.float32)
            )
            np.testing.assert_allclose(
                value, max(0.0, logit if label == 0 else -logit), rtol=1e-6, atol=1e-30
            )
            assert np.isfinite(gradient).all()


def test_bce_of_one_unit_is_plain_cross_entropy():
    logits = jnp.array([[0.7], [-1.2]])
    bce = jax.jit(losses.multiple_instance_bce, static_argnums=4)
    total, count = bce(logits, jnp.ones((2, 1), bool), jnp.array([1.0, 0.0]), jnp.ones(2, bool), 16)
    np.testing.assert_allclose(
        total / count, np.mean([np.log1p(np.exp(-0.7)), np.log1p(np.exp(-1.2))]), rtol=1e-6
    )


def test_degree_counts_edges_at_alpha_and_not_below():
    graph = jnp.array([[[[1.0, 0.5, 0.49], [0.5, 1.0, 9.0], [0.49, 9.0, 1.0]]]])
    np.testing.assert_allclose(
        losses.degrees(graph, jnp.array([[True, True, False]]), 0.5), [[[1.5, 1.5, 0.0]]]
    )


def test_degree_variance_does_not_cancel_in_float32():
    """Degrees near 4000 with a spread below 1: E[d^2] - E[d]^2 would lose all digits in float32."""
    rng = np.random.default_rng(0)
    graph = np.zeros((4, 1, 6, 6), np.float32)
    graph[:, 0, range(6), range(6)] = 4000 + rng.uniform(0, 1, size=(4, 6))
    labels = np.array([0, 0, 1, 1])
    cfg, known = loss_config(variance_alpha=0.5, variance_k=2), np.ones(4, bool)
    output, mask = Output(np.zeros((4, 6)), graph, {}), np.ones((4, 6), bool)
    value, count = losses.degree_variance(
        losses.LossInputs(output, None, cfg, None, mask, known, labels == 0, labels == 1)
    )
    d = graph[:, 0, range(6), range(6)].astype(np.float64)
    expected = (d[:2].var() - np.sort(d[2:], 1)[:, -2:].var()) ** 2
    assert int(count) == 1
    np.testing.assert_allclose(value, expected, rtol=1e-3)


def model(params, features):
    """A little detector with parameters, so that gradients of parameters can be compared."""
    logits = jnp.tanh(features @ params["a"]) @ params["b"]
    graph = jnp.einsum("bnd,gd,bmd->bgnm", features, params["g"], features)
    return Output(
        logits,
        graph,
        {
            "balance": jnp.square(logits).mean(1),
            "reconstruction": jnp.square(features @ params["a"]).sum(-1),
        },
    )


def test_mean_of_device_gradients_is_the_gradient_of_the_whole_batch():
    """vmap with an axis name has the collective semantics of a device mapping; shards hold
    unequal numbers of every kind."""
    shards, rng = 4, np.random.default_rng(3)
    with jax.enable_x64(True):
        _, batch = jax.tree.map(jnp.asarray, problem())
        features = jnp.asarray(rng.normal(size=(B, N, 5)))
        params = {
            name: jnp.asarray(rng.normal(size=shape)) * 0.5
            for name, shape in {"a": (5, 4), "b": (4,), "g": (G, 5)}.items()
        }

        def loss(params, features, batch, axis_name=None):
            return losses.total_loss(model(params, features), batch, CFG, axis_name)

        (whole, terms), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            params, features, batch
        )
        assert all(float(value) != 0 for value in terms.values())

        def step(params, features, batch):
            values, gradients = jax.value_and_grad(loss, has_aux=True)(
                params, features, batch, axis_name="d"
            )
            return values, gradients, jax.lax.pmean(gradients, "d")

        shard = lambda a: a.reshape(shards, B // shards, *a.shape[1:])
        (values, parts), own, mean = jax.jit(jax.vmap(step, (None, 0, 0), axis_name="d"))(
            params, *jax.tree.map(shard, (features, batch))
        )
    # the same scalar on every device
    np.testing.assert_allclose(values, np.full(shards, whole), rtol=1e-12)
    for name in terms:
        np.testing.assert_allclose(
            parts[name], np.full(shards, terms[name]), rtol=1e-12, err_msg=name
        )
    for name in params:
        np.testing.assert_allclose(
            np.asarray(own[name]).mean(0), gradient[name], rtol=1e-9, atol=1e-11, err_msg=name
        )
        np.testing.assert_allclose(
            mean[name][0], gradient[name], rtol=1e-9, atol=1e-11, err_msg=name
        )
