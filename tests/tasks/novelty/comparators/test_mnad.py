"""MNAD of units against plain numpy in float64."""

import jax.numpy as jnp
import normal_units
import numpy as np
from scipy.special import softmax

from gfvad.tasks.novelty.comparators.mnad import MNAD


def transcription(variables, seen):
    params = variables["params"]
    x = normal_units.flat_of(seen)
    query = normal_units.network(x, params["encoder"])
    query /= np.linalg.norm(query, axis=-1, keepdims=True)
    items = np.asarray(variables["memory"]["items"], np.float64)
    both = np.concatenate([query, softmax(query @ items.T, -1) @ items], -1) * 8.0
    back = normal_units.network(both, params["decoder"])
    shape = (*seen.mask.shape, -1)
    error = normal_units.error_of(back.reshape(shape), x.reshape(shape), seen.mask)
    distance = np.sort(np.linalg.norm(query[:, None] - items, axis=-1), -1)
    return query, items, error, distance


def test_scores_and_losses_are_those_of_a_transcription():
    module, variables = normal_units.made("mnad")
    seen = normal_units.seen_of(3)
    found = normal_units.said(module, variables, seen)
    query, _, error, distance = transcription(variables, seen)
    np.testing.assert_allclose(found.kept["query"], query, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.scores["error"], 10 * np.log10(error), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores["distance"], distance[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found.losses["mnad_error"], error, rtol=1e-4)
    np.testing.assert_allclose(found.losses["mnad_compact"], distance[:, 0], rtol=1e-4)
    separate = np.maximum(distance[:, 0] - distance[:, 1] + 1, 0)
    np.testing.assert_allclose(found.losses["mnad_separate"], separate, rtol=1e-4)


def test_prototypes_move_to_the_queries_they_are_nearest_to():
    module, variables = normal_units.made("mnad")
    seen = normal_units.seen_of(3, 8)
    found = normal_units.said(module, variables, seen)
    query, items, _, _ = transcription(variables, seen)
    valid = np.arange(8) < 6
    constants = {"memory": variables["memory"]}
    new = MNAD.updated(constants, found.kept, jnp.asarray(valid))["memory"]["items"]
    nearest = (query @ items.T).argmax(-1)
    for m, item in enumerate(items):
        own = query[(nearest == m) & valid]
        if len(own):
            share = np.exp(own @ item - (own @ item).max())
            item = item + share @ own
            item /= np.linalg.norm(item)
        np.testing.assert_allclose(new[m], item, atol=1e-5)
