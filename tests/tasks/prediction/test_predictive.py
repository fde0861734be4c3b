"""The predictive model: its parts against float64 numpy, the shapes of every variant, and what
may and may not reach a prediction."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_clips
from ml_collections import FrozenConfigDict
from tiny_clips import CELL, CLIP, HEIGHT, PATCH, TEXT, TOKENS, WIDTH

from configs import avenue, ped2, shanghaitech_semi
from configs.predictive_variants import VARIANTS
from gfvad.nn import blocks
from gfvad.tasks.prediction import model as predictive
from gfvad.tasks.prediction import pace

ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
# float32 against float64: sums of some 16 to 400 products of size 1 round by eps sqrt(n) = 6e-8 x
# 20 each, through three layers.
TOLERANCE = 1e-5


def random_tree(tree, seed=0):
    """Parameters of the same shapes, all of them random, so that nothing hides behind a zero."""
    leaves, treedef = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        treedef,
        [
            (0.5 * rng.normal(size=x.shape) / max(np.sqrt(np.prod(x.shape[:-1])), 1)).astype(
                np.float32
            )
            for x in leaves
        ],
    )


@cache
def built(variant="", channels=1, **more):
    """(model, random parameters, features of one clip) at the tiny sizes."""
    c = tiny_clips.config(
        variant,
        data__channels=channels,
        **{"model__flow_from": "joint", "model__vision_layers": 1, **more},
    )
    text = TEXT if "no_text" not in variant else 0
    features = {
        name: x[0]
        for name, x in tiny_clips.batch(
            flow=c.data.flow, text=text, fast=False, channels=channels
        ).features.items()
    }
    model = predictive.PredictiveModel(FrozenConfigDict(c.model), text, c.data.flow)
    return (
        model,
        random_tree(jax.eval_shape(model.init, {"params": jax.random.key(0)}, features)["params"]),
        features,
    )


def changed(features, index, by=40):
    """The clip with the pixels of some frames changed."""
    frames = features["frames"].copy()
    frames[index] = frames[index] // 2 + by
    return features | {"frames": frames}


# ---- parts


def test_patches_in_the_order_of_rows_and_back():
    x = np.random.default_rng(0).normal(size=(6, 8, 3)).astype(np.float32)
    tokens = blocks.patchify(x, 2)
    expected = [
        x[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].reshape(-1) for r in range(3) for c in range(4)
    ]
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(blocks.unpatchify(tokens, 3, 4, 2), x)


@pytest.mark.parametrize("width", [8, 7, 10, 21])
def test_positions_of_a_grid(width):
    """Half of the width for the row, half for the column; sines, cosines, and a zero where a
    half is odd."""

    def axis(place, size):
        angles = [place / 10000 ** (k / (size // 2)) for k in range(size // 2)]
        return [*np.sin(angles), *np.cos(angles), *[0.0] * (size % 2)]

    found = blocks.grid_positions(3, 4, width)
    expected = [
        axis(r, width // 2) + axis(c, width - width // 2) for r in range(3) for c in range(4)
    ]
    # rounded to float32 at the end only
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert len(np.unique(found, axis=0)) == 12


def test_cells_are_means():
    x = np.arange(48.0).reshape(1, 6, 8)
    expected = [
        [[x[0, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for c in range(4)] for r in range(3)]
    ]
    np.testing.assert_array_equal(blocks.pool_cells(x, 2), expected)


@pytest.mark.parametrize("biased", [False, True])
def test_attention(biased):
    rng = np.random.default_rng(0)
    heads, width = 4, 16
    queries, keys = (
        rng.normal(size=(5, width)).astype(np.float32),
        rng.normal(size=(7, width)).astype(np.float32),
    )
    bias = rng.normal(size=(heads, 5, 7)).astype(np.float32) if biased else None
    module = blocks.Attention(heads)
    params = random_tree(jax.jit(module.init)(jax.random.key(0), queries, keys)["params"])
    p = jax.tree.map(np.float64, params)
    q = queries @ p["query"]["kernel"] + p["query"]["bias"]
    k, v = np.split(keys @ p["key_value"]["kernel"] + p["key_value"]["bias"], 2, -1)
    out = []
    for h in range(heads):
        own = slice(4 * h, 4 * h + 4)
        logits = q[:, own] @ k[:, own].T / np.sqrt(4) + (bias[h] if biased else 0)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        out.append(weights / weights.sum(-1, keepdims=True) @ v[:, own])
    expected = np.concatenate(out, -1) @ p["out"]["kernel"] + p["out"]["bias"]
    np.testing.assert_allclose(
        jax.jit(module.apply)({"params": params}, queries, keys, bias),
        expected,
        rtol=0,
        atol=TOLERANCE,
    )


def test_the_gated_block_starts_as_the_identity_and_its_gates_learn():
    x, context = (
        np.random.default_rng(i).normal(size=(n, 16)).astype(np.float32)
        for i, n in ((0, 5), (1, 3))
    )
    module = blocks.GatedCrossBlock(2)
    variables = jax.jit(module.init)(jax.random.key(0), x, context)
    np.testing.assert_array_equal(jax.jit(module.apply)(variables, x, context), x)
    gradient = jax.jit(jax.grad(lambda v: jnp.square(module.apply(v, x, context)).sum()))(
        variables
    )["params"]["gates"]
    assert (np.abs(gradient) > 1e-3).all()


def test_row_statistics():
    graph = np.random.default_rng(0).uniform(size=(12, 12)).astype(np.float32)
    expected = []
    for i in range(12):
        others = np.sort(np.delete(graph[i].astype(np.float64), i))
        expected.append([others.mean(), others.std(), others[-1], others[-8:].mean()])
    # means of 12 numbers below 1
    np.testing.assert_allclose(
        jax.jit(predictive.row_statistics)(graph), expected, rtol=0, atol=1e-6
    )
    # fewer others than eight, and no spread but the 1e-8 under its root
    constant = jax.jit(predictive.row_statistics)(jnp.ones((3, 3)))
    np.testing.assert_allclose(constant, np.tile([1.0, 1e-4, 1.0, 1.0], (3, 1)), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(jax.jit(predictive.row_statistics)(jnp.ones((2, 2)))[:, 0], 1)


def test_the_pace_network_is_local():
    """Its cells see 25 pixels across, so a changed pixel moves cells up to 12 pixels away and
    leaves the others alone, bit by bit."""
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(CLIP + 1, 24, 96, 1)).astype(np.float32)
    network = pace.PaceNetwork(8)
    params = jax.jit(network.init)(jax.random.key(0), frames)
    apply = jax.jit(network.apply)
    before, other = apply(params, frames), frames.copy()
    assert before.shape == (6, 24)
    other[:, 12, 48] += 1
    moved = np.flatnonzero((apply(params, other) != before).any(0))
    # a cell's own pixels are 4 wide, so its middle may be 2 further
    assert len(moved) and (np.abs(4 * moved + 2 - 48) <= 14).all()


# ---- shapes


@pytest.mark.parametrize(
    "config, variant",
    [
        *((ped2, v) for v in VARIANTS if v != "paper"),  # the authors' model: test_sib_vad_run.py
        (ped2, "large+frames+no_motion+no_text"),
        (avenue, "small"),
        (shanghaitech_semi, "large"),
    ],
)
def test_shapes_of_every_variant(config, variant):
    """At the sizes that the configuration itself has; nothing is computed."""
    c = config.get_config(variant)
    h, w, k, cell = c.data.height, c.data.width, c.data.clip_frames, c.model.cell
    text = 384 if c.data.train_descriptions else 0
    features = {"frames": jax.ShapeDtypeStruct((k + 1, h, w, c.data.channels), np.uint8)}
    if c.data.flow:
        features["flow"] = jax.ShapeDtypeStruct((k + 1, h // cell, w // cell, 3), np.float32)
    if text:
        features |= {
            name: jax.ShapeDtypeStruct((text,), np.float32) for name in ("text", "text_next")
        }
    model = predictive.PredictiveModel(FrozenConfigDict(c.model), text, c.data.flow)
    found, variables = jax.eval_shape(
        lambda f: model.init_with_output({"params": jax.random.key(0)}, f), features
    )
    tokens = (h // c.model.patch) * (w // c.model.patch)
    assert found.frame.shape == (h, w, c.data.channels) and found.relation.shape == (tokens, 4)
    assert (
        (found.text is None) == (not text)
        and (found.flow is None) == (not c.data.flow)
        and (found.pace is None) == (not c.model.pace)
    )
    assert not text or found.text.shape == (text,)
    assert not c.data.flow or found.flow.shape == (h // cell, w // cell, 3)
    assert not c.model.pace or found.pace.shape == (h // 4, w // 4)
    choices = {
        "sffm": c.model.filter.experts,
        "none": 1,
        "bottleneck": 1,
        "memae": 2000,
        "mnad": 10,
    }[c.model.filter.kind]
    for layer in range(c.model.decoder_layers):
        assert (
            found.aux[f"usage/{layer}"].shape == (choices,)
            and found.aux[f"dead/{layer}"].shape == found.aux["balance"].shape == ()
        )
    assert ("memory" in variables) == (c.model.filter.kind == "mnad")
    assert ("relation_strength" in variables["params"]["predictor"]) == c.model.relation_bias


def test_tokens_of_a_frozen_encoder_take_the_place_of_the_patch_encoder():
    c = tiny_clips.config()
    model = predictive.PredictiveModel(FrozenConfigDict(c.model), TEXT, True)
    features = {name: x[0] for name, x in tiny_clips.batch(tokens=10, fast=False).features.items()}
    found, variables = jax.eval_shape(
        lambda f: model.init_with_output({"params": jax.random.key(0)}, f), features
    )
    params = variables["params"]["predictor"]
    assert found.frame.shape == (HEIGHT, WIDTH, 1) and "vision" not in params
    assert params["vision_project"]["kernel"].shape == (10, c.model.width // CLIP)


# ---- what reaches a prediction


@pytest.mark.parametrize("skip", ["none", "frame", "patch"])
def test_no_residual_path_around_the_filter(skip):
    """With a filter that says nothing, only the skip is left: nothing, the last frame itself, or
    something made of its patches."""
    model, params, features = built(model__skip=skip)
    silent = jax.tree.map(np.zeros_like, params["predictor"]["filter0"])
    params = params | {"predictor": params["predictor"] | {"filter0": silent}}
    apply = jax.jit(lambda f: model.apply({"params": params}, f))
    noise = np.random.default_rng(1)
    past = changed(features, slice(0, CLIP - 1))
    past |= {
        name: noise.normal(size=features[name].shape).astype(np.float32)
        for name in ("text", "flow")
    }
    first, other, last = apply(features), apply(past), apply(changed(past, CLIP - 1))
    for name in ("frame", "text", "flow"):
        np.testing.assert_array_equal(getattr(first, name), getattr(other, name), err_msg=name)
    for name in ("text", "flow"):
        np.testing.assert_array_equal(getattr(first, name), getattr(last, name), err_msg=name)
    if skip == "none":
        np.testing.assert_array_equal(first.frame, last.frame)
    elif skip == "frame":
        change = (
            predictive.normalise_frames(changed(past, CLIP - 1)["frames"])[CLIP - 1]
            - predictive.normalise_frames(features["frames"])[CLIP - 1]
        )
        # one addition each, of numbers of size 1
        np.testing.assert_allclose(last.frame - first.frame, change, rtol=0, atol=1e-6)
    else:
        assert np.abs(last.frame - first.frame).max() > 1e-3


def test_with_the_filter_all_inputs_count_and_the_next_frame_does_not():
    """Each input moves the prediction once the gates are open; what is to be predicted never
    does, but for the pace, which judges it."""
    model, params, features = built(model__flow_input=True, model__motion_layers=1)
    apply = jax.jit(lambda f: model.apply({"params": params}, f))
    first = apply(features)
    rng = np.random.default_rng(0)
    inputs = {
        "frame 1": changed(features, 0),
        "text": features | {"text": rng.normal(size=TEXT).astype(np.float32)},
    }
    inputs["flow"] = features | {
        "flow": features["flow"] + np.array([1, 1, 1, 1, 0], np.float32)[:, None, None, None]
    }
    for name, f in inputs.items():
        found = apply(f)
        assert all(
            np.abs(np.asarray(a) - b).max() > 1e-6
            for a, b in (
                (found.frame, first.frame),
                (found.text, first.text),
                (found.flow, first.flow),
            )
        ), name
    future = changed(features, CLIP) | {"text_next": rng.normal(size=TEXT).astype(np.float32)}
    future["flow"] = features["flow"] + np.array([0, 0, 0, 0, 1], np.float32)[:, None, None, None]
    found = apply(future)
    for name in ("frame", "text", "flow", "relation"):
        np.testing.assert_array_equal(getattr(found, name), getattr(first, name), err_msg=name)
    assert (np.asarray(found.pace) != first.pace).any()


def test_the_flow_of_what_is_seen_comes_from_the_last_frame_alone():
    """model.flow_from 'frame': other inputs never reach the predicted flow, and the decoder's
    filter is not in its way."""
    model, params, features = built(model__flow_from="frame")
    apply = jax.jit(lambda f: model.apply({"params": params}, f).flow)
    past = changed(features, slice(0, CLIP - 1)) | {
        "text": features["text"] + 1,
        "flow": features["flow"] + 1,
    }
    np.testing.assert_array_equal(apply(past), apply(features))
    assert np.abs(apply(changed(features, CLIP - 1)) - apply(features)).max() > 1e-4


def test_the_text_token_comes_first():
    """What the decoder is given, and which rows the heads read, in numpy."""
    model, params, features = built()

    @jax.jit
    def run(features):
        seen = {}

        def look(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if (
                context.module.name in ("decoder0", "filter0", "decoder_in", "pixels")
                and context.method_name == "__call__"
            ):
                seen[context.module.name] = (args[0], out)
            return out

        with nn.intercept_methods(look):
            return model.apply({"params": params}, features), seen

    found, seen = run(features)
    p = jax.tree.map(np.float64, params["predictor"])
    given, decoded = seen["decoder0"][0], seen["filter0"][1][0]
    assert given.shape == decoded.shape == (1 + TOKENS, 16)
    np.testing.assert_allclose(
        given[0],
        features["text"] @ p["text_embed"]["kernel"] + p["text_embed"]["bias"],
        rtol=0,
        atol=TOLERANCE,
    )
    np.testing.assert_allclose(
        given[1:],
        seen["decoder_in"][1] + blocks.grid_positions(ROWS, COLUMNS, 16),
        rtol=0,
        atol=1e-6,
    )
    np.testing.assert_array_equal(seen["pixels"][0], decoded[1:])
    hidden = np.float64(decoded[0]) @ p["text_hidden"]["kernel"] + p["text_hidden"]["bias"]
    hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    np.testing.assert_allclose(
        found.text, hidden @ p["text_out"]["kernel"] + p["text_out"]["bias"], rtol=0, atol=TOLERANCE
    )


def test_the_relation_bias_is_zero_at_the_start_and_learns():
    model, params, features = built()
    without = built("no_relations")[0]
    strength = jax.jit(
        lambda f: model.init({"params": jax.random.key(0)}, f)["params"]["predictor"][
            "relation_strength"
        ]
    )(features)
    np.testing.assert_array_equal(strength, np.zeros(4))

    @partial(jax.jit, static_argnums=0)
    @partial(jax.value_and_grad, argnums=1, has_aux=True)
    def loss(model, strength):
        frame = model.apply(
            {
                "params": (
                    params | {"predictor": params["predictor"] | {"relation_strength": strength}}
                )
            },
            features,
        ).frame
        return jnp.square(frame).sum(), frame

    (_, frame), gradient = loss(model, strength)
    (_, plain), nothing = loss(without, strength)
    # the same sums, but for a term of zeros: compiled apart, they may round differently
    np.testing.assert_allclose(frame, plain, rtol=0, atol=1e-6)
    assert (np.abs(gradient) > 0).all() and (np.asarray(nothing) == 0).all()


def test_gradients_are_finite_for_clips_without_any_motion():
    """Black frames, no flow, an empty description: lengths, spreads and cosines of zeros."""
    model, params, features = built(model__motion_layers=1)
    # as they start
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: x * (path[-1].key not in ("bias", "gates")), params
    )
    still = {name: np.zeros_like(x) for name, x in features.items()}
    loss = lambda p: sum(
        jnp.square(x).sum() for x in jax.tree.leaves(model.apply({"params": p}, still))
    )
    gradient = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    assert CELL * 3 == PATCH  # what the shapes above take for granted
