"""Evidence by sources inside a run: read from records, put into the model, said in results."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.own import get_config
from gfvad.base.types import ConfigError
from gfvad.tasks import check
from gfvad.tasks.fusion import judging, registry
from gfvad.tasks.fusion.heads import BranchHead

SETS = {"motion": 5, "appearance": 4, "audio": 3}


class Train:
    """Prepared records in memory: `appearance` tells the kinds, `audio` is upside down on half of
    the sources."""

    def __init__(self, count=40):
        rng = np.random.default_rng(0)
        self.dims, self.names = SETS, tuple(f"c{i % 8}_{i}" for i in range(count))
        self.labels, self.lengths = np.arange(count) // 8 % 2, rng.integers(1, 4, count)
        kind = np.where(self.labels > 0, 1.0, -1.0)
        odd = np.where(np.arange(count) % 8 % 2, 1.0, -1.0)
        shifts = {"motion": 0.3 * kind, "appearance": 1.5 * kind, "audio": kind * odd}
        self._x = [
            {m: rng.normal(size=(1, n, d)) + shifts[m][i] for m, d in SETS.items()}
            for i, n in enumerate(self.lengths)
        ]

    def __getitem__(self, i):
        return SimpleNamespace(features={m: x.astype(np.float32) for m, x in self._x[i].items()})

    def statistics(self):
        joined = {m: np.concatenate([x[m][0] for x in self._x]) for m in SETS}
        return {m: {"mean": x.mean(0), "std": x.std(0)} for m, x in joined.items()}


@pytest.fixture(scope="module")
def judged():
    config = get_config("clips")
    config.data.source_pattern = r"^(c\d+)_"
    return judging.judge_run(config, Train(), None)


def test_sets_of_a_run(judged):
    assert (judged.found.sources, judged.videos, judged.how) == (8, 40, "names")
    sets = judged.found.sets
    assert sets["appearance"].auc > 0.9 and sets["audio"].weight == 0
    lines = []
    judging.say_judged(judged, lines.append)
    assert "8 sources in 40 training videos, told by their names" in lines[0]
    assert any("audio" in line and "LEFT OUT" in line for line in lines)
    tree = judging.told(judged)
    assert tree["evidence"]["sets"]["audio"]["part"].startswith("LEFT OUT")
    assert [row[0] for row in tree["tables"][0]["rows"]] == [*SETS, "together"]


@pytest.mark.parametrize("mode", ["standardize", "center", "none"])
def test_the_model_has_the_branches(judged, mode):
    """Logits of the whole model are the branches on raw features, the mean over the video."""
    train, config = Train(), get_config("clips")
    config.model.evidence, config.data.standardize = "sources", mode
    statistics = judging.with_branches(train.statistics(), judged, mode)
    model = registry.build_model(config, SETS, statistics)
    features = {m: jnp.asarray(x[0]) for m, x in train[5].features.items()}
    units = len(features["motion"])
    mask, clock = jnp.ones(units, bool), {"clock": jnp.arange(units)[:, None] * 0.6}
    keys = dict.fromkeys(("params", "dropout"), jax.random.key(0))
    variables = model.init(keys, features | clock, mask, train=False)
    found = model.apply(variables, features | clock, mask, train=False)
    parts = {
        m: np.asarray(features[m], np.float64) @ b.weight - b.offset
        for m, b in judged.found.branches.items()
    }
    for m, part in parts.items():
        np.testing.assert_allclose(found.aux[f"branch/{m}"], part, atol=1e-4)
    np.testing.assert_array_equal(found.aux["branch/audio"], 0.0)
    np.testing.assert_allclose(found.logits, sum(parts.values()).mean(), atol=2e-3)
    # what a set that is left out holds changes nothing at all
    other = features | {"audio": features["audio"] * -7 + 3}
    again = model.apply(variables, other | clock, mask, train=False)
    np.testing.assert_array_equal(found.logits, again.logits)
    np.testing.assert_array_equal(found.graph, again.graph)
    # a video without a set that counts: it says nothing
    absent = features | {"appearance": jnp.zeros_like(features["appearance"])}
    without = model.apply(variables, absent | clock, mask, train=False)
    np.testing.assert_array_equal(without.aux["branch/appearance"], 0.0)


def test_share_of_the_whole_video():
    z, mask = jnp.array([1.0, 3.0, 8.0, 99.0]), jnp.array([1, 1, 1, 0], bool)
    graphs, rng = jnp.zeros((1, 4, 4)), jax.random.key(0)
    for whole, expected in ((0.0, [1, 3, 8, 0]), (0.5, [2.5, 3.5, 6, 0]), (1.0, [4, 4, 4, 0])):
        head = BranchHead(layers=0, relations=False, mix=0.0, whole=whole)
        (logits, _), _ = head.init_with_output(rng, graphs, {"x": z}, mask, None, train=False)
        np.testing.assert_allclose(logits, expected)


def test_capacity_follows_the_number_of_videos():
    for count, found in ((400, "sources"), (401, "trained")):
        config = get_config("clips")
        judging.settle(config, count)
        assert config.model.evidence == found
    config.model.evidence = "sources"
    config.model.head.layers = 1
    with pytest.raises(ConfigError, match="model.head.layers = 1 with config.model.evidence"):
        check(config)
    check(get_config("foil_concat"))
    check(get_config("paper"))


def test_sources_by_what_is_there():
    units, video = {"x": np.repeat(np.eye(3) * 9 + 1, 2, 0)}, np.arange(6)
    config = ConfigDict({"data": {"source_pattern": ""}})
    groups, how = judging.sources_of(config, list("abcdef"), None, units, video)
    assert groups.tolist() == [0, 0, 1, 1, 2, 2] and how == "features"
