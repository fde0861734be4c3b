"""MemAE of units against plain numpy in float64."""

import normal_units
import numpy as np
from scipy.special import softmax

from gfvad.tasks.novelty.comparators import memae


def test_scores_and_losses_are_those_of_a_transcription():
    module, variables = normal_units.made("memae")
    seen, params = normal_units.seen_of(3), variables["params"]
    found = normal_units.said(module, variables, seen)
    x = normal_units.flat_of(seen)
    code = normal_units.network(x, params["encoder"])
    items = np.asarray(params["items"], np.float64)
    unit = lambda y: y / np.linalg.norm(y, axis=-1, keepdims=True)
    fit = softmax(unit(code) @ unit(items).T, -1)
    fit = np.where(fit > 1 / memae.ITEMS, fit, 0)
    fit /= fit.sum(-1, keepdims=True)
    back = normal_units.network(fit @ items, params["decoder"])
    shape = (*seen.mask.shape, -1)
    error = normal_units.error_of(back.reshape(shape), x.reshape(shape), seen.mask)
    np.testing.assert_allclose(found.scores["error"], error, rtol=1e-4)
    np.testing.assert_allclose(found.losses["memae_error"], error, rtol=1e-4)
    logs = np.log(np.where(fit > 0, fit, 1))
    np.testing.assert_allclose(found.losses["memae_entropy"], -(fit * logs).sum(-1), rtol=1e-4)
    assert (fit > 0).sum(-1).max() < memae.ITEMS  # the shrinkage takes something away
