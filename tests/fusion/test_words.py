"""A in words: the terms add up to the fused graph, shares to one, and the words say the powers."""

import numpy as np
import pytest
from fusing import MASK, N, apply, cosines, operator, random_params

from gfvad.fusion import words
from gfvad.fusion.coefficients import constrained
from gfvad.fusion.forms import form_of
from gfvad.fusion.operator import has_diagonal_zeroth

CASES = [
    (2, {"form": "full"}, {"zeroth": "ones"}),
    (2, {"form": "cp", "rank": 2, "parametrisation": "nonneg", "channels": 2}, {"zeroth": "ones"}),
    (3, {"form": "cp", "rank": 2, "parametrisation": "simplex"}, {"zeroth": "identity"}),
    (3, {"form": "cp", "rank": 2, "graphs": "random_pair"}, {"kind": "walk"}),
    (3, {"form": "outer", "graphs": "random_pair"}, {"zeroth": "ones"}),
    (3, {"form": "full", "graphs": "random_pair", "cross_terms": False}, {"zeroth": "ones"}),
    (2, {"form": "cp", "cross_terms": False, "separate": True, "channels": 2}, {"kind": "walk"}),
    (1, {"form": "cp", "rank": 1}, {"kind": "diffusion"}),
]


def at_every_pair(module, graphs):
    """Powers [M, P + 1, N N] with the diagonal, which `pair_powers` leaves out."""
    found = [np.asarray(words.expanded(r, MASK, module.expansion), np.float64) for r in graphs]
    return np.stack(found).reshape(len(graphs), -1, N * N)


@pytest.mark.parametrize("count, fusion, expansion", CASES)
def test_terms_add_up_to_the_fused_graph(count, fusion, expansion):
    module, graphs = operator(order=2, **expansion, **fusion), cosines(count)
    params = random_params(module, graphs)
    x = constrained(params[form_of(module.fusion).parameter], module.fusion)
    diagonal = has_diagonal_zeroth(module.expansion)
    found = words.polynomial(np.asarray(x), module.fusion, count, diagonal)
    powers = at_every_pair(module, graphs)
    real = (MASK[:, None] & MASK).astype(float)
    for channel, expected in zip(found, apply(module, params, graphs), strict=True):
        total = np.zeros(N * N)
        for key, weight in channel.items():
            factors = [powers[m, p] for m, p in enumerate(key) if p is not None]
            total += weight * np.prod(factors, axis=0)
        np.testing.assert_allclose(total.reshape(N, N) * real, expected, atol=2e-5)


def test_shares_are_of_what_terms_do_and_not_of_their_weights():
    """A large weight on a high power of weak relations says little."""
    module = operator(order=3, form="full", channels=1)
    weights = np.zeros((1, 4, 4), np.float32)
    weights[0, 1, 1], weights[0, 0, 3] = 0.5, 4.0
    graphs = np.stack([np.full((N, N), 0.8), np.full((N, N), 0.2)])
    model = type("Model", (), {"fusion": module.fusion, "expansion": module.expansion})
    names = ("appearance", "motion")
    found = words.in_words([{"A": weights}], [graphs], MASK, names, model)
    assert [t.words for t in found] == [
        "product of appearance and motion",
        "motion to the power 3",
    ]
    effects = np.array([0.5 * 0.8 * 0.2, 4 * 0.2**3])
    np.testing.assert_allclose([t.share for t in found], effects / effects.sum(), rtol=1e-5)
    assert [t.weight for t in found] == [0.5, 4.0]


def test_an_ensemble_has_the_mean_of_its_members():
    module, graphs = operator(order=1, form="full", channels=1), cosines(2)
    model = type("Model", (), {"fusion": module.fusion, "expansion": module.expansion})
    members = [random_params(module, graphs, seed=seed) for seed in range(2)]
    found = words.in_words(members, [graphs, graphs], MASK, ("a", "b"), model)
    mean = np.mean([m["A"] for m in members], 0)[0]
    for term in found:
        p, q = (power or 0 for power in term.powers)
        np.testing.assert_allclose(term.weight, mean[p, q], rtol=1e-5)
    np.testing.assert_allclose(sum(t.share for t in found), 1.0)


@pytest.mark.parametrize(
    "powers, kind, expected",
    [
        ((1, 1), "hadamard", "product of a and b"),
        ((1, 2), "hadamard", "product of a and the square of b"),
        ((None, 2), "hadamard", "the square of b"),
        ((1, None), "hadamard", "a alone"),
        ((None, None), "hadamard", "every pair alike"),
        ((0, 3), "walk", "product of each unit with itself by a and b over 3 steps"),
    ],
)
def test_words_of_powers(powers, kind, expected):
    assert words.said(powers, ("a", "b"), kind) == expected


def test_two_graphs_of_many_powers_take_few_pairs():
    """Effects are means over at most MOST_PAIRS pairs; the diagonal is none of them."""
    module, n = operator(order=2), 60
    graphs = cosines(2, n=n)
    powers = words.pair_powers(graphs, np.ones(n, bool), module.expansion)
    assert powers.shape == (2, 3, words.MOST_PAIRS)
    assert (powers[:, 1] < 1 - 1e-6).all()
