"""Relations, expansions and forms of fusion of one's own: known to the public API, to settings and
to the detector, without an edit of the package."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registered import leave_no_trace

import gfvad
from configs.common import get_config
from gfvad.fusion.coefficients import dense_coefficients, is_pictured
from gfvad.settings.config import config_hash, validate
from gfvad.tasks.fusion import registry

N = 6
MASK = np.arange(N) < 5


@pytest.fixture(autouse=True)
def no_trace():
    with leave_no_trace():
        yield


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, N, 4)).astype(np.float32)


def overlap(x, mask):
    return jnp.minimum(x[:, None], x).sum(-1)


def scaled(x, mask, sigma):
    width = 1.0 if sigma is None else sigma
    return jnp.exp(-jnp.abs(x[:, None] - x).sum(-1) / width)


def means(r, mask, order):
    mean = r.sum(-1, keepdims=True) / mask.sum()
    return jnp.stack([jnp.eye(len(r)), *[r * mean**p for p in range(order)]])


def weighted(c, graphs):
    return jnp.einsum("mp,mpij->ij", c, graphs)


def even(graphs, order):
    return np.full((graphs, order + 1), 1 / graphs / (order + 1))


def test_a_relation(x):
    gfvad.register_relation("overlap", overlap)
    graph = gfvad.relation(x, "overlap", MASK)
    np.testing.assert_allclose(graph[0, :5, :5], overlap(x[0], MASK)[:5, :5])
    assert not np.asarray(graph)[:, ~MASK].any()
    gfvad.register_relation("scaled", scaled)
    assert gfvad.relation(x, "scaled", sigma=9.0).sum() > gfvad.relation(x, "scaled").sum()
    gfvad.register_relation("flat", lambda x, mask: x.sum(-1))
    with pytest.raises(gfvad.ConfigError, match=r"gives \(6,\).*expected \[N, N\]"):
        gfvad.relation(x, "flat")
    with pytest.raises(gfvad.ConfigError, match="'cosine' is registered already"):
        gfvad.register_relation("cosine", overlap)


def test_an_expansion(x):
    gfvad.register_expansion("means", means)
    graph = gfvad.relation(x)
    terms = gfvad.expand(graph, "means", 2, MASK)
    assert terms.shape == (2, 3, N, N) and not np.asarray(terms)[:, :, ~MASK].any()
    fused = gfvad.fuse([graph, graph], np.ones((1, 2, 3)), expansion="means")
    every = jax.vmap(lambda r: means(r, np.ones(N, bool), 2))(graph).sum(1)
    np.testing.assert_allclose(fused, every**2, rtol=1e-4, atol=1e-6)
    with pytest.raises(gfvad.ConfigError, match="expected .r, mask. and settings of order"):
        gfvad.register_expansion("odd", lambda r, mask, temperature: r)
    gfvad.register_expansion("flat", lambda r, mask: r)
    with pytest.raises(gfvad.ConfigError, match=r"expected \[order \+ 1, N, N\]"):
        gfvad.expand(graph, "flat")


@pytest.mark.parametrize("parametrisation", ["free", "nonneg", "simplex"])
def test_a_form_of_fusion(x, parametrisation):
    gfvad.register_fusion("weighted", weighted, even)
    graphs = [gfvad.relation(x), gfvad.relation(x[..., :2]), gfvad.relation(x[..., 2:])]
    fields = {"form": "weighted", "order": 2, "parametrisation": parametrisation}
    module = gfvad.FusionOperator(**fields, channels=2)
    params = module.init(jax.random.key(0), graphs, MASK)
    assert params["params"]["own"].shape == (2, 3, 3)
    fused = jax.jit(module.apply)(params, graphs, MASK)
    assert fused.shape == (2, 2, N, N) and not np.asarray(fused)[:, :, ~MASK].any()
    c = params["params"]["own"]
    c = {"free": c, "nonneg": jax.nn.softplus(c), "simplex": jax.nn.softmax(c, (1, 2))}
    powers = np.stack([np.stack([g**p for p in range(3)]) for g in graphs])
    expected = np.einsum("gmp,mpbij->bgij", c[parametrisation], powers)
    np.testing.assert_allclose(fused[:, :, :5, :5], expected[:, :, :5, :5], atol=1e-5)
    settings = get_config().model.fusion
    settings.form = "weighted"
    assert not is_pictured(settings, 2)
    with pytest.raises(gfvad.ConfigError, match="no dense tensor"):
        dense_coefficients(params["params"], settings)


def test_the_detector_takes_them(x):
    """By settings, as a config file that registers them would; a learnt width included."""
    gfvad.register_relation("scaled", scaled)
    gfvad.register_expansion("means", means)
    gfvad.register_fusion("weighted", weighted, even)
    config = get_config()
    config.model.relation.update(similarity="scaled", sigma=-1.0)
    config.model.expansion.kind, config.model.fusion.form = "means", "weighted"
    features = dict.fromkeys(config.data.modalities, x[0])
    model = registry.build_model(config, dict.fromkeys(features, 4))
    variables = model.init(jax.random.key(0), features, MASK, train=False)
    output = model.apply(variables, features, MASK, train=False)
    assert output.logits.shape == (N,) and np.isfinite(output.logits).all()
    assert any(name.startswith("log_sigma") for name in variables["params"])
    config.model.relation.similarity = "scald"
    with pytest.raises(gfvad.ConfigError, match=r"did you mean 'scaled'\?"):
        registry.check_model(config, tuple(features))
    config.model.relation.similarity = "scaled"
    config.model.fusion.graphs = "random_pair"
    with pytest.raises(gfvad.ConfigError, match="form 'weighted' does not take"):
        registry.check_model(config, tuple(features))


def calm(given):
    return jnp.square(given.output.logits).sum(), given.mask.sum()


def test_a_loss_is_a_setting_too():
    """Its weight is declared with it: in configs that are made later, in their hash, checked."""
    plain = get_config()
    gfvad.register_loss("calm", calm, weight=0.1)
    config = get_config()
    assert config.loss.calm == 0.1 and "calm" not in plain.loss
    assert config_hash(config) != config_hash(plain)
    config.loss.calm = 0.0
    assert config_hash(config) == config_hash(plain)
    config.loss.calm = -1.0
    with pytest.raises(gfvad.ConfigError, match="config.loss.calm = -1.0"):
        validate(config)
    gfvad.register_loss("calm", calm, weight=0.1)
    with pytest.raises(gfvad.ConfigError, match="'smoothness' is registered already"):
        gfvad.register_loss("smoothness", calm)
