"""Runs, records and folders that are damaged, changed, locked or full: by the commands a user
types."""

import contextlib
import errno
import json
import os
import random
import shutil
import subprocess
import sys

import feature_folders
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from gfvad.base import locks
from gfvad.base.types import DataError
from gfvad.data import prepared_folder as manifest_lib
from gfvad.data.features import records
from gfvad.main import main

SMALL = [
    "--config.model.embed_dim=4",
    "--config.model.head.hidden=4",
    "--config.model.dropout=0.0",
    "--config.data.train_units=8",
    "--config.data.eval_lengths=(8,)",
    "--config.data.eval_batch_size=2",
    "--config.data.validation_fraction=0.0",
    "--config.parallel.devices=1",
    "--config.train.steps=4",
    "--config.train.batch_size=2",
    "--config.train.log_every=1",
    "--config.train.eval_every=2",
    "--config.train.checkpoint_every=2",
    "--config.eval.bootstrap=0",
    "--config.eval.figures=False",
]


@pytest.fixture(scope="module", autouse=True)
def _in_checkout(repository, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        patch.setenv("GFVAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        # every command here compiles the same programs
        with (
            jax.enable_compilation_cache(True)
            if hasattr(jax, "enable_compilation_cache")
            else contextlib.nullcontext()
        ):
            jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
            compilation_cache.reset_cache()
            yield
            jax.config.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()


def command(root, workdir, *more):
    return [
        "--config=configs/xd.py:rgb",
        f"--config.data.root={root}",
        f"--workdir={workdir}",
        *SMALL,
        *more,
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(features, a finished run)."""
    root = feature_folders.xd(tmp_path_factory.mktemp("set") / "xd")
    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert main(command(root, workdir)) == 0
    return root, workdir


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "run")


def flip(path, position=None):
    """Turns one bit of a file over."""
    content = bytearray(path.read_bytes())
    position = (
        random.Random(str(path.name)).randrange(len(content)) if position is None else position
    )
    content[position] ^= 16
    path.write_bytes(content)


def of_arrays(folder):
    """The largest files of a checkpoint: arrays lie in them."""
    return max(
        (p for p in (folder / "state").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )


def same_run(found, expected):
    assert (found / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()
    assert (found / "scores.npz").read_bytes() == (expected / "scores.npz").read_bytes()


# ---- checkpoints


@pytest.mark.parametrize(
    "part", ["arrays", "meta/metadata", "metrics/metrics", "_CHECKPOINT_METADATA", "cut", "gone"]
)
def test_training_goes_on_as_if_the_damaged_checkpoint_had_never_been(trained, run, capsys, part):
    newest = run / "checkpoints" / "4"
    path = of_arrays(newest) if part in ("arrays", "cut", "gone") else newest / part
    if part == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif part == "gone":
        path.unlink()
    else:
        flip(path, 0 if part == "_CHECKPOINT_METADATA" else None)
    (run / "results.json").unlink()
    assert main(command(trained[0], run)) == 0
    said = capsys.readouterr().err
    if "checkpoints/4: damaged" in said:
        assert (
            "going on from the checkpoint of step 2" in said
            and (run / "checkpoints" / "damaged-4").is_dir()
        )
    else:  # a byte that means nothing, in a file whose arrays are whole
        assert part in ("arrays", "gone", "cut")
    same_run(run, trained[1])


def put(path, what):
    """Something else in the place of a file."""
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name if what == "loop" else "nowhere")


@pytest.mark.parametrize(
    "part, what",
    [
        ("arrays", "pipe"),
        ("arrays", "loop"),
        ("meta/metadata", "pipe"),
        ("meta/metadata", "folder"),
    ],
)
def test_no_regular_file_in_a_checkpoint(trained, run, tmp_path, capsys, part, what):
    """It is named and the one before is used, at once: nobody waits for a pipe."""
    newest = run / "checkpoints" / "4"
    put(of_arrays(newest) if part == "arrays" else newest / part, what)
    out = tmp_path / "scores.npz"
    command = ["--mode=score", f"--workdir={run}", f"--input={trained[0]}", f"--output={out}"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "checkpoints/4: " in said and ("damaged: " in said or "it lacks meta/metadata" in said)


@pytest.mark.parametrize(
    "name, what",
    [("metrics.jsonl", "pipe"), ("timing.jsonl", "dangling"), ("metrics.jsonl", "folder")],
)
def test_a_log_that_is_no_file(trained, run, capsys, name, what):
    """Neither waited for nor written through."""
    put(run / name, what)
    (run / "results.json").unlink()
    assert main(command(trained[0], run)) == 2
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert f"{run / name}: " in said and "move it away" in said
    assert not (run / "nowhere").exists()


def test_a_log_that_is_gone(trained, run, capsys):
    (run / "metrics.jsonl").unlink()
    (run / "results.json").unlink()
    assert main(command(trained[0], run)) == 0
    assert "metrics.jsonl: not found, although the run goes on from step" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["4\u00b2", "007", "6"])
def test_what_only_looks_like_a_checkpoint(trained, run, capsys, name):
    """A stray file among the checkpoints, whatever its name."""
    (run / "checkpoints" / name).write_text("mine")
    (run / "results.json").unlink()
    assert main(command(trained[0], run)) == 0
    assert ("checkpoints/6: not complete: it is no folder" in capsys.readouterr().err) == (
        name == "6"
    )
    assert "mine" in {p.read_text() for p in (run / "checkpoints").iterdir() if p.is_file()}


def without_checksums(checkpoint, **changes):
    """A checkpoint as an earlier version left it, with other parts of its meta."""
    path = checkpoint / "meta" / "metadata"
    meta = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("sha256", "arrays")}
    path.write_text(json.dumps({**meta, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position": {"base64": "no"}},
        {"shapes": {"a": 1}},
        {"content": []},
        {"position": {"json": 7}},
        {"pending": {"count": 1}},
    ],
)
def test_a_checkpoint_without_checksums(trained, run, capsys, changes):
    """It is read; what cannot be in it is told."""
    without_checksums(run / "checkpoints" / "4", **changes)
    (run / "results.json").unlink()
    code = main(command(trained[0], run))
    said = capsys.readouterr().err
    if not changes:
        assert code == 0 and "damaged" not in said
        same_run(run, trained[1])
    else:
        assert "checkpoints/4: damaged: " in said and (code, "move this" in said) in (
            (0, False),
            (2, True),
        )


def test_no_checkpoint_is_whole(trained, run, capsys):
    for step in (2, 4):
        flip(run / "checkpoints" / str(step) / "meta" / "metadata")
    assert main(["--mode=evaluate", f"--workdir={run}"]) == 2
    assert "no whole checkpoint 'last'" in capsys.readouterr().err
    assert main(command(trained[0], run)) == 0
    same_run(run, trained[1])


def test_reading_a_damaged_run(trained, run, tmp_path, capsys):
    """Evaluation and scoring use the newest whole one, and leave the other as it is; asked for
    by its step, it is an error."""
    flip(run / "checkpoints" / "4" / "meta" / "metadata")
    before = sorted(run.rglob("checkpoints/*"))
    assert main(["--mode=evaluate", f"--workdir={run}", "--checkpoint=4"]) == 2
    assert "checkpoints/4: damaged; whole ones: 2" in capsys.readouterr().err
    out = tmp_path / "scores.npz"
    assert (
        main(["--mode=score", f"--workdir={run}", f"--input={trained[0]}", f"--output={out}"]) == 0
    )
    assert "checkpoints/4: damaged" in capsys.readouterr().err and out.is_file()
    assert sorted(run.rglob("checkpoints/*")) == before


# ---- data by content


def changed(root, target):
    """Other features under the same names."""
    shutil.copytree(root, target)
    path = next(p for p in sorted(target.rglob("*.npy")) if "est" not in str(p.relative_to(target)))
    np.save(path, np.load(path) + np.float32(1))
    return target


def test_other_features_of_the_same_names(trained, run, tmp_path, capsys):
    other = changed(trained[0], tmp_path / "other")
    assert main(command(other, run)) == 2
    assert "other data under the same names of videos: rgb of Records" in capsys.readouterr().err
    same_run(run, trained[1])
    assert main(["--mode=evaluate", f"--workdir={run}", f"--data={other}", f"--output={run}"]) == 2
    assert "the folder of a run" in capsys.readouterr().err
    out = tmp_path / "on other"
    for _ in range(2):  # the second into the same place
        assert (
            main(["--mode=evaluate", f"--workdir={run}", f"--data={other}", f"--output={out}"]) == 0
        )
    tree = json.loads((out / "results.json").read_text())
    assert tree["evaluated_on"] == {"run": str(run), "data": str(other)} and set(
        tree["content"]
    ) == {"test"}
    # its test videos are the same
    assert (out / "scores.npz").read_bytes() == (run / "scores.npz").read_bytes()
    assert (
        main(["--mode=evaluate", f"--workdir={run}", f"--data={trained[0]}", f"--output={out}"])
        == 2
    )
    assert "expected a new folder" in capsys.readouterr().err


# ---- prepared records


@pytest.fixture
def prepared(trained, tmp_path):
    from gfvad.commands.prepare import main as prepare

    assert (
        prepare(
            [
                "--dataset=xd_violence",
                f"--source={trained[0]}",
                "--modalities=rgb",
                f"--out={tmp_path / 'set'}",
            ]
        )
        == 0
    )
    return tmp_path / "set"


def given(prepared, workdir, *more):
    return [
        "--config=configs/xd.py:rgb",
        f"--config.data.records={prepared}",
        f"--workdir={workdir}",
        *SMALL,
        *more,
    ]


@pytest.mark.parametrize(
    "name",
    [
        "index.json",
        "manifest.json",
        "feature_stats.npz",
        "*/*/features.json",
        "*/*/dataset_info.json",
    ],
)
def test_a_flipped_byte_in_a_file_of_records(prepared, tmp_path, capsys, name):
    path = next(prepared.glob(name))
    flip(path)
    assert main(given(prepared, tmp_path / "run")) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "prepare it again" in said and (path.name in said or "damaged" in said)
    assert not (tmp_path / "run").exists()


def test_a_flipped_byte_in_a_shard_names_shard_and_record(trained, prepared, tmp_path, capsys):
    """And on_corrupt=skip leaves that video out, in the results too."""
    shard = next(prepared.rglob("*test.array_record*"))
    flip(shard, shard.stat().st_size // 2)
    assert main(given(prepared, tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert (
        f"shard {shard.name}, record" in said
        and "of test): damaged" in said
        and "on_corrupt=skip" in said
    )
    assert main(given(prepared, tmp_path / "run", "--config.data.on_corrupt=skip")) == 0
    found = capsys.readouterr()
    assert (
        "1 of 3 videos of test are damaged and left out" in found.err
        and "1 of 3 videos" in found.out
    )
    tree = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(tree["skipped"]["test"]) == 1 and tree["n_videos"] == 2


def test_a_pipe_in_the_place_of_a_shard(prepared, tmp_path, capsys):
    """With on_corrupt=skip it is opened as far as it can be: nobody waits for it."""
    put(next(prepared.rglob("*test.array_record*")), "pipe")
    assert main(given(prepared, tmp_path / "run", "--config.data.on_corrupt=skip")) == 2
    assert "a named pipe" in capsys.readouterr().err


def test_a_shard_of_the_other_split(prepared, tmp_path, capsys):
    """The names tell, with on_corrupt=skip too."""
    test, train = (next(prepared.rglob(f"*{split}.array_record*")) for split in ("test", "train"))
    shutil.copy(train, test)
    for more in ([], ["--config.data.on_corrupt=skip"]):
        assert main(given(prepared, tmp_path / "run", *more)) == 2
        assert "prepare it again" in capsys.readouterr().err


def test_damaged_records_of_an_earlier_version(prepared):
    """No checksum tells; what cannot be is told, without a traceback."""
    names = ("index.json", "manifest.json", "feature_stats.npz")
    before = {name: (prepared / name).read_bytes() for name in names}
    for change in ("no names", "short", "text", "size", "split", "no list", "statistics"):
        index, manifest = (json.loads(before[name]) for name in names[:2])
        manifest = {k: v for k, v in manifest.items() if k not in ("sha256", "seal")}
        columns = index["train"]
        if change == "no names":
            del columns["name"]
        elif change == "short":
            columns["spans"].pop()
        elif change == "text":
            columns["length"][0] = "x"
        elif change == "no list":
            index["train"] = 3
        elif change == "split":
            manifest["splits"]["train"] = 3
        elif change == "statistics":
            np.savez(prepared / names[2], **{"rgb/mean": np.zeros(2), "rgb/std": np.ones(2)})
        (prepared / "index.json").write_text(json.dumps(index))
        manifest["files"] |= {
            name: (prepared / name).stat().st_size for name in (names[0], names[2])
        }
        if change == "size":
            manifest["files"]["index.json"] = "many"
        (prepared / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(DataError, match="prepare it again"):
            records.open_records(prepared, "train")
            records.feature_stats(prepared)
        (prepared / names[2]).write_bytes(before[names[2]])


def test_a_damaged_cache_is_made_anew(trained, run, tmp_path, monkeypatch, capsys):
    root, _ = trained
    monkeypatch.setenv("GFVAD_CACHE", str(tmp_path / "cache"))
    assert main(command(root, run)) == 0
    (cache,) = (p for p in (tmp_path / "cache" / "prepared").iterdir() if p.is_dir())
    shard = next(cache.rglob("*train.array_record*"))
    flip(shard, shard.stat().st_size // 2)
    assert main(command(root, run)) == 0
    assert f"data: prepared anew: {cache}" in capsys.readouterr().err
    same_run(run, trained[1])
    flip(cache / "manifest.json", 30)
    assert main(command(root, run)) == 0
    assert "prepared anew" in capsys.readouterr().err


def test_records_of_an_earlier_version_are_read(prepared):
    """Without checksums, and so without content."""
    for name in ("manifest.json", "index.json"):
        tree = json.loads((prepared / name).read_text())
        if name == "manifest.json":
            manifest = {key: value for key, value in tree.items() if key not in ("sha256", "seal")}
        else:
            tree = {
                split: {k: v for k, v in columns.items() if k != "sha256"}
                for split, columns in tree.items()
            }
            (prepared / name).write_text(json.dumps(tree))
    manifest["files"]["index.json"] = (prepared / "index.json").stat().st_size
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    opened = records.open_records(prepared, "train")
    assert opened.content == {} and len(opened[0].features) == 1
    assert (
        manifest_lib.stale(prepared, {})
        == f"{prepared} was prepared by an earlier version, without checksums"
    )


# ---- locks, and no room


def test_two_jobs_in_one_run(trained, run, capsys):
    code = (
        "import sys; from gfvad.base import locks\nwith locks.locked(sys.argv[1], 'run'):"
        " print('in', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        for argv in (command(trained[0], run), ["--mode=evaluate", f"--workdir={run}"]):
            assert main(argv) == 2
            assert f"process {other.pid} " in capsys.readouterr().err
        other.kill()
    assert main(["--mode=evaluate", f"--workdir={run}"]) == 0
    assert not (run / locks.LOCK).exists()


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/gfvad"])
def test_a_workdir_that_cannot_be(trained, tmp_path, capsys, place):
    (tmp_path / "file").write_text("mine")
    workdir = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "run"}.get(
        place, place
    )
    assert main(command(trained[0], workdir)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert (
        said[-1].startswith("error: ")
        and "cannot be" in said[-1]
        and "Traceback" not in "".join(said)
    )
    assert (tmp_path / "file").read_text() == "mine"


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writer", ["checkpoint", "log", "board", "results", "config"])
def test_a_full_disk(trained, tmp_path, monkeypatch, capsys, writer):
    """At every writer of a run: one line, exit code 2; with room again, the same command ends as
    an undisturbed run."""
    from gfvad.measure import results
    from gfvad.settings import config
    from gfvad.train import checkpoint, logs

    workdir, patch = tmp_path / "run", pytest.MonkeyPatch()
    if writer == "checkpoint":
        patch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
    elif writer == "log":
        patch.setattr(logs.os, "fsync", full)
    elif writer == "board":
        patch.setattr(logs.summary_writer(), "add_scalar", full)
    elif writer == "results":
        patch.setattr(
            results, "atomically", lambda path, write: (_ for _ in ()).throw(errors_of(path))
        )
    else:
        patch.setattr(
            config, "write_text", lambda path, text: (_ for _ in ()).throw(errors_of(path))
        )
    with contextlib.closing(patch_until(patch)):
        assert main(command(trained[0], workdir)) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert (
        said[-1].startswith("error: ")
        and "no space left" in said[-1].lower()
        and "make some" in said[-1]
        and "Traceback" not in "\n".join(said)
    )
    assert main(command(trained[0], workdir)) == 0
    same_run(workdir, trained[1])


def errors_of(path):
    from gfvad.base.errors import cannot_write

    return cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


class patch_until:
    def __init__(self, patch):
        self.close = patch.undo


def test_a_folder_removed_in_mid_run(trained, tmp_path, monkeypatch, capsys):
    from gfvad.train import checkpoint

    workdir, save = tmp_path / "run", checkpoint.Checkpoints.save

    def remove(self, *given):
        shutil.rmtree(workdir)
        return save(self, *given)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", remove)
    code = main(command(trained[0], workdir))
    said = capsys.readouterr().err
    assert (
        code == 2
        and "Traceback" not in said
        and said.strip().splitlines()[-1].startswith("error: ")
    ), said


def test_damage_is_a_data_error():
    from gfvad.train.sealed import Damaged

    assert issubclass(Damaged, DataError)
