"""--mode=score on files without labels, by runs of every variant, with a modality missing: what
is scored, what is said, what is refused."""

import importlib
import json
import shutil

import feature_folders as ff
import jax
import numpy as np
import pytest
from small_run import DIMS, NAMES, TEXT, UNITS, Run

from gfvad import main
from gfvad.base.errors import EXIT_BAD_INPUT
from gfvad.base.types import DataError
from gfvad.data.features import layouts
from gfvad.measure.results import read_missing, read_scores, write_scores
from gfvad.settings import config as config_lib
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.optim import make_optimiser


def write_input(path, modalities, silent=(), x="", names=NAMES):
    """An .npz of every modality but text from captions; those of `silent` are zeros, `x` is the
    one that is not named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        m: ff.features(len(names), UNITS, DIMS.get(m, TEXT), seed=[*DIMS, "text"].index(m))
        for m in modalities
    }
    arrays = {
        "x" if m == x else m: np.zeros_like(a) if m in silent else a for m, a in arrays.items()
    }
    np.savez(path, name=list(names), **arrays)
    return path


VARIANTS = [
    ("ucf", v)
    for v in importlib.import_module("configs.ucf").VARIANTS
    if v not in ("i3d", "scores_text")
] + [("ucf", "")]
VARIANTS += [
    ("xd", v)
    for v in (
        "audio_visual",
        "flow",
        "audio_visual_text",
        "no_cross_terms",
        "audio_visual_text+filter",
        "paper",
        "foil_gated+rgb",
    )
]
VARIANTS += [
    ("xd", "audio_visual_text+foil_cross_attention"),
    ("shanghaitech", "i3d_text"),
    ("shanghaitech", "foil_mtn_concat+i3d_text"),
]


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_every_variant_scores_with_a_modality_missing(name, variant, tmp_path):
    """A video that lacks a modality is scored as one whose features of it are zeros; a single
    modality is scored as it is."""
    run = Run(name, variant, tmp_path)
    modalities = tuple(run.widths)
    for m in modalities:
        array = ff.features(UNITS, run.widths[m], seed=[*DIMS, "text"].index(m))
        ff.save(tmp_path / "set" / m / "whole.npy", array)
        for other in modalities if len(modalities) > 1 else ():
            ff.save(tmp_path / "set" / m / f"{other}_zero.npy", array * (m != other))
            if m != other:
                ff.save(tmp_path / "set" / m / f"{other}_gone.npy", array)
    scores, missing, gaps, _ = run(tmp_path / "set")
    assert not missing and gaps == (
        {m: [f"{m}_gone"] for m in modalities} if len(modalities) > 1 else {}
    )
    assert all(np.isfinite(x).all() and len(x) == 16 * UNITS for x in scores.values())
    for m in gaps:
        np.testing.assert_array_equal(scores[f"{m}_gone"], scores[f"{m}_zero"])
    assert not gaps or any(np.abs(scores[f"{m}_gone"] - scores["whole"]).max() > 0 for m in gaps)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Models of class scores with sentences, of pictures with sound, and of all three."""
    root = tmp_path_factory.mktemp("runs")
    named = {
        "ucf": ("ucf", ""),
        "xd": ("xd", "foil_concat"),
        "three": ("xd", "foil_late+audio_visual_text"),
    }
    return {key: Run(*which, root / key) for key, which in named.items()}


def test_an_array_x_with_captions_beside_it_or_given(runs, tmp_path):
    source = write_input(tmp_path / "in" / "film.npz", ("i3d_logits",), x="i3d_logits")
    without, missing, _, said = runs["ucf"](source)
    assert (
        missing == {"text"}
        and len(said) == 1
        and said[0].startswith("no text: looked for timed sentences in ")
    )
    assert "captions.json (or --captions=FILE)" in said[0] and said[0].endswith(
        "all scores are made without it"
    )
    elsewhere = ff.write_captions(
        tmp_path / "words.json", Abuse001_x264=8.0, Normal_Videos003_x264=8.0
    )
    given, *nothing = runs["ucf"](source, elsewhere)
    # the duration of the captions at 30 frames a second
    assert nothing == [set(), {}, []] and len(given[NAMES[0]]) == 240
    shutil.copy(elsewhere, source.parent / "captions.json")
    beside, *nothing = runs["ucf"](source)
    assert nothing == [set(), {}, []]
    for video in NAMES:
        np.testing.assert_array_equal(beside[video], given[video])
    # a gap: one video without sentences
    ff.write_captions(source.parent / "captions.json", Abuse001_x264=8.0)
    gap, missing, gaps, said = runs["ucf"](source)
    assert not missing and gaps == {"text": [NAMES[1]]}
    assert (
        said[0].startswith(f"no text in 1 of 2 videos ({NAMES[1]}): looked for sentences in ")
        and "their scores are made without it" in said[0]
    )
    np.testing.assert_array_equal(gap[NAMES[0]], beside[NAMES[0]])
    np.testing.assert_array_equal(gap[NAMES[1]], without[NAMES[1]])
    with pytest.raises(DataError, match="words.json: not found"):
        runs["ucf"].open(source, tmp_path / "no" / "words.json")


def test_sentences_alone(runs, tmp_path):
    """Features missing altogether: units are the equal spans of training, or 16 frames at the
    rate of a known set."""
    (tmp_path / "alone").mkdir()
    captions = ff.write_captions(tmp_path / "alone" / "captions.json", Abuse001_x264=8.0)
    scores, missing, _, said = runs["ucf"](captions.parent)
    assert (
        missing == {"i3d_logits"}
        and said[0].startswith("no i3d_logits: looked for")
        and len(scores[NAMES[0]]) == 240
    )
    np.testing.assert_array_equal(runs["ucf"](captions)[0][NAMES[0]], scores[NAMES[0]])
    zeros = write_input(
        tmp_path / "zeros" / "x.npz", ("i3d_logits",), ("i3d_logits",), x="i3d_logits"
    )
    np.testing.assert_array_equal(runs["ucf"](zeros, captions)[0][NAMES[0]], scores[NAMES[0]])
    film = "v=abc__#1_label_A"
    scores, missing, _, _ = runs["three"](ff.write_captions(tmp_path / "own.json", **{film: 4.0}))
    assert missing == {"rgb", "audio"} and len(scores[film]) == 16 * (4 * 24 // 16)
    layout = runs["three"].open(ff.write_captions(tmp_path / "own.json", film=8.0))
    with pytest.raises(DataError, match="film without features do not say how many frames it has"):
        layout.load(layout.entries("test")[0])


def test_folders_with_gaps(runs, tmp_path):
    """One video without sound; then no sound at all; then files that only their width names."""
    folder, run = tmp_path / "set", runs["xd"]
    for i, video in enumerate("abc"):
        ff.save(folder / "rgb" / f"{video}.npy", ff.features(UNITS, DIMS["rgb"], seed=i))
        if video != "b":
            ff.save(
                folder / "audio" / f"{video}.npy", ff.features(UNITS, DIMS["audio"], seed=10 + i)
            )
    some, missing, gaps, said = run(folder)
    assert (
        not missing
        and gaps == {"audio": ["b"]}
        and said[0].startswith("no audio in 1 of 3 videos (b): looked for their files in ")
    )
    shutil.rmtree(folder / "audio")
    none, missing, gaps, said = run(folder)
    assert (
        missing == {"audio"}
        and not gaps
        and said[0].startswith(
            "no audio: looked for a sub-folder audio/ or files with its suffix in "
        )
    )
    np.testing.assert_array_equal(none["b"], some["b"])
    assert np.abs(none["a"] - some["a"]).max() > 0
    for source in (folder / "rgb", folder / "rgb" / "a.npy"):
        plain, missing, _, _ = run(source)
        assert missing == {"audio"}
        np.testing.assert_array_equal(plain["a"], none["a"])


def test_containers_with_gaps(runs, tmp_path):
    """An array a modality by its name; one named x by its width; two files of which one has no
    sound."""
    run = runs["xd"]
    unnamed, missing, _, said = run(write_input(tmp_path / "x.npz", ("rgb",), x="rgb"))
    assert missing == {"audio"} and said[0].startswith("no audio: looked for an array 'audio' in ")
    named, missing, _, _ = run(write_input(tmp_path / "rgb.npz", ("rgb",)))
    assert missing == {"audio"}
    np.testing.assert_array_equal(unnamed[NAMES[0]], named[NAMES[0]])
    write_input(tmp_path / "two" / "a.npz", ("rgb",))
    both = write_input(
        tmp_path / "two" / "b.npz", ("rgb", "audio"), names=("Fighting002_x264", "Fighting003_x264")
    )
    scores, missing, gaps, _ = run(both.parent)
    assert not missing and gaps == {"audio": sorted(NAMES)}
    np.testing.assert_array_equal(scores[NAMES[0]], named[NAMES[0]])
    np.testing.assert_array_equal(scores["Fighting002_x264"], run(both)[0]["Fighting002_x264"])


def test_where_nothing_of_the_model_is_there_it_is_an_error(runs, tmp_path):
    xd, ucf = runs["xd"], runs["ucf"]
    ff.save(tmp_path / "other" / "flow" / "a.npy", ff.features(UNITS, 5))
    ff.save(tmp_path / "plain" / "a.npy", ff.features(UNITS, 9))
    ff.save(tmp_path / "half" / "rgb" / "a.npy", ff.features(UNITS, 6))
    cases = {
        (xd, tmp_path / "other"): "no files of modality 'rgb'; expected a sub-folder rgb/",
        (xd, tmp_path / "plain"): "Expected one sub-folder a modality",
        (xd, write_input(tmp_path / "flow.npz", ("flow",))): "no array 'rgb'; found flow, name",
        (ucf, write_input(tmp_path / "flow.npz", ("flow",))): "no array 'x'; found flow, name",
    }
    for (run, source), message in cases.items():
        with pytest.raises(DataError, match=message):
            run.open(source)
    with pytest.raises(
        DataError, match="4 features of i3d_logits; expected 7, as the model was trained on"
    ):
        ucf.open(write_input(tmp_path / "wide.npz", ("audio",), x="audio")).modalities
    # without the widths of a model nothing can stand in
    with pytest.raises(DataError, match="no files of modality 'audio'"):
        layouts.open_input(tmp_path / "half", ("rgb", "audio"), xd.config.data)
    words = ff.write_captions(tmp_path / "words.json", elsewhere=8.0)
    with pytest.raises(
        DataError,
        match=(
            "words.json: none of its 1 names is of a video here. It has elsewhere; the videos are"
            " Abuse001_x264"
        ),
    ):
        layouts.open_input(
            write_input(tmp_path / "f.npz", ("rgb",), x="rgb"), ("text",), ucf.config.data, words
        )


def test_the_command_warns_and_writes_down_what_was_missing(runs, tmp_path, capsys):
    """From a checkpoint, whose statistics tell the widths."""
    run, folder, output = runs["xd"], tmp_path / "run", tmp_path / "scores.npz"
    optimiser = make_optimiser(run.config.optim, run.config.train.steps)
    state = run.state._replace(
        opt_state=jax.tree.map(np.asarray, optimiser.transform.init(run.state.params))
    )
    with Checkpoints(folder / "checkpoints", run.config, write=True) as checkpoints:
        checkpoints.save(1, state, {}, {}, {})
    config_lib.save(run.config, folder)
    with Checkpoints(folder / "checkpoints", run.config) as checkpoints:
        assert checkpoints.feature_widths("last", ("rgb", "audio", "text")) == run.widths
        with pytest.raises(DataError, match="no whole checkpoint 7; steps found: 1"):
            checkpoints.feature_widths(7, ("rgb",))

    def score(source, code=0):
        assert (
            main.main(
                ["--mode=score", f"--workdir={folder}", f"--input={source}", f"--output={output}"]
            )
            == code
        )
        return capsys.readouterr().err

    source = write_input(tmp_path / "rgb.npz", ("rgb",))
    assert (
        f"warning: no audio: looked for an array 'audio' in {source}; all scores are made without"
        " it\n" in score(source)
    )
    assert read_missing(output) == {"audio": []}
    expected = run(source)[0]
    assert all(
        np.array_equal(x, expected[name].astype(np.float32))
        for name, x in read_scores(output).items()
    )
    assert (
        "warning" not in score(write_input(tmp_path / "both.npz", ("rgb", "audio")))
        and read_missing(output) == {}
    )
    assert "no array 'rgb'; found flow, name" in score(
        write_input(tmp_path / "flow.npz", ("flow",)), EXIT_BAD_INPUT
    )


def test_many_gaps_are_counted(tmp_path):
    """A comment of an archive holds 65,535 bytes: beyond them the number of videos stands for
    their names."""
    names = [f"video{i:06d}" for i in range(6000)]
    path = write_scores(tmp_path / "scores.npz", {"a": np.zeros(3)}, {"audio": names, "text": []})
    assert read_missing(path) == {"audio": 6000, "text": []}
    plain = write_scores(tmp_path / "plain.npz", {"a": np.zeros(3)})
    assert read_missing(plain) == {} and json.dumps(read_scores(path)["a"].tolist()) == json.dumps(
        read_scores(plain)["a"].tolist()
    )
