"""`gfvad evaluate --scores` and `gfvad doctor --scores`: figures, tables, files, and errors."""

import json

import feature_folders
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from gfvad.bench import published
from gfvad.commands import doctor, evaluate
from gfvad.measure.frames import compress
from gfvad.measure.protocols import micro, transform
from gfvad.reporting import score_inputs

FILES = {
    "HL-Net, XD-Violence": ("xd_violence/hlnet_offline_snippet_scores.npy", "xd_violence"),
    "MemAE, Ped2": ("published_scores/memae_ped2.npz", ""),
    "MemAE, Avenue": ("published_scores/memae_avenue.npz", ""),
    "TEVAD, ShanghaiTech": ("published_scores/tevad_shanghaitech.npz", ""),
}


@pytest.mark.parametrize("source", FILES)
def test_known_figures_of_published_files(source, shared_data):
    """From the files alone, by the way of the command."""
    file, labels = FILES[source]
    words = [
        f"--scores={shared_data / file}",
        *([f"--labels={shared_data / labels}"] * bool(labels)),
    ]
    (one,) = score_inputs.open_files(score_inputs.parse_options(words, "", "evaluate"))
    totals = {
        "frames": sum(len(v.labels) for v in one.videos),
        "positives": sum(int(v.labels.sum()) for v in one.videos),
    }
    for check in published.CHECKS:
        if check.source == source:
            shaped = [transform(v.scores, check.normalisation, ("none", 0.0)) for v in one.videos]
            runs = [compress(x, v.labels) for x, v in zip(shaped, one.videos)]
            value = totals.get(check.quantity) or micro(runs, 0, 0)[check.quantity][0]
            assert value == pytest.approx(check.expected, abs=published.TOLERANCE), check


@pytest.fixture
def xd(tmp_path):
    """A tiny XD-Violence, {video: snippet scores} and its labels in frames."""
    folder = feature_folders.xd(tmp_path / "xd")
    given = score_inputs.truths.open_labels(str(folder))
    rng, official = np.random.default_rng(0), given.candidates[0].truths
    scores = {n: rng.random(t.num_frames // 16) for n, t in official.items()}
    labels = {n: score_inputs.fitting.ground_truth.labels(t) for n, t in official.items()}
    return folder, scores, labels


def read(path):
    return json.loads(path.read_text())


def values(tree):
    """{(metric, normalisation, smoothing, aggregation): value}."""
    keys = ("metric", "normalisation", "smoothing", "aggregation")
    return {tuple(r[k] for k in keys): r["value"] for r in tree["records"]}


def test_evaluate(xd, tmp_path, capsys):
    folder, scores, labels = xd
    np.savez(tmp_path / "mine.npz", **scores)
    out = tmp_path / "out"
    words = [f"--scores={tmp_path / 'mine.npz'}", f"--labels={folder}", f"--output={out}"]
    assert evaluate.main([*words, "--resamples=20"]) == 0
    printed = capsys.readouterr().out
    tree = read(out / "results.json")
    y = np.concatenate([labels[n] for n in scores])
    x = np.concatenate([np.repeat(scores[n], 16) for n in scores])
    found = values(tree)
    plain = ("none", "none", "micro")
    assert found[("auc", *plain)] == pytest.approx(roc_auc_score(y, x))
    assert found[("ap", *plain)] == pytest.approx(average_precision_score(y, x))
    assert tree["headline"]["metric"] == "ap" and tree["headline"]["checkpoint"] == "as given"
    assert {"latency_ap", "brier", "ece", "auc_abnormal"} <= {r["metric"] for r in tree["records"]}
    assert ("auc", "minmax", "gaussian5", "macro") in found
    assert tree["ground_truth_frames"] == len(y) and "official" in tree["ground_truth"]
    assert "floor/centre of the video" in tree["named"]
    assert {row["kind"] for row in tree["paired"]} == {"floor"}
    for words in ("HEADLINE", "every protocol", "look at no video", "common mistakes", "fits  "):
        assert words in printed, words
    assert (out / "results.md").read_text().startswith(("**HEADLINE", "**BELOW"))
    # again into its own folder, never over somebody else's file
    again = [f"--scores={tmp_path / 'mine.npz'}", f"--labels={folder}", f"--output={out}"]
    assert evaluate.main([*again, "--resamples=0"]) == 0
    (out / "results.md").write_text("mine")
    assert evaluate.main([*again, "--resamples=0"]) == 2
    assert "changed since gfvad evaluate wrote it" in capsys.readouterr().err


def test_several_files(xd, tmp_path, capsys):
    """Of several kinds; compared with the first, and as checkpoints."""
    folder, scores, labels = xd
    better = {n: x + labels[n][::16] for n, x in scores.items()}
    order = list(scores)
    tree = {"order": order, "scores": np.concatenate([better[n] for n in order])[:, None].tolist()}
    (tmp_path / "better.json").write_text(json.dumps(tree))
    np.savez(tmp_path / "mine.npz", **scores)
    out = tmp_path / "out"
    words = [f"--scores={tmp_path / name}" for name in ("mine.npz", "better.json")]
    words += [f"--labels={folder}", f"--output={out}", "--resamples=50", "--checkpoints"]
    assert evaluate.main(words) == 0
    printed = capsys.readouterr().out
    assert "paired bootstrap over test videos" in printed and "best of 2 score files" in printed
    rows = (out / "compared.csv").read_text().splitlines()
    assert len(rows) == 3 and "better.json" in rows[1] and "mine.npz" in rows[1]
    assert ",+0." in rows[1] or ",'+0." in rows[1]
    best = read(out / "better/results.json")["headline"]["value"]
    assert best > read(out / "mine/results.json")["headline"]["value"] + 0.2


def test_without_lengths_only_the_whole_is_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.3).astype(np.uint8)
    np.save(tmp_path / "gt.npy", y)
    np.save(tmp_path / "x.npy", rng.random((400, 1)))
    words = [f"--scores={tmp_path / 'x.npy'}", f"--labels={tmp_path / 'gt.npy'}"]
    assert evaluate.main([*words, f"--output={tmp_path / 'out'}"]) == 0
    found = values(read(tmp_path / "out/results.json"))
    assert {key[1:] for key in found} == {("none", "none", "micro")}
    assert {key[0] for key in found} == {"auc", "ap", "pr_trapezoid", "eer", "brier", "ece"}
    assert "give --lengths=FILE" in capsys.readouterr().out
    (tmp_path / "lengths.txt").write_text("150\n250\n")
    words.append(f"--lengths={tmp_path / 'lengths.txt'}")
    assert evaluate.main([*words, "--resamples=0"]) == 0
    assert "every protocol" in capsys.readouterr().out


def test_doctor(xd, tmp_path, capsys):
    folder, scores, _ = xd
    stretch = lambda x: (x - x.min()) / (x.max() - x.min())
    np.savez(tmp_path / "mine.npz", **{n: stretch(x) for n, x in scores.items()})
    assert doctor.main([f"--scores={tmp_path / 'mine.npz'}", f"--labels={folder}"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "normalised by each video's own extremes",
        "min-max a video",
        "smoothing, its width chosen on test",
        "simulated checkpoints on test",
        "labels one snippet (16 frames) too late",
    ):
        assert words in printed, words


def test_errors_are_one_line(xd, tmp_path, capsys):
    folder, scores, labels = xd
    path = tmp_path / "x.npz"
    np.savez(path, **scores)
    np.save(tmp_path / "joined.npy", np.zeros(7))
    (tmp_path / "names.txt").write_text("a\na\n")
    normal = tmp_path / "normal.npz"
    np.savez(normal, **{n: np.zeros(len(y), np.uint8) for n, y in labels.items()})
    for words, said in (
        ([f"--scores={path}"], "no labels in it, and no --labels"),
        ([f"--scores={path}", f"--labels={normal}"], "frames are normal; expected both kinds"),
        ([f"--scores={tmp_path / 'joined.npy'}", f"--labels={folder}"], "joined.npy"),
        ([f"--scores={path}", f"--labels={folder}", "--unit=-1"], "--unit=-1; expected a whole"),
        ([f"--scores={path}", f"--labels={folder}", "--unti=1"], "did you mean '--unit'?"),
        (
            [f"--scores={path}", f"--labels={folder}", f"--order={tmp_path / 'names.txt'}"],
            "a video stands twice",
        ),
        ([f"--scores={tmp_path / 'absent.npy'}", f"--labels={folder}"], "not found"),
    ):
        assert evaluate.main(words) == 2
        message = capsys.readouterr().err
        assert said in message and message.startswith("error: ") and message.count("\n") == 1


def test_help(capsys):
    with pytest.raises(SystemExit) as left:
        evaluate.main(["--scores", "--help"])
    assert left.value.code == 0 and "--partial" in capsys.readouterr().out
