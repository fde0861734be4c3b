"""Feature-level fusion against float64 numpy, what it must not depend on, and how it treats a
modality that is not there."""

import importlib
import itertools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from documented import DRAWN as TINY

from configs.common import get_config
from gfvad import main, tasks
from gfvad.base.types import ConfigError
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.foils import KINDS, TemporalNetwork
from gfvad.tasks.fusion.step import train_step
from gfvad.train.optim import make_optimiser
from gfvad.train.state import init_state

N, H, RANK, HEADS, WIDTH = 9, 6, 5, 2, 4
DIMS = {"rgb": 6, "audio": 4, "text": 3}
MASK = np.arange(N) < 7
# no layout pads like this, but a mask is a mask
HOLES = np.array([1, 1, 0, 1, 1, 0, 1, 1, 0], bool)
NETWORKS = ("mtn_concat", "mtn_add")
TIMED = (*NETWORKS, "transformer")
PRIOR = 0.2
# relative; jax.nn.dot_product_attention takes its softmax in float32 whatever it is given
EXACT = {"cross_attention": 3e-7, "transformer": 1e-6}


def settings(kind, **overrides):
    config = get_config()
    config.model.name = "feature_fusion"
    small = {
        "model.embed_dim": H,
        "model.foil.kind": kind,
        "model.foil.hidden": 7,
        "model.foil.rank": RANK,
        "model.foil.heads": HEADS,
    }
    small |= {
        "model.foil.width": WIDTH,
        "model.confidence": ("text",),
        "model.head.prior": PRIOR,
        "data.standardize": "standardize",
    }
    config.update_from_flattened_dict({**small, **overrides})
    return config


def statistics(dims=DIMS):
    rng = np.random.default_rng(5)
    return {
        m: {"mean": rng.normal(size=d), "std": rng.uniform(0.5, 2, size=d)} for m, d in dims.items()
    }


def video(seed=0, dims=DIMS):
    """Features with a second of silence (audio unit 3) and descriptions that fade, one to
    nothing."""
    rng = np.random.default_rng(seed)
    features = {m: rng.normal(size=(N, d)) + 0.3 for m, d in dims.items()}
    if "audio" in dims:
        features["audio"][3] = 0.0
    if "text" in dims:
        features["text"] *= np.linspace(1.2, 0, N)[:, None] / np.linalg.norm(
            features["text"], axis=1, keepdims=True
        )
        features["text"][1] = 0.0
    return features


def build(kind, dims=DIMS, **overrides):
    """Model, and float64 variables random in every leaf."""
    model = registry.build_model(
        settings(kind, **{"model.confidence": ("text",) if "text" in dims else (), **overrides}),
        dims,
    )
    single = {m: x.astype(np.float32) for m, x in video(0, dims).items()}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), single, MASK, train=False))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape) * 0.5, shapes["params"])
    return model, {
        "params": params,
        "constants": {
            f"{k}_{m}": v for m, pair in statistics(dims).items() for k, v in pair.items()
        },
    }


def single_precision(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float32), tree)


def close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def finite(tree) -> bool:
    return all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module", params=KINDS)
def built(request):
    """(kind, model, variables, run); run gives the output, and the gradients of a loss that
    reads all of it."""
    model, variables = build(request.param)

    @jax.jit
    def run(variables, features, mask):
        def loss(params, features):
            output = model.apply({**variables, "params": params}, features, mask, train=False)
            return (
                sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves((output.logits, output.aux))),
                output,
            )

        gradients, output = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            variables["params"], features
        )
        return output, gradients

    return request.param, model, single_precision(variables), run


# ---- plain numpy


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(p, x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p[
        "scale"
    ] + p["bias"]


def content_of(p, features, mask, dims=DIMS):
    """({m: embeddings times counts [N, H]}, {m: counts [N]})."""
    content, counts = {}, {}
    for m in dims:
        x, count = features[m], (mask & (features[m] != 0).any(-1)).astype(float)
        if m == "text":
            length = np.linalg.norm(x, axis=-1)
            x, count = x / np.where(length > 0, length, 1)[:, None], count * np.minimum(length, 1)
        mean, std = statistics(dims)[m].values()
        x = np.where((count > 0)[:, None], (x - mean) / std, 0.0)
        content[m] = count[:, None] * gelu(layer_norm(p[f"norm_{m}"], dense(p[f"embed_{m}"], x)))
        counts[m] = count
    return content, counts


def convolution(p, x, dilation):
    """Kernel 3 over time by loops; beyond the ends is nothing."""
    out = np.tile(p.get("bias", np.zeros(p["kernel"].shape[2])), (len(x), 1))
    for i, tap in itertools.product(range(len(x)), range(3)):
        j = i + (tap - 1) * dilation
        if 0 <= j < len(x):
            out[i] += x[j] @ p["kernel"][tap]
    return out


def temporal_network(p, x, counts, mask):
    relu, hide = lambda y: np.maximum(y, 0), lambda y: np.where(mask[:, None], y, 0.0)
    x = hide(x)
    parts = [
        hide(layer_norm(p[f"norm_{d}"], relu(convolution(p[f"dilated_{d}"], x, d))))
        for d in (1, 2, 4)
    ]
    whole = relu(dense(p["reduce"], x))
    gathered = np.zeros((len(x), p["g"]["kernel"].shape[1]))
    for i, j in itertools.product(range(len(x)), np.flatnonzero(mask)):
        gathered[i] += (
            dense(p["theta"], whole)[i]
            @ dense(p["phi"], whole)[j]
            / max(mask.sum(), 1)
            * dense(p["g"], whole)[j]
        )
    parts.append(hide(whole + layer_norm(p["norm_w"], dense(p["w"], gathered))))
    return hide(
        x
        + counts[:, None]
        * layer_norm(p["norm"], relu(convolution(p["join"], np.concatenate(parts, 1), 1)))
    )


def cross_attention(p, content, counts):
    out = {}
    for m in content:
        q, d = dense(p[f"attend_{m}"]["query"], content[m]), H // HEADS
        keys = np.concatenate([content[k] for k in content if k != m])
        weight = np.concatenate([counts[k] for k in content if k != m])
        k, v = np.split(dense(p[f"attend_{m}"]["key_value"], keys), 2, axis=-1)
        found = np.zeros((N, H))
        for i, head in itertools.product(range(N), range(HEADS)):
            part = slice(head * d, head * d + d)
            attention = weight * np.exp(k[:, part] @ q[i, part] / np.sqrt(d))
            found[i, part] = attention @ v[:, part] / attention.sum()
        out[m] = content[m] + counts[m][:, None] * dense(p[f"attend_{m}"]["out"], found)
    return out


def transformer(p, x, counts, mask):
    """Two pre-norm layers, unit by unit; what has no modality has no place and no reader."""
    width, half = x.shape[1], (x.shape[1] + 1) // 2
    there = mask & (sum(counts.values()) > 0)
    for i in range(N):
        for f in range(width):
            wave = np.sin if f < half else np.cos
            x[i, f] += wave(i / 10_000.0 ** ((f % half) / half))
    x, d = np.where(there[:, None], x, 0.0), width // HEADS
    for layer in (p["layer_0"], p["layer_1"]):
        a, normal = layer["attention"], layer_norm(layer["norm_attention"], x)
        q, found = dense(a["query"], normal), np.zeros_like(x)
        k, v = np.split(dense(a["key_value"], normal), 2, axis=-1)
        for i, head in itertools.product(range(N), range(HEADS)):
            part = slice(head * d, head * d + d)
            weight = there * np.exp(k[:, part] @ q[i, part] / np.sqrt(d))
            found[i, part] = weight @ v[:, part] / weight.sum()
        x = x + dense(a["out"], found)
        f = layer["feed_forward"]
        x = x + dense(f["down"], gelu(dense(f["up"], layer_norm(layer["norm_feed_forward"], x))))
    return layer_norm(p["norm"], x)


def with_neutral(factors, counts):
    """Unit by unit: the product over modalities with 1 for what is absent, less the part that
    stands for nothing at all."""
    out = np.zeros_like(next(iter(factors.values())))
    for i in range(len(out)):
        everything, nothing = 1.0, 1.0
        for m, x in factors.items():
            everything, nothing = (
                everything * (x[i] + 1 - counts[m][i]),
                nothing * (1 - counts[m][i]),
            )
        out[i] = everything - nothing
    return out


def gated_sum(p, content, counts):
    logits, out = dense(p["gate"], np.concatenate(list(content.values()), 1)), np.zeros((N, H))
    for i in range(N):
        weight = np.array([counts[m][i] for m in content]) * np.exp(logits[i])
        for w, z in zip(weight, content.values()):
            out[i] += w / weight.sum() * z[i] if weight.sum() else 0.0
    return out


def oracle(kind, p, features, mask):
    """(logits [N], branches {m: [N]})."""
    content, counts = content_of(p, features, mask)
    joined = lambda parts: np.concatenate(list(parts.values()), 1)
    if kind == "late":
        branches = {
            m: np.where(mask, dense(p[f"branch_{m}"], z)[:, 0], 0) for m, z in content.items()
        }
        return np.where(mask, sum(branches.values()) + p["bias"], 0), branches
    if kind in NETWORKS:
        content = {
            m: temporal_network(p[f"mtn_{m}"], z, counts[m], mask) for m, z in content.items()
        }
    if kind == "bilinear":
        factors = {
            m: counts[m][:, None] * np.tanh(dense(p["bilinear"][f"project_{m}"], z))
            for m, z in content.items()
        }
    fused = {
        "concat": lambda: joined(content),
        "mtn_concat": lambda: joined(content),
        "add": lambda: sum(content.values()),
        "mtn_add": lambda: sum(content.values()),
        "product": lambda: with_neutral(content, counts),
        "bilinear": lambda: with_neutral(factors, counts),
        "gated": lambda: gated_sum(p["gates"], content, counts),
        "cross_attention": lambda: joined(cross_attention(p["cross"], content, counts)),
        "transformer": lambda: transformer(p["transformer"], joined(content), counts, mask),
    }[kind]()
    return np.where(mask, dense(p["logit"], gelu(dense(p["hidden"], fused)))[:, 0], 0), {}


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_numpy(kind):
    with jax.enable_x64(True):
        model, variables = build(kind)
        run = jax.jit(lambda v, x, m: model.apply(v, x, m, train=False))
        outputs = [
            (mask, run(variables, video(), mask)) for mask in (MASK, HOLES, np.ones(N, bool))
        ]
    for mask, output in outputs:
        logits, branches = oracle(kind, variables["params"], video(), mask)
        np.testing.assert_allclose(
            output.logits, logits, rtol=EXACT.get(kind, 1e-9), atol=EXACT.get(kind, 1e-10)
        )
        assert set(output.aux) == {f"branch/{m}" for m in branches}
        for m, z in branches.items():
            np.testing.assert_allclose(output.aux[f"branch/{m}"], z, rtol=1e-9, atol=1e-10)


def test_plain_product_where_everything_is_there():
    """The limit case: with every count 1 it is nothing but the product of embeddings."""
    dims = {"rgb": 6, "flow": 4}
    with jax.enable_x64(True):
        model, variables = build("product", dims)
        logits = np.asarray(
            jax.jit(lambda v, x: model.apply(v, x, MASK, train=False).logits)(
                variables, video(0, dims)
            )
        )
    p = variables["params"]
    content, _ = content_of(p, video(0, dims), MASK, dims)
    expected = dense(p["logit"], gelu(dense(p["hidden"], content["rgb"] * content["flow"])))[:, 0]
    np.testing.assert_allclose(logits[MASK], expected[MASK], rtol=1e-10)


# ---- what it must not depend on


def test_output_follows_the_contract(built):
    kind, model, variables, run = built
    output, _ = run(variables, single_precision(video()), MASK)
    assert (
        output.logits.shape == (N,)
        and output.logits.dtype == jnp.float32
        and (np.asarray(output.logits)[~MASK] == 0).all()
    )
    assert output.graph.shape == (0, N, N)
    assert set(output.aux) == ({f"branch/{m}" for m in DIMS} if kind == "late" else set())
    assert finite(output)
    hash(model)  # a module can be a static argument


def test_padded_content_changes_nothing_even_if_not_finite(built):
    _, _, variables, run = built
    for mask in (MASK, HOLES):
        base = run(variables, single_precision(video()), mask)
        assert finite(base)
        for junk in (np.float32(np.nan), np.float32(np.inf), np.float32(7)):
            other = {
                m: np.where(mask[:, None], x, junk) for m, x in single_precision(video()).items()
            }
            jax.tree.map(np.testing.assert_array_equal, base, run(variables, other, mask))


def test_cutting_the_padding_off_changes_nothing(built):
    _, model, variables, run = built
    n, features = MASK.sum(), single_precision(video())
    padded, _ = run(variables, features, MASK)
    cut = jax.jit(lambda v, x, mask: model.apply(v, x, mask, train=False))(
        variables, {m: x[:n] for m, x in features.items()}, MASK[:n]
    )
    close(padded.logits[:n], cut.logits, rtol=1e-4, atol=1e-5)


def test_permuting_units_permutes_logits_but_of_temporal_networks(built):
    kind, _, variables, run = built
    order, features = np.random.default_rng(2).permutation(N), single_precision(video())
    base, other = (
        run(variables, *given)[0].logits
        for given in ((features, MASK), ({m: x[order] for m, x in features.items()}, MASK[order]))
    )
    if kind in TIMED:
        assert np.abs(np.asarray(other) - np.asarray(base)[order]).max() > 1e-2
    else:
        close(other, base[order], rtol=1e-4, atol=1e-5)


def test_batch_rows_do_not_see_each_other(built):
    """As a training step calls it, with dropout."""
    _, model, variables, _ = built
    keys, masks = (
        jax.random.split(jax.random.key(3), 3),
        np.stack([MASK, np.ones(N, bool), np.zeros(N, bool)]),
    )
    batch = {m: np.stack([single_precision(video(s))[m] for s in range(3)]) for m in DIMS}
    together = jax.jit(
        jax.vmap(
            lambda x, mask, key: model.apply(variables, x, mask, train=True, rngs={"dropout": key})
        )
    )
    output = together(batch, masks, keys)
    changed = {m: np.concatenate([x[:1], 5 * x[1:]]) for m, x in batch.items()}
    assert finite(output)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a[0], b[0]),
        output,
        together(changed, masks, keys),
    )


# ---- modalities that are not there


def test_absent_modalities_are_harmless(built):
    """Finite outputs and gradients, whatever is missing; and the parameters of a missing one get
    no gradient."""
    _, _, variables, run = built
    for silent in (("audio",), ("rgb", "text"), tuple(DIMS)):
        features = single_precision(
            {m: np.zeros_like(x) if m in silent else x for m, x in video().items()}
        )
        output, (gradients, _) = run(variables, features, MASK)
        assert finite((output, gradients))
        for m in silent:
            assert all(
                (np.asarray(leaf) == 0).all()
                for leaf in jax.tree.leaves((gradients[f"embed_{m}"], gradients[f"norm_{m}"]))
            )


def test_a_unit_without_content_starts_at_the_prior(built):
    kind, model, _, run = built
    features = {m: np.zeros_like(x) for m, x in single_precision(video()).items()}
    first = jax.jit(lambda: model.init(jax.random.key(0), features, MASK, train=False))()
    logits = np.asarray(run(first, features, MASK)[0].logits)[MASK]
    prior = np.log(PRIOR / (1 - PRIOR))
    np.testing.assert_allclose(logits, prior * (len(DIMS) if kind == "late" else 1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["add", "product", "gated", "concat", "cross_attention"])
def test_one_modality_left_is_the_plain_network(kind):
    """With the others absent, and where the model has only one, the logits are those of a
    perceptron on its embedding."""
    model, variables = build(kind)
    features = {m: x if m == "text" else np.zeros_like(x) for m, x in video().items()}
    run = jax.jit(lambda model, v, x: model.apply(v, x, MASK, train=False).logits, static_argnums=0)
    with jax.enable_x64(True):
        logits = np.asarray(run(model, variables, features))
    p = variables["params"]
    content, _ = content_of(p, features, MASK)
    wide = kind in ("concat", "cross_attention")
    hidden = dense(
        p["hidden"], np.concatenate(list(content.values()), 1) if wide else content["text"]
    )
    expected = dense(p["logit"], gelu(hidden))[:, 0]
    np.testing.assert_allclose(logits[MASK], expected[MASK], rtol=1e-9)
    alone, dims = dict(p), {"text": DIMS["text"]}
    # of a concatenation the last part
    alone["hidden"] = dict(alone["hidden"], kernel=p["hidden"]["kernel"][-H:])
    single, shapes = build(kind, dims)
    kept = {name: alone[name] for name in shapes["params"] if name != "gates"} | (
        {"gates": shapes["params"]["gates"]} if kind == "gated" else {}
    )
    constants = {k: v for k, v in variables["constants"].items() if k.endswith("text")}
    with jax.enable_x64(True):
        again = run(single, {"params": kept, "constants": constants}, {"text": features["text"]})
    np.testing.assert_allclose(again, logits, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_one_modality(kind):
    model, variables = build(kind, {"rgb": 6})
    features = {"rgb": single_precision(video())["rgb"]}
    run = jax.jit(lambda v, x: model.apply(v, x, MASK, train=False).logits)
    logits = run(single_precision(variables), features)
    assert finite(logits) and np.ptp(np.asarray(logits)[MASK]) > 0


def test_late_is_the_head_of_branches_without_graphs():
    """The same parameters give the same logits, and no gradient of the sum reaches a branch."""
    changes = {
        "model.head.kind": "branches",
        "model.head.layers": 0,
        "model.head.relations": False,
        "model.head.mix": 0.0,
    }
    changes |= {"model.head.detach": True, "model.head.gates": (0.5, 1.0, 2.0)}
    foil, variables = build("late", **changes)
    graphs = registry.build_model(
        settings("late", **changes, **{"model.name": "graph_fusion"}), DIMS
    )
    features = single_precision(video())
    shapes = jax.eval_shape(lambda: graphs.init(jax.random.key(0), features, MASK, train=False))[
        "params"
    ]
    p, ours = single_precision(variables["params"]), {}
    ours = {name: p[name] for name in shapes if name in p} | {
        "fusion": jax.tree.map(lambda a: np.zeros(a.shape, np.float32), shapes["fusion"])
    }
    ours["head"] = {name: p[name] for name in shapes["head"]}
    constants = single_precision(variables["constants"])
    run = jax.jit(
        lambda model, p: model.apply(
            {"params": p, "constants": constants}, features, MASK, train=False
        ),
        static_argnums=0,
    )
    first, second = run(foil, p), run(graphs, ours)
    close((first.logits, first.aux), (second.logits, second.aux), rtol=1e-6, atol=1e-6)
    gradients = jax.jit(jax.grad(lambda p: run(foil, p).logits.sum()))(p)
    assert {
        name
        for name, g in gradients.items()
        if any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(g))
    } == {"bias"}


def test_the_temporal_network_reaches_five_units_to_either_side():
    """4 by the widest convolution and 1 by the last, while the non-local block is the identity
    it starts as."""
    network, n = TemporalNetwork(), 21
    x, counts, mask = (
        np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32),
        np.ones(n, np.float32),
        np.ones(n, bool),
    )
    params, run = jax.jit(network.init)(jax.random.key(0), x, counts, mask), jax.jit(network.apply)
    changed = x.copy()
    changed[10] += 1.0
    moved = np.abs(run(params, changed, counts, mask) - run(params, x, counts, mask)).max(1) > 0
    assert np.flatnonzero(moved).min() == 5 and np.flatnonzero(moved).max() == 15
    kernels = {
        name: leaf["kernel"].shape for name, leaf in params["params"].items() if "kernel" in leaf
    }
    # at least 8 channels a branch
    assert kernels["dilated_4"] == (3, 8, 8) and kernels["join"] == (3, 32, 8)


# ---- training


@pytest.mark.parametrize("kind", ["concat", "late"])
def test_losses_take_a_model_without_graphs(kind):
    """Every loss of logits is there, none of graphs, with finite gradients (computed with the
    branches' losses, for the other kind only traced)."""
    config = tiny.config(loss__unit_normal=0.5, loss__unit_abnormal=0.1)
    config.model.update({"name": "feature_fusion", "embed_dim": 4})
    config.model.foil.update({"kind": kind, "hidden": 4})
    model, batch = registry.build_model(config, tiny.DIMS), tiny.batch()
    optimiser = make_optimiser(config.optim, 2)
    state = init_state(model, optimiser.transform, {m: x[0] for m, x in batch.features.items()}, 0)
    one = jax.jit(
        partial(train_step, model=model, optimiser=optimiser, loss_cfg=config.loss, axis_name=None)
    )
    new, metrics = one(state, batch) if kind == "late" else jax.eval_shape(one, state, batch)
    terms = {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")}
    own = {f"branch/{m}" for m in tiny.DIMS} if kind == "late" else set()
    assert (
        terms == {"bce", "unit_normal", "unit_abnormal", "smoothness", "sparsity"} | own
        and config.loss.variance > 0
    )
    assert kind != "late" or finite((new.params, metrics)) and metrics["gradient_norm"] > 0


def test_a_run_leaves_results_scores_and_figures(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    flags = [
        *TINY,
        "--config.data.simulated.units=24",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
        f"--workdir={tmp_path / 'run'}",
    ]
    assert main.main(["--config=configs/xd.py:foil_gated", *flags]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["headline"]["value"] > 0 and results["label"] == "rgb + audio (foil_gated)"
    assert {p.name for p in (tmp_path / "run" / "figures").iterdir()} == {
        "score_timelines.png",
        "learning_curves.png",
    }
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert sum(len(scores[name]) for name in scores.files) == results["ground_truth_frames"]


# ---- settings


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model.foil.kind": "gate"}, r"model.foil.kind = 'gate'; did you mean 'gated'\?"),
        ({"model.name": "feature_fuson"}, r"did you mean 'feature_fusion'\?"),
        (
            {"model.foil.kind": "cross_attention", "model.foil.heads": 4},
            "model.foil.heads = 4: expected a divisor of config.model.embed_dim = 6",
        ),
        ({"model.foil.rank": 0}, "model.foil.rank = 0: expected a whole number from 1"),
        (
            {"model.filter.modalities": ("rgb",)},
            "model.filter.modalities.*'feature_fusion' has no filter",
        ),
        (
            {"model.foil.kind": "late", "model.head.gates": (1.0, 2.0)},
            r"head.gates = \(1.0, 2.0\): foil 'late' expects one a modality \(rgb, audio, text\)",
        ),
        (
            {"model.foil.kind": "late", "loss.branch": 0.0},
            "loss.branch = 0.0: foil 'late' learns from its branches' losses alone",
        ),
        ({"model.modality_dropout": 1.0}, "model.modality_dropout = 1.0: expected a fraction"),
        ({"model.edge_dropout": -0.1}, "model.edge_dropout = -0.1: expected a fraction"),
    ],
)
def test_impossible_settings_are_refused_by_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        registry.check_model(settings("concat", **changes), tuple(DIMS))


def test_variants_are_the_kinds_and_join_in_either_order(repository, monkeypatch):
    monkeypatch.chdir(repository)
    parse = lambda text: tasks.parse([f"--config=configs/{text}"]).config
    for name, others in {
        "ucf": ("text", "scores", "i3d"),
        "xd": ("rgb", "audio_visual_text"),
        "shanghaitech": ("i3d_text",),
    }.items():
        assert set(importlib.import_module(f"configs.{name}").VARIANTS) >= {
            f"foil_{kind}" for kind in KINDS
        }
        for other, kind in zip(itertools.cycle(others), KINDS):
            one, two = (
                parse(f"{name}.py:foil_{kind}+{other}"),
                parse(f"{name}.py:{other}+foil_{kind}"),
            )
            one.variant = two.variant = ""
            assert one.to_dict() == two.to_dict()
            assert (one.model.name, one.model.foil.kind) == ("feature_fusion", kind)
            assert one.data.modalities == parse(f"{name}.py:{other}").data.modalities
