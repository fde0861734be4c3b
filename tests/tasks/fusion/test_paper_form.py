"""The first paper's form, variant `paper`, held against the paper: what every config makes of it,
its size, and its way from features to losses against a transcription of the paper's formulas in
numpy and float64."""

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import msad, own, ped2_weak, shanghaitech, ucf, ucf_folds, variants, xd
from gfvad.base.types import Batch
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.losses import total_loss
from gfvad.tasks.fusion.step import unit_scores, video_scores

N, VIDEOS = 32, 6
DIMS = {"rgb": 7, "audio": 4, "flow": 5}
CONFIGS = {c.__name__: c for c in (ucf, xd, shanghaitech, ped2_weak, msad, own, ucf_folds)}
# key -> what the paper has
PAPER = {
    "data.train_units": 32,
    "data.train_sampling": "mean",
    "data.eval_mode": "segments",
    "data.standardize": "none",
    "model.name": "graph_fusion",
    "model.relation.similarity": "cosine",
    "model.relation.sources": ("raw",),
    "model.relation.threshold": -1.0,
    "model.relation.knn": 0,
    "model.relation.temporal_tau": 0.0,
    "model.relation.temporal_seconds": 0.0,
    "model.expansion.kind": "hadamard",
    "model.expansion.zeroth": "ones",
    "model.expansion.order": 8,
    "model.fusion.orders": (),
    "model.fusion.parametrisation": "free",
    "model.fusion.cross_terms": True,
    "model.fusion.channels": 1,
    "model.head.kind": "row",
    "model.filter.modalities": (),
    "loss.bce": 1.0,
    "loss.label_smoothing": 0.0,
    "loss.unit_normal": 0.0,
    "loss.unit_abnormal": 0.0,
    "loss.consistency": 0.0,
    "loss.smoothness": 0.0,
    "loss.sparsity": 0.0,
    "train.members": 1,
}


@pytest.mark.parametrize(
    "name, before",
    [(name, "") for name in CONFIGS]
    + [("configs.ucf", "near+"), ("configs.ucf", "events+"), ("configs.xd", "filter+")],
)
def test_every_config_has_the_papers_form(name, before):
    """Whatever variant stands before it."""
    config = CONFIGS[name].get_config(f"{before}paper")
    found = {key: config_at(config, key) for key in PAPER}
    assert found == PAPER
    several = len(config.data.modalities) > 1
    assert config.model.fusion.form == ("full" if several else "cp")
    assert config.model.fusion.graphs == ("random_pair" if several else "all")
    registry.check(config)


def config_at(config, key):
    for part in key.split("."):
        config = config[part]
    return config


def test_the_regulariser_of_the_sets_that_the_paper_names():
    of = lambda module: module.get_config("paper").loss
    ped2, shanghai = of(ped2_weak), of(shanghaitech)
    assert (ped2.variance, ped2.variance_k) == (1.0, 17) and 0.8 <= ped2.variance_alpha <= 0.9
    assert shanghai.variance_k == 11
    assert variants.REGULARISER["avenue"]["loss.variance_k"] == 15
    street = variants.REGULARISER["street_scene"]
    assert street["loss.variance"] == 1e-4 and street["loss.variance_k"] == 1


@pytest.mark.parametrize("name", ["configs.ucf", "configs.xd", "configs.shanghaitech"])
def test_steps_are_30_to_50_epochs(name):
    config = CONFIGS[name].get_config("paper")
    seen = config.train.steps * config.train.batch_size
    videos = variants.VIDEOS[config.data.dataset] * (1 - config.data.validation_fraction)
    assert 30 <= seen / videos <= 50


# ---- from features to losses


def paper_model(modalities=2, **changes):
    """(model, config) of xd:paper with so many feature sets."""
    config = xd.get_config("paper")
    config.data.modalities = tuple(DIMS)[:modalities]
    config.update_from_flattened_dict(changes)
    dims = {m: DIMS[m] for m in config.data.modalities}
    return registry.build_model(config, dims), config


def problem(modalities, seed=0):
    """(features {m: [B, N, D]}, labels [B]): a silent second, neighbours that are alike, so that
    edges lie on both sides of alpha."""
    rng = np.random.default_rng(seed)
    steps = {m: rng.normal(size=(VIDEOS, N, d)) for m, d in list(DIMS.items())[:modalities]}
    features = {m: 0.4 * np.cumsum(x, 1) + 1.0 for m, x in steps.items()}
    features["audio"][1, 3] = 0.0
    return features, np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def random_variables(model, features, seed=1):
    """Parameters random in every leaf, in float64; feature statistics, which standardize none
    leaves unused, 0."""
    one = {m: np.zeros(x.shape[1:], np.float32) for m, x in features.items()}
    keys = dict(zip(("params", "pair", "dropout"), jax.random.split(jax.random.key(0), 3)))
    start = jax.eval_shape(lambda: model.init(keys, one, np.ones(N, bool), train=False))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda a: 0.5 * rng.normal(size=a.shape), start["params"])
    return {
        "params": params,
        "constants": jax.tree.map(lambda a: np.zeros(a.shape), start["constants"]),
    }


def cosine_graph(x):
    """x [N, D] -> [N, N]: cosines, diagonal 1; a unit of zeros has relation 0 to every unit."""
    length = np.linalg.norm(x, axis=-1)
    there = length > 0
    u = x / np.where(there, length, 1.0)[:, None]
    graph = np.clip(u @ u.T, -1.0, 1.0)
    np.fill_diagonal(graph, 1.0)
    return graph * np.outer(there, there)


def fused_graph(coefficients, graphs):
    """sum_pq A[p, q] Ra^p Rb^q of two graphs; the mean over pairs of more. coefficients: {"A": [1,
    P + 1, Q + 1]} or {"a": [1, 1, 2, P + 1]}, whose outer product is A."""
    if "A" in coefficients:
        (A,) = coefficients["A"]
    else:
        ((a, b),) = coefficients["a"][0]
        A = np.outer(a, b)
    pairs, fused = list(combinations(graphs, 2)), 0.0
    for first, second in pairs:
        for (p, q), weight in np.ndenumerate(A):
            fused = fused + weight * first**p * second**q
    return fused / len(pairs)


def scores_of(head, graph):
    """Two dense layers on each row, N -> N -> 1, ReLU and sigmoid: [N, N] -> [N]."""
    hidden = np.maximum(graph @ head["hidden"]["kernel"] + head["hidden"]["bias"], 0.0)
    logits = hidden @ head["logit"]["kernel"][:, 0] + head["logit"]["bias"][0]
    return 1.0 / (1.0 + np.exp(-logits))


def video_score(scores, divisor):
    """The mean of the highest units."""
    return np.sort(scores)[::-1][: N // divisor].mean()


def losses_of(scores, graphs, label, cfg):
    """Cross entropy of video scores, and Eq. 7: degrees above alpha, of all units of normal videos
    and of the k highest of each abnormal one."""
    video = [video_score(s, cfg.topk_divisor) for s in scores]
    bce = np.mean([-np.log(v if y else 1 - v) for v, y in zip(video, label)])
    degrees = [np.where(g >= cfg.variance_alpha, g, 0.0).sum(1) for g in graphs]
    normal = np.concatenate([d for d, y in zip(degrees, label) if not y])
    top = [np.sort(d)[::-1][: cfg.variance_k] for d, y in zip(degrees, label) if y]
    variance = (np.var(normal) - np.var(np.concatenate(top))) ** 2
    abnormal = [s for s, y in zip(scores, label) if y]
    smooth = np.mean([np.square(np.diff(s)).sum() for s in abnormal])
    return {
        "bce": bce,
        "variance": variance,
        "smoothness": smooth,
        "sparsity": np.mean([s.sum() for s in abnormal]),
    }


WEIGHTS = {"loss.smoothness": 8e-4, "loss.sparsity": 8e-3, "loss.variance_alpha": 0.1}


@pytest.mark.parametrize(
    "modalities, form, train", [(2, "full", True), (2, "outer", True), (3, "full", False)]
)
def test_from_features_to_losses(modalities, form, train):
    """Graphs, powers, fusion, row head, video score and every loss, of whole videos. In training
    there is but one pair of two graphs to draw; of three, evaluation has the mean over pairs."""
    model, config = paper_model(modalities, **WEIGHTS, **{"model.fusion.form": form})
    features, label = problem(modalities)
    variables, mask = random_variables(model, features), jnp.ones((VIDEOS, N), bool)
    params, cfg = variables["params"], config.loss
    keys = {"pair": jax.random.key(3), "dropout": jax.random.key(4)}

    @jax.jit
    def run(variables, features):
        of_video = lambda x: model.apply(variables, x, mask[0], train=train, rngs=keys)
        output: Any = jax.vmap(of_video)(features)
        batch = Batch(features, mask, label, label >= 0, *[np.arange(VIDEOS)] * 3)
        scores = unit_scores(output.logits, mask)
        videos = video_scores(scores, mask, cfg.topk_divisor)
        return output.graph, scores, videos, *total_loss(output, batch, cfg)

    with jax.enable_x64(True):
        graph, scores, videos, total, terms = run(variables, features)
    own = [[cosine_graph(features[m][b]) for m in features] for b in range(VIDEOS)]
    fused = np.stack([fused_graph(params["fusion"], graphs) for graphs in own])
    expected = np.stack([scores_of(params["head"], g) for g in fused])
    wanted = losses_of(expected, fused, label, cfg)
    np.testing.assert_allclose(graph[:, 0], fused, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    of_videos = [video_score(s, cfg.topk_divisor) for s in expected]
    np.testing.assert_allclose(videos, of_videos, rtol=1e-9)
    assert all(value > 1e-5 for value in wanted.values()), wanted
    for name, value in wanted.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-8, err_msg=name)
    weighted = sum(cfg[name] * value for name, value in wanted.items())
    np.testing.assert_allclose(total, weighted, rtol=1e-8)


@pytest.mark.parametrize(
    "form, modalities, coefficients", [("full", 2, 81), ("outer", 2, 18), ("full", 3, 81)]
)
def test_its_size(form, modalities, coefficients):
    """1,170 at N = 32 and P = Q = 8: A has 81, the row head 32 * 32 + 32 + 32 + 1 = 1,089."""
    model, _ = paper_model(modalities, **{"model.fusion.form": form})
    params = random_variables(model, problem(modalities)[0])["params"]
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert size(params["fusion"]) == coefficients and size(params["head"]) == 1_089
    assert size(params) == coefficients + 1_089
