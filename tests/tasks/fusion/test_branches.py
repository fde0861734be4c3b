"""The head of branches, the losses that go with it, and descriptions that fade: against float64
numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.common import get_config
from gfvad.base.types import Batch, ConfigError, Output
from gfvad.data import text
from gfvad.data.text import GAP_SECONDS, LEAST_FADE, assignment_weights
from gfvad.encoders.registry import open_sentences
from gfvad.tasks.fusion import losses, registry
from gfvad.tasks.fusion.content import direction
from gfvad.tasks.fusion.heads import BranchHead
from gfvad.train.optim import fusion_coefficients, make_optimiser

N, G, C = 6, 2, 3
MASK = np.array([True, True, True, False, True, True])
HEAD = BranchHead(
    hidden=4, layers=1, alpha=0.3, topk=2, relations=True, gates=(0.5, 2.0, 1.0, 0.25), mix=0.3
)


def problem(seed=0, n=N):
    rng = np.random.default_rng(seed)
    graphs = rng.uniform(-0.2, 1.0, (G, n, n))
    return (graphs + graphs.swapaxes(1, 2)) / 2, {m: rng.normal(size=(n, C)) for m in ("a", "b")}


def initialised(head=HEAD):
    graphs, content = problem()
    return head.init(
        jax.random.key(0),
        graphs.astype(np.float32),
        {m: x.astype(np.float32) for m, x in content.items()},
        MASK,
        train=False,
    )


def test_sum_and_diffusion_agree_with_numpy():
    graphs, content = problem()
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: np.asarray(x, np.float64) + 0.1, initialised())
        logits, branches = HEAD.apply(params, graphs, content, MASK, train=False)
    assert list(branches) == ["a", "b", "gnn", "graph"]
    for m in ("a", "b"):
        dense = params["params"][f"branch_{m}"]
        np.testing.assert_allclose(
            np.asarray(branches[m])[MASK],
            (content[m] @ dense["kernel"] + dense["bias"])[MASK, 0],
            rtol=1e-12,
        )
    z = 0.1 + sum(g * np.asarray(x) for g, x in zip(HEAD.gates, branches.values()))
    expected = np.zeros(N)
    for i in np.flatnonzero(MASK):
        diffused = 0.0
        for graph in graphs:
            row = np.where(MASK, np.abs(graph[i]), 0)
            weight = row / (row.sum() + 1e-3)
            diffused += (weight @ np.where(MASK, z, 0) + (1 - weight.sum()) * z[i]) / G
        expected[i] = 0.7 * z[i] + 0.3 * diffused
    np.testing.assert_allclose(logits, expected, rtol=1e-10, atol=1e-12)


def test_padding_and_order_change_nothing():
    graphs, content = problem()
    params = initialised()
    run = jax.jit(lambda g, c, m: HEAD.apply(params, g, c, m, train=False)[0])
    logits = run(graphs, content, MASK)
    junk = graphs.copy()
    junk[:, ~MASK], junk[:, :, ~MASK] = 9.0, -9.0
    np.testing.assert_array_equal(
        run(junk, {m: np.where(MASK[:, None], x, 7.0) for m, x in content.items()}, MASK), logits
    )
    order = np.random.default_rng(1).permutation(N)
    permuted = run(
        graphs[:, order][:, :, order], {m: x[order] for m, x in content.items()}, MASK[order]
    )
    np.testing.assert_allclose(permuted, logits[order], rtol=2e-5, atol=2e-6)
    assert (logits[~MASK] == 0).all()


def test_no_mix_no_graph_is_the_plain_sum():
    head = BranchHead(layers=0, relations=False, mix=0.0)
    graphs, content = problem()
    logits, branches = head.apply(initialised(head), graphs, content, MASK, train=False)
    np.testing.assert_allclose(logits, sum(branches.values()), rtol=1e-6)


def test_a_unit_that_does_not_count_is_given_the_score_of_absence():
    """z = c (w h + b) + (1 - c) logit(absent), with the embedding already times c; other
    branches keep their constant."""
    head = BranchHead(layers=0, relations=False, mix=0.0, absent=0.01)
    graphs, content = problem()
    params = jax.tree.map(lambda x: x + 0.3, initialised(head))
    counts = {"a": np.array([0.0, 0.25, 1.0, 0.5, 0.75, 1.0])}
    faded = content | {"a": content["a"] * counts["a"][:, None]}
    _, branches = head.apply(params, graphs, faded, MASK, counts, train=False)
    dense = params["params"]["branch_a"]
    plain = (content["a"] @ dense["kernel"] + dense["bias"])[:, 0]
    expected = counts["a"] * plain + (1 - counts["a"]) * np.log(0.01 / 0.99)
    np.testing.assert_allclose(np.asarray(branches["a"])[MASK], expected[MASK], rtol=1e-5)
    np.testing.assert_allclose(
        branches["b"], head.apply(params, graphs, faded, MASK, train=False)[1]["b"], rtol=1e-6
    )


def test_detached_branches_learn_from_their_own_loss_only():
    graphs, content = problem()
    for detach in (True, False):
        head = BranchHead(hidden=4, layers=0, relations=False, detach=detach)
        params = initialised(head)
        through_sum = jax.grad(
            lambda p: head.apply(p, graphs, content, MASK, train=False)[0].sum()
        )(params)["params"]
        assert (np.abs(through_sum["branch_a"]["kernel"]).max() == 0) == detach
        own = jax.grad(lambda p: head.apply(p, graphs, content, MASK, train=False)[1]["a"].sum())(
            params
        )["params"]
        assert np.abs(own["branch_a"]["kernel"]).max() > 0


def test_gates_must_fit():
    with pytest.raises(ConfigError, match="gates.*a, b, gnn, graph"):
        initialised(BranchHead(hidden=4, gates=(1.0, 1.0)))


def test_branch_and_unit_losses_agree_with_numpy():
    rng = np.random.default_rng(0)
    logits, branch = rng.normal(size=(2, 3, 5)) * 2
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
    label, valid = np.array([0.0, 0.0, 1.0]), np.array([True, True, True])
    output = Output(logits, np.zeros((3, 0, 5, 5)), {"branch/a": branch})
    batch = Batch({}, mask, label, valid, np.arange(3), np.zeros(3, int), np.arange(3))
    cfg = get_config().loss
    cfg.update(
        ConfigDict(
            {
                "topk_divisor": 2,
                "branch": 0.5,
                "unit_normal": 2.0,
                "unit_abnormal": 3.0,
                "unit_abnormal_steps": 8,
            }
        )
    )
    with jax.enable_x64(True):
        total, terms = losses.total_loss(output, batch, cfg, step=2)
        late = losses.total_loss(output, batch, cfg, step=20)[0]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))

    def bce(z):
        scores = [
            np.sort(sigmoid(z[b][mask[b]]))[::-1][: max(1, mask[b].sum() // 2)].mean()
            for b in range(3)
        ]
        return -np.mean([np.log(s) if y else np.log(1 - s) for s, y in zip(scores, label)])

    units = [-np.log(1 - sigmoid(z[b][mask[b]])) for z in (logits, branch) for b in (0, 1)]
    expected = {
        "bce": bce(logits),
        "branch/a": bce(branch),
        "unit_normal": np.concatenate(units).sum() / 8,
    }
    expected["unit_abnormal"] = (
        np.concatenate([-np.log(sigmoid(z[2][mask[2]])) for z in (logits, branch)]).sum() / 4
    )
    assert set(terms) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-10, err_msg=name)
    rest = expected["bce"] + 0.5 * expected["branch/a"] + 2 * expected["unit_normal"]
    # fades over 8 steps
    np.testing.assert_allclose(
        total, rest + 3 * (1 - 2 / 8) * expected["unit_abnormal"], rtol=1e-10
    )
    np.testing.assert_allclose(late, rest, rtol=1e-10)


def test_branches_learn_the_fused_scores_of_abnormal_videos():
    """Against numpy; no gradient reaches the target, normal videos and padding count nowhere, no
    branches give 0."""
    rng = np.random.default_rng(3)
    logits, first, second = rng.normal(size=(3, 3, 5)) * 2
    mask = np.arange(5) < np.array([5, 3, 4])[:, None]
    abnormal = np.array([False, True, True])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    with jax.enable_x64(True):
        output = Output(
            logits,
            np.zeros((3, 0, 5, 5)),
            {"branch/a": first, "branch/b": second, "balance": np.ones(3)},
        )
        known = np.ones(3, bool)
        given = losses.LossInputs(output, None, None, None, mask, known, ~abnormal, abnormal)
        term = lambda changed: losses.consistency(given._replace(output=changed))
        total, count = term(output)
        grads = jax.grad(lambda z: term(output._replace(logits=z))[0])(logits)
        own = jax.grad(lambda z: term(output._replace(aux={"branch/a": z}))[0])(first)
    taken, t = mask & abnormal[:, None], sigmoid(logits)
    expected = sum(
        -(t * np.log(sigmoid(z)) + (1 - t) * np.log(1 - sigmoid(z)))[taken].sum()
        for z in (first, second)
    )
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    assert count == 7 and (grads == 0).all()
    np.testing.assert_allclose(own, np.where(taken, sigmoid(first) - t, 0), atol=1e-12)
    assert term(output._replace(aux={}))[0] == 0


def test_descriptions_fade_with_the_gap():
    units = np.array([[0.0, 1.0], [1.0, 2.0], [4.0, 5.0], [1000.0, 1001.0]])
    weights = assignment_weights(units, np.array([[0.0, 2.0]]), "decay")
    np.testing.assert_allclose(
        weights[:, 0], [1, 1, np.exp(-2 / GAP_SECONDS), LEAST_FADE], rtol=1e-12
    )
    assert (
        (weights > 0) == (assignment_weights(units, np.array([[0.0, 2.0]]), "nearest") > 0)
    ).all()


def test_the_length_of_a_fading_description_is_its_weight():
    """Whatever the sentences of a unit agree on: one, two that differ, one far away, none."""
    encoder = open_sentences("hash")
    captions = text.Captions(
        60.0, np.array([[0.0, 2.0], [1.0, 2.0]]), ("a man runs", "cars stand in a street")
    )
    features = text.text_features(
        captions, np.array([[0.0, 1.0], [1.0, 2.0], [4.0, 5.0]]), encoder, "decay"
    )
    np.testing.assert_allclose(
        np.linalg.norm(features, axis=1), [1, 1, np.exp(-2 / GAP_SECONDS)], rtol=1e-6
    )
    both = encoder.encode(list(captions.sentences)).sum(0)
    np.testing.assert_allclose(features[1], both / np.linalg.norm(both), atol=1e-6)


def test_direction_and_length():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 4)) * np.array([[0.1], [1.0], [1e-6], [0.0], [3.0]])
    with jax.enable_x64(True):
        unit, length = map(np.asarray, direction(jnp.asarray(x)))
        gradient = np.asarray(
            jax.grad(lambda x: jnp.sin(direction(x)[0]).sum() + direction(x)[1].sum())(
                jnp.asarray(x)
            )
        )
    norms = np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(length, np.minimum(norms, 1), rtol=1e-12)
    np.testing.assert_allclose(unit[norms > 0] * norms[norms > 0, None], x[norms > 0], rtol=1e-12)
    assert (unit[3] == 0).all() and np.isfinite(gradient).all()


def test_a_fading_unit_goes_to_the_branch_constant():
    """Logit of a branch = its constant + weight * what the description says: linear in the
    length, whatever the direction."""
    c = get_config()
    c.model.update({"embed_dim": 4, "confidence": ("text",)})
    c.model.expansion.order = 1
    c.model.head.update(
        {"kind": "branches", "layers": 0, "relations": False, "prior": 0.05, "mix": 0.0}
    )
    model = registry.build_model(
        c,
        {"text": 3},
        {"text": {"mean": np.full(3, 0.2, np.float32), "std": np.ones(3, np.float32)}},
    )
    x = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    variables = model.init(jax.random.key(0), {"text": x}, MASK, train=False)
    assert variables["params"]["head"]["branch_text"]["bias"] == pytest.approx(np.log(0.05 / 0.95))
    at = lambda w: np.asarray(
        model.apply(variables, {"text": (x * w).astype(np.float32)}, MASK, train=False).logits
    )[MASK]
    nothing = np.log(0.05 / 0.95)
    np.testing.assert_allclose(at(LEAST_FADE), nothing, atol=1e-4)
    np.testing.assert_allclose(at(0.0), nothing, rtol=1e-6)
    np.testing.assert_allclose(at(0.3), 0.7 * nothing + 0.3 * at(1.0), rtol=1e-4, atol=1e-5)


def test_coefficients_have_their_own_learning_rate():
    params = {
        "fusion": {"a": np.ones(3, np.float32)},
        "head": {"kernel": np.ones((2, 2), np.float32)},
    }
    assert fusion_coefficients(params) == {"fusion": {"a": True}, "head": {"kernel": False}}
    cfg = get_config().optim
    cfg.update(
        {
            "name": "sgd",
            "schedule": "constant",
            "warmup_steps": 0,
            "clip_norm": 0.0,
            "learning_rate": 0.1,
            "graph_rate": 5.0,
        }
    )
    transform = make_optimiser(cfg, 10).transform
    updates, _ = transform.update(params, transform.init(params), params)
    np.testing.assert_allclose(updates["fusion"]["a"], -0.5, rtol=1e-6)
    np.testing.assert_allclose(updates["head"]["kernel"], -0.1, rtol=1e-6)


def test_separate_channels_see_one_graph_each():
    from gfvad.fusion.operator import FusionOperator

    c = get_config().model
    c.fusion.update({"cross_terms": False, "separate": True, "channels": 2})
    c.expansion.order = 2
    graphs = np.random.default_rng(0).uniform(0, 1, (2, N, N)).astype(np.float32)
    operator = FusionOperator(c.fusion, c.expansion)
    params = operator.init(jax.random.key(0), graphs, MASK, train=False)
    before = np.asarray(operator.apply(params, graphs, MASK, train=False))
    other = np.asarray(
        operator.apply(params, np.stack([graphs[0], graphs[1] ** 2]), MASK, train=False)
    )
    np.testing.assert_array_equal(before[0], other[0])
    assert np.abs(before[1] - other[1]).max() > 0
