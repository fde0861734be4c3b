"""Lists, folders and tables beside a set that say something of its parts are heard, by the
command a user types; Ctrl-C at start-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base import run_files
from gfvad.base.owned import Owned
from gfvad.commands import prepare, score
from gfvad.train.sealed import left_of_one

XD_NORMAL = next(name for name in ff.XD_TEST if name.endswith("_A"))
TEVAD_TEST, VADCLIP_TEST = "shanghai-i3d-test-10crop.list", "ucf_CLIP_rgbtest.csv"


def move(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    os.rename(root / old, root / new)


def flat(root, file, *lines):
    for path in list(root.rglob("*_i3d.npy")):
        move(root, path, path.name)
    ff.write_lines(root / file, *lines)


def xd_walks(root):
    os.remove(root / "frame_counts.txt")
    for crop in range(5):
        name = f"{XD_NORMAL}__{crop}.npy"
        move(root, f"i3d-features/RGBTest/{name}", f"i3d-features/RGB/{name}")


CASES = [  # layout, modalities, what makes it, what is done, exit code, message
    (
        "ucf_crime",
        "i3d",
        lambda r: ff.ucf(r, 2048),
        lambda r: flat(r, "ucf-i3d-test.list", "/x/Abuse001_x264_i3d.npy"),
        1,
        "ucf-i3d-test.list says test",
    ),
    (
        "ucf_crime",
        "i3d",
        lambda r: ff.ucf(r, 2048),
        lambda r: flat(r, "Anomaly_Test.txt", "Abuse/Abuse001_x264.mp4"),
        1,
        "Anomaly_Test.txt says test",
    ),
    (
        "ucf_crime",
        "i3d",
        lambda r: ff.ucf(r, 2048),
        lambda r: flat(r, "test_log.txt", "epoch 1", "Abuse001_x264 bad"),
        0,
        "split:",
    ),
    (
        "ucf_crime",
        "i3d",
        lambda r: ff.ucf(r, 2048),
        lambda r: ff.write_lines(
            r / "Temporal_Anomaly_Annotation.txt",
            *ff.UCF_ANNOTATION,
            "Abuse001_x264.mp4 Abuse 1 9 -1 -1",
        ),
        1,
        "Annotation.txt says test",
    ),
    (
        "ucf_logits",
        "i3d_logits",
        ff.ucf_logits,
        lambda r: ff.write_lines(r / "Anomaly_Test.txt", "Arson/Arson001_x264.mp4"),
        1,
        "Anomaly_Test.txt says test",
    ),
    ("xd_violence", "rgb", ff.xd, xd_walks, 1, "folder 'vggish-features/test' says test"),
    (
        "xd_violence",
        "rgb",
        ff.xd,
        lambda r: ff.write_lines(r / "rgbtest.list", f"x/{ff.XD_TRAIN[0]}__0.npy"),
        1,
        "rgbtest.list says test",
    ),
    (
        "generic",
        "pose",
        ff.generic_folder,
        lambda r: move(r, "test/pose/d.npy", "train/pose/d.npy"),
        1,
        "folder 'test' says test",
    ),
    (
        "generic",
        "pose,clip",
        ff.generic_folder,
        lambda r: ff.write_lines(r / "labels.csv", "name,label,Split", "a,0,test"),
        2,
        "column 'Split'",
    ),
    (
        "generic",
        "pose,clip",
        ff.generic_folder,
        lambda r: (r / "train/pose/e.pt").write_bytes(b"x"),
        0,
        "e.pt: .pt is not read",
    ),
    (
        "generic",
        "pose,clip",
        ff.generic_folder,
        lambda r: ff.write_lines(r / "spans.csv", "name,start,end", "c,1_0,20"),
        2,
        "1_0",
    ),
    (
        "generic",
        "pose,clip",
        ff.generic_folder,
        lambda r: ff.write_lines(r / "spans.csv", "name,start,end", "c,10,20", "a,1,5"),
        1,
        "label 0 and a span",
    ),
    (
        "tevad",
        "i3d,text",
        ff.tevad_shanghai,
        lambda r: move(r, TEVAD_TEST, "shanghai-eval.list"),
        2,
        "neither for training nor for testing",
    ),
    (
        "shanghaitech",
        "i3d",
        lambda r: ff.shanghai(r, lists=True),
        lambda r: move(r, TEVAD_TEST, "val.list"),
        2,
        "neither for training nor for testing",
    ),
    (
        "vadclip",
        "clip",
        ff.vadclip,
        lambda r: (r / "ucf_val.csv").write_text("path,label\n"),
        2,
        "neither for training nor for testing",
    ),
    (
        "vadclip",
        "clip",
        ff.vadclip,
        lambda r: ff.save(r / "f/Abuse002_x264__0.npy", ff.features(4, 512)),
        0,
        "of a video in no CSV",
    ),
]


@pytest.mark.parametrize("layout, modalities, make, spoil, code, message", CASES)
def test_what_says_a_part_is_heard(
    tmp_path, capsys, layout, modalities, make, spoil, code, message
):
    make(tmp_path)
    spoil(tmp_path)
    words = [f"--dataset={layout}", f"--source={tmp_path}", f"--modalities={modalities}", "--check"]
    found = prepare.main([*words, "--text-encoder=hash"])
    said = "".join(capsys.readouterr())
    assert found == code and message in said, said


def test_files_of_another_command_are_known(tmp_path):
    """`--mode=score --output=RUN/scores.npz` would replace the scores of the run's test part."""
    (tmp_path / "checkpoints").mkdir()
    with run_files.owned_run(tmp_path).staged() as folder:
        np.savez_compressed(folder / "scores.npz", a=np.zeros(3, np.float32))
    found = run_files.owned_scores(tmp_path / "scores.npz")
    assert found.whose("scores.npz").endswith(", written by gfvad train")
    (tmp_path / ".gfvad-run.json").unlink()  # of a version that kept no record
    assert "not written by" in found.whose("scores.npz")
    assert not Owned(tmp_path, "thing", "x").whose("free")


def test_a_deletion_cut_short_is_told_from_a_folder_of_somebody(tmp_path):
    (tmp_path / "1" / "state").mkdir(parents=True)
    assert left_of_one(tmp_path / "1")
    (tmp_path / "1" / "notes.txt").write_text("mine")
    assert not left_of_one(tmp_path / "1")


@pytest.mark.parametrize(
    "word", ["--threshold=nan", "--threshold=inf", "--seconds=nan", "--seconds=-1"]
)
def test_numbers_that_are_none(tmp_path, capsys, word):
    assert score.main([f"--model={tmp_path}", str(tmp_path), f"--out={tmp_path}/o", word]) == 2
    assert "error: --" in capsys.readouterr().err and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "body",
    [
        "import time; time.sleep(20)",
        "_xla_gc_callback()",
        "gfvad.base.interrupts.leave_quietly(); time.sleep(20)",
    ],
)
def test_ctrl_c_at_any_moment(repository, body):
    """While libraries are read, and where Python would print the error and go on."""
    head = (
        "import time, sys, gfvad.base.errors, gfvad.base.interrupts as i\ndef _xla_gc_callback():\n"
        " print('on', flush=True); time.sleep(0.5)\n"
    )
    if "leave" in body:
        text = f"{head}import gfvad\ni.leave_quietly(); print('on', flush=True); time.sleep(20)"
    elif "xla" in body:
        text = (
            f"{head}def run():\n _xla_gc_callback();"
            " time.sleep(20)\nsys.exit(gfvad.base.errors.run_command(run))"
        )
    else:
        text = (
            f"{head}def run():\n print('on', flush=True);"
            " time.sleep(20)\nsys.exit(gfvad.base.errors.run_command(run))"
        )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": repository}
    # a job in the background inherits that the signal is ignored
    heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, "-c", text], preexec_fn=heard, **pipes)
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert (
        process.returncode == 130
        and said.strip().startswith("interrupted")
        and "Traceback" not in said
    )


def test_labels_and_classes_of_a_predictive_run(tmp_path):
    """`gfvad report` and `gfvad compare` read its labels; `gfvad compare breakdown` says that it
    has no classes."""
    tiny_clips = pytest.importorskip("tiny_clips")
    from gfvad import tasks
    from gfvad.commands import compare
    from gfvad.settings import config as config_lib
    from gfvad.tasks import frame_labels, video_classes

    root = tiny_clips.write_set(tmp_path / "set")
    argv = [
        "--config=configs/avenue.py:small",
        f"--config.data.root={root}",
        f"--workdir={tmp_path}",
        *tiny_clips.flags(),
    ]
    config = tasks.parse(argv).config
    frames = dict(zip(("01", "02", "03"), tiny_clips.TEST))
    np.savez_compressed(
        tmp_path / "scores.npz", **{name: np.zeros(n, np.float32) for name, n in frames.items()}
    )
    config_lib.save(config, tmp_path)
    labels = frame_labels(tmp_path)
    assert {name: len(row) for name, row in labels.items()} == frames and labels["01"].sum() == 5
    with pytest.raises(ValueError, match="predictive model"):
        video_classes(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": 1, "seed": 0}')
    assert compare.main(["breakdown", str(tmp_path)]) == 2
