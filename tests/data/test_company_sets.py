"""Frames of any number of units, padded and put together, against one frame after the other."""

from types import SimpleNamespace

import numpy as np
import pytest

from gfvad.base.types import ConfigError
from gfvad.data import company

CFG = SimpleNamespace(modalities=("velocity", "company", "relative", "size"), near=2.0, alike=1.0)


def video(seed=0):
    """Units of nine frames, 0 to 10 of each, in any order; those of two groups."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(9) * 3, [1, 10, 0, 3, 8, 9, 2, 1, 5])
    frame = frame[rng.permutation(len(frame))]
    corner = rng.uniform(0, 100, (len(frame), 2))
    places = company.Places(
        frame, rng.integers(0, 2, len(frame)), np.hstack([corner, corner + rng.uniform(20, 40)])
    )
    sets = {"velocity": rng.normal(size=(len(frame), 2)), "size": rng.normal(size=(len(frame), 1))}
    return sets, places


def test_every_frame_and_group_is_by_itself(monkeypatch):
    monkeypatch.setattr(company, "CHUNK", 300)  # of 16 units one frame at a time
    sets, places = video()
    found = company.added(sets, places, CFG)
    assert tuple(found) == CFG.modalities and found["size"] is sets["size"]
    spread = company.spread_beside(sets["size"], places, 2.0, sets["velocity"], 1.0)
    for key in set(zip(places.frame, places.group, strict=True)):
        here = (places.frame == key[0]) & (places.group == key[1])
        own = company.Places(*(x[here] for x in places))
        alone = company.added({n: x[here] for n, x in sets.items()}, own, CFG)
        for name in company.SETS:
            np.testing.assert_allclose(found[name][here], alone[name], rtol=1e-3, atol=1e-5)
        few = {n: x[here] for n, x in sets.items()}
        beside = company.spread_beside(few["size"], own, 2.0, few["velocity"], 1.0)
        np.testing.assert_allclose(spread[here], beside, rtol=1e-4, atol=1e-6)
        assert own.frame.size > 1 or not found["company"][here].any()


def test_a_video_without_a_unit_has_none():
    sets, places = video()
    nothing = company.Places(*(x[:0] for x in places))
    found = company.added({n: x[:0] for n, x in sets.items()}, nothing, CFG)
    assert {n: x.shape for n, x in found.items()} == {
        "velocity": (0, 2),
        "company": (0, 2),
        "relative": (0, 2),
        "size": (0, 1),
    }
    assert company.spread_beside(np.zeros((0, 3)), nothing, 2.0).shape == (0, 3)


def test_what_is_not_asked_for_is_not_made_and_relations_come_second():
    sets, places = video()
    cfg = SimpleNamespace(modalities=("velocity", "size"))
    assert list(company.added(sets, places, cfg)) == ["velocity", "size"]
    with pytest.raises(ConfigError, match="'company' stands first"):
        company.base_of(SimpleNamespace(modalities=("company", "velocity")))
