"""SIB-VAD (the published form of MemoryOut / SFN-VAD), exactly as the authors' program computes it:
from four frames, and what a frozen vision encoder and a sentence encoder say of them, the next
frame and the description again, through sparse feature filters.

`from_state_dict` takes the authors' weights by their names, `apply` is the model. Nothing about a
size is fixed but heads, kept experts and what the names stand for: widths, bottleneck, layers and
the side of a patch follow from the weights, the grid from the frames. The published sizes are
`Sizes(bottleneck=8)` of Ped2, 16 of ShanghaiTech, 192 of Avenue.

Our own stronger model is gfvad/tasks/prediction/model.py; docs/predictive.md says how they differ.
Below, all functions see ONE clip, and `apply` is vmapped over B. Axes: D width (256), L = 1 +
rows x columns tokens (class token first), p side of a patch, V width of a description (768), U of
the vision encoder's tokens (1,024).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.platforms import compiled_for
from gfvad.base.types import DataError
from gfvad.models.sib_vad_weights import (
    POSITIONS,
    Sizes,
    fixed_positions,
    from_state_dict,
    shapes_of,
)
from gfvad.nn.blocks import patchify, unpatchify
from gfvad.nn.experts import FORMS, ExpertParams, choose
from gfvad.nn.filter import FilterStats, route, routing_stats

__all__ = ["Sizes", "apply", "from_state_dict", "parameter_count", "shapes_of"]

# attention by a kernel on TPUs: compiled by itself, but not yet in a whole training step
KERNEL = False
HEADS = 4
TOPK = 7
SCALE = 2.0  # factor on the renormalised router weights
EPSILON = 1e-5  # of every LayerNorm, the experts' too
SLOPE = 0.01  # of the LeakyReLU between the two last convolutions
PIXELS = 3  # channels of a frame

Tree = Mapping[str, Any]
Found = tuple[jax.Array, jax.Array, list[FilterStats]]


@jax.jit
def apply(
    parameters: Tree, frames: Any, visual: Any, patches: Any, text: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The model on B clips: (frame 5 [B, 3, h, w], description [B, V], balance []). Compiled once
    for shapes and dtypes.

    Args: parameters of `from_state_dict`; frames [B, 4, 3, h, w], RGB, less ImageNet's mean and
    over its deviation; visual [B, 4, L, U], the vision encoder's last hidden states of the four
    frames; patches [B, L, U], the output of its embedding layer for frame 4; text [B, V], the
    embedding of what is said of frame 4, which is also what the description is compared with.
    The frame is in the unit of the frames, unclipped. balance: the filters' balance losses, summed
    over layers, mean over clips; the authors' weight of 0.001 is not in it. Raises DataError for
    inputs of shapes that do not fit the weights or each other.
    """
    given = [jnp.asarray(x) for x in (frames, visual, patches, text)]
    require_shapes(parameters, *(x.shape for x in given))
    frame, said, filters = jax.vmap(partial(of_clip, parameters))(*given)
    return frame, said, sum((stats.balance for stats in filters), jnp.zeros(())).mean()


def require_shapes(p: Tree, *found: tuple[int, ...]) -> None:
    """Raises DataError unless frames, visual, patches and text of these shapes fit the weights."""
    side = patch_side(p["motion_encoder"]["patch_emb"]["proj"]["kernel"])
    states, width = p["visual_project"]["kernel"].shape
    count = p["temporal_project"]["kernel"].shape[0] // width
    batch, *_, height, rest = found[0] if len(found[0]) == 5 else (1, side, side)
    tokens = 1 + (height // side) * (rest // side)
    expected = (
        (batch, count, PIXELS, height - height % side, rest - rest % side),
        (batch, count, tokens, states),
        (batch, tokens, states),
        (batch, p["text_project"]["kernel"].shape[0]),
    )
    for name, shape, other in zip(("frames", "visual", "patches", "text"), found, expected):
        if shape != other:
            raise DataError(f"sib_vad: {name} {list(shape)}, expected {list(other)}")


def parameter_count(parameters: Tree) -> int:
    """Number of values that are learnt: fixed positions are none."""
    learnt = {name: part for name, part in parameters.items() if name != POSITIONS}
    return sum(int(np.size(x)) for x in jax.tree.leaves(learnt))


def of_clip(
    p: Tree, frames: jax.Array, visual: jax.Array, patches: jax.Array, text: jax.Array
) -> Found:
    """`apply` of one clip: (frame [3, h, w], description [V], statistics of each filter)."""
    # [F, h, w, 3]
    pictures = frames.transpose(0, 2, 3, 1)
    skip, said = dense(p["patch_emb_project"], patches), dense(p["text_project"], text)[None]
    visual = dense(p["temporal_project"], side_by_side(dense(p["visual_project"], visual)))
    motion = encode_motion(p, pictures[1:] - pictures[:-1])
    joint = p.get("joint_cross_attn", {"blocks": {}})
    for layer, block in in_order(joint["blocks"]):
        gammas = (joint[name][layer] for name in ("attn_gammas", "ff_gammas"))
        visual = cross_block(block, tuple(gammas), visual, said, motion)
    return decode(p, pictures.shape[1:3], (visual, motion, said, skip))


def encode_motion(p: Tree, differences: jax.Array) -> jax.Array:
    """Frame differences [F - 1, h, w, 3], each by itself through the transformer, -> [L, D]."""
    encoder = p["motion_encoder"]
    proj = encoder["patch_emb"]["proj"]
    side = patch_side(proj["kernel"])
    rows, columns = (n // side for n in differences.shape[1:3])
    place = positions(p, "motion", (rows, columns, proj["kernel"].shape[-1]))

    def one(difference: jax.Array) -> jax.Array:
        x = dense(proj, patchify(difference, side))
        x = jnp.concatenate([encoder["cls_token"].reshape(1, -1), x])
        x = x + place.astype(x.dtype)
        for _, block in in_order(encoder.get("encoder_blocks", {})):
            x = transformer_block(block, x)
        return x

    return dense(p["frame_diff_project"], side_by_side(jax.vmap(one)(differences)))


def decode(p: Tree, size: tuple[int, ...], given: tuple[jax.Array, ...]) -> Found:
    """Transformer blocks, each with a filter behind it that nothing goes around, and both heads.

    size: (h, w) of a frame; given: visual, motion [L, D], description [1, D], skip [L, D].
    """
    visual, motion, said, skip = given
    p_all, p = p, p["decoder"]
    side = patch_side(p["decoder_pred"]["bias"])
    rows, columns = (n // side for n in size)
    joint = two_layers(p["rgb_project"], jnp.concatenate([visual, motion], -1))
    # [1 + L, D]: the description, the class token, the patches
    x = jnp.concatenate([said, joint])
    place = positions(p_all, "decoder", (rows, columns, x.shape[-1]))
    x, filters = x + place.astype(x.dtype), []
    for layer, block in in_order(p["decoder_blocks"]):
        x, stats = sparse_filter(p["moes"][layer], transformer_block(block, x))
        filters.append(stats)
    x = layer_norm(p["decoder_norm"], x)
    pixels = dense(p["decoder_pred"], jnp.concatenate([x[2:], skip[1:]], -1))
    picture = unpatchify(pixels, rows, columns, side)
    picture = convolve(p["final_conv"]["0"], picture)
    picture = convolve(p["final_conv"]["2"], jnp.where(picture >= 0, picture, SLOPE * picture))
    return picture.transpose(2, 0, 1), two_layers(p["text_recon"], x[0]), filters


def sparse_filter(p: Tree, x: jax.Array) -> tuple[jax.Array, FilterStats]:
    """Tokens [L, D] -> (what the experts say of them [L, D], statistics).

    The router is float32 or wider. (The authors' stays float32 where all else is float64; what that
    adds is noise of 1e-7, another one on each machine.)
    """
    experts = ExpertParams(**{name: p[name] for name in ExpertParams._fields})
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    routing = route(exact @ p["gate"]["kernel"], TOPK, SCALE)
    # [L, 1 + E]: the shared expert always counts once
    shared = jnp.ones((len(x), 1), x.dtype)
    weights = jnp.concatenate([shared, routing.weights.astype(x.dtype)], -1)
    _, count, width = p["w_out"].shape
    sizes = {"experts": p["gate"]["kernel"].shape[-1], "bottleneck": count, "topk": TOPK}
    form = choose("auto", **sizes, units=len(x), backend=compiled_for())
    y = FORMS[form](experts, x, weights, routing.index, EPSILON)
    return y, routing_stats(routing, jnp.ones(len(x), bool))


def cross_block(
    p: Tree, gammas: tuple[jax.Array, ...], x: jax.Array, text: jax.Array, motion: jax.Array
) -> jax.Array:
    """Visual tokens [L, D] look at the description [1, D] and the motion [L, D], each with
    projections of its own; both sub-layers are scaled by a learnt number that starts at 0."""
    attend = p["attn"]
    text, motion = layer_norm(p["ln_y"], text), layer_norm(p["ln_z"], motion)
    keys, values = (
        jnp.concatenate([dense(attend[f"to_{n}_y"], text), dense(attend[f"to_{n}_z"], motion)])
        for n in ("k", "v")
    )
    queries = dense(attend["to_q"], layer_norm(p["ln_attn"], x))
    x = x + gammas[0] * dense(attend["out_proj"], attention(queries, keys, values))
    return x + gammas[1] * two_layers(p["ff"]["net"], layer_norm(p["ln_ff"], x))


def transformer_block(p: Tree, x: jax.Array) -> jax.Array:
    """Self-attention and feed-forward, each behind a norm, with residual paths: [L, D]."""
    attend, forward = p["attn"], p["mlp"]
    parts = jnp.split(dense(attend["qkv"], layer_norm(p["norm1"], x)), 3, -1)
    x = x + dense(attend["proj"], attention(*parts))
    hidden = dense(forward["fc1"], layer_norm(p["norm2"], x))
    return x + dense(forward["fc2"], jax.nn.gelu(hidden, approximate=False))


def attention(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Softmax attention of four heads: queries [L, D], keys and values [S, D] -> [L, D]. On a TPU,
    with KERNEL, one kernel: its logits are most of what a step moves."""
    if KERNEL and compiled_for() == "tpu":
        # importing it costs what only a TPU gives back
        from gfvad.nn.attention_kernel import fits, kernel_attention

        if fits(queries, keys, HEADS):
            return kernel_attention(queries, keys, values, HEADS)
    split = lambda x: x.reshape(len(x), HEADS, -1)
    q, k, v = split(queries), split(keys), split(values)
    # not jax.nn.dot_product_attention, whose softmax is float32 also of wider numbers
    logits = jnp.einsum("lhd,shd->hls", q, k) * q.shape[-1] ** -0.5
    found = jnp.einsum("hls,shd->lhd", jax.nn.softmax(logits, -1), v)
    return found.reshape(queries.shape)


def two_layers(p: Tree, x: jax.Array) -> jax.Array:
    """Dense, GELU, Dense: the first and the last of a numbered row of layers."""
    first, *_, last = in_order(p)
    return dense(last[1], jax.nn.gelu(dense(first[1], x), approximate=False))


def dense(p: Tree, x: jax.Array) -> jax.Array:
    """[..., D] -> [..., D']."""
    return x @ p["kernel"] + p["bias"]


def layer_norm(p: Tree, x: jax.Array) -> jax.Array:
    """LayerNorm of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + EPSILON) * p["scale"] + p["bias"]


def convolve(p: Tree, picture: jax.Array) -> jax.Array:
    """Convolution of a picture [h, w, C] by a kernel [k, k, C, C'], zeros around it."""
    axes = ("NHWC", "HWIO", "NHWC")
    kernel = jnp.asarray(p["kernel"], picture.dtype)
    found = jax.lax.conv_general_dilated(
        picture[None], kernel, (1, 1), "SAME", dimension_numbers=axes
    )
    return found[0] + p["bias"]


def positions(p: Tree, part: str, grid: tuple[int, int, int]) -> jax.Array:
    """Fixed positions of a part's tokens on a grid (rows, columns, D); those that came with the
    weights, where these were other ones."""
    if part in p.get(POSITIONS, {}):
        return jax.lax.stop_gradient(jnp.asarray(p[POSITIONS][part]))
    return jnp.asarray(fixed_positions(part, grid))


def side_by_side(x: jax.Array) -> jax.Array:
    """Tokens of several frames [F, L, D] -> [L, F D], the first frame first."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def in_order(numbered: Tree) -> list[tuple[str, Any]]:
    """(number, part) of parts that are named by their number."""
    return sorted(numbered.items(), key=lambda pair: int(pair[0]))


def patch_side(pixels: jax.Array) -> int:
    """Side of a patch from an array whose first axis is its pixels."""
    return round((pixels.shape[0] / PIXELS) ** 0.5)
