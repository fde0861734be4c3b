"""AMSL of units against plain numpy in float64."""

import jax
import normal_units
import numpy as np
from scipy.special import log_softmax, softmax

from gfvad.tasks.novelty.comparators import amsl


def address(code, items):
    unit = lambda y: y / np.linalg.norm(y, axis=-1, keepdims=True)
    fit = softmax(unit(code) @ unit(items).T, -1)
    fit = np.where(fit > 1 / amsl.ITEMS, fit, 0)
    fit /= fit.sum(-1, keepdims=True)
    return fit @ items, -(fit * np.log(np.where(fit > 0, fit, 1))).sum(-1)


def test_scores_and_losses_are_those_of_a_transcription():
    module, variables = normal_units.made("amsl")
    seen, params = normal_units.seen_of(3), variables["params"]
    found = normal_units.said(module, variables, seen)
    joined = normal_units.flat_of(seen).reshape(*seen.mask.shape, -1)
    noise = np.asarray(jax.random.normal(jax.random.key(0), joined.shape[1:]), np.float64)
    there = seen.mask[..., None]
    # a window of 4 units: the quarters are units
    ways = [joined, joined + 0.5 * noise * there, -joined, joined[:, ::-1]]
    ways += [joined[:, [2, 0, 3, 1]], 2 * joined]
    masks = [seen.mask] * 3 + [seen.mask[:, ::-1], seen.mask[:, [2, 0, 3, 1]], seen.mask]
    errors, classes, entropies = [], [], []
    for r, (x, mask) in enumerate(zip(ways, masks, strict=True)):
        code = normal_units.network(x.reshape(len(x), -1), params["encoder"])
        logits = normal_units.dense(code, params["classes"])
        classes.append(-log_softmax(logits, -1)[:, r])
        whole, first = address(code, np.asarray(params["global"], np.float64))
        own, second = address(code, np.asarray(params["local"][r], np.float64))
        entropies.append(first + second)
        beside = np.concatenate([code, whole, own], -1)
        share = softmax(normal_units.dense(beside, params["fusion"]), -1)
        fused = share[:, :1] * whole + share[:, 1:] * own
        back = normal_units.network(fused, params["decoder"]).reshape(x.shape)
        errors.append(normal_units.error_of(back, x, mask))
    np.testing.assert_allclose(found.scores["error"], np.mean(errors, 0), rtol=2e-4)
    for name, values in (("error", errors), ("class", classes), ("entropy", entropies)):
        np.testing.assert_allclose(found.losses[f"amsl_{name}"], np.mean(values, 0), rtol=2e-4)


def test_noise_is_new_in_training_and_a_window_of_one_is_turned_by_its_features():
    seen = normal_units.seen_of(0, keys=True)
    x, mask = seen.joined, seen.mask
    drawn, fixed = (amsl.transformed(x, mask, keys)[0] for keys in (seen.keys, None))
    assert not np.allclose(drawn[1], fixed[1]) and np.array_equal(drawn[2:], fixed[2:])
    one, ones = amsl.transformed(x[:, 2:3], mask[:, 2:3], None)
    np.testing.assert_array_equal(one[3], x[:, 2:3, ::-1])
    assert one.shape == (6, 5, 1, 4) and np.asarray(ones).all()
