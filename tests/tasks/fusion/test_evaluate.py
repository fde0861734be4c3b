"""Evaluation runs over every unit exactly once, whatever the windows, crops, batches and
devices."""

import jax
import numpy as np
import pytest
import tiny

from gfvad.base.types import Batch, DataError
from gfvad.tasks.fusion import evaluate, step
from gfvad.train import optim, parallel, state

MODEL = tiny.TinyDetector()


@pytest.fixture(scope="module")
def host_state():
    example = {m: x[0] for m, x in tiny.batch().features.items()}
    first = state.init_state(
        MODEL, optim.make_optimiser(tiny.config().optim, 1).transform, example, seed=0
    )
    rng = np.random.default_rng(1)
    return first._replace(
        params=jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), first.params)
    )


@pytest.fixture(scope="module")
def apply(host_state):
    """One crop of one video, at its own length, without padding, batches or devices."""
    variables = {"params": host_state.params, **host_state.constants}
    return lambda features: np.asarray(
        jax.nn.sigmoid(
            MODEL.apply(
                variables, features, np.ones(len(features["rgb"]), bool), train=False
            ).logits
        )
    )


def oracle(apply, video, longest):
    """Windows of a video cut as data/sampling.py says, each crop on its own, averaged: float
    [N]."""
    n = video.features["rgb"].shape[1]
    pieces = -(-n // longest)
    edges = [k * n // pieces for k in range(pieces + 1)]
    crops = range(max(len(x) for x in video.features.values()))
    parts = []
    for a, b in zip(edges, edges[1:]):
        each = [
            apply({m: x[min(c, len(x) - 1), a:b] for m, x in video.features.items()}) for c in crops
        ]
        parts.append(np.mean(each, axis=0))
    return np.concatenate(parts)


def frame_scores(mapper, state, records, indices, config, advance=lambda n: None):
    """Frame scores of some videos, in the order of `indices`."""
    evaluator = evaluate.Evaluator(mapper, MODEL, config)
    scores = evaluator.unit_scores(state, records, indices, advance)
    return list(evaluate.scored_videos(scores, records, indices))


@pytest.mark.parametrize("backend, devices", [("pmap", 3), ("shard_map", 2)])
def test_every_unit_once(host_state, apply, backend, devices):
    """Against single videos without any padding; videos of one window and of several; a batch
    that devices do not divide."""
    records = tiny.TinyRecords(7, seed=2)
    chosen = np.argsort(records.lengths)[[6, 0, 3, 1]].tolist()
    done = []
    mapper = parallel.make_mapper(backend, devices)
    videos = frame_scores(mapper, host_state, records, chosen, tiny.config(), done.append)
    assert [v.name for v in videos] == [records.names[i] for i in chosen] and sum(done) == len(
        chosen
    )
    assert records.lengths[chosen].max() > 16 > records.lengths[chosen].min()
    for i, scored in zip(chosen, videos):
        meta = records.meta(i)
        expected = oracle(apply, records[i], 16)
        assert len(expected) == records.lengths[i]
        # frames: 16 a unit, the last unit holds for what is left
        np.testing.assert_allclose(scored.scores[::16][: len(expected)], expected, atol=2e-6)
        assert len(scored.scores) == len(scored.labels) == meta.num_frames
        assert (
            scored.labels.sum() == sum(b - a for a, b in meta.spans) and scored.label == meta.label
        )
    assert set(mapper.traces.values()) == {1}


def test_a_second_evaluation_compiles_nothing(host_state):
    mapper = parallel.make_mapper("pmap", 1)
    evaluator, records = evaluate.Evaluator(mapper, MODEL, tiny.config()), tiny.TinyRecords(5)
    first = evaluator.unit_scores(host_state, records, range(5))
    before = dict(mapper.traces)
    again = evaluator.unit_scores(host_state, records, range(5))
    assert mapper.traces == before and all(np.array_equal(first[i], again[i]) for i in range(5))


def test_segments_are_equal_spans_of_the_video(host_state, apply):
    """data.eval_mode = segments: N scores a video, interpolated between span centres."""
    config, records = (
        tiny.config(data__eval_mode="segments", data__train_units=8),
        tiny.TinyRecords(3),
    )
    mapper = parallel.make_mapper("pmap", 1)
    (scored,) = frame_scores(mapper, host_state, records, [2], config)
    features, n = records[2].features, int(records.lengths[2])
    edges = np.linspace(0, n, 9).astype(int)
    means = {
        m: np.stack([x[:, a : max(b, a + 1)].mean(1) for a, b in zip(edges, edges[1:])], 1)
        for m, x in features.items()
    }
    units = np.mean(
        [apply({"rgb": means["rgb"][c], "audio": means["audio"][0]}) for c in (0, 1)], axis=0
    )
    frames = records.meta(2).num_frames
    expected = np.interp(np.arange(frames) + 0.5, (np.arange(8) + 0.5) * frames / 8, units)
    np.testing.assert_allclose(scored.scores, expected, atol=2e-6)


def test_crops_that_do_not_pair_are_refused(host_state):
    """Three crops of one modality and two of another have no common order."""
    batch = tiny.batch(2)
    crops = {"rgb": 3, "audio": 2}
    features = {m: np.repeat(x[:, None], crops[m], 1) for m, x in batch.features.items()}
    with pytest.raises(
        DataError, match="rgb 3, audio 2; expected the same number in every modality, or 1"
    ):
        step.eval_step(host_state, batch._replace(features=features), model=MODEL)


def test_fused_graphs_hold_real_units_only(host_state):
    records = tiny.TinyRecords(4)
    evaluator = evaluate.Evaluator(parallel.make_mapper("pmap", 2), MODEL, tiny.config())
    found = {g.video: g for g in evaluator.fused_graphs(host_state, records, [1, 3])}
    assert sorted(found) == [1, 3]
    for i, got in found.items():
        n = got.graph.shape[-1]
        assert (
            got.graph.shape == (1, n, n)
            and got.scores.shape == (n,)
            and n <= min(records.lengths[i], 16)
        )


def test_unknown_labels_have_no_frame_labels():
    records = tiny.TinyRecords(2)
    records.videos[1] = records.videos[1]._replace(label=-1)
    scores = {i: np.zeros(records.lengths[i], np.float32) for i in range(2)}
    known, unknown = evaluate.scored_videos(scores, records, [0, 1])
    assert len(known.labels) == len(known.scores) and len(unknown.labels) == 0


def test_units_missing_or_doubled_are_errors():
    """Each way of not scoring each unit once is named."""
    mask = np.array([[True, True, False]])
    one = Batch(
        {}, mask, np.zeros(1), np.ones(1, bool), np.array([4]), np.array([0]), np.array([0])
    )
    scores = np.array([[0.1, 0.2, 0.3]], np.float32)
    windows = evaluate.collect([(one, scores), (one._replace(start=np.array([2])), scores)])
    np.testing.assert_array_equal(
        evaluate.assemble(windows.items())[4], np.float32([0.1, 0.2, 0.1, 0.2])
    )
    assert evaluate.unpack(evaluate.pack(windows)).keys() == windows.keys() == {(4, 0), (4, 2)}
    with pytest.raises(DataError, match="the window at unit 0 came twice"):
        evaluate.collect([(one, scores), (one, scores)])
    with pytest.raises(DataError, match="a window starts at unit 3, expected 2"):
        evaluate.assemble(
            evaluate.collect([(one, scores), (one._replace(start=np.array([3])), scores)]).items()
        )
    padding = one._replace(valid=np.zeros(1, bool))
    assert not evaluate.collect([(padding, scores)])


def test_video_scores_and_loss():
    """Mean of the top max(1, n // divisor) units, and the cross entropy of it, against plain
    numpy; padding changes nothing."""
    rng = np.random.default_rng(0)
    units = {i: rng.uniform(size=n).astype(np.float32) for i, n in enumerate((3, 16, 33, 7))}
    labels = {0: 1, 1: 0, 2: 1, 3: -1}
    got, known = evaluate.video_level(units, labels, 4)
    expected = [
        np.sort(units[i].astype(np.float64))[::-1][: max(1, len(units[i]) // 4)].mean()
        for i in range(3)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(known, [1, 0, 1])
    target = np.array([1.0, 0.0, 1.0]) * 0.9 + 0.05
    np.testing.assert_allclose(
        evaluate.video_loss(got, known, 0.1),
        np.mean(-target * np.log(got) - (1 - target) * np.log(1 - got)),
        rtol=1e-12,
    )
    assert np.isfinite(evaluate.video_loss(np.array([0.0, 1.0]), np.array([1, 0])))
    assert step.video_scores(np.ones((1, 4), np.float32), np.zeros((1, 4), bool), 2) == 0
