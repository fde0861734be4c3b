"""Labels and splits of extracted features, the command line, and whose files are whose."""

import csv
import errno
import json
import os
import shutil
from pathlib import Path

import feature_folders as ff
import numpy as np
import pytest
from clips_folder import (  # noqa: F401
    clips,
)
from extracting import call, read_manifest
from media_files import open_fake, tone, write_media

from gfvad.base.types import ConfigError, DataError
from gfvad.commands import extract
from gfvad.data.features import layouts
from gfvad.extraction import feature_files, feature_folder, labels, planning, videos
from gfvad.extraction.videos import VideoSource

# ---- labels


def sources(*names):
    return [
        VideoSource(videos.video_name(n), Path("/clips", n), ("clips", *Path(n).parts[:-1]))
        for n in names
    ]


def test_split_by_hash_is_exact_and_stable():
    many = sources(*(f"calm/c{k}.mp4" for k in range(50)), *(f"fight/f{k}.mp4" for k in range(25)))
    found = labels.from_folders(many, ["calm"], ["fight"], 0.2)
    assert [sum(v.split == "test" and v.label == c for v in found.values()) for c in (0, 1)] == [
        10,
        5,
    ]
    assert labels.from_folders(many[::-1], ["calm"], ["fight"], 0.2) == found
    assert {found[v.name].classes for v in many} == {(), ("fight",)}
    few = labels.from_folders(
        sources("calm/1.mp4", "calm/2.mp4", "fight/3.mp4"), ["calm"], ["fight"], 0.2
    )
    assert sorted((v.label, v.split) for v in few.values()) == [
        (0, "test"),
        (0, "train"),
        (1, "train"),
    ]
    parts = [
        {
            n
            for n, v in labels.from_folders(many, ["calm"], ["fight"], 0.2, fold).items()
            if v.split == "test"
        }
        for fold in range(5)
    ]
    assert parts[0] == {n for n, v in found.items() if v.split == "test"} and sorted(
        n for part in parts for n in part
    ) == sorted(found)
    for fold, message in ((5, "expected 0 to 4"), (-1, "expected 0 to 4")):
        with pytest.raises(ConfigError, match=message):
            labels.from_folders(many, ["calm"], ["fight"], 0.2, fold)
    with pytest.raises(ConfigError, match="too few for 5 folds"):
        labels.from_folders(
            sources("calm/1.mp4", "calm/2.mp4", "fight/3.mp4"), ["calm"], ["fight"], 0.2, 3
        )
    assert all(
        v.split == "test" for v in labels.from_folders(many, ["calm"], ["fight"], 1.0).values()
    )


def test_folders_that_say_nothing_or_both():
    with pytest.raises(
        DataError, match="1 videos lie in folders of neither or both labels: /clips/other/x.mp4"
    ):
        labels.from_folders(sources("calm/a.mp4", "other/x.mp4"), ["calm"], ["fight"], 0.2)
    with pytest.raises(DataError, match="neither or both"):
        labels.from_folders(sources("calm/fight/a.mp4"), ["calm"], ["fight"], 0.2)
    with pytest.raises(ConfigError, match="different folders in both"):
        labels.from_folders(sources("calm/a.mp4"), ["calm"], [], 0.2)


def test_table_of_labels(clips, tmp_path):
    names = [v.name for v in videos.find_videos([clips])]
    table, spans, out = tmp_path / "labels.csv", tmp_path / "spans.csv", tmp_path / "out"
    rows = [
        (
            n if k % 2 else n.replace("__", "/") + ".mp4",
            int("fight" in n),
            "test" if "0" in n or "監" in n else "train",
            "",
        )
        for k, n in enumerate(names)
    ]
    feature_files.save_table(
        table, ("name", "label", "split", "class"), [*rows, ("elsewhere", 0, "train", "")]
    )
    feature_files.save_table(
        spans, ("name", "start", "end"), [("fight/b0.mp4", 5, 20), ("fight/b0.mp4", 25, 30)]
    )
    arguments = [clips, f"--out={out}", "--modalities=motion", f"--labels={table}"]
    assert call(*arguments, f"--spans={spans}") == 0
    layout = layouts.open_layout(ff.config("generic", out, "motion"))
    truths = {v.name: v.spans.tolist() for v in map(layout.load, layout.entries("test"))}
    assert truths == {"calm__a0": [], "fight__b0": [[5, 20], [25, 30]], "fight__監視 1": [[0, 40]]}
    assert call(clips, f"--out={out}", "--modalities=motion") == 0  # labels of before stay
    assert (out / "labels.csv").read_text().count("\n") == 9
    for lines, words in (
        (rows[1:], "no line for 1 of 8"),
        ([*rows[1:], (rows[0][0], 2, "", "")], "label '2'"),
        ([*rows[1:], (rows[0][0], 1, "", "")], "no split for 1 of 8"),
    ):
        feature_files.save_table(table, ("name", "label", "split", "class"), lines)
        with pytest.raises(DataError, match=words):
            call(*arguments)


def test_layout_of_xd_violence(tmp_path, capsys):
    clips, out = tmp_path / "clips", tmp_path / "out"
    for k, name in enumerate(
        ("v=a__#1_label_A", "v=b__#1_label_A", "v=c__#1_label_B1-0-0", "v=d__#1_label_G-0-0")
    ):
        write_media(clips / f"{name}.mp4", 40 + k, sound=tone(1.6), seed=k)
    widths = {"motion": 1024, "appearance": 1024, "audio": 128}
    opener = lambda name, **settings: open_fake(name, width=widths[name], **settings)
    assert call(clips, f"--out={out}", "--layout=xd", "--test-fraction=0.5", opener=opener) == 0
    assert (
        sorted(p.parent.name for p in out.rglob("*__0.npy"))
        == ["Flow"] * 2 + ["FlowTest"] * 2 + ["RGB"] * 2 + ["RGBTest"] * 2
    )
    layout = layouts.open_layout(ff.config("xd_violence", out, "rgb", "flow", "audio"))
    found = [layout.load(e) for e in layout.entries("test")]
    assert sorted(v.label for v in found) == [0, 1] and len(layout.entries("train")) == 2
    assert all(v.num_frames == 32 and v.features["rgb"].shape == (1, 3, 1024) for v in found)
    assert [v.spans.tolist() for v in found if v.label] == [[[0, 32]]]
    with pytest.raises(DataError, match="features in layout xd, asked for generic"):
        call(clips, f"--out={out}", opener=opener)
    with pytest.raises(ConfigError, match="no folder for 'objects'"):
        call(clips, f"--out={tmp_path / 'b'}", "--layout=xd", "--modalities=objects")
    write_media(clips / "other.mp4", 3)
    with pytest.raises(DataError, match="1 names are not of XD-Violence's form: other"):
        call(clips, f"--out={tmp_path / 'c'}", "--layout=xd", opener=opener)


# ---- the command line


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--modalities=motoin"], "did you mean"),
        (["--encoder=motion"], "expected MODALITY=NAME"),
        (["--encoder=motion=onnx:path"], "expected MODALITY=NAME"),
        (["--encoder=audio=motion"], "that encoder gives motion"),
        (["--encoder=motion=nothing"], "encoder 'nothing'"),
        (["--modalities=motion", "--encoder=audio=audio"], "among them"),
        (["--labels=a.csv", "--normal=x"], "expected one of them"),
        (["--normal=x"], "in both"),
        (["--test-fraction=1.5"], "a part from 0 to 1"),
        (["--spans=s.csv"], "--spans without labels"),
        (["--modalities=objects"], "path"),
        (["--workers=-3"], "number of processes"),
    ],
)
def test_wrong_use(clips, tmp_path, capsys, arguments, words):
    assert extract.main([str(clips), f"--out={tmp_path / 'out'}", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and words in said
    assert not list(tmp_path.rglob("*.npy"))


def test_settings_of_encoders():
    found = planning.read_specs(
        "", ["appearance=onnx:path=a/b.onnx,size=224"], "words.jsonl", open_fake
    )
    assert list(found) == ["motion", "appearance", "audio", "text"]
    assert dict(found["appearance"].settings) == {
        "path": "a/b.onnx",
        "size": 224,
        "modality": "appearance",
    } and dict(found["text"].settings) == {"path": "words.jsonl"}


def test_real_encoders(clips, tmp_path):
    """The three that need no weights, by the command, by two processes; the library function
    gives the same."""
    from gfvad.encoders.registry import DEFAULT, open_encoder

    assert extract.main([str(clips / "fight"), f"--out={tmp_path / 'out'}", "--workers=2"]) == 0
    found = videos.extract_video(clips / "fight" / "b0.mp4", [open_encoder(m) for m in DEFAULT])
    assert found.frames == 33 and found.missing == () and len(found.start) == 3
    for m in DEFAULT:
        np.testing.assert_array_equal(np.load(tmp_path / "out" / m / "b0.npy"), found.features[m])


def test_real_clips(shared_data, tmp_path):
    """Four of the surveillance clips."""
    for path in (
        *sorted((shared_data / "fight_clips" / "fight").glob("*.mp4"))[:2],
        *sorted((shared_data / "fight_clips" / "noFight").glob("*.mp4"))[:2],
    ):
        (tmp_path / "clips" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "clips" / path.parent.name)
    assert (
        call(
            tmp_path / "clips",
            f"--out={tmp_path / 'out'}",
            "--normal=noFight",
            "--abnormal=fight",
            "--test-fraction=0.5",
        )
        == 0
    )
    for name, record in read_manifest(tmp_path / "out")["videos"].items():
        assert record["frames"] > 16 and np.load(tmp_path / "out" / "motion" / f"{name}.npy").shape[
            0
        ] == -(-record["frames"] // 16)


# ---- whose files are whose


def said_error(capsys):
    said = capsys.readouterr().err.strip().splitlines()
    return said[-1]


@pytest.mark.parametrize(
    "file, content",
    [
        ("motion/a0.npy", None),
        ("units.csv", "id,unit\n"),
        ("frame_counts.txt", "mine"),
        ("manifest.json", '{"kind": "mine"}'),
        ("manifest.json", "{"),
        ("labels.csv", "video;label\n"),
    ],
)
def test_what_is_not_its_own_stays(clips, tmp_path, file, content):
    theirs = tmp_path / "out" / file
    theirs.parent.mkdir(parents=True)
    theirs.write_text(content) if content else np.save(theirs, np.ones((4, 3), np.float32))
    before = theirs.read_bytes()
    with pytest.raises(DataError, match=f"{file}.*(expected|not usable JSON)"):
        call(
            clips / "calm",
            clips / "fight",
            f"--out={tmp_path / 'out'}",
            "--modalities=motion",
            "--normal=calm",
            "--abnormal=fight",
        )
    assert theirs.read_bytes() == before and [
        p for p in (tmp_path / "out").rglob("*") if p.is_file()
    ] == [theirs]


def test_what_a_user_changed_stays(clips, tmp_path, capsys):
    own, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, own)
    arguments = [
        own,
        f"--out={out}",
        "--modalities=motion",
        "--normal=calm",
        "--abnormal=fight",
        "--test-fraction=0.25",
    ]
    notes = ff.write_lines(out / "motion" / "notes.txt", "mine")
    assert call(*arguments) == 0 and call(*arguments, "--fold=1") == 0 and notes.is_file()
    # features of one's own in the place of ours: kept where nothing is to be done, refused where
    # they would be replaced, left where no longer wanted
    np.save(out / "motion" / "calm__a1.npy", np.ones((2, 3), np.float32))
    assert call(*arguments) == 0 and np.load(out / "motion" / "calm__a1.npy").all()
    with pytest.raises(DataError, match="calm__a1.npy: changed since gfvad extract wrote it"):
        call(*arguments, "--encoder=motion=motion:version=2")
    (own / "calm" / "a1.mp4").write_bytes(b"no video")
    np.save(out / "motion" / "calm__a1.npy", np.ones((1, 3), np.float32))  # of another length, too
    with pytest.raises(DataError, match="calm__a1.npy"):
        call(*arguments)
    assert np.load(out / "motion" / "calm__a1.npy").all()
    # a table
    (own / "calm" / "a1.mp4").unlink()
    with open(out / "labels.csv", "a") as file:
        file.write("mine,0,train,\n")
    with pytest.raises(DataError, match="labels.csv: changed since gfvad extract wrote it"):
        call(*arguments)
    assert (out / "labels.csv").read_text().endswith("mine,0,train,\n")


def test_a_folder_of_the_version_before(clips, tmp_path):
    """Without a record and without hashes: its files are known by the manifest and by what they
    hold."""
    out = tmp_path / "out"
    arguments = [clips, f"--out={out}", "--modalities=motion", "--normal=calm", "--abnormal=fight"]
    assert call(*arguments) == 0
    known = read_manifest(out)
    for record in known["videos"].values():
        del record["hashes"]
    (out / feature_folder.MANIFEST).write_text(json.dumps(known))
    (out / ".gfvad-features.json").unlink()
    assert (
        call(*arguments, "--encoder=motion=motion:version=2") == 0
        and call(*arguments, "--fold=1") == 0
    )


def test_names_that_a_table_would_run(tmp_path):
    for name in ("=1+1", "@x", "-y", "+z"):
        write_media(tmp_path / "clips" / f"{name}.mp4", 20)
    out = tmp_path / "out"
    assert call(tmp_path / "clips", f"--out={out}", "--modalities=motion") == 0
    assert not [row for row in csv.reader(open(out / "units.csv")) if row[0][0] in "=+-@"]
    assert (
        set(feature_folder._read_units(out / "units.csv"))
        == {"=1+1", "@x", "-y", "+z"}
        == set(read_manifest(out)["videos"])
    )
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")}
    assert (
        call(tmp_path / "clips", f"--out={out}", "--modalities=motion") == 0
        and {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")} == before
    )


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_a_folder_that_cannot_be_written(clips, tmp_path, capsys, monkeypatch, code):
    def refuse(path, content):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(feature_files, "to_disk", refuse)
    assert (
        extract.main(
            [
                str(clips / "fight"),
                f"--out={tmp_path / 'out'}",
                "--modalities=motion",
                "--workers=0",
            ]
        )
        == 2
    )
    said = said_error(capsys)
    assert said.startswith("error: ") and "cannot be written" in said and "expected" in said


def test_a_folder_removed_meanwhile(clips, tmp_path, monkeypatch):
    save = feature_files.save_features
    monkeypatch.setattr(
        feature_files,
        "save_features",
        lambda path, features: (shutil.rmtree(tmp_path / "out"), save(path, features))[1],
    )
    with pytest.raises(DataError, match="the folder was removed"):
        call(clips / "fight", f"--out={tmp_path / 'out'}", "--modalities=motion")
