"""The time of units in seconds: from the records to the batch, and the graph that is made of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gfvad.base.types import ConfigError, DataError, Video
from gfvad.data import pipeline, streams
from gfvad.graphs.relations import temporal_seconds
from gfvad.tasks.fusion import registry
from gfvad.tasks.fusion.evaluate import Evaluator
from gfvad.train import optim, parallel, state

MASK = np.array([True, True, True, False, True])


def video(**changes):
    known = {
        "name": "v",
        "split": "test",
        "features": {},
        "label": 0,
        "classes": (),
        "num_frames": 300,
        "spans": np.zeros((0, 2)),
        "span_classes": (),
        "unit_frames": 16,
        "fps": 30.0,
    }
    return Video(**(known | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (np.arange(4) + 0.5) * 16 / 30),
        # the units cut the 300 frames into 4 spans
        ({"unit_frames": 0}, (np.arange(4) + 0.5) * 75 / 30),
        ({"fps": 0.0}, (np.arange(4) + 0.5) * 16 / 25),
    ],
)
def test_middles_of_the_units(changes, expected):
    found = streams.clock(video(**changes), 4)
    assert found.shape == (1, 4, 1) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-6)


def test_graph_agrees_with_numpy():
    t = np.random.default_rng(0).uniform(0, 30, 5)
    with jax.enable_x64(True):
        found = temporal_seconds(jnp.asarray(t), MASK, 3.0)
    expected = np.array(
        [
            [np.exp(-abs(a - b) / 3.0) * MASK[i] * MASK[j] for j, b in enumerate(t)]
            for i, a in enumerate(t)
        ]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    order = np.random.default_rng(1).permutation(5)
    np.testing.assert_allclose(
        temporal_seconds(t[order], MASK[order], 3.0), np.asarray(found)[order][:, order], rtol=1e-5
    )
    junk = np.where(MASK, t, np.nan)
    assert np.isfinite(temporal_seconds(junk, MASK, 3.0)).all()
    with pytest.raises(ConfigError, match="temporal_seconds"):
        temporal_seconds(t, MASK, 0.0)


def config(**data):
    c = tiny.config()
    c.data.clock = True
    c.model.relation.temporal_seconds = 2.0
    c.model.fusion.rank = 2
    c.data.update(data)
    return c


def test_batches_carry_the_clock_as_units_are_sampled():
    c, records = config(train_sampling="mean"), tiny.TinyRecords(videos=6)
    batch = next(
        pipeline.TrainIterator(
            streams.TrainStream(streams.Examples(records, range(6), c.data), 4, 0)
        )
    )
    assert batch.features["clock"].shape == (4, tiny.UNITS, 1)
    for row, index in enumerate(batch.video):
        own = streams.clock(records.meta(index), int(records.lengths[index]))[0, :, 0]
        assert (
            batch.features["clock"][row, 0, 0] >= own[0] - 1e-6
            and batch.features["clock"][row, -1, 0] <= own[-1] + 1e-6
        )
        assert (np.diff(batch.features["clock"][row, :, 0]) >= 0).all()
    for batch in pipeline.EvalBatches(records, range(6), config().data):
        for row in np.flatnonzero(batch.valid):
            own = streams.clock(
                records.meta(batch.video[row]), int(records.lengths[batch.video[row]])
            )[0]
            window = slice(batch.start[row], batch.start[row] + batch.mask[row].sum())
            np.testing.assert_array_equal(
                batch.features["clock"][row, 0, batch.mask[row]], own[window]
            )


def test_the_detector_scores_by_it():
    """Time stretched is another score; without a clock the setting is refused by name."""
    c, records = config(), tiny.TinyRecords(videos=4)
    c.model.head.kind = "branches"
    model = registry.build_model(c, tiny.DIMS)
    first = state.init_state(
        model,
        optim.make_optimiser(c.optim, 1).transform,
        streams.example_features(tiny.DIMS, c.data),
        0,
    )
    evaluator = Evaluator(parallel.make_mapper("pmap", 1), model, c)
    scores = evaluator.unit_scores(first, records, range(4))
    records.videos = [v._replace(fps=v.fps / 100) for v in records.videos]
    stretched = evaluator.unit_scores(first, records, range(4))
    assert max(np.abs(scores[i] - stretched[i]).max() for i in range(4)) > 1e-4
    assert registry.graph_names(c.model, c.data.modalities)[-1] == "temporal in seconds"
    c.data.clock = False
    with pytest.raises(ConfigError, match="data.clock"):
        registry.check_model(c, tuple(tiny.DIMS))


def test_features_without_the_clock_are_refused():
    c = config()
    model = registry.build_model(c, tiny.DIMS)
    features = {m: np.zeros((tiny.UNITS, d), np.float32) for m, d in tiny.DIMS.items()}
    with pytest.raises(DataError, match="no 'clock'"):
        model.init(jax.random.key(0), features, np.ones(tiny.UNITS, bool), train=False)
