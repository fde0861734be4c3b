"""The whole detector on one video: stages against oracles, absent units, padding, batching,
gradients; and the registry's refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.common import get_config
from gfvad.base.types import ConfigError, DataError
from gfvad.nn.filter import SparseFeatureFilter
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.content import standardise

N = 9
DIMS = {"rgb": 6, "audio": 4}
MASK = np.arange(N) < 7
ROW = {
    "model.head.kind": "row",
    "data.eval_mode": "segments",
    "data.train_sampling": "mean",
    "data.train_units": N,
}
FILTER = {
    "model.filter.modalities": ("rgb", "audio"),
    "model.relation.sources": ("raw", "filtered", "residual"),
}
VARIANTS = {
    "gnn": {"model.fusion.channels": 2, "model.expansion.kind": "walk"},
    "filter": {**FILTER, "model.head.layers": 2, "data.standardize": "standardize"},
    "degree": {
        "model.head.kind": "degree",
        "model.fusion.parametrisation": "nonneg",
        "model.relation.threshold": 0.1,
    },
    "row": {**ROW, "model.fusion.form": "full", "model.expansion.kind": "diffusion"},
    "pair": {"model.fusion.graphs": "random_pair", "model.relation.temporal_tau": 3.0},
}
VARIANTS["branches"] = {
    "model.head.kind": "branches",
    "model.confidence": ("audio",),
    "model.head.prior": 0.1,
    "model.head.gates": (0.5, 1.0, 2.0, 1.0),
}
VARIANTS["degree"] |= {"model.relation.knn": 2}
VARIANTS["pair"] |= {
    "model.relation.similarity": "rbf",
    "model.relation.sigma": -1.0,
    "model.relation.projection": 3,
}


def settings(**overrides):
    config = get_config()
    small = {
        "model.embed_dim": 5,
        "model.head.hidden": 6,
        "model.head.topk": 3,
        "model.expansion.order": 2,
        "model.fusion.rank": 2,
    }
    small |= {"model.filter.experts": 4, "model.filter.topk": 2, "model.filter.bottleneck": 2}
    config.update_from_flattened_dict({**small, **overrides})
    return config


def statistics(seed=5):
    rng = np.random.default_rng(seed)
    draw = lambda d: {
        "mean": np.float32(rng.normal(size=d)),
        "std": np.float32(rng.uniform(0.5, 2, size=d)),
    }
    return {m: draw(d) for m, d in DIMS.items()}


def video(seed=0):
    """Features with one second of silence (audio unit 3) inside the real units."""
    rng = np.random.default_rng(seed)
    features = {m: rng.normal(size=(N, d)).astype(np.float32) + 0.3 for m, d in DIMS.items()}
    features["audio"][3] = 0.0
    return features


def build(name):
    """Model and variables of a variant: the training split's statistics, and parameters random
    in every leaf."""
    model = registry.build_model(settings(**VARIANTS[name]), DIMS, statistics())
    keys = dict(zip(("params", "dropout", "pair"), jax.random.split(jax.random.key(0), 3)))
    shapes = jax.eval_shape(lambda: model.init(keys, video(), MASK, train=False))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda a: rng.normal(size=a.shape).astype(np.float32) * 0.5, shapes["params"]
    )
    constants = {
        f"{key}_{m}": value for m, values in statistics().items() for key, value in values.items()
    }
    return model, {"params": params, "constants": constants}


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def built(request):
    """(variant, model, variables, run); run gives the output, and the gradients of a loss that
    reads all of it."""
    model, variables = build(request.param)

    @jax.jit
    def run(variables, features, mask):
        def loss(params, features):
            output = model.apply({**variables, "params": params}, features, mask, train=False)
            aux = {k: v for k, v in output.aux.items() if k in ("balance", "reconstruction")}
            return (
                sum(
                    jnp.sin(leaf).sum()
                    for leaf in jax.tree.leaves((output.logits, output.graph, aux))
                ),
                output,
            )

        gradients, output = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            variables["params"], features
        )
        return output, gradients

    return request.param, model, variables, run


def finite(tree) -> bool:
    return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_output_follows_the_contract(built):
    name, model, variables, run = built
    output, _ = run(variables, video(), MASK)
    channels = 2 if name == "gnn" else 1
    assert output.logits.shape == (N,) and output.graph.shape == (channels, N, N)
    assert output.logits.dtype == output.graph.dtype == jnp.float32
    assert (np.asarray(output.logits)[~MASK] == 0).all()
    assert (np.asarray(output.graph)[:, ~MASK] == 0).all() and (
        np.asarray(output.graph)[:, :, ~MASK] == 0
    ).all()
    expected = {f"{key}/{m}" for key in ("usage", "router_entropy") for m in DIMS} | {
        "balance",
        "reconstruction",
    }
    branches = {f"branch/{b}" for b in ("rgb", "audio", "gnn", "graph")}
    assert set(output.aux) == {"filter": expected, "branches": branches}.get(name, set())
    assert finite(output)
    hash(model)  # a module can be a static argument


def test_padded_content_changes_nothing_even_if_not_finite(built):
    _, _, variables, run = built
    base = run(variables, video(), MASK)
    assert finite(base)
    for junk in (np.float32(np.nan), np.float32(np.inf), np.float32(7)):
        other = {m: np.where(MASK[:, None], x, junk) for m, x in video().items()}
        jax.tree.map(np.testing.assert_array_equal, base, run(variables, other, MASK))


def test_cutting_the_padding_off_changes_nothing(built):
    name, model, variables, run = built
    if name == "row":
        pytest.skip("the row head is bound to its number of units")
    n = MASK.sum()
    padded, _ = run(variables, video(), MASK)
    cut = jax.jit(lambda v, x, mask: model.apply(v, x, mask, train=False))(
        variables, {m: x[:n] for m, x in video().items()}, MASK[:n]
    )
    close(padded.logits[:n], cut.logits, rtol=1e-4, atol=1e-5)
    close(padded.graph[:, :n, :n], cut.graph, rtol=1e-4, atol=1e-5)


def test_permuting_units_permutes_output(built):
    name, _, variables, run = built
    if name in ("row", "pair"):
        pytest.skip("the row head and the temporal graph know the order of units")
    order = np.random.default_rng(2).permutation(N)
    moved = {m: x[order] for m, x in video().items()}
    (base, slopes), (other, moved_slopes) = (
        run(variables, video(), MASK),
        run(variables, moved, MASK[order]),
    )
    close(other.logits, base.logits[order], rtol=1e-4, atol=1e-5)
    close(other.graph, base.graph[:, order][:, :, order], rtol=1e-4, atol=1e-5)
    close(moved_slopes[0], slopes[0], rtol=2e-3, atol=1e-4)


def test_absent_modality_and_silence_are_harmless(built):
    """Zero modalities (and a video of silence) give finite outputs and gradients, and relations
    of 0."""
    _, _, variables, run = built
    for silent in (("audio",), ("rgb", "audio")):
        features = {m: np.zeros_like(x) if m in silent else x for m, x in video().items()}
        assert finite(run(variables, features, MASK))


def test_batch_rows_equal_single_videos_and_do_not_see_each_other(built):
    """As a training step calls it: per-example dropout keys, one key for the pair of graphs,
    shared parameters."""
    name, model, variables, _ = built
    pair = jax.random.key(9)
    keys = jax.random.split(jax.random.key(3), 3)
    masks = np.stack([MASK, np.ones(N, bool), np.zeros(N, bool)])
    batch = {m: np.stack([video(s)[m] for s in range(3)]) for m in DIMS}

    def one(features, mask, key):
        return model.apply(
            variables, features, mask, train=True, rngs={"dropout": key, "pair": pair}
        )

    together = jax.jit(jax.vmap(one))
    output = together(batch, masks, keys)
    assert finite(output)
    if name == "pair":
        single = jax.jit(one)
        for b in range(2):
            alone = single({m: x[b] for m, x in batch.items()}, masks[b], keys[b])
            close(jax.tree.map(lambda a: a[b], output), alone, rtol=1e-4, atol=1e-5)
    # other neighbours: bitwise the same row
    changed = {m: np.concatenate([x[:1], 5 * x[1:]]) for m, x in batch.items()}
    other = together(changed, masks, keys)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), output, other)


def test_statistics_are_constants_of_the_state_not_of_the_module():
    """A module built with statistics starts with them; one without, given a checkpoint's
    constants, computes the same."""
    model, variables = build("degree")
    bare = registry.build_model(settings(**VARIANTS["degree"]), DIMS, None)
    init = lambda module: jax.jit(
        lambda: module.init(jax.random.key(0), video(), MASK, train=False)
    )()
    full, fresh = init(model), init(bare)
    assert set(full) == set(fresh) == {"params", "constants"}
    close(full["constants"], variables["constants"], rtol=0)
    close(full["params"], fresh["params"], rtol=0)
    np.testing.assert_array_equal(fresh["constants"]["mean_rgb"], np.zeros(6))
    run = jax.jit(
        lambda module, variables: module.apply(variables, video(), MASK, train=False),
        static_argnums=0,
    )
    close(run(bare, variables), run(model, variables), rtol=0)


@pytest.mark.parametrize("mode", ["none", "center", "standardize"])
def test_standardising_keeps_absent_units_zero(mode):
    for m, raw in video().items():
        mean, std = statistics()[m].values()
        std[0] = 0.0
        x, present = standardise(raw, MASK, mean, std, mode)
        here = MASK & (raw != 0).any(-1)
        assert here[3] == (m == "rgb")
        expected = raw.astype(np.float64) - (0 if mode == "none" else mean)
        expected = expected / (np.where(std > 0, std, 1) if mode == "standardize" else 1)
        np.testing.assert_array_equal(present, here)
        np.testing.assert_allclose(x, np.where(here[:, None], expected, 0), rtol=1e-5, atol=1e-6)


def test_reconstruction_is_the_residual_of_present_units():
    model, variables = build("filter")
    output = jax.jit(lambda v: model.apply(v, video(), MASK, train=False))(variables)
    expected = {}
    for m, x in video().items():
        x, present = standardise(x, MASK, *statistics()[m].values(), "standardize")
        y, stats = jax.jit(SparseFeatureFilter(4, 2, 2).apply)(
            {"params": variables["params"][f"filter_{m}"]}, x, present
        )
        np.testing.assert_allclose(output.aux[f"usage/{m}"], stats.usage, rtol=1e-6)
        expected[m] = np.square(x - y).mean(-1)
    assert expected["audio"][3] == 0 and expected["rgb"][3] > 0
    np.testing.assert_allclose(
        output.aux["reconstruction"], expected["rgb"] + expected["audio"], rtol=1e-4, atol=1e-6
    )


def test_whole_gradient_agrees_with_finite_differences():
    """Filter, graphs on all feature sets, fusion and gnn head together, in float64."""
    model, variables = build("filter")
    rng = np.random.default_rng(4)
    weight = rng.normal(size=N)
    with jax.enable_x64(True):
        variables, features = jax.tree.map(
            lambda a: np.asarray(a, np.float64), (variables, video())
        )

        @jax.jit
        @jax.value_and_grad
        def run(params):
            output = model.apply({**variables, "params": params}, features, MASK, train=False)
            return (
                (output.logits * weight).sum()
                + output.graph.mean()
                + output.aux["reconstruction"].sum()
            )

        params = variables["params"]
        _, gradient = run(params)
        for _ in range(3):
            direction = jax.tree.map(lambda a: rng.normal(size=a.shape), params)
            plus, minus = (
                run(jax.tree.map(lambda a, d: a + s * d, params, direction))[0]
                for s in (1e-6, -1e-6)
            )
            along = sum(
                jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction))
            )
            np.testing.assert_allclose(along, (plus - minus) / 2e-6, rtol=1e-4)


def test_size_of_the_papers_model():
    """Full A with P = Q = 8 (81) and the row head at N = 32 (32 * 32 + 32 + 32 + 1): 1,170
    parameters, about 1.2 k."""
    changes = {
        **ROW,
        "data.train_units": 32,
        "model.fusion.form": "full",
        "model.expansion.order": 8,
    }
    model = registry.build_model(settings(**changes), DIMS)
    features = {m: jnp.zeros((32, d)) for m, d in DIMS.items()}
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), features, jnp.ones(32, bool), train=False)
    )
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert count(shapes["params"]["fusion"]) == 81
    assert count(shapes["params"]["head"]) == 1089
    assert count(shapes["params"]) == 1170


def test_wrong_features_are_refused_by_name():
    model, variables = build("gnn")
    with pytest.raises(DataError, match=r"'audio': \(9, 3\).*'audio': \(9, 4\)"):
        model.apply(
            variables, {**video(), "audio": np.zeros((N, 3), np.float32)}, MASK, train=False
        )
    with pytest.raises(DataError, match="every modality of data.modalities"):
        model.apply(variables, {"rgb": video()["rgb"]}, MASK, train=False)
    short = {**statistics(), "audio": {"mean": np.zeros(3), "std": np.ones(4)}}
    with pytest.raises(DataError, match=r"'mean' of 'audio': found shape \(3,\), expected 4"):
        registry.build_model(settings(), DIMS, short)


REFUSED = [
    ({"model.name": "graph_fuson"}, r"model.name = 'graph_fuson'; did you mean 'graph_fusion'\?"),
    ({"model.head.kind": "gcn"}, r"model.head.kind = 'gcn'; did you mean 'gnn'\?"),
    ({"model.relation.similarity": "cosin"}, r"did you mean 'cosine'\?"),
    (
        {"model.relation.sources": ("raw", "residuals")},
        r"model.relation.sources = 'residuals'; did you mean 'residual'\?",
    ),
    ({"model.relation.sources": ()}, "model.relation.sources = .*at least one"),
    (
        {"model.relation.sources": ("raw", "residual")},
        "needs a filter on rgb, audio: add to config.model.filter.modalities",
    ),
    (
        {"model.relation.sources": ("filtered",), "model.filter.modalities": ("rgb",)},
        "needs a filter on audio",
    ),
    ({"model.confidence": ("adio",)}, r"model.confidence = 'adio'; did you mean 'audio'\?"),
    ({"model.head.prior": 1.0}, "model.head.prior = 1.0: expected a number in \\(0, 1\\)"),
    (
        {"model.filter.modalities": ("rbg",)},
        r"model.filter.modalities = 'rbg'; did you mean 'rgb'\?",
    ),
    (
        {"model.filter.modalities": ("rgb",), "model.filter.topk": 5},
        "model.filter.topk = 5: expected at most .*filter.experts = 4",
    ),
    (
        {"model.head.kind": "row"},
        "model.head.kind = 'row'.*data.eval_mode = 'segments'.*data.train_sampling = 'mean'",
    ),
    ({**ROW, "data.eval_mode": "full"}, "data.eval_mode = 'segments'"),
    (
        {"model.fusion.form": "full", "model.relation.temporal_tau": 2.0},
        "model.fusion.form is 'full', .* but there are 3",
    ),
    ({"model.expansion.order": 0}, "model.expansion.order = 0: expected a whole number from 1"),
    ({"model.dropout": 1.0}, "model.dropout = 1.0: expected a fraction"),
    ({"model.expansion.restart": 1.5}, "model.expansion.restart = 1.5"),
    ({"model.relation.threshold": 2.0}, "threshold"),
]


@pytest.mark.parametrize("changes, message", REFUSED)
def test_impossible_settings_are_refused_by_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        registry.check_model(settings(**changes), tuple(DIMS))
    with pytest.raises(ConfigError, match=message):
        registry.build_model(settings(**changes), DIMS)


def test_single_modality_cannot_be_paired():
    for changes, message in (
        ({"model.fusion.form": "outer"}, "there are 1"),
        ({"model.fusion.graphs": "random_pair"}, "there is 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            registry.check_model(settings(**changes), ("rgb",))
    registry.check_model(settings(), ("rgb",))


@pytest.mark.parametrize("name", VARIANTS)
def test_working_settings_pass(name):
    registry.check_model(settings(**VARIANTS[name]), tuple(DIMS))
