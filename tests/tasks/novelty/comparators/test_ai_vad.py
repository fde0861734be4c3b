"""Distances of attributes against plain numpy in float64."""

import normal_units
import numpy as np
from scipy.stats import multivariate_normal

from gfvad.tasks.novelty.comparators import ai_vad


def test_scores_are_those_of_a_transcription():
    module, variables = normal_units.made("ai_vad")
    seen, bank = normal_units.seen_of(3), variables["bank"]
    found = normal_units.said(module, variables, seen).scores
    for name in ("aspect", "size"):
        x = np.asarray(seen.features[name][:, 2], np.float64)
        nearest = [np.linalg.norm(bank[f"units_{name}"] - unit, axis=-1).min() for unit in x]
        low, high = bank[f"low_{name}"], bank[f"high_{name}"]
        np.testing.assert_allclose(
            found[name], (nearest - low) / (high - low), rtol=1e-3, atol=1e-4
        )
    x, density = np.asarray(seen.features["velocity"][:, 2], np.float64), 0.0
    inverse = np.linalg.inv(np.asarray(bank["whiten_velocity"], np.float64))
    for c, mean in enumerate(bank["means_velocity"]):
        normal = multivariate_normal(mean, inverse[c] @ inverse[c].T)
        weight = np.exp(bank["logs_velocity"][c]) * abs(np.linalg.det(inverse[c]))
        density = density + weight * normal.pdf(x)
    low, high = bank["low_velocity"], bank["high_velocity"]
    np.testing.assert_allclose(
        found["velocity"], (-np.log(density) - low) / (high - low), rtol=1e-4, atol=1e-5
    )


def test_a_mixture_finds_what_units_are_drawn_from():
    rng = np.random.default_rng(0)
    centres = np.array([[-4.0, 0], [4, 0], [0, 5]])
    x = centres[rng.integers(3, size=3000)] + 0.5 * rng.normal(size=(3000, 2))
    logs, means, whiten = ai_vad.mixture(x, rng)
    for centre in centres:
        assert np.linalg.norm(means - centre, axis=-1).min() < 0.2
    weights = np.exp(logs) / abs(np.linalg.det(whiten))
    np.testing.assert_allclose(weights.sum(), 1)
    near, far = ai_vad.log_density(np.array([[4.0, 0], [0, -9]]), logs, means, whiten)
    assert near > -3 and far < -20


def test_training_units_reach_from_nothing_to_one_and_are_not_compared_with_their_own_part():
    rng = np.random.default_rng(0)
    config = normal_units.config_of("ai_vad")
    config.model.bank = 200
    x = np.repeat(rng.normal(size=(20, 3)), 10, 0).astype(np.float32)  # ten equal units a part
    bank = ai_vad.fill(config, {"size": x}, np.arange(200) // 10, rng)
    parts = x[::10]
    apart = np.linalg.norm(parts[:, None] - parts, axis=-1) + 99 * np.eye(20)
    np.testing.assert_allclose(bank["low_size"], apart.min(1).min(), rtol=1e-3)
    np.testing.assert_allclose(bank["high_size"], apart.min(1).max(), rtol=1e-3)


def test_few_units_fill_a_larger_bank():
    config = normal_units.config_of("ai_vad")
    config.model.bank = 64
    x = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    bank = ai_vad.fill(config, {"size": x}, np.arange(12), np.random.default_rng(1))
    assert bank["units_size"].shape == (64, 2) and bank["high_size"] > bank["low_size"]
