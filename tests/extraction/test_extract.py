"""The extraction job: files and manifest, what is done again and what is not, failures,
interrupts, a full disk, labels, both layouts."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import feature_folders as ff
import numpy as np
import pytest
from clips_folder import (  # noqa: F401
    clips,
)
from extracting import call, read_manifest, tree
from media_files import open_fake, tone, turn, write_media
from test_media import broken_files

from gfvad.base.types import DataError
from gfvad.commands import prepare
from gfvad.data.features import layouts
from gfvad.extraction import feature_files, feature_folder, videos

BASE = "motion,audio"


def test_folder_of_features(clips, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        call(
            clips,
            f"--out={out}",
            f"--modalities={BASE}",
            "--normal=calm",
            "--abnormal=fight",
            "--test-fraction=0.25",
        )
        == 0
    )
    names = sorted(p.stem for p in (out / "motion").glob("*.npy"))
    assert names == sorted(
        [
            "calm__a0",
            "calm__a1",
            "calm__a2",
            "calm__stumm, ja",
            "fight__b0",
            "fight__b1",
            "fight__b2",
            "fight__監視 1",
        ]
    )
    for name in names:
        motion = np.load(out / "motion" / f"{name}.npy")
        assert motion.dtype == np.float32 and motion.shape == (
            3 if "監" in name or "b" in name else 2,
            3,
        )
        assert np.load(out / "audio" / f"{name}.npy").any() == ("stumm" not in name)
    known = read_manifest(out)
    record = known["videos"]["calm__a1"]
    assert (
        record["frames"] == 21
        and record["units"] == 2
        and record["fps"] == 25
        and record["sound"]
        and record["missing"] == []
        and record["seconds"] > 0
    )
    assert record["sha256"] == feature_folder.sha256(clips / "calm" / "a1.mp4") and record[
        "path"
    ] == str(clips / "calm" / "a1.mp4")
    assert record["size"] == (clips / "calm" / "a1.mp4").stat().st_size and record[
        "duration"
    ] == pytest.approx(0.9, abs=0.2)
    soundless = known["videos"]["calm__stumm, ja"]
    assert soundless["sound"] is False and soundless["missing"] == ["audio"]
    assert (
        known["encoders"]["motion"]["settings"] == {"note": "fake"}
        and {"av", "numpy", "opencv", "gfvad"} <= set(known["versions"])
        and known["failed"] == {}
    )
    with open(out / "units.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "calm__a1"]
    assert [(r["unit"], r["start"], r["end"]) for r in rows] == [
        ("0", "0.000000", "0.640000"),
        ("1", "0.640000", "0.840000"),
    ]
    assert "calm__stumm, ja@17" in (out / "frame_counts.txt").read_text().split("\n")
    said = capsys.readouterr().out
    assert (
        "8 videos" in said
        and "no audio in 1 of 8 videos" in said
        and "train: 3 normal, 3 abnormal; test: 1 normal, 1 abnormal" in said
    )
    # read as a set of one's own
    assert (
        prepare.main(["--dataset=generic", f"--source={out}", f"--modalities={BASE}", "--check"])
        == 0
    )
    layout = layouts.open_layout(ff.config("generic", out, "motion", "audio"))
    (abnormal,) = [layout.load(e) for e in layout.entries("test") if e.label]
    assert abnormal.spans.tolist() == [[0, abnormal.num_frames]] and abnormal.classes == ("fight",)


def test_second_call_does_the_rest_only(clips, tmp_path, capsys):
    own, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, own)
    arguments = (own, f"--out={out}")
    seen = []

    def opener(name, **settings):
        found = open_fake(name, **settings)
        found.of = lambda video: seen.append((video, found.modality)) or found
        return found

    assert call(*arguments, f"--modalities={BASE}", opener=opener) == 0 and len(seen) == 16
    before, times = tree(out), {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")}
    seen.clear()
    assert call(*arguments, f"--modalities={BASE}", opener=opener) == 0
    assert (
        not seen
        and tree(out) == before
        and {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")} == times
    )
    assert "8 were done before" in capsys.readouterr().out
    # touched, not changed
    os.utime(own / "calm" / "a0.mp4", (1, 1))
    assert call(*arguments, f"--modalities={BASE}", opener=opener) == 0 and not seen
    # changed; a file of features lost, another cut short
    write_media(own / "calm" / "a0.mp4", 50, sound=tone(2.0))
    (out / "motion" / "calm__a1.npy").unlink()
    cut = out / "audio" / "calm__a2.npy"
    cut.write_bytes(cut.read_bytes()[:-4])
    assert call(*arguments, f"--modalities={BASE}", opener=opener) == 0
    assert sorted(seen) == [
        ("calm__a0", "audio"),
        ("calm__a0", "motion"),
        ("calm__a1", "motion"),
        ("calm__a2", "audio"),
    ]
    assert np.load(out / "motion" / "calm__a0.npy").shape[0] == 4
    # another modality: the others stay
    seen.clear()
    assert (
        call(*arguments, "--modalities=appearance", opener=opener) == 0
        and {m for _, m in seen} == {"appearance"}
        and len(seen) == 8
    )
    assert set(read_manifest(out)["videos"]["calm__a0"]["encoders"]) == {
        "motion",
        "audio",
        "appearance",
    }
    # another version, another setting
    for given in ("version=2", "width=4"):
        seen.clear()
        assert (
            call(
                *arguments, "--modalities=motion", f"--encoder=motion=motion:{given}", opener=opener
            )
            == 0
            and len(seen) == 8
        )
    # a moved folder
    seen.clear()
    shutil.move(own, tmp_path / "moved")
    assert (
        call(tmp_path / "moved", f"--out={out}", "--modalities=audio", opener=opener) == 0
        and not seen
    )
    assert read_manifest(out)["videos"]["calm__a1"]["path"] == str(
        tmp_path / "moved" / "calm" / "a1.mp4"
    )


def test_every_kind_of_file_in_one_job(tmp_path, capsys):
    """What can be read is done, by several processes; what cannot is listed at the end with its
    reason."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    broken = {
        Path(name).stem: words
        for name, (_, words) in broken_files(folder).items()
        if name.endswith("4")
    }
    (folder / "cut.mkv").unlink()
    write_media(folder / "silent.mp4", 20, sound=np.zeros(16000, np.float32))
    write_media(folder / "soundless.mp4", 20)
    write_media(folder / "one frame.mp4", 1)
    write_media(folder / "odd.mp4", 3, size=(33, 47))
    write_media(folder / "variable.mov", 6, times=[0, 40, 200, 210, 1000, 1040])
    turn(write_media(folder / "turned.mp4", 3))
    write_media(folder / "huge.mp4", 1, size=(4320, 7680), codec="mpeg4")
    write_media(folder / "faulty.mp4", 3)
    write_media(folder / "deadly.mp4", 3)
    (folder / "whole.mkv").unlink()
    assert call(folder, f"--out={out}", f"--modalities={BASE}", workers=2) == 1
    known = read_manifest(out)
    good = {
        "silent",
        "soundless",
        "one frame",
        "odd",
        "variable",
        "turned",
        "huge",
        "late",
        "whole",
        "sound",
    } - {"sound"}
    assert set(known["videos"]) == good and {p.stem for p in (out / "motion").glob("*.npy")} == good
    assert set(known["failed"]) == {*broken, "faulty", "deadly", "sound"}
    said = capsys.readouterr().err
    for name, words in {
        **broken,
        "faulty": "ZeroDivisionError: an encoder's own error",
        "deadly": "its process died",
        "sound": "no video stream",
    }.items():
        assert (
            words in known["failed"][name]["reason"]
            and f"  {name}: " in said
            and str(folder / name) in known["failed"][name]["reason"]
        ), name
    assert f"{len(known['failed'])} of {len(known['failed']) + len(good)} videos failed:" in said
    assert (
        known["videos"]["silent"]["sound"]
        and known["videos"]["silent"]["missing"] == []
        and known["videos"]["huge"]["width"] == 7680
    )
    # mended: only the failed ones are tried, and the exit code is 0 once none is left
    for name in known["failed"]:
        (folder / f"{name}.mp4").unlink()
    write_media(folder / "text.mp4", 20)
    assert call(folder, f"--out={out}", f"--modalities={BASE}") == 0
    assert "text" in read_manifest(out)["videos"] and "text" not in read_manifest(out)["failed"]


def test_a_file_that_went_bad_leaves_no_features(clips, tmp_path):
    own, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips / "calm", own)
    assert call(own, f"--out={out}", f"--modalities={BASE}") == 0
    (own / "a0.mp4").write_bytes(b"no video")
    assert call(own, f"--out={out}", f"--modalities={BASE}") == 1
    assert (
        not list(out.rglob("a0.npy"))
        and "a0" not in read_manifest(out)["videos"]
        and "a0" not in (out / "units.csv").read_text()
    )


def test_full_disk(clips, tmp_path, capsys, monkeypatch):
    out, writes, write = tmp_path / "out", [], feature_files.to_disk

    def full(path, content):
        writes.append(path)
        if len(writes) > 5:
            path.write_bytes(bytes(content)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(feature_files, "to_disk", full)
    assert call(clips, f"--out={out}", f"--modalities={BASE}") == 1
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and str(out / "audio") in said or str(out / "motion") in said
    assert "no room left for its 1" in said and "MB for what is left" in said
    files = [p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")]
    assert len(files) == 5 and all(len(np.load(p)) for p in files)  # nothing half-written
    assert len((out / feature_folder.JOURNAL).read_text().splitlines()) == 2
    monkeypatch.setattr(feature_files, "to_disk", write)
    assert call(clips, f"--out={out}", f"--modalities={BASE}") == 0
    assert "2 were done before" in capsys.readouterr().out
    assert call(clips, f"--out={tmp_path / 'fresh'}", f"--modalities={BASE}") == 0
    assert tree(out) == tree(tmp_path / "fresh")


def test_no_room_in_the_processes(clips, tmp_path, repository):
    """The system itself refuses to write more than 100 kB a file: one error, no half file, and
    the rest is not begun."""
    out, script = tmp_path / "out", tmp_path / "script.py"
    script.write_text(
        "import extracting, resource, sys\nif __name__ == '__main__':\n   "
        " resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n   "
        " sys.exit(extracting.call(*sys.argv[1:], workers=2))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(repository / "tests" / "support"), str(repository)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    arguments = [
        sys.executable,
        str(script),
        str(clips),
        f"--out={out}",
        "--modalities=motion",
        "--encoder=motion=motion:width=30000",
    ]
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (
        done.returncode == 1
        and done.stderr.count("error:") == 1
        and "no room left for its" in done.stderr
        and "Traceback" not in done.stderr
    ), done.stderr
    assert not list((out / "motion").iterdir()) and read_manifest(out)["videos"] == {}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_and_go_on(clips, tmp_path, repository, signum):
    """A signal in the middle of the work of two processes: what is done stays, the same command
    does the rest, to the bit."""
    out = tmp_path / "out"
    script = tmp_path / "script.py"
    script.write_text(
        "import extracting, sys\nif __name__ == '__main__':\n   "
        " sys.exit(extracting.call(*sys.argv[1:], workers=2))\n"
    )
    arguments = [
        sys.executable,
        str(script),
        str(clips),
        f"--out={out}",
        "--modalities=motion",
        "--encoder=motion=slow",
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(repository / "tests" / "support"), str(repository)]),
    }
    with subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 40
        while not (out / feature_folder.JOURNAL).is_file() and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(process.pid, signum)  # as a terminal does: the workers get it too
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signum, said
    assert "the same command goes on" in said and "Traceback" not in said
    done = read_manifest(out)["videos"]
    assert (
        0 < len(done) < 8
        and not list(out.rglob(f".*{feature_files.PARTIAL}"))
        and not (out / feature_folder.JOURNAL).exists()
    )
    # the same numbers without the waiting
    assert call(clips, f"--out={out}", "--modalities=motion") == 0
    assert call(clips, f"--out={tmp_path / 'fresh'}", "--modalities=motion") == 0
    assert tree(out) == tree(tmp_path / "fresh")
    # not done twice
    assert {n: done[n]["seconds"] for n in done} == {
        n: r["seconds"] for n, r in read_manifest(out)["videos"].items() if n in done
    }


def test_killed_and_gone_on(clips, tmp_path):
    """Without a manifest, with a torn last line of the journal and a file that was being
    written."""
    out = tmp_path / "out"
    arguments = (clips, f"--out={out}", f"--modalities={BASE}")
    assert call(*arguments) == 0
    expected, known = tree(out), read_manifest(out)
    times = feature_folder._read_units(out / "units.csv")
    lines = [json.dumps([n, {**r, **times[n]}, None]) for n, r in list(known["videos"].items())[:3]]
    (out / feature_folder.JOURNAL).write_text("\n".join([*lines, '["calm__a9", {"pa']))
    (out / feature_folder.MANIFEST).unlink()
    (out / "units.csv").unlink()
    (out / "motion" / f".x{feature_files.PARTIAL}").write_bytes(b"half")
    assert call(*arguments) == 0
    assert tree(out) == expected and {
        n: read_manifest(out)["videos"][n]["seconds"] for n in list(known["videos"])[:3]
    } == {n: known["videos"][n]["seconds"] for n in list(known["videos"])[:3]}


def test_two_calls_in_one_folder(clips, tmp_path):
    with (
        feature_folder.Book(tmp_path / "out", "generic"),
        pytest.raises(DataError, match="works in this folder of features"),
    ):
        call(clips, f"--out={tmp_path / 'out'}", f"--modalities={BASE}")


def test_names(tmp_path):
    for path in (
        "a/x.mp4",
        "b/x.mp4",
        "x.MOV",
        "# 1.mp4",
        "v.mp4.mp4",
        "a/001.mp4",
        "a/y__vggish.mp4",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    found = {v.name for v in videos.find_videos([tmp_path])}
    assert found == {"a__x", "b__x", "x", "#1", "v", "a__001", "a__y__vggish"}
    assert [
        v.name for v in videos.find_videos([tmp_path / "a" / "x.mp4", tmp_path / "a" / "x.mp4"])
    ] == ["x"]
    with pytest.raises(DataError, match="both would be called 'x'"):
        videos.find_videos([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "x.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"x\.(mp4|MOV) and .*x\.(mp4|MOV)"):
        videos.find_videos([tmp_path])
    for path, words in ((tmp_path / "none", "not found"), (tmp_path / "empty", "no videos in it")):
        if path.name == "empty":
            path.mkdir()
        with pytest.raises(DataError, match=words):
            videos.find_videos([path])
    assert (
        videos.video_name("a\udcff\nb .mp4") == "a\ufffd b"
        and videos.video_name("e\u0301.mp4") == "\u00e9"
    )
    long = videos.video_name("ä" * 300 + ".mp4")
    assert len(long.encode()) <= videos.LONGEST and long != videos.video_name("ä" * 301 + ".mp4")


def test_names_that_look_like_other_sets_are_read_as_they_are(tmp_path):
    """NAME__1 is no crop and NAME__vggish no audio in a folder that this job wrote."""
    for name in ("a/001", "a/002", "b/y__vggish", "b/z_emb"):
        write_media(tmp_path / "clips" / f"{name}.mp4", 20, sound=tone(0.8))
    out = tmp_path / "out"
    assert (
        call(
            tmp_path / "clips",
            f"--out={out}",
            f"--modalities={BASE}",
            "--normal=a",
            "--abnormal=b",
            "--test-fraction=0.5",
        )
        == 0
    )
    for modalities in (("motion", "audio"), ("motion",)):
        layout = layouts.open_layout(ff.config("generic", out, *modalities))
        found = {e.name for s in ("train", "test") for e in layout.entries(s)}
        assert found == {"a__001", "a__002", "b__y__vggish", "b__z_emb"}
        assert all(
            v.features["motion"].shape == (1, 2, 3)
            for v in map(layout.load, layout.entries("test"))
        )
    with pytest.raises(DataError, match="no files of modality 'objects'"):
        layouts.open_layout(ff.config("generic", out, "motion", "objects")).entries("test")
