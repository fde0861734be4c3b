"""The batches: what is in them, that they do not depend on processes or threads, exact restart,
exact evaluation."""

import json

import numpy as np
import pytest
from fake_layout import FakeLayout, counted_video, make_video
from ml_collections import ConfigDict

from configs.common import get_config
from gfvad.base.types import ConfigError, DataError
from gfvad.data import pipeline, sampling, streams
from gfvad.data.features import records

LENGTHS = [3, 12, 7, 30, 1, 10, 25, 9, 4, 16, 5]  # of the training videos; every third is abnormal
LABELS = [int(i % 3 == 0) for i in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Records of counted videos: a feature is 1000 * video + unit + crop / 8."""
    train = [counted_video(f"v{i}", n, LABELS[i], number=i) for i, n in enumerate(LENGTHS)]
    test = [
        make_video("t0", 4, 1, "test", crops=1),
        make_video("t1", 3, 0, "test", crops=5),
        make_video("t2", 4, -1, "test", crops=1),
    ]
    path = records.prepare(
        FakeLayout([*train, *test]), tmp_path_factory.mktemp("pipeline") / "set", None
    )
    return {split: records.open_records(path, split) for split in ("train", "test")}


def config(**changes) -> ConfigDict:
    data = get_config().data
    data.update(
        {
            "modalities": ("rgb", "audio"),
            "train_units": 10,
            "eval_lengths": (5, 12),
            "eval_batch_size": 4,
            **changes,
        }
    )
    return data


def iterate(records, indices, cfg, batch_size, seed, process=(0, 1), threads=None, **options):
    examples = streams.Examples(records, indices, cfg, **options)
    stream = streams.TrainStream(examples, batch_size, seed, process)
    return pipeline.TrainIterator(stream, threads)


def train(
    opened, batch_size=4, seed=0, indices=range(len(LENGTHS)), process=(0, 1), cfg=None, **options
):
    return iterate(opened["train"], indices, cfg or config(), batch_size, seed, process, **options)


def draw(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_equal(a, b):
    for field in a._fields[1:]:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
    assert a.features.keys() == b.features.keys()
    for m in a.features:
        np.testing.assert_array_equal(a.features[m], b.features[m], err_msg=m)
        assert a.features[m].dtype == np.float32


# --- training


def test_shapes_and_types(opened):
    batch = next(train(opened))
    assert {m: x.shape for m, x in batch.features.items()} == {
        "rgb": (4, 10, 8),
        "audio": (4, 10, 3),
    }
    types = {
        name: (getattr(batch, name).dtype, getattr(batch, name).shape) for name in batch._fields[1:]
    }
    assert types == {
        "mask": (bool, (4, 10)),
        "label": (np.float32, (4,)),
        "valid": (bool, (4,)),
        "video": (np.int32, (4,)),
        "start": (np.int32, (4,)),
        "position": (np.int32, (4,)),
    }
    assert batch.valid.all() and not batch.start.any()


def test_half_normal_half_abnormal_and_every_video_once_a_pass(opened):
    batches = draw(train(opened, batch_size=4), 28)
    for k, batch in enumerate(batches):
        assert batch.label.sum() == 2 and batch.position.tolist() == list(range(4 * k, 4 * k + 4))
        np.testing.assert_array_equal(batch.label, np.array(LABELS)[batch.video])
    videos, labels = (
        np.concatenate([b.video for b in batches]),
        np.concatenate([b.label for b in batches]),
    )
    for kind in (0, 1):
        members = [i for i, label in enumerate(LABELS) if label == kind]
        drawn = videos[labels == kind]
        passes = [
            drawn[a : a + len(members)].tolist() for a in range(0, 56 - len(members), len(members))
        ]
        assert all(sorted(p) == members for p in passes)
        assert len({tuple(p) for p in passes}) > 1  # shuffled anew


def test_odd_batches_alternate(opened):
    assert [int(b.label.sum()) for b in draw(train(opened, batch_size=3), 4)] == [1, 2, 1, 2]
    assert {float(b.label[0]) for b in draw(train(opened, batch_size=1), 2)} == {0.0, 1.0}


@pytest.mark.parametrize("kind", [0, 1])
def test_one_kind_alone(opened, kind):
    members = [i for i, label in enumerate(LABELS) if label == kind]
    batches = draw(train(opened, indices=members, batch_size=len(members)), 3)
    assert all(sorted(b.video) == members and (b.label == kind).all() for b in batches)


def test_only_the_given_videos(opened):
    batches = draw(train(opened, indices=[6, 0, 5, 1]), 6)
    assert set(np.concatenate([b.video for b in batches]).tolist()) == {0, 1, 5, 6}
    for a, b in zip(batches, draw(train(opened, indices=[0, 1, 5, 6]), 6)):
        assert_equal(a, b)  # whatever their order


def test_the_seed_decides(opened):
    first, again, other = (
        np.concatenate([b.video for b in draw(train(opened, seed=s), 6)]) for s in (0, 0, 1)
    )
    assert (first == again).all() and (first != other).any()


def test_one_crop_the_same_in_all_modalities(opened, tmp_path):
    crops = set()
    for batch in draw(train(opened), 20):
        for row in range(4):
            values = (
                batch.features["rgb"][row][batch.mask[row]]
                - batch.features["audio"][row][batch.mask[row]][:, :1]
            )
            assert len(np.unique(values)) == 1  # one crop an example
            crops.add(float(values[0, 0]) * 8)
    assert crops == {0, 1, 2, 3, 4}
    video = counted_video("a", 4)
    video = video._replace(
        features={"rgb": video.features["rgb"], "flow": video.features["rgb"].copy()}
    )
    path = records.prepare(FakeLayout([video], {"rgb": 8, "flow": 8}), tmp_path / "set", None)
    iterator = iterate(
        records.open_records(path, "train"), [0], config(modalities=("rgb", "flow")), 8, 0
    )
    for batch in draw(iterator, 3):
        np.testing.assert_array_equal(batch.features["rgb"], batch.features["flow"])


@pytest.mark.parametrize("mode", sampling.MODES)
def test_sampling_modes(opened, mode):
    for batch in draw(train(opened, cfg=config(train_sampling=mode)), 12):
        for row, video in enumerate(batch.video.tolist()):
            n = LENGTHS[video]
            units = batch.features["audio"][row, :, 0] - 1000 * video
            assert batch.mask[row].sum() == (10 if mode == "mean" else min(n, 10))
            assert not batch.features["rgb"][row][~batch.mask[row]].any()
            if mode == "mean":
                edges = np.linspace(0, n, 11, dtype=int)
                expected = [
                    np.arange(n)[a : max(b, a + 1)].mean() for a, b in zip(edges, edges[1:])
                ]
                np.testing.assert_allclose(units, expected, atol=2e-3)  # float32 at 1e4
            elif n <= 10:
                assert units[:n].tolist() == list(range(n))
            elif mode == "uniform":
                assert units.tolist() == np.linspace(0, n - 1, 10).astype(int).tolist()
            else:
                assert (np.diff(units) == 1).all() and 0 <= units[0] <= n - 10


def by_position(batches):
    """position -> the example, of any number of batches."""
    examples = {}
    for b in batches:
        for row, place in enumerate(b.position.tolist()):
            assert place not in examples
            arrays = [
                x[row]
                for x in (
                    b.mask,
                    b.label,
                    b.valid,
                    b.video,
                    b.start,
                    *(b.features[m] for m in sorted(b.features)),
                )
            ]
            examples[place] = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)
    return examples


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_same_global_batches(opened, processes):
    whole = draw(train(opened, batch_size=8, cfg=config(train_sampling="window")), 6)
    parts = [
        draw(train(opened, 8, process=(r, processes), cfg=config(train_sampling="window")), 6)
        for r in range(processes)
    ]
    for k in range(6):
        local = [part[k] for part in parts]
        assert all(len(b.label) == 8 // processes for b in local)
        assert by_position(local) == by_position([whole[k]])
        if processes == 2:
            # each process gets its share of both kinds
            assert all(b.label.sum() == 2 for b in local)


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"threads": 1},
        {"threads": 4},
        {"threads": 4, "cache_bytes": 0},
        {"cache_bytes": 0},
    ],
)
def test_threads_and_memory_change_nothing(opened, options):
    for a, b in zip(
        draw(train(opened, threads=0, cache_bytes=0), 40), draw(train(opened, **options), 40)
    ):
        assert_equal(a, b)


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("position", [0, 1, 7, 19])
def test_restart_continues_bitwise(opened, threads, position):
    iterator = train(opened, threads=threads)
    draw(iterator, position)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = draw(iterator, 5)
    fresh = train(opened, threads=threads)
    draw(fresh, 3)
    fresh.set_state(state)
    assert fresh.get_state() == state
    for a, b in zip(expected, draw(fresh, 5)):
        assert_equal(a, b)


def test_restart_on_other_processes(opened):
    iterator = train(opened, batch_size=8)
    draw(iterator, 5)
    parts = [train(opened, 8, process=(r, 2)) for r in range(2)]
    for part in parts:
        part.set_state(iterator.get_state())
    assert by_position([next(part) for part in parts]) == by_position([next(iterator)])


@pytest.mark.parametrize(
    "changed, key",
    [
        ({"batch_size": 8}, "batch_size 4 .now 8"),
        ({"seed": 5}, "seed 0 .now 5"),
        ({"indices": [0, 1]}, "videos"),
        ({"cfg": config(train_units=12)}, "units 10 .now 12"),
        ({"cfg": config(modalities=("rgb",))}, "modalities"),
    ],
)
def test_a_position_of_another_stream(opened, changed, key):
    with pytest.raises(DataError, match=key):
        train(opened, **changed).set_state(train(opened).get_state())


# --- evaluation


def evaluate(
    opened, indices=range(len(LENGTHS)), split="train", process=(0, 1), cfg=None, **options
):
    return pipeline.EvalBatches(opened[split], indices, cfg or config(), process, **options)


def test_every_unit_exactly_once(opened):
    seen = []
    for batch in evaluate(opened):
        assert (
            batch.mask.shape[1] in (5, 12)
            and batch.features["rgb"].shape[:2] == (4, 5)
            and batch.features["audio"].shape[1] == 1
        )
        assert (
            not batch.mask[~batch.valid].any()
            and (batch.video[~batch.valid] == -1).all()
            and (batch.label[~batch.valid] == -1).all()
        )
        for row in np.flatnonzero(batch.valid):
            video, count = int(batch.video[row]), int(batch.mask[row].sum())
            assert batch.mask[row, :count].all() and batch.label[row] == LABELS[video]
            units = batch.start[row] + np.arange(count)
            expected = opened["train"][video].features
            for m, x in batch.features.items():
                np.testing.assert_array_equal(x[row][:, :count], expected[m][:, units])
                assert not x[row][:, count:].any()
            assert batch.mask.shape[1] == min(length for length in (5, 12) if length >= count)
            seen += [(video, unit) for unit in units.tolist()]
    assert sorted(seen) == [(i, unit) for i, n in enumerate(LENGTHS) for unit in range(n)]


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_any_batch_size(opened, batch_size):
    batches = list(evaluate(opened, cfg=config(eval_batch_size=batch_size)))
    assert all(len(b.valid) == batch_size for b in batches)
    windows = sum(len(sampling.windows(n, (5, 12))) for n in LENGTHS)
    assert sum(b.valid.sum() for b in batches) == windows
    assert np.concatenate([b.position for b in batches]).tolist() == list(
        range(len(batches) * batch_size)
    )


def test_segments(opened):
    batches = list(evaluate(opened, cfg=config(eval_mode="segments")))
    videos = np.concatenate([b.video[b.valid] for b in batches])
    assert videos.tolist() == list(range(len(LENGTHS)))
    for batch in batches:
        assert (
            batch.features["rgb"].shape == (4, 5, 10, 8)
            and batch.mask[batch.valid].all()
            and not batch.start.any()
        )
        for row in np.flatnonzero(batch.valid):
            x = opened["train"][int(batch.video[row])].features["rgb"]
            np.testing.assert_array_equal(
                batch.features["rgb"][row],
                sampling.take(x, sampling.sample_units(x.shape[1], 10, "mean")),
            )


@pytest.mark.parametrize("mode", ["full", "segments"])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_evaluate_the_same(opened, mode, processes):
    cfg = config(eval_mode=mode)
    whole = list(evaluate(opened, cfg=cfg))
    parts = [list(evaluate(opened, cfg=cfg, process=(r, processes))) for r in range(processes)]
    assert {len(part) for part in parts} == {len(whole)}
    for k, batch in enumerate(whole):
        local = [part[k] for part in parts]
        assert {b.features["rgb"].shape for b in local} == {
            (4 // processes, *batch.features["rgb"].shape[1:])
        }
        assert by_position(local) == by_position([batch])


def test_videos_with_other_crops_are_apart(opened):
    batches = list(evaluate(opened, range(3), "test"))
    assert [(b.features["rgb"].shape, b.video[b.valid].tolist()) for b in batches] == [
        ((4, 1, 5, 8), [0, 2]),
        ((4, 5, 5, 8), [1]),
    ]
    assert batches[0].label.tolist() == [1, -1, -1, -1]


def test_iterates_again_and_says_its_length(opened):
    batches = evaluate(opened, threads=2, cache_bytes=0)
    first = list(batches)
    assert len(batches) == len(first)
    for a, b, c in zip(first, batches, evaluate(opened, threads=0)):
        assert_equal(a, b)
        assert_equal(a, c)
    assert list(evaluate(opened, [])) == []


# --- bad input


def test_bad_requests(opened):
    with pytest.raises(
        ConfigError, match="train.batch_size is 4; expected a multiple of the 3 processes, e.g. 6"
    ):
        train(opened, process=(0, 3))
    with pytest.raises(ConfigError, match="data.eval_batch_size is 4"):
        evaluate(opened, process=(0, 3))
    for call in (train, evaluate):
        with pytest.raises(DataError, match="no modality 'flow'"):
            call(opened, cfg=config(modalities=("rgb", "flow")))
    with pytest.raises(DataError, match="no videos"):
        train(opened, indices=[])
    with pytest.raises(DataError, match="1 videos without a label, e.g. 't2'"):
        iterate(opened["test"], range(3), config(), 2, 0)
    with pytest.raises(ConfigError, match="uniform, window, mean"):
        next(train(opened, cfg=config(train_sampling="first")))


class Spoilt(records.Records):
    """Records whose sixth video has gone bad on disk since it was prepared."""

    def __getitem__(self, i):
        video = super().__getitem__(i)
        if i == 5:
            audio = video.features["audio"].copy()
            audio[0, 2, 1] = np.inf
            video = video._replace(features={**video.features, "audio": audio})
        return video


@pytest.mark.parametrize("threads", [0, 2])
def test_values_that_are_not_finite(opened, threads):
    spoilt = records.open_records(opened["train"].folder, "train")
    spoilt.__class__ = Spoilt
    iterator = iterate(spoilt, range(len(LENGTHS)), config(), 4, 0, threads=threads)
    message = "train/v5: modality 'audio' has 1 NaN or infinite values"
    good = 0
    with pytest.raises(DataError, match=message):
        while True:
            next(iterator)
            good += 1
    assert iterator.get_state()["next_batch"] == good
    with pytest.raises(DataError, match=message):  # not skipped by asking again
        next(iterator)
    with pytest.raises(DataError, match=message):
        list(pipeline.EvalBatches(spoilt, range(len(LENGTHS)), config(), threads=threads))


def test_benchmark_runs(capsys):
    from gfvad.bench import data

    assert (
        data.run(["--videos", "6", "--units", "4", "--crops", "2", "--batch", "2", "--steps", "2"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15 and all(line.endswith("MB/s") for line in lines)
