"""Where a weakly supervised score comes from: parts that add up to the logit, Shapley values
against their definition, the origin of the units of a bank, and faithfulness: without the named
cause the score falls further than without another one."""

from itertools import permutations
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tiny

from gfvad.measure.explained import named
from gfvad.tasks.fusion import bank_units, explained, registry, shown
from gfvad.tasks.fusion.content import standardise
from gfvad.tasks.fusion.probe import (
    Probe,
    Window,
    mean_logit,
    unit_scores_of,
    window_of,
    without_sets,
    without_units,
)
from gfvad.tasks.fusion.step import eval_step
from gfvad.tasks.fusion.video_bank import unit_vectors
from gfvad.train.state import TrainState

N, PLACE = 12, 4
BRANCHES = {"model.head.kind": "branches", "model.head.layers": 0, "model.head.whole": 0.2}
CASES = {
    "gates, time": BRANCHES
    | {"model.head.gates": (0.5, 1.0), "model.head.relations": False, "data.clock": True}
    | {"model.relation.temporal_seconds": 3.0, "model.head.absent": 0.01}
    | {"model.confidence": ("audio",), "train.members": 2},
    "relations, messages, filter": BRANCHES
    | {"model.head.layers": 1, "model.filter.modalities": ("rgb",), "model.fusion.channels": 2},
    "bank": BRANCHES
    | {"model.head.relations": False, "model.bank.modality": "rgb", "model.bank.units": 10}
    | {"model.head.mix": 1.0, "train.members": 2},
    "events": BRANCHES | {"model.head.relations": False, "model.events.modality": "rgb"},
    "linear": BRANCHES | {"model.evidence": "sources", "model.head.relations": False},
    "gnn": {"model.head.kind": "gnn", "train.members": 2},
    "late fusion of features": {"model.name": "feature_fusion", "model.foil.kind": "late"},
}


def probe_of(settings, seed=0):
    """A small model with random parameters and constants."""
    config = tiny.config()
    config.update_from_flattened_dict(
        {"model.embed_dim": 4, "model.head.hidden": 4, "model.filter.experts": 3}
        | {"model.filter.topk": 2, "model.filter.bottleneck": 2}
        | settings
    )
    model, rng = registry.build_model(config, tiny.DIMS), np.random.default_rng(seed)
    example = {m: np.ones((N, d), np.float32) for m, d in tiny.DIMS.items()}
    example |= {"clock": np.ones((N, 1), np.float32)} if config.data.clock else {}
    keys = dict(zip(("params", "dropout", "pair"), jax.random.split(jax.random.key(0), 3)))
    shapes = jax.eval_shape(lambda: model.init(keys, example, np.ones(N, bool), train=False))
    members = config.train.members
    made = lambda x: rng.normal(0, 0.4, (members,) * (members > 1) + x.shape).astype(np.float32)
    params = jax.tree.map(made, shapes.pop("params"))
    fixed = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes.pop("constants"))
    key = np.zeros((members, 2) if members > 1 else 2, np.uint32)
    state = TrainState(np.zeros((), np.int32), params, {"constants": fixed}, (), key)
    bank = jax.tree.map(made, dict(shapes.pop("bank", {})))
    if bank:
        bank["keys"] /= np.linalg.norm(bank["keys"], axis=-1, keepdims=True)
        state.constants["bank"] = bank | {"known": (bank["known"] > -0.3).astype(np.float32)}
    if config.model.evidence == "sources":
        fixed |= {f"weight_{m}": made(np.zeros(d)) for m, d in tiny.DIMS.items()}
    return Probe(model, state, config)


def window(crops=2, seed=1, clock=False):
    """Ten units and two of padding; one of them silent."""
    rng = np.random.default_rng(seed)
    features = {
        m: rng.normal(size=(crops if m == "rgb" else 1, N, d)).astype(np.float32)
        for m, d in tiny.DIMS.items()
    }
    features["audio"][:, 7] = 0
    if clock:
        features["clock"] = np.arange(N, dtype=np.float32)[None, :, None]
    return Window(features, np.arange(N) < N - 2, 0)


@pytest.mark.parametrize("case", CASES)
def test_parts_add_up_to_the_logit_of_the_shown_score(case):
    probe = probe_of(CASES[case])
    seen = window(clock=probe.config.data.clock)
    parts = explained.logit_parts(probe, seen, PLACE)
    batch = SimpleNamespace(
        features={m: x[None] for m, x in seen.features.items()}, mask=seen.mask[None]
    )
    score = float(jax.jit(lambda s: eval_step(s, batch, model=probe.model))(probe.state)[0, PLACE])
    np.testing.assert_allclose(1 / (1 + np.exp(-parts.value)), score, rtol=2e-5)
    np.testing.assert_allclose(sum(parts.sets.values()), parts.value, atol=2e-5)
    assert next(iter(parts.sets)) == explained.BASE
    if explained.is_sum(probe.config):
        of_causes = parts.units.sum() + parts.bank.sum()
        known = sum(x for n, x in parts.sets.items() if n not in (explained.BASE, explained.SPREAD))
        np.testing.assert_allclose(of_causes, known, atol=2e-5)
        np.testing.assert_allclose(parts.weights.sum(), 1.0, rtol=1e-6)
    assert not parts.units[~seen.mask].any()


def test_weights_are_a_row_of_the_matrix_that_mixes_evidence():
    rng, mix, whole = np.random.default_rng(0), 0.7, 0.4
    graph, mask = rng.normal(size=(2, N, N)), np.arange(N) < N - 2
    strength = np.abs(graph) * (mask[:, None] & mask)
    weights = (strength / (strength.sum(-1, keepdims=True) + 1e-3)).mean(0)
    diffusing = weights + np.diag(1 - weights.sum(-1))
    matrix = ((1 - mix) * np.eye(N) + mix * diffusing) @ (
        (1 - whole) * np.eye(N) + whole * np.outer(np.ones(N), mask) / mask.sum()
    )
    head = SimpleNamespace(mix=mix, whole=whole)
    for place in (0, PLACE):
        found = explained.evidence_weights(graph, mask, place, head)
        np.testing.assert_allclose(found, matrix[place], rtol=1e-12)


def test_parts_of_sets_are_shapley_values():
    """Against the definition: the mean of what a set adds, over all orders; in float64."""
    names, rng = ("a", "b", "c"), np.random.default_rng(0)
    worth = {}

    class Table:
        config = SimpleNamespace(data=SimpleNamespace(modalities=names))

        def logit(self, seen, place):
            there = tuple(m for m in names if seen.features[m].any())
            return worth.setdefault(there, float(rng.normal()))

    seen = Window({m: np.ones((1, 3, 2)) for m in names}, np.ones(3, bool), 0)
    parts = explained.of_subsets(Table(), seen, 1)
    for name in names:
        added = []
        for order in permutations(names):
            before = set(order[: order.index(name)])
            have = lambda kept: worth[tuple(m for m in names if m in kept)]
            added.append(have(before | {name}) - have(before))
        np.testing.assert_allclose(parts.sets[name], np.mean(added), rtol=1e-12)
    np.testing.assert_allclose(sum(parts.sets.values()), parts.value, rtol=1e-12)


def planted():
    """A model whose linear branches say that feature 0 of each set is abnormal, and a video that is
    so in audio at three moments."""
    probe = probe_of(CASES["linear"] | {"model.head.whole": 0.0, "model.head.mix": 0.6})
    fixed = probe.state.constants["constants"]
    for m, d in tiny.DIMS.items():
        fixed[f"weight_{m}"] = np.eye(d, dtype=np.float32)[0]
        fixed[f"mean_{m}"], fixed[f"offset_{m}"] = np.zeros(d, np.float32), np.float32(0)
    rng = np.random.default_rng(3)
    features = {
        m: 0.1 * rng.normal(size=(1, N, d)).astype(np.float32) for m, d in tiny.DIMS.items()
    }
    features["audio"][0, 4:7, 0] += 4
    return probe, Window(features, np.ones(N, bool), 0)


def test_without_the_named_cause_the_score_falls_further():
    """The set and the units that were planted are named; without them the score falls, and further
    than without another set or as many other units."""
    probe, seen = planted()
    parts = explained.logit_parts(probe, seen, 5)
    moment = shown.Moment(probe, seen, 5, np.arange(N + 1.0), parts)
    assert max(parts.sets, key=lambda m: parts.sets[m]) == "audio"
    own, other = (parts.value - probe.logit(without_sets(seen, [m]), 5) for m in ("audio", "rgb"))
    assert own > 1 and own > other + 1
    every = shown.causes_at(moment)
    np.testing.assert_allclose(every[0].without, shown.fall_without(moment, every[:1]))
    beside = [c for c in every if c.place != 5]
    for causes in (named(every), named(beside)):
        assert causes and {c.place for c in causes} <= {4, 5, 6}
        for seed in range(3):
            others = shown.as_many_others(moment, causes, seed)
            assert not {c.place for c in others} & ({c.place for c in causes} | {5})
            own, other = (shown.fall_without(moment, x) for x in (causes, others))
            assert own > 0.05 and own > other


def test_units_that_are_taken_away_are_absent():
    seen = window(clock=True)
    gone = without_units(seen, [2, 3])
    assert not gone.features["rgb"][:, 2:4].any() and seen.features["rgb"][:, 2:4].all()
    np.testing.assert_array_equal(gone.features["clock"], seen.features["clock"])
    assert without_sets(seen, ["rgb"]).features["audio"] is seen.features["audio"]


def test_a_bank_is_told_by_the_stream_that_wrote_it():
    """The unit named for a place of the bank is the one whose direction is kept there."""
    from gfvad.data.streams import Examples, TrainStream

    config = tiny.config(train__batch_size=4)
    config.model.bank.update({"modality": "rgb", "units": 16})
    records, steps = tiny.TinyRecords(), 7
    examples = Examples(records, np.arange(len(records)), config.data)
    stream = TrainStream(examples, 4, config.seed)
    keys, known = np.zeros((16, 6)), np.zeros(16, bool)
    for k in range(steps):
        batch = stream.local_batch(k)
        for row, position in enumerate(batch.position):
            slot = (7 * position) % config.data.train_units
            x, there = standardise(batch.features["rgb"][row], batch.mask[row], 0.0, 1.0, "none")
            keys[position % 16], known[position % 16] = unit_vectors(x)[slot], there[slot]
    found = bank_units.origins(config, examples, steps, range(16))
    assert len(found) == 16 and known.sum() > 4
    for place in np.flatnonzero(known):
        origin = found[place]
        video = records[origin.index]
        assert origin.video == video.name and origin.last == origin.first + 1
        assert origin.label == ("normal", "abnormal")[video.label]
        np.testing.assert_allclose(origin.start, origin.first * 16 / 25)
        every = video.features["rgb"][:, origin.first]  # of one of its crops
        unit = every / np.linalg.norm(every, axis=-1, keepdims=True)
        assert np.abs(unit - keys[place]).max(-1).min() < 1e-6
    assert bank_units.origins(config, examples, 1, [3, 4]).keys() == {3}


def test_windows_of_a_video_hold_each_unit_once():
    records = tiny.TinyRecords(longest=60)
    index = int(np.argmax(records.lengths))
    probe = probe_of({"model.head.kind": "degree"})
    scores = unit_scores_of(probe, records, index)
    assert len(scores) == records.lengths[index] and ((scores > 0) & (scores < 1)).all()
    last = window_of(records, index, len(scores) - 1, probe.config.data)
    assert last.start + last.mask.sum() == len(scores)
    place = len(scores) - 1 - last.start
    np.testing.assert_allclose(1 / (1 + np.exp(-probe.logit(last, place))), scores[-1], rtol=1e-5)


def test_the_logit_of_a_mean_of_scores():
    logits = np.array([-30.0, 2.0, 40.0])
    score = np.mean(1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(mean_logit(logits), np.log(score / (1 - score)), rtol=1e-9)
    np.testing.assert_allclose(mean_logit(np.array([-800.0])), -800.0)
