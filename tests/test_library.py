"""What `import gfvad` offers: the same numbers as the project's own modules, to the bit, inside
somebody else's Flax model, and names of one's own beside the project's."""

import inspect
import subprocess
import sys
import textwrap

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusing import operator
from small_run import Run

import gfvad
from configs.common import get_config
from gfvad import library
from gfvad.graphs import expansion as expansions
from gfvad.graphs import relations
from gfvad.nn.filter import SparseFeatureFilter
from gfvad.tasks.fusion import artefact
from gfvad.tasks.fusion.scorer import open_scorer

B, N, D = 3, 7, 5
MASK = np.arange(N) < 6


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(B, N, D)).astype(np.float32)


@pytest.fixture
def graphs(x):
    return np.stack([gfvad.relation(x), gfvad.relation(x[..., :3])], 1)


def test_importing_costs_nothing():
    """`import gfvad` reads no library of others, and finds its names afterwards."""
    script = """
        import sys, gfvad
        assert not {"jax", "numpy", "flax"} & set(sys.modules), "heavy"
        import gfvad.score
        assert callable(gfvad.score) and gfvad.score is gfvad.library.score
        assert all(callable(getattr(gfvad, name)) for name in gfvad.__all__)
        assert set(gfvad.__all__) <= set(dir(gfvad)) and not hasattr(gfvad, "unheard_of")
        import gfvad.base.errors
        assert gfvad.ConfigError is gfvad.base.errors.ConfigError and gfvad.base.__name__
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_defaults_are_the_projects():
    model = get_config().model
    for group in ("expansion", "fusion", "relation"):
        assert vars(library._settings(group)) == dict(model[group])
    operator = gfvad.FusionOperator()
    for key in ("form", "rank", "parametrisation", "start", "channels"):
        assert getattr(operator, key) == model.fusion[key]
    for function, group, names in (
        (gfvad.expand, "expansion", {"kind": "kind", "zeroth": "zeroth", "restart": "restart"}),
        (gfvad.fuse, "fusion", {"form": "form"}),
        (gfvad.relation, "relation", {"kind": "similarity", "threshold": "threshold"}),
    ):
        given = inspect.signature(function).parameters
        for name, key in names.items():
            assert given[name].default == model[group][key], name


@pytest.mark.parametrize("kind", relations.RELATIONS)
def test_relations_are_the_projects(x, kind):
    internal = jax.jit(relations.RELATIONS.find(kind))
    np.testing.assert_array_equal(
        jax.jit(lambda x: gfvad.relation(x, kind, MASK))(x[0]), internal(x[0], MASK)
    )
    batch = jax.jit(lambda x: gfvad.relation(x, kind, MASK))(x)
    np.testing.assert_array_equal(batch, jax.jit(jax.vmap(lambda x: internal(x, MASK)))(x))
    assert not np.asarray(batch)[:, ~MASK].any()


def test_relation_settings(x):
    full = np.asarray(gfvad.relation(x))
    cut = np.asarray(gfvad.relation(x, threshold=0.2))
    np.testing.assert_array_equal(cut, np.where(full >= 0.2, full, 0))
    assert (np.asarray(gfvad.relation(x, neighbours=1)) != 0).sum() < (full != 0).sum()
    width = lambda s: gfvad.relation(x, "rbf", sigma=s).sum()
    assert np.isfinite(jax.grad(width)(jnp.float32(2.0))) and width(1.0) < width(2.0)
    assert gfvad.relation(x[None]).shape == (1, B, N, N)
    for wrong in (
        lambda: gfvad.relation(x, "cosin"),
        lambda: gfvad.relation(x, "cosine", sigma=1.0),
        lambda: gfvad.relation(x, mask=np.ones(N - 1, bool)),
        lambda: gfvad.relation(x[0, 0]),
        lambda: gfvad.relation(x, threshold=2.0),
    ):
        with pytest.raises(gfvad.ConfigError):
            wrong()


@pytest.mark.parametrize("kind", expansions.EXPANSIONS)
def test_expansions_are_the_projects(graphs, kind):
    settings = {
        "hadamard": {"order": 3, "zeroth": "ones"},
        "walk": {"order": 3},
        "diffusion": {"order": 3, "restart": 0.15},
    }[kind]
    internal = jax.jit(jax.vmap(lambda r: expansions.EXPANSIONS.find(kind)(r, MASK, **settings)))(
        graphs[:, 0]
    )
    found = jax.jit(lambda r: gfvad.expand(r, kind, 3, MASK))(graphs[:, 0])
    np.testing.assert_array_equal(found, internal)
    assert found.shape == (B, 4, N, N)
    with pytest.raises(gfvad.ConfigError, match="order"):
        gfvad.expand(graphs, kind, -1)


@pytest.mark.parametrize(
    "fields",
    [
        {"order": 3, "rank": 2, "channels": 2},
        {"form": "full", "order": 2, "parametrisation": "simplex"},
        {"form": "outer", "expansion": "walk", "order": 2},
    ],
)
def test_operator_is_the_projects(graphs, fields):
    """The same parameters, from the same key, and the same fused graphs."""
    module = gfvad.FusionOperator(**fields)
    names = {key: value for key, value in fields.items() if key not in ("order", "expansion")}
    own = operator(fields["order"], fields.get("expansion", "hadamard"), **names)
    params = module.init(jax.random.key(0), graphs, MASK)
    theirs = own.init(jax.random.key(0), graphs[0], MASK, train=False)
    jax.tree.map(np.testing.assert_array_equal, params, theirs)
    each = lambda p, g: own.apply(p, g, MASK, train=False)
    internal = jax.jit(jax.vmap(each, (None, 0)))(params, graphs)
    found = jax.jit(module.apply)(params, graphs, MASK)
    np.testing.assert_array_equal(found, internal)
    single = jax.jit(module.apply)(params, graphs[0], MASK)
    np.testing.assert_array_equal(single, jax.jit(each)(params, graphs[0]))
    listed = module.apply(params, [graphs[:, 0], graphs[:, 1]], MASK)
    np.testing.assert_allclose(listed, found, atol=1e-6)


def test_fuse_with_coefficients(graphs):
    a = np.random.default_rng(1).normal(size=(2, 2, 4)).astype(np.float32)
    own = operator(3, form="cp", rank=2)
    each = lambda a, g: own.apply({"params": {"a": a[None]}}, g, MASK, train=False)[0]
    internal = jax.jit(jax.vmap(each, (None, 0)))(a, graphs)
    found = jax.jit(lambda g, a: gfvad.fuse(g, a, MASK))(graphs, a)
    np.testing.assert_array_equal(found, internal)
    A = a[0]
    square = gfvad.fuse(graphs, A[:, :2], form="full", order=1)
    expected = sum(A[p, q] * graphs[:, 0] ** p * graphs[:, 1] ** q for p in (0, 1) for q in (0, 1))
    np.testing.assert_allclose(square, expected, atol=1e-5)
    plain = gfvad.fuse([graphs[:, 0], graphs[:, 1]])
    assert plain.shape == (B, N, N)
    np.testing.assert_allclose(np.diagonal(plain, axis1=1, axis2=2), 1.0, atol=1e-5)
    for wrong in (
        lambda: gfvad.fuse(graphs, a[:, :1]),
        lambda: gfvad.fuse(graphs[..., :3]),
        lambda: gfvad.fuse(np.concatenate([graphs, graphs], 1), form="full"),
        lambda: gfvad.fuse(graphs, form="tucker"),
    ):
        with pytest.raises(gfvad.ConfigError):
            wrong()


def test_filter_is_the_projects(x):
    fields = {"experts": 6, "topk": 2, "bottleneck": 2}
    module, own = gfvad.SparseFeatureFilter(**fields), SparseFeatureFilter(**fields)
    params = module.init(jax.random.key(0), x, MASK)
    jax.tree.map(np.testing.assert_array_equal, params, own.init(jax.random.key(0), x[0], MASK))
    found = jax.jit(module.apply)(params, x, MASK)
    internal = jax.jit(jax.vmap(lambda p, x: own.apply(p, x, MASK), (None, 0)))(params, x)
    jax.tree.map(np.testing.assert_array_equal, found, internal)
    assert found[1].usage.shape == (B, 6)
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(module.apply)(params, x[0], MASK),
        jax.jit(own.apply)(params, x[0], MASK),
    )
    assert module.apply(params, x[None], mutable=["routing"])[0][0].shape == (1, B, N, D)
    with pytest.raises(gfvad.ConfigError, match="topk"):
        gfvad.SparseFeatureFilter(experts=2, topk=3).init(jax.random.key(0), x)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(a small run's folder, its artefact's, widths of its modalities)."""
    folder = tmp_path_factory.mktemp("run")
    made = Run("xd", "audio_visual", folder, data__clock=False)
    made.save(folder / "run")
    artefact.export(folder / "run", folder / "artefact", "last", ("cpu",))
    return folder / "run", folder / "artefact", made.widths


def test_load_and_score(run):
    """The scores of the project's own scorer, by a run, by its artefact, by a folder's name."""
    folder, exported, widths = run
    rng = np.random.default_rng(0)
    video = {m: rng.normal(size=(5, d)).astype(np.float32) for m, d in widths.items()}
    model = gfvad.load(folder)
    scores = gfvad.score(model, video)
    assert scores.shape == (5,) and model.contributors == tuple(widths) and model.threshold
    np.testing.assert_array_equal(scores, open_scorer(folder).units.score("", video)["scores"])
    np.testing.assert_array_equal(scores, gfvad.score(str(folder), video))
    np.testing.assert_allclose(scores, gfvad.score(gfvad.load(exported), video), atol=1e-6)
    with pytest.raises(gfvad.DataError, match="rgb"):
        gfvad.score(model, {"rgb": np.zeros((5, 1), np.float32)})


def test_score_of_a_file(run, tmp_path):
    """A file of features, as `gfvad score` takes it; a video needs the encoders of training."""
    folder, _, widths = run
    video = {m: np.ones((5, d), np.float32) for m, d in widths.items()}
    model = gfvad.load(folder)
    np.savez(tmp_path / "film.npz", name=["film"], **{m: x[None] for m, x in video.items()})
    found = gfvad.score(model, tmp_path / "film.npz")
    np.testing.assert_allclose(found.score, gfvad.score(model, video), atol=1e-6)
    with pytest.raises(gfvad.DataError, match="not made by"):
        gfvad.score(model, "film.mp4")


class Scorer(nn.Module):
    """The example of gfvad/library.py, with a filter."""

    @nn.compact
    def __call__(self, video, sound):
        video, stats = gfvad.SparseFeatureFilter(experts=4, topk=2, bottleneck=2)(video)
        graphs = [gfvad.relation(video), gfvad.relation(sound)]
        fused = gfvad.FusionOperator(order=4, channels=8)(graphs)
        return nn.sigmoid(nn.Dense(1)(fused.mean(-1).swapaxes(-1, -2)))[..., 0]


def test_inside_a_model_of_somebody_elses(x):
    """jit, vmap and grad of a Flax model: a batch at once is each video by itself."""
    model, sound = Scorer(), x[..., :3]
    params = jax.jit(model.init)(jax.random.key(0), x, sound)
    scores = jax.jit(model.apply)(params, x, sound)
    assert scores.shape == (B, N) and ((scores > 0) & (scores < 1)).all()
    each = jax.jit(jax.vmap(model.apply, (None, 0, 0)))(params, x, sound)
    np.testing.assert_allclose(scores, each, atol=1e-6)
    gradients = jax.jit(jax.grad(lambda p: model.apply(p, x, sound).sum()))(params)
    leaves = [np.asarray(g) for g in jax.tree.leaves(gradients)]
    assert all(np.isfinite(g).all() for g in leaves)
    assert gradients["params"]["FusionOperator_0"]["a"].any()
