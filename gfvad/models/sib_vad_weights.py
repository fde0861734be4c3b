"""The weights of SIB-VAD by the names of the authors' checkpoint: their shapes, and how they become
the parameters of gfvad/models/sib_vad.py.

The checkpoint is a torch one: a Dense layer's weight is [out, in], a convolution's [out, in, rows,
columns]. Parameters have the same names at each dot, but kernels are [in, out] (convolutions [rows,
columns, in, out]), a norm's weight is `scale`, and the experts of a filter are stacked on a leading
axis, the shared one first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gfvad.base.names import some
from gfvad.base.types import DataError
from gfvad.nn.blocks import grid_positions

# the frozen encoder, which a checkpoint may carry along
FROZEN = "internvl_model."
# what wrappers put before every name
WRAPPERS = ("module.", "_orig_mod.")
POSITIONS = "positions"
# last names of fixed positions -> part of the model
STORED_POSITIONS = {"motion_pos_embed": "motion", "decoder_pos_embed": "decoder"}
BEFORE = {"motion": 1, "decoder": 2}  # tokens before the patches: class; description and class


class Sizes(NamedTuple):
    """What the shapes of all weights follow from."""

    bottleneck: int
    width: int = 256
    motion_width: int = 128
    visual_width: int = 1024
    text_width: int = 768
    patch: int = 14
    frames: int = 4
    experts: int = 63
    motion_layers: int = 4
    joint_layers: int = 4
    decoder_layers: int = 4


def shapes_of(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Name in the checkpoint -> shape, of all that is learnt."""
    found: dict[str, tuple[int, ...]] = {}

    def dense(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = outputs, inputs
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (width,)

    def block(name: str, width: int, ratio: int) -> None:
        norm(f"{name}.norm1", width)
        dense(f"{name}.attn.qkv", width, 3 * width)
        dense(f"{name}.attn.proj", width, width)
        norm(f"{name}.norm2", width)
        dense(f"{name}.mlp.fc1", width, ratio * width)
        dense(f"{name}.mlp.fc2", ratio * width, width)

    def expert(name: str) -> None:
        norm(f"{name}.pre_norm", width)
        dense(f"{name}.down_proj", width, sizes.bottleneck)
        dense(f"{name}.up_proj", sizes.bottleneck, width)

    def convolution(name: str, inputs: int, outputs: int, side: int) -> None:
        found[f"{name}.weight"] = outputs, inputs, side, side
        found[f"{name}.bias"] = (outputs,)

    width, motion, side = sizes.width, sizes.motion_width, sizes.patch
    dense("visual_project", sizes.visual_width, width)
    dense("patch_emb_project", sizes.visual_width, width)
    dense("temporal_project", sizes.frames * width, width)
    dense("text_project", sizes.text_width, width)
    found["motion_encoder.cls_token"] = 1, 1, motion
    convolution("motion_encoder.patch_emb.proj", 3, motion, side)
    for layer in range(sizes.motion_layers):
        block(f"motion_encoder.encoder_blocks.{layer}", motion, 2)
    dense("frame_diff_project", (sizes.frames - 1) * motion, width)
    for layer in range(sizes.joint_layers):
        name = f"joint_cross_attn.blocks.{layer}"
        for part in ("ln_attn", "ln_y", "ln_z", "ln_ff"):
            norm(f"{name}.{part}", width)
        for part in ("to_q", "to_k_y", "to_v_y", "to_k_z", "to_v_z", "out_proj"):
            dense(f"{name}.attn.{part}", width, width)
        dense(f"{name}.ff.net.0", width, 2 * width)
        dense(f"{name}.ff.net.3", 2 * width, width)
        for part in ("attn_gammas", "ff_gammas"):
            found[f"joint_cross_attn.{part}.{layer}"] = (1,)
    dense("decoder.rgb_project.0", 2 * width, 4 * width)
    dense("decoder.rgb_project.2", 4 * width, width)
    for layer in range(sizes.decoder_layers):
        block(f"decoder.decoder_blocks.{layer}", width, 4)
        dense(f"decoder.moes.{layer}.gate", width, sizes.experts, bias=False)
        for name in expert_names(sizes.experts):
            expert(f"decoder.moes.{layer}.{name}")
    norm("decoder.decoder_norm", width)
    dense("decoder.text_recon.0", width, 4 * width)
    dense("decoder.text_recon.2", 4 * width, sizes.text_width)
    dense("decoder.decoder_pred", 2 * width, 3 * side * side)
    convolution("decoder.final_conv.0", 3, 3, 3)
    convolution("decoder.final_conv.2", 3, 3, 1)
    return found


def expert_names(experts: int) -> list[str]:
    """Of a filter's experts, in the order that they are stacked in."""
    return ["shared_experts", *(f"experts.{e}" for e in range(experts))]


def from_state_dict(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `sib_vad.apply` from a checkpoint's `model_state_dict`: names to arrays (or
    torch's tensors), of any sizes, which follow from them. The dtype stays as it is.

    What belongs to the frozen encoder is left out; fixed positions are kept only where they are not
    what the formula gives. Raises DataError, with the name, for one that is missing, strange, of
    another shape, or holds what is no number.
    """
    given = plain_arrays(weights)
    places = {name: STORED_POSITIONS.get(name.rpartition(".")[2]) for name in given}
    stored = {part: given.pop(name) for name, part in places.items() if part}
    sizes = sizes_of(given)
    expected = shapes_of(sizes)
    refuse_names(given, expected)
    for name, shape in expected.items():
        if given[name].shape != shape:
            raise DataError(
                f"{name}: found {list(given[name].shape)}, expected {list(shape)} beside the other"
                " weights: take the whole model_state_dict of one checkpoint"
            )
    refuse_numbers({**given, **stored})
    tree = as_tree(given)
    if other := {part: x[0] for part, x in stored.items() if not by_formula(part, x)}:
        tree[POSITIONS] = other
    return tree


def as_tree(given: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays of a checkpoint, all that `shapes_of` names, as the parameters hold them."""
    tree: dict[str, Any] = {}
    for name, array in given.items():
        if not in_expert(name):
            *groups, last = in_house(name, array.ndim).split(".")
            put(tree, groups, last, turned(name, array))
        elif name.endswith(".shared_experts.pre_norm.weight"):  # the first one of each filter
            name = name.removesuffix(".shared_experts.pre_norm.weight")
            experts = expert_names(len(given[f"{name}.gate.weight"]))
            for field, array in stacked(given, name, experts):
                put(tree, name.split("."), field, array)
    return tree


def fixed_positions(part: str, grid: tuple[int, int, int]) -> np.ndarray:
    """Positions [tokens before + rows * columns, D] of a grid (rows, columns, D), float32: the
    first half of D tells the column, the last the row; zeros for the tokens before it."""
    rows, columns, width = grid
    down, across = np.split(grid_positions(rows, columns, width), 2, -1)
    return np.pad(np.concatenate([across, down], -1), ((BEFORE[part], 0), (0, 0)))


def by_formula(part: str, stored: np.ndarray) -> bool:
    """Whether positions of a checkpoint [1, L, D] are `fixed_positions` of a square grid."""
    side = math.isqrt(max(stored.shape[1] - BEFORE[part], 0))
    expected = fixed_positions(part, (side, side, stored.shape[2]))
    return expected.shape == stored.shape[1:] and np.allclose(expected, stored[0], atol=1e-6)


# ---- reading


def plain_arrays(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Names without what wrappers put before them -> numpy arrays, without the frozen encoder."""
    found = {}
    for name, value in weights.items():
        for wrapper in WRAPPERS:
            name = name.removeprefix(wrapper)
        if not name.startswith(FROZEN):
            found[name] = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    return found


def sizes_of(given: Mapping[str, np.ndarray]) -> Sizes:
    """Sizes of a checkpoint's arrays. Raises DataError where one that tells them is missing."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in given or given[name].ndim != axes:
            found = list(given[name].shape) if name in given else "nothing"
            raise DataError(
                f"{name}: found {found}, expected a weight of {axes} axes: not the weights of"
                f" SIB-VAD; {len(given)} names, such as {some(list(given))}"
            )
        return given[name].shape

    def layers(prefix: str) -> int:
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return 1 + max((int(m[1]) for name in given if (m := pattern.match(name))), default=-1)

    width, visual_width = shape("visual_project.weight", 2)
    motion_width, _, side, _ = shape("motion_encoder.patch_emb.proj.weight", 4)
    return Sizes(
        bottleneck=shape("decoder.moes.0.shared_experts.down_proj.weight", 2)[0],
        width=width,
        motion_width=motion_width,
        visual_width=visual_width,
        text_width=shape("text_project.weight", 2)[1],
        patch=side,
        frames=shape("temporal_project.weight", 2)[1] // max(width, 1),
        experts=shape("decoder.moes.0.gate.weight", 2)[0],
        motion_layers=layers("motion_encoder.encoder_blocks"),
        joint_layers=layers("joint_cross_attn.blocks"),
        decoder_layers=layers("decoder.decoder_blocks"),
    )


def refuse_names(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises DataError for names that are missing or strange."""
    missing, strange = (
        sorted(a.keys() - b.keys()) for a, b in ((expected, given), (given, expected))
    )
    if missing or strange:
        said = [f"without {len(missing)} weights ({some(missing)})"] if missing else []
        said += [f"with {len(strange)} strange ones ({some(strange)})"] if strange else []
        raise DataError(
            f"weights {' and '.join(said)}: expected the model_state_dict of SIB-VAD, all of it"
        )


def refuse_numbers(given: Mapping[str, np.ndarray]) -> None:
    """Raises DataError for an array of anything but finite numbers."""
    for name, array in given.items():
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise DataError(
                f"{name}: {array.dtype} with numbers that are not finite or no numbers, expected"
                " finite floating-point numbers: the checkpoint is damaged, or of another kind"
            )


def in_expert(name: str) -> bool:
    """Whether a name is of an expert, which is stacked."""
    return ".moes." in f".{name}" and "experts" in name


def in_house(name: str, axes: int) -> str:
    """A name of the checkpoint as the parameters have it."""
    if not name.endswith(".weight"):
        return name
    return name.removesuffix("weight") + ("scale" if axes == 1 else "kernel")


def turned(name: str, array: np.ndarray) -> np.ndarray:
    """A weight of the checkpoint in the order of axes that the parameters have."""
    if array.ndim == 2:
        return array.T
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)  # [rows, columns, in, out]
        return array.reshape(-1, array.shape[-1]) if ".patch_emb." in name else array
    return array


def stacked(
    given: Mapping[str, np.ndarray], name: str, experts: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """(field of `ExpertParams`, array [1 + E, ...]) of a filter."""
    fields = {"scale": "pre_norm.weight", "shift": "pre_norm.bias"}
    fields |= {"w_in": "down_proj.weight", "b_in": "down_proj.bias"}
    fields |= {"w_out": "up_proj.weight", "b_out": "up_proj.bias"}
    for field, last in fields.items():
        array = np.stack([given[f"{name}.{expert}.{last}"] for expert in experts])
        yield field, array.swapaxes(1, 2) if array.ndim == 3 else array


def put(tree: dict[str, Any], groups: list[str], last: str, value: Any) -> None:
    """Sets a leaf of a nested dictionary."""
    for group in groups:
        tree = tree.setdefault(group, {})
    tree[last] = value
