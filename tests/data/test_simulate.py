"""The simulated set: its process, the exact posterior against enumeration and against
frequencies, the files it writes."""

import functools
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from gfvad.base.types import ConfigError, DataError
from gfvad.data import annotations, simulate, text
from gfvad.data.features import layouts
from gfvad.data.simulate import bayes, generator, process, sentences, writer
from gfvad.data.simulate.process import Settings

TINY = Settings(
    activities=2,
    dwell=2.5,
    stages=2,
    cover_end=0.4,
    nuisance_start=0.2,
    abnormal_start=0.25,
    unseen_start=0.3,
    unseen_beside=0.1,
    relation_start=0.3,
    prior=(0.4, 0.3, 0.2, 0.1),
    shortest=4,
    longest=4,
)
K_COVERS = {
    "nuisance_visual": 2,
    "nuisance_audio": 2,
    "abnormal_visual": 2,
    "abnormal_audio": 2,
    "unseen": 1,
}


# ---- an independent description of the process, in words and dictionaries


def starting_covers(s: Settings, scenario: str) -> dict:
    """{(cover, member): probability to begin}, None for no cover."""
    out = {}
    for cover, members in K_COVERS.items():
        kind = cover.split("_")[0]
        share = {
            "nuisance": s.nuisance_start / 4,
            "abnormal": s.abnormal_start / 4 if scenario == "modal" else 0,
            "unseen": {"normal": 0, "unseen": s.unseen_start}.get(scenario, s.unseen_beside),
        }[kind]
        out |= {(cover, member): share for member in range(members) if share}
    return out | {None: 1 - sum(out.values())}


def successors(s: Settings, scenario: str, state):
    """(probability, state) after a state (activity, cover, units of the cover so far, offset)."""
    activity, cover, age, offset = state
    if cover is None:
        covers = {(new, int(new is not None)): p for new, p in starting_covers(s, scenario).items()}
    elif age < s.stages:
        covers = {(cover, age + 1): 1.0}
    else:
        covers = {(cover, age): 1 - s.cover_end, (None, 0): s.cover_end}
    others = [a for a in range(s.activities) if a != activity]
    moves = {(activity, offset): 1 - 1 / s.dwell}
    r = s.relation_start if scenario == "relational" else 0
    for a in others:
        moves |= {(a, 0): (1 - r) / s.dwell / len(others)}
        moves |= {
            (a, o): r / s.dwell / len(others) / (s.activities - 1)
            for o in range(1, s.activities)
            if r
        }
    for ((new, age), p), ((a, o), q) in itertools.product(covers.items(), moves.items()):
        yield p * q, (a, new, age, o)


def shown(s: Settings, permutation, state):
    """(visual, audio) prototype of a state: activities, two nuisances, two abnormal ones."""
    activity, cover, _, offset = state
    visual, audio = activity, permutation[(activity + offset) % s.activities]
    kind, _, modality = (cover[0] if cover else "").partition("_")
    odd = s.activities + (2 if kind == "abnormal" else 0) + (cover[1] if cover else 0)
    return (odd if modality == "visual" else visual), (odd if modality == "audio" else audio)


def abnormal(state) -> bool:
    return state[3] > 0 or bool(state[1] and state[1][0].split("_")[0] in ("abnormal", "unseen"))


def all_paths(s: Settings, scenario: str, n: int):
    """(prior probability, states) of every path of n units that a video of this scenario may
    take (not yet conditioned)."""
    r = s.relation_start if scenario == "relational" else 0
    begin = {
        (a, None, 0, o): ((r / (s.activities - 1)) if o else 1 - r) / s.activities
        for a in range(s.activities)
        for o in range(s.activities)
    }
    paths = [(p, (state,)) for state, p in begin.items() if p > 0]
    for _ in range(n - 1):
        paths = [
            (p * q, path + (new,))
            for p, path in paths
            for q, new in successors(s, scenario, path[-1])
        ]
    return [(p, path) for p, path in paths if scenario == "normal" or any(map(abnormal, path))]


def brute_force(s: Settings, visual, audio):
    """(unit posterior, video posterior) by summing over every path and permutation."""
    units, total, video = np.zeros(len(visual)), 0.0, 0.0
    for prior, scenario in zip(s.prior, process.SCENARIOS):
        paths = all_paths(s, scenario, len(visual))
        norm = sum(p for p, _ in paths)
        for permutation in itertools.permutations(range(s.activities)):
            for p, path in paths:
                weight = prior * p / norm
                for t, state in enumerate(path):
                    v, a = shown(s, permutation, state)
                    weight *= visual[t, v] * audio[t, a]
                units += weight * np.array([abnormal(state) for state in path])
                total += weight
                video += weight * (scenario != "normal")
    return units / total, video / total


@pytest.mark.parametrize("seed", [0, 1])
def test_posterior_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    log_visual, log_audio = 2 * rng.normal(size=(2, 4, 6))
    expected = brute_force(TINY, np.exp(log_visual), np.exp(log_audio))
    found = bayes.posterior(log_visual, log_audio, TINY)
    np.testing.assert_allclose(found.unit, expected[0], atol=1e-12)
    np.testing.assert_allclose(found.video, expected[1], atol=1e-12)
    np.testing.assert_allclose(found.kind.sum(1), 1, atol=1e-12)
    alone = bayes.posterior(log_visual, None, TINY)
    np.testing.assert_allclose(
        alone.unit, brute_force(TINY, np.exp(log_visual), np.ones((4, 6)))[0], atol=1e-12
    )


# ---- properties of the posterior


@functools.lru_cache
def videos(count: int, seed: int, **changes):
    """[(path, log visual, log audio)] of simulated videos with one crop, and the settings."""
    s = Settings(**changes)
    world, out = generator.make_world(s, seed), []
    for index, scenario in enumerate(generator.draw_scenarios(s, seed, "test", count)):
        sample = generator.simulate(
            s, world, generator.video_stream(seed, "test", index), int(scenario), 1
        )
        visual = bayes.log_likelihood(
            sample.rgb, world.rgb_basis, world.prototypes, s.latent_noise, s.rgb_noise
        )
        audio = bayes.log_likelihood(
            sample.audio[None], world.audio_basis, world.prototypes, s.latent_noise, s.audio_noise
        )
        out.append((sample.path, visual, audio))
    return s, out


def labels_of(s, samples):
    return np.concatenate([process.kinds(s).abnormal[path.kind] for path, *_ in samples])


def test_posterior_is_calibrated():
    """Units the posterior gives p are abnormal in a share p of the cases; noisy features, so
    that every p occurs."""
    s, samples = videos(360, 5, latent_noise=0.9, shortest=16, longest=32)
    found = [bayes.posterior(visual, audio, s) for _, visual, audio in samples]
    # units of a video move together, so a video's sum of p - y over the units of a bin is one
    # observation; its mean is 0
    gaps = [
        (one.unit, one.unit - process.kinds(s).abnormal[path.kind])
        for one, (path, *_) in zip(found, samples)
    ]
    for low, high in ((0, 1.01), (0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        sums = np.array([gap[(p >= low) & (p < high)].sum() for p, gap in gaps])
        assert np.count_nonzero(sums) > 10 and abs(sums.sum()) < 3 * np.sqrt(np.square(sums).sum())
    video = np.array([one.video for one in found])
    assert abs(video.mean() - 0.5) < 0.1


def test_without_information_the_posterior_is_the_prior():
    s = Settings(shortest=30, longest=30)
    found = bayes.posterior(np.zeros((30, 7)), np.zeros((30, 7)), s)
    assert found.video == pytest.approx(0.5, abs=1e-9)
    rng = np.random.default_rng(0)
    scenarios = rng.choice(4, size=4000, p=s.prior)
    drawn = np.mean(
        [
            process.kinds(s).abnormal[process.sample_path(rng, s, int(one), 30).kind]
            for one in scenarios
        ],
        axis=0,
    )
    assert np.abs(drawn - found.unit).max() < 4 * 0.5 / np.sqrt(4000)


def test_unobserved_is_uninformative_and_names_of_sounds_do_not_matter():
    s, samples = videos(8, 5, shortest=20, longest=60)
    for _, visual, audio in samples:
        flat = np.zeros_like(audio)
        np.testing.assert_allclose(
            bayes.posterior(visual, flat, s).unit, bayes.posterior(visual, None, s).unit, atol=1e-9
        )
        np.testing.assert_allclose(
            bayes.posterior(flat, audio, s).unit, bayes.posterior(None, audio, s).unit, atol=1e-9
        )
        renamed = audio[:, [2, 0, 1, 3, 4, 5, 6]]
        np.testing.assert_allclose(
            bayes.posterior(visual, renamed, s).unit,
            bayes.posterior(visual, audio, s).unit,
            atol=1e-9,
        )


def test_long_certain_video_stays_finite():
    s = Settings(latent_noise=0.05)
    rng = np.random.default_rng(0)
    for scenario in range(4):
        path = process.sample_path(rng, s, scenario, 400)
        visual, audio = (
            -400.0 * (np.arange(7) != one[:, None]) for one in generator.shown_prototypes(s, path)
        )
        found = bayes.posterior(visual, audio, s)
        assert (
            np.isfinite(found.unit).all() and found.unit.min() >= 0 and found.unit.max() <= 1 + 1e-9
        )
        if scenario in (process.NORMAL, process.MODAL):
            assert np.abs(found.unit - process.kinds(s).abnormal[path.kind]).mean() < 0.02


def test_relations_need_both_modalities():
    """The order the whole set is made for: both together, far above both without their relation,
    above either alone."""
    s, samples = videos(60, 11, shortest=60, longest=60)
    y = labels_of(s, samples)
    relation = np.concatenate([process.kinds(s).offset[path.kind] > 0 for path, *_ in samples])

    auc = lambda scores, rows=slice(None): roc_auc_score(y[rows], scores[rows])
    units = lambda which: np.concatenate(
        [which(visual, audio).unit for _, visual, audio in samples]
    )
    whole = units(lambda v, a: bayes.posterior(v, a, s))
    both, apart = auc(whole), auc(units(lambda v, a: bayes.posterior(v, a, s, independent=True)))
    rgb, audio = (
        auc(units(lambda v, a: bayes.posterior(v, None, s))),
        auc(units(lambda v, a: bayes.posterior(None, a, s))),
    )
    assert 0.5 + 0.9 * (both - 0.5) - apart > 0.05 and max(rgb, audio) < apart
    unseen = np.concatenate(
        [(process.kinds(s).cover == process.UNSEEN)[path.kind] for path, *_ in samples]
    )
    assert auc(whole, ~unseen) > 0.99  # what it misses is what cannot be seen
    assert auc(whole, relation | ~y) > 0.97
    assert 0.3 < relation[y].mean() < 0.65


def test_relation_events_show_in_the_disagreement_of_graphs_only():
    """Row means of |cos rgb - cos audio| over the video find them; row statistics of one graph
    do not."""
    s, seed = Settings(), 2
    world, rows, y = generator.make_world(s, seed), [], []
    for index in range(60):
        sample = generator.simulate(
            s, world, generator.video_stream(seed, "train", index), process.RELATIONAL, 1
        )
        kept = process.kinds(s).cover[sample.path.kind] == process.NONE
        graphs = []
        for x, basis in ((sample.rgb[0], world.rgb_basis), (sample.audio, world.audio_basis)):
            # as data.standardize='center' does, nearly
            x = x.astype(np.float64) - basis @ world.prototypes[: s.activities].mean(0)
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            graphs.append((1 + x @ x.T) / 2)
        a, b = graphs
        rows.append(
            np.stack([np.abs(a - b).mean(1), a.mean(1), b.mean(1), a.std(1), b.std(1)], 1)[kept]
        )
        y.append((process.kinds(s).offset[sample.path.kind] > 0)[kept])
    rows, y = np.concatenate(rows), np.concatenate(y)
    assert roc_auc_score(y, rows[:, 0]) > 0.9
    for single in rows[:, 1:].T:
        assert abs(roc_auc_score(y, single) - 0.5) < 0.15


# ---- process and features


@pytest.mark.parametrize("scenario", range(4))
def test_chains_are_chains(scenario):
    for s in (TINY, Settings()):
        chain = process.event_chain(s, scenario)
        np.testing.assert_allclose(
            [chain.initial.sum(), *chain.stay.sum(1), *chain.jump.sum(1)], 1, atol=1e-12
        )
        assert min(chain.stay.min(), chain.jump.min()) >= 0
        abnormal_states = process.kinds(s).abnormal[chain.kind]
        assert (
            abnormal_states.any() == (scenario != process.NORMAL)
            and chain.final[abnormal_states].all()
        )


@pytest.mark.parametrize("scenario", range(4))
def test_sampled_paths(scenario):
    s, rng = Settings(), np.random.default_rng(scenario)
    table, lengths, jumps, relations = process.kinds(s), [], [], []
    for _ in range(60):
        path = process.sample_path(rng, s, scenario, 100)
        assert table.abnormal[path.kind].any() == (scenario != process.NORMAL)
        assert sorted(path.permutation) == [0, 1, 2]
        visual, audio = generator.shown_prototypes(s, path)
        relation, cover = table.offset[path.kind] > 0, table.cover[path.kind]
        plain = cover == process.NONE
        # a relation event is a normal sight
        np.testing.assert_array_equal(visual[plain], path.activity[plain])
        # with another normal sound
        np.testing.assert_array_equal(
            (audio != path.permutation[path.activity])[plain], relation[plain]
        )
        assert (audio[plain] < 3).all()
        jumps.append(np.mean(np.diff(path.activity) != 0))
        changes = np.flatnonzero(np.diff(relation.astype(int)) != 0)
        # it begins and ends where the activity jumps
        assert (np.diff(path.activity)[changes] != 0).all()
        covers = [
            (start, end)
            for start, end in sentences.runs(table.cover[path.kind])
            if cover[start] != process.NONE
        ]
        lengths += [end - start for start, end in covers if end < 100]
        relations.append(relation.mean())
    assert min(lengths) >= s.stages and 8 < np.mean(lengths) < 12.5
    assert np.mean(jumps) == pytest.approx(1 / s.dwell, abs=0.02)
    assert (np.mean(relations) > 0.1) == (scenario == process.RELATIONAL)


def test_features_have_the_stated_moments():
    s = Settings()
    world = generator.make_world(s, 0)
    for basis, noise, crops in (
        (world.rgb_basis, s.rgb_noise, 5),
        (world.audio_basis, s.audio_noise, 1),
    ):
        np.testing.assert_allclose(basis.T @ basis, np.eye(7), atol=1e-12)
        shown_ = np.repeat(np.arange(7), 300)
        x = generator.observe(np.random.default_rng(1), s, shown_, basis, crops, noise)
        assert x.dtype == np.float16 and x.shape == (crops, 2100, len(basis))
        latent = x.astype(np.float64).mean(0) @ basis
        np.testing.assert_allclose(latent.reshape(7, 300, 7).mean(1), np.eye(7), atol=0.07)
        residual = latent - np.eye(7)[shown_]
        np.testing.assert_allclose(
            residual.std(0), np.sqrt(s.latent_noise**2 + noise**2 / crops), rtol=0.06
        )
        outside = x[0].astype(np.float64) - x[0].astype(np.float64) @ basis @ basis.T
        assert outside.std() == pytest.approx(noise * np.sqrt(1 - 7 / len(basis)), rel=0.02)
    # odd ones are no longer than usual ones
    assert len(set(np.linalg.norm(world.prototypes, axis=1))) == 1


def test_proportions_of_scenarios():
    s = Settings()
    drawn = generator.draw_scenarios(s, 7, "train", 240)
    assert (
        np.bincount(drawn).tolist() == [120, 48, 70, 2]
        and len(generator.draw_scenarios(s, 7, "test", 7)) == 7
    )
    assert not np.array_equal(drawn, generator.draw_scenarios(s, 8, "train", 240))


# ---- the folder


def numbers(**changes):
    return {"train_videos": 6, "test_videos": 8, "seed": 3, "crops": 2} | changes


class Config(SimpleNamespace):
    def __getitem__(self, key):
        return getattr(self, key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate.simulated_folder(tmp_path_factory.mktemp("simulated"), Config(**numbers()))


def data_config(folder, **changes):
    values = {
        "root": str(folder),
        "dataset": "xd_violence",
        "layout": "xd_violence",
        "modalities": ("rgb", "audio"),
        "captions": "",
        "text_encoder": "hash",
        "text_assign": "nearest",
        "cache_dir": str(folder.parent / "cache"),
    }
    return Config(**(values | changes))


def test_the_xd_reader_reads_it(folder):
    layout = layouts.open_layout(data_config(folder, modalities=("rgb", "audio", "text")))
    truth = bayes.read_truth(folder)
    entries = layout.entries("test")
    assert len(layout.entries("train")) == 6 and sorted(truth.names) == [
        entry.name for entry in entries
    ]
    for entry in entries:
        video, place = layout.load(entry), truth.names.index(entry.name)
        y = truth.abnormal[place]
        assert {m: f.shape for m, f in video.features.items()} == {
            "rgb": (2, len(y), 1024),
            "audio": (1, len(y), 128),
            "text": (1, len(y), 384),
        }
        assert video.num_frames == 16 * len(y) and video.label == int(
            truth.scenario[place] > 0
        ) == int(y.any())
        frames = np.zeros(video.num_frames, bool)
        for start, end in video.spans:
            frames[start:end] = True
        np.testing.assert_array_equal(frames, np.repeat(y, 16))
        assert bool(video.classes) == bool(video.label)
    assert not layout.notes


def test_names_and_captions(folder):
    names = [name for split in generator.SPLITS for name in bayes.read_truth(folder, split).names]
    said = text.load_captions(folder / "captions.json")
    assert (
        list(said) == names
        and len(set(names)) == 14
        and all(name.startswith("Simulated.") for name in names)
    )
    assert all(annotations.xd_classes(name) for name in names)
    assert sum(len(one.sentences) for one in said.values()) > 5 * 14
    raw = json.loads((folder / "captions.json").read_text())
    assert all(
        tuple(raw[n]["sentences"]) == c.sentences
        and np.array_equal(np.reshape(raw[n]["timestamps"], (-1, 2)), c.spans)
        for n, c in said.items()
    )
    assert "SIMULATED" in json.loads((folder / "simulated.json").read_text())["simulated"]


def test_captions_mostly_tell_what_is_seen_and_rarely_what_is_heard():
    s, rng = Settings(), np.random.default_rng(0)
    right = told = mismatch = events = 0
    for _ in range(60):
        path = process.sample_path(rng, s, process.RELATIONAL, 100)
        visual, _ = generator.shown_prototypes(s, path)
        for start, end, sentence in sentences.describe_path(rng, s, path):
            assert 0 <= start < end <= 100
            mismatch += sentence in sentences.MISMATCH
            if sentence not in sentences.MISMATCH and not any(
                sentence in said for said in sentences.SOUNDS.values()
            ):
                known = [*sentences.ACTIVITIES[:3], *sentences.NUISANCES, *sentences.ABNORMAL][
                    visual[start]
                ]
                told, right = told + 1, right + (sentence in known)
        offset = process.kinds(s).offset[path.kind]
        events += sum(offset[start] > 0 for start, _ in sentences.runs(offset))
    assert 0.85 < right / told < 0.98 and mismatch < 0.3 * events


def test_same_seed_same_bytes(folder, tmp_path):
    again = simulate.simulated_folder(tmp_path, Config(**numbers()))
    files = {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
    assert again.name == folder.name and set(files) == {
        p.relative_to(again) for p in again.rglob("*") if p.is_file()
    }
    for name, path in files.items():
        if name.suffix == ".npz":
            with np.load(path) as one, np.load(again / name) as other:
                assert all(np.array_equal(one[key], other[key]) for key in one.files)
        else:
            assert path.read_bytes() == (again / name).read_bytes()
    other = simulate.simulated_folder(tmp_path, Config(**numbers(seed=4)))
    assert (
        other != again
        and (other / "captions.json").read_bytes() != (again / "captions.json").read_bytes()
    )


def test_complete_set_is_left_alone_and_damaged_one_written_again(tmp_path, monkeypatch):
    cfg = Config(**numbers(train_videos=4, test_videos=4, crops=1))
    folder = simulate.simulated_folder(tmp_path, cfg)
    before = (folder / "simulated.json").stat().st_mtime_ns
    assert (
        simulate.simulated_folder(tmp_path, cfg) == folder
        and (folder / "simulated.json").stat().st_mtime_ns == before
    )
    victim = next((folder / "vggish-features" / "test").iterdir())
    content = victim.read_bytes()
    victim.unlink()
    assert simulate.simulated_folder(tmp_path, cfg) == folder and victim.read_bytes() == content
    victim.write_bytes(b"cut")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "write_texts", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate.simulated_folder(tmp_path, cfg)
    # nothing half-written beside it
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [folder.name]


def test_foreign_folder_and_bad_numbers(tmp_path):
    cfg = Config(**numbers(train_videos=4, test_videos=4, crops=1))
    with pytest.raises(ConfigError, match="data.simulated.crops = 0"):
        simulate.simulated_folder(tmp_path, Config(**numbers(crops=0)))
    with pytest.raises(ConfigError, match="data.simulated.test_videos = 1"):
        simulate.simulated_folder(tmp_path, Config(**numbers(test_videos=1)))
    folder = simulate.simulated_folder(tmp_path, cfg)
    (folder / "simulated.json").unlink()
    with pytest.raises(DataError, match="holds files but no simulated.json"):
        simulate.simulated_folder(tmp_path, cfg)
    with pytest.raises(DataError, match="expected the manifest of a simulated set"):
        simulate.report(folder)


def test_other_version_is_refused(tmp_path):
    folder = simulate.simulated_folder(
        tmp_path, Config(**numbers(train_videos=4, test_videos=4, crops=1))
    )
    content = json.loads((folder / "simulated.json").read_text())
    (folder / "simulated.json").write_text(json.dumps(content | {"generator_version": 0}))
    with pytest.raises(DataError, match=f"generator version 0, expected {writer.VERSION}"):
        simulate.report(folder)


def test_report_agrees_with_sklearn(folder):
    truth, scores = bayes.read_truth(folder), simulate.bayes_scores(folder)
    y = np.repeat(np.concatenate(truth.abnormal), 16)
    frames = np.repeat(np.concatenate([scores[name] for name in truth.names]), 16)
    found = simulate.report(folder)
    assert found["auc"] == pytest.approx(roc_auc_score(y, frames), abs=1e-9)
    assert found["ap"] == pytest.approx(average_precision_score(y, frames), abs=1e-9)
    assert simulate.report(folder, ("text",)) == {} and set(
        simulate.report(folder, ("audio", "text"))
    ) == {"auc", "ap"}
