"""Where a predictive score comes from: parts that add up, the place of each term, the nearest
normal picture, and faithfulness: without the named term or place the score falls further than
without others."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_terms import BANK, GRID, config, readings

from gfvad.base.types import DataError
from gfvad.measure.explained import named
from gfvad.tasks.prediction import score_terms, shown
from gfvad.tasks.prediction.score_rule import bank_places

FRAMES, FPS, AT, WHERE = 40, 10.0, 25, (2, 5)
WEIGHTS = {"appearance": 1.0, "speed": 0.5, "bank": 0.7}


@pytest.fixture(scope="module")
def run():
    """One video with something fast and unlike in one place around frame AT."""
    cfg = config(terms=tuple(WEIGHTS))
    training = [readings(60, seed) for seed in (1, 2)]
    calibration = score_terms.fit(training, training, cfg, BANK)
    video = readings(FRAMES, 3)
    for name, size in (("appearance", 30.0), ("speed", 20.0)):
        video.maps[name][AT - 5 : AT + 6, 1:4, 4:7] += size
    frames = np.zeros((FRAMES, 24, 32, 1), np.uint8)
    data = SimpleNamespace(
        names=["a"], fps=[FPS], frames=SimpleNamespace(video=lambda i: frames), lengths=[FRAMES]
    )
    train = SimpleNamespace(names=["x", "y", "z"], fps=[5.0] * 3, lengths=np.array([7, 7, 6]))
    return SimpleNamespace(
        config=SimpleNamespace(score=cfg, data=SimpleNamespace(height=24, width=32)),
        opened=SimpleNamespace(
            scorer=SimpleNamespace(calibration=calibration, chosen=SimpleNamespace(weights=WEIGHTS))
        ),
        report=SimpleNamespace(readings=[score_terms.compared(video, BANK)]),
        test=data,
        train=train,
    )


def test_parts_add_up_to_the_score(run):
    found = shown.explain(run, None, 0)
    np.testing.assert_allclose(sum(found.parts.values()), found.score, rtol=1e-12)
    assert found.base == shown.USUAL and found.value == found.score
    values = score_terms.frame_values(
        run.report.readings[0], run.opened.scorer.calibration, run.config.score
    )
    terms = score_terms.calibrated(values, run.opened.scorer.calibration, tuple(WEIGHTS))
    scores = score_terms.combine(terms, WEIGHTS)
    np.testing.assert_allclose(found.score, scores.max(), rtol=1e-9)
    later = shown.explain(run, None, 0, at=0.55)
    np.testing.assert_allclose(later.score, scores[5], rtol=1e-9)
    np.testing.assert_allclose(sum(later.parts.values()), scores[5], rtol=1e-9)
    with pytest.raises(DataError, match="--at=4: expected seconds of the video, 0 up to 4.0"):
        shown.explain(run, None, 0, at=4.0)


def test_the_place_is_where_it_was_planted(run):
    places = {p.term: p for p in shown.largest_places(run, shown.frame_at(run, None, 0, None))}
    assert (places["appearance"].row, places["appearance"].column) == WHERE
    assert (places["speed"].row, places["speed"].column) == WHERE
    causes = shown.explain(run, None, 0).causes
    side = 24 / GRID[0]
    x, y = round(WHERE[1] * side), round(WHERE[0] * side)
    assert causes[0].what.endswith(f"at {x}, {y} to {round(x + side)}, {round(y + side)}")


def test_without_the_named_cause_the_score_falls_further(run):
    falls = shown.without_causes(run, None, 0).falls
    for cause in ("term", "place"):
        own, other = falls[cause]
        assert own > 0.1 and own > other
    frame = shown.frame_at(run, None, 0, None)
    causes = shown.places_at(run, frame, "a")
    assert named(causes)[0].what.split()[0] in ("appearance", "speed")


def test_the_nearest_normal_picture_is_the_same_one(run):
    """A picture of the bank is nearest to itself, at relation 1, and its training frame is told."""
    relation = BANK.relations(BANK.pictures[[4]])[0].mean(0)
    assert int(np.argmax(relation)) == 4
    np.testing.assert_allclose(relation[4], 1.0, atol=1e-5)
    nearest = BANK.novelty(BANK.pictures[[4]]).ravel()
    every = np.sort(BANK.relations(BANK.pictures[[4]])[0], 1)[:, -4:]
    np.testing.assert_allclose(nearest, -np.log(every.mean(1)), atol=1e-3)
    video, frame = bank_places(run.train.lengths)
    assert video.tolist() == [0] * 7 + [1] * 7 + [2] * 6 and frame[7:9].tolist() == [0, 1]
    assert shown.origin_of(run, BANK, 8) == ("y", 0.2, 0.4)
    known = [c for c in shown.explain(run, None, 0).causes if c.what == shown.NEAREST]
    assert len(known) == 2 and all(c.video in "xyz" for c in known)
    run_elsewhere = SimpleNamespace(train=None)
    assert shown.origin_of(run_elsewhere, BANK, 8)[0] == ""
