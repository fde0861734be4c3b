"""The authors' predictive model against a plain float64 transcription of its description, its
sizes, positions, limits and what it refuses. The published figures at full size, which take a
minute, are `gfvad bench sib_vad`."""

import math

import jax
import numpy as np
import pytest
import sib_vad_oracle as oracle

from gfvad.base.types import DataError
from gfvad.models import sib_vad
from gfvad.models.sib_vad_weights import by_formula, fixed_positions

SMALL = sib_vad.Sizes(
    bottleneck=3,
    width=16,
    motion_width=8,
    visual_width=10,
    text_width=6,
    patch=2,
    experts=9,
    motion_layers=2,
    joint_layers=2,
    decoder_layers=2,
)
ROWS, COLUMNS = 3, 2
NAMES = sib_vad.shapes_of(SMALL)


@pytest.fixture(scope="module")
def weights():
    return oracle.random_weights(NAMES)


def clips(count=2, seed=1, frames=4):
    """frames, visual, patches, text of `count` random clips."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(size=(count, frames, 3, ROWS * SMALL.patch, COLUMNS * SMALL.patch))
    tokens = 1 + ROWS * COLUMNS, SMALL.visual_width
    visual, patches = rng.normal(size=(count, 4, *tokens)), rng.normal(size=(count, *tokens))
    return pictures, visual, patches, rng.normal(size=(count, SMALL.text_width))


run = sib_vad.apply


def by_loops(weights, given):
    """The oracle on each clip: frames, descriptions, mean of the balance."""
    found = [oracle.model(weights, *clip) for clip in zip(*given)]
    pictures, said, balance = zip(*found)
    return np.stack(pictures), np.stack(said), np.mean(balance)


def test_agrees_with_the_description_in_both_precisions(weights):
    given = clips()
    expected = by_loops(weights, given)
    with jax.enable_x64(True):
        found = run(sib_vad.from_state_dict(weights), *given)
        for a, b, rtol in zip(found, expected, (1e-9, 1e-9, 1e-6)):  # counts are float32
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)
    narrow = {name: np.float32(x) for name, x in weights.items()}
    found = run(sib_vad.from_state_dict(narrow), *map(np.float32, given))
    for a, b in zip(found, expected):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_clips_do_not_see_each_other_and_order_matters(weights):
    parameters = sib_vad.from_state_dict({n: np.float32(x) for n, x in weights.items()})
    given = [x.astype(np.float32) for x in clips()]
    both = run(parameters, *given)
    turned = run(parameters, *(x[::-1] for x in given))
    np.testing.assert_allclose(both[0], turned[0][::-1], atol=1e-5)
    np.testing.assert_allclose(both[1], turned[1][::-1], atol=1e-5)
    mixed = run(parameters, given[0][:, ::-1], *given[1:])
    assert np.abs(mixed[0] - both[0]).max() > 1e-3


def test_limit_of_gammas_at_zero_and_a_dead_skip(weights):
    """With gammas at 0 nothing of the joint attention is left; without the skip's columns the
    patches of frame 4 are not seen."""
    changed = dict(weights)
    for name in NAMES:
        if "gammas" in name:
            changed[name] = np.zeros(1)
    changed["decoder.decoder_pred.weight"] = weights["decoder.decoder_pred.weight"].copy()
    changed["decoder.decoder_pred.weight"][:, SMALL.width :] = 0.0
    other = {n: 5.0 * x if "joint_cross_attn.blocks" in n else x for n, x in changed.items()}
    pictures, visual, patches, text = clips(1)
    first = run(sib_vad.from_state_dict(changed), pictures, visual, patches, text)
    second = run(sib_vad.from_state_dict(other), pictures, visual, 3.0 * patches, text)
    np.testing.assert_allclose(first[0], second[0], atol=1e-6)
    np.testing.assert_allclose(first[1], second[1], atol=1e-6)


@pytest.mark.parametrize("bottleneck, count", [(8, 10_938_036), (16, 11_988_660)])
def test_published_sizes_to_the_unit(bottleneck, count):
    shapes = sib_vad.shapes_of(sib_vad.Sizes(bottleneck))
    assert sum(math.prod(shape) for shape in shapes.values()) == count
    for part in ("gate.weight", "experts.62.up_proj.weight", "shared_experts.pre_norm.bias"):
        assert f"decoder.moes.3.{part}" in shapes


def test_parameters_are_all_weights_and_nothing_else(weights):
    parameters = sib_vad.from_state_dict(weights)
    assert sib_vad.parameter_count(parameters) == sum(x.size for x in weights.values())
    assert sum(x.size for x in jax.tree.leaves(parameters)) == sum(x.size for x in weights.values())


def test_positions_of_the_published_grid():
    """Figures of the authors' program: column first, zeros before."""
    place = fixed_positions("decoder", (32, 32, 256))
    assert place.shape == (1026, 256) and place.dtype == np.float32
    assert not place[:2].any() and not place[2, :64].any() and (place[2, 64:128] == 1).all()
    expected = [0.8414709568023682, 0.7617204189300537, 0.6815613508224487]
    np.testing.assert_array_equal(place[3, :3], np.asarray(expected, np.float32))
    for at, values in {
        0: [-0.7509872317314148, 0.12031327933073044, 0.8026500940322876],
        64: [0.6603167057037354, -0.9927359819412231, 0.59645015001297],
        128: [0.6502878665924072, 0.41058382391929626, -0.9682061672210693],
    }.items():
        np.testing.assert_allclose(place[500, at : at + 3], values, rtol=1e-6)
    assert by_formula("decoder", place[None])
    np.testing.assert_array_equal(
        fixed_positions("motion", (3, 2, 8)), oracle.places(3, 2, 8, 1).astype(np.float32)
    )


def test_what_a_checkpoint_carries_along(weights):
    """Wrappers' prefixes and the frozen encoder go; fixed positions stay only where they are
    others."""
    size = (2, 2)
    given = {f"module.{name}": x for name, x in weights.items()}
    given["module.internvl_model.encoder.weight"] = np.zeros((2, 2))
    for name, part, width in (
        ("motion_encoder.motion_pos_embed", "motion", SMALL.motion_width),
        ("decoder.decoder_pos_embed", "decoder", SMALL.width),
    ):
        given[f"module.{name}"] = fixed_positions(part, (*size, width))[None]
    same, plain = sib_vad.from_state_dict(given), sib_vad.from_state_dict(weights)
    assert jax.tree.structure(same) == jax.tree.structure(plain)
    given["module.decoder.decoder_pos_embed"] = 0.0 * given["module.decoder.decoder_pos_embed"]
    moved = sib_vad.from_state_dict(given)
    assert sib_vad.parameter_count(moved) == sib_vad.parameter_count(plain)
    grid = (*size, SMALL.width)
    assert not np.any(sib_vad.positions(moved, "decoder", grid))
    assert np.any(sib_vad.positions(plain, "decoder", grid))


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda w: w.pop("visual_project.weight"), "visual_project.weight: found nothing"),
        (lambda w: w.pop("decoder.moes.1.experts.4.up_proj.bias"), "without 1 weights"),
        (lambda w: w.update(extra=np.zeros(2)), "with 1 strange ones (extra)"),
        (lambda w: w.update({"text_project.bias": np.zeros(3)}), "found [3], expected [16]"),
        (lambda w: w.update({"text_project.bias": np.full(16, np.nan)}), "finite"),
        (lambda w: w.update({"text_project.bias": np.zeros(16, int)}), "int64"),
    ],
)
def test_other_weights_are_refused_by_name(weights, change, said):
    other = dict(weights)
    change(other)
    with pytest.raises(DataError) as error:
        sib_vad.from_state_dict(other)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "place, shape, said",
    [
        (0, (1, 5, 3, 6, 4), "frames [1, 5, 3, 6, 4], expected [1, 4, 3, 6, 4]"),
        (0, (1, 4, 3, 7, 4), "frames [1, 4, 3, 7, 4], expected [1, 4, 3, 6, 4]"),
        (0, (4, 3, 6, 4), "frames [4, 3, 6, 4], expected"),
        (1, (1, 4, 6, 10), "visual [1, 4, 6, 10], expected [1, 4, 7, 10]"),
        (2, (1, 4, 7, 10), "patches [1, 4, 7, 10], expected [1, 7, 10]"),
        (3, (1, 1, 6), "text [1, 1, 6], expected [1, 6]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(weights, place, shape, said):
    given = list(clips(1))
    given[place] = np.zeros(shape)
    with pytest.raises(DataError) as error:
        sib_vad.apply(sib_vad.from_state_dict(weights), *given)
    assert said in str(error.value)
