"""Sweeps: those that ship are valid for every set with two modalities or more, and what is wrong
with one is said by name before anything runs."""

from pathlib import Path

import numpy as np
import pytest

from gfvad import tasks
from gfvad.ablation import plots
from gfvad.ablation.groups import plan
from gfvad.ablation.sweep import Setting, Source, Wanted, read_sweep
from gfvad.base.types import ConfigError
from gfvad.tasks.fusion.subsets import keep

SHIPPED = sorted(
    p.stem
    for p in (Path(__file__).resolve().parents[2] / "configs" / "sweeps").glob("*.py")
    if p.stem != "__init__"
)
XD, UCF = Source("configs/xd.py", "", ()), Source("configs/ucf.py", "", ())
THREE = Source("configs/xd.py", "flow", ())


@pytest.fixture(autouse=True)
def checkout(repository, monkeypatch):
    monkeypatch.chdir(repository)


PED2 = Source("configs/ped2.py", "small", ())
TRACKS, ROOM = (Source(f"configs/{name}.py", "", ()) for name in ("avenue_tracks", "room"))
OF_NOVELTY = ("novelty", "levels", "normal_only")
OTHERS = [
    ("prediction", PED2),
    *((name, source) for name in OF_NOVELTY for source in (TRACKS, ROOM)),
    ("levels", Source("configs/own.py", "clips", ())),
]
OF_FUSION = [name for name in SHIPPED if name not in dict(OTHERS)]
PAIRS = [(name, s) for name in OF_FUSION for s in (XD, UCF, THREE)]


@pytest.mark.parametrize("name, source", [*PAIRS, *OTHERS])
def test_shipped_sweeps_are_valid(name, source, tmp_path):
    """Every setting passes the checks of a config; the base is there; groups hold all of them
    once."""
    sweep = read_sweep(f"configs/sweeps/{name}.py", source)
    names = [setting.name for setting in sweep.settings]
    assert sweep.base in names and len(names) >= 3 and sweep.seeds == (0, 1, 2, 3, 4)
    assert all(
        why.startswith(("the same as", "impossible here")) for why in sweep.left_out.values()
    )
    for setting in sweep.settings:
        tasks.check(setting.config)
        assert setting.config.eval.bootstrap == 0 and (setting.differs == {}) == (
            setting.name == sweep.base
        )
    grouped = [
        setting.name
        for group in plan(tmp_path, sweep.settings, sweep.seeds, 32)
        for setting in group.settings
    ]
    assert sorted(grouped) == sorted(names)


def test_the_shipped_sweeps():
    assert SHIPPED == [
        "alone",
        "comparators",
        "comparison",
        "damage",
        "expansion",
        "fusion",
        "glances",
        "levels",
        "losses",
        "modalities",
        "normal_only",
        "novelty",
        "operator",
        "paper",
        "parts",
        "prediction",
        "relations",
        "robustness",
        "spread",
    ]


def sweep(tmp_path, text, source=XD, seeds=None):
    path = tmp_path / "sweep.py"
    path.write_text(text)
    return read_sweep(path, source, Wanted(seeds))


def test_axes_each_and_as_a_product(tmp_path):
    body = (
        "def get_sweep(config):\n    return {'axes': {'optim.learning_rate': (1e-3, 2e-3), 'size':"
        " {'small': {'model.embed_dim': 4}, 'large': {'model.embed_dim': 16}}}, %s}\n"
    )
    each = sweep(tmp_path, body % "'seeds': 3")
    assert [s.name for s in each.settings] == [
        "base",
        "learning_rate=0.001",
        "learning_rate=0.002",
        "small",
        "large",
    ] and each.base == "base"
    assert each.seeds == (0, 1, 2) and each.settings[1].differs == {"optim.learning_rate": 1e-3}
    product = sweep(tmp_path, body % "'combine': 'product'", seeds=2)
    assert [s.name for s in product.settings] == [
        f"learning_rate={r},{size}" for r in ("0.001", "0.002") for size in ("small", "large")
    ]
    assert product.base == "learning_rate=0.001,small" and product.seeds == (0, 1)


def test_settings_variants_and_the_command_line(tmp_path):
    """A variant is applied behind the command line's; the command line wins over the sweep's
    overrides, a setting over the command line."""
    text = (
        "def get_sweep(config):\n    return {'settings': {'plain': {}, 'one': {'variant': 'rgb',"
        " 'train.steps': 9}, 'same': {}, 'odd': {'model.fusion.form': 'full'}},'overrides':"
        " {'train.steps': 7, 'eval.bootstrap': 5, 'train.keep': 3}, 'optional': ['odd']}\n"
    )
    found = sweep(
        tmp_path,
        text,
        Source("configs/xd.py", "no_cross_terms", ("--config.train.steps=8", "--config.seed=2")),
    )
    plain, one = found.settings[:2]
    assert [s.name for s in found.settings] == ["plain", "one"] + ["odd"] * (
        len(found.settings) - 2
    )
    assert (
        plain.config.train.steps == 8
        and plain.config.train.keep == 3
        and plain.config.eval.bootstrap == 5
    )
    assert (
        one.config.variant == "no_cross_terms+rgb"
        and one.config.data.modalities == ("rgb",)
        and one.config.train.steps == 9
    )
    assert found.left_out["same"] == "the same as 'plain'" and found.seeds == (2, 3, 4, 5, 6)
    refused = sweep(
        tmp_path,
        text.replace("'plain': {}", "'plain': {}, 'z': {'model.fusion.rank': 2}").replace(
            "'full'}", "'full', 'model.relation.temporal_tau': 1.0}"
        ),
    )
    assert "impossible here: config.model.fusion" in refused.left_out["odd"]


@pytest.mark.parametrize(
    "body, message",
    [
        (
            "return {'settings': {'a': {}, 'b': {'model.fusion.rnak': 2}}}",
            "setting 'b': no such key 'model.fusion.rnak'; did you mean 'model.fusion.rank'",
        ),
        (
            "return {'settings': {'a': {}, 'b': {'model.fusion.rank': 'two'}}}",
            "setting 'b': config.model.fusion.rank = 'two': expected a value like 1 .int.",
        ),
        (
            "return {'settings': {'a': {}, 'b': {'loss.variance': -1.0}}}",
            "setting 'b': config.loss.variance = -1.0: expected a number from 0",
        ),
        ("return {'settings': {'a': {}, 'b': {'seed': 1}}}", "setting 'b' sets the seed"),
        (
            "return {'settings': {'a': {}, 'b': {'variant': 'rbg'}}}",
            "setting 'b': .*no variant 'rbg'",
        ),
        (
            "return {'settings': {'a': {}, 'a': {'train.steps': 2}}}",
            "line 2: 'a' stands 2 times in one dict",
        ),
        ("return {'settings': {'a': {}, 'A': {'train.steps': 2}}}", "setting 'a' stands twice"),
        ("return {'settings': {'a/b': {}}}", "setting 'a/b': a name is also a folder's"),
        ("return {'settings': {'a': 3}}", "setting 'a': found 3, expected a dict"),
        ("return {'settings': {'a': {}}, 'bsae': 'a'}", "returns 'bsae'; did you mean 'base'"),
        ("return {'settings': {'a': {}}, 'base': 'b'}", "base = 'b'"),
        ("return {'settings': {'a': {}}, 'optional': ['b']}", "optional names 'b'"),
        ("return {'settings': {'a': {}}, 'seeds': 0}", "seeds = 0: expected 1 or more"),
        ("return {'axes': {'train.steps': 3}}", "axis 'train.steps': found 3"),
        ("return {'axes': {'train.steps': (3,)}, 'combine': 'all'}", "combine = 'all'"),
        ("return 3", "get_sweep.config. is missing or returned int"),
        (
            "return config.nothing",
            r"get_sweep\(\) asks for a key that a configuration",
        ),
        ("return {", "line 2: .*expected Python"),
        (
            (
                "return {'settings': {'a': {}, 'b': {'model.fusion.form': 'full',"
                " 'model.relation.temporal_tau': 2.0, 'model.fusion.start': 'mean'}}}"
            ),
            "setting 'b': config.model.fusion.form is 'full', which takes exactly two graphs",
        ),
    ],
)
def test_what_is_wrong_is_said_by_name(tmp_path, body, message):
    with pytest.raises(ConfigError, match=message):
        sweep(tmp_path, f"def get_sweep(config):\n    {body}\n")


def test_leaving_modalities_out():
    """All that has one entry a modality is cut with them; minterms stay complete."""
    config = UCF.config()
    assert keep(config, (1,)) == {
        "data.modalities": ("text",),
        "model.confidence": ("text",),
        "model.filter.modalities": (),
        "model.relation.sources": ("raw",),
        "model.head.gates": (1.0,),
    }
    assert keep(config, (0,))["model.confidence"] == () and keep(config, (0,))[
        "model.head.gates"
    ] == (0.5,)
    assert (
        keep(THREE.config(), (0, 2))["model.fusion.channels"] == 4
        and keep(XD.config(), (1,))["model.fusion.channels"] == 2
    )


def test_curves_are_found_in_the_configs():
    """A number with three values or more among settings that are equal otherwise is an axis;
    lines part by what else differs."""
    base = XD.config()

    def made(name, **changes):
        config = base.copy_and_resolve_references()
        config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
        return Setting(name, config, {})

    settings = [
        made(f"{lr}{d}", optim__learning_rate=lr, model__embed_dim=d)
        for lr in (1e-3, 1e-2, 1e-1)
        for d in (4, 8)
    ]
    settings.append(
        made("else", model__fusion__parametrisation="nonneg", model__fusion__start="mean")
    )
    found = plots.axes(settings)
    assert set(found) == {"optim.learning_rate"} and len(found["optim.learning_rate"]) == 2
    assert all(
        [value for value, _ in points] == [1e-3, 1e-2, 1e-1]
        for points in found["optim.learning_rate"].values()
    )


def test_figures_are_drawn(tmp_path):
    found = sweep(
        tmp_path,
        "def get_sweep(config):\n    return {'axes': {'optim.learning_rate': (1e-4, 1e-3,"
        " 1e-2)}}\n",
    )
    rng = np.random.default_rng(0)
    values = {setting.name: list(0.8 + 0.05 * rng.random(5)) for setting in found.settings} | {
        "learning_rate=0.01": [0.5]
    }
    paths = plots.draw(tmp_path / "figures", "made-up", found, values, "auc")
    assert [path.name for path in paths] == ["forest.png", "curve_optim_learning_rate.png"] and all(
        path.stat().st_size > 5000 for path in paths
    )
