"""One name, one video: suffixes of videos, Unicode forms and the case of .npy differ from table
to table in every layout; what is left out is named."""

import json
import re
import shutil
import unicodedata
from pathlib import Path

import feature_folders as ff
import numpy as np
import pytest
from test_layout_parts import FORMS, TEST_LIST, opened

from gfvad.base.errors import EXIT_BAD_INPUT
from gfvad.base.names import match_names
from gfvad.base.types import DataError
from gfvad.commands import prepare
from gfvad.data import annotations
from gfvad.data.features import layouts
from gfvad.data.features.layouts import entries, parts
from gfvad.data.frames import truth
from gfvad.data.frames.descriptions import read_descriptions
from gfvad.data.frames.masks import file_a_video
from gfvad.extraction import labels, planning, videos

FORMS = FORMS | {"captions": ("ucf_logits", ff.ucf_logits, ("i3d_logits", "text"))}
TABLES = ("*.txt", "*.csv", "*.list", "*.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    return {name: build(root / name.replace(" ", "_")) for name, (_, build, _) in FORMS.items()}


def content(form, root):
    layout, _, modalities = FORMS[form]
    layout = layouts.open_layout(ff.config(layout, root, *modalities))
    found = {}
    for video in (layout.load(e) for split in entries.SPLITS for e in layout.entries(split)):
        arrays = {m: a.tobytes() for m, a in video.features.items()}
        found[video.split, video.name] = (
            video.label,
            video.classes,
            video.num_frames,
            video.spans.tolist(),
            arrays,
            video.fps,
        )
    assert not [p for split in entries.SPLITS for p in layout.survey(split)[1] if p.kind != "text"]
    return found


def names_of(form, root):
    layout, _, modalities = FORMS[form]
    layout = layouts.open_layout(ff.config(layout, root, *modalities))
    return [e.name for split in entries.SPLITS for e in layout.entries(split)]


def respell_tables(root, names):
    for path in (p for pattern in TABLES for p in root.glob(pattern)):
        text = path.read_text()
        if path.suffix == ".json":
            path.write_text(
                json.dumps({f"{key}.MP4": value for key, value in json.loads(text).items()})
            )
            continue
        for name in sorted(names, key=len, reverse=True):
            text = re.sub(
                rf"(?<![\w.#-]){re.escape(name)}(?:\.mp4)?(?![\w.-]*\.mp4)(?=[@,\s\"_]|$)(?!_x264)",
                f"{name}.MP4",
                text,
                flags=re.M,
            )
        path.write_text(text)


def respell_files(root, names):
    for path in sorted(root.rglob("*.npy")):
        name = max((n for n in names if path.name.startswith(n)), key=len)
        path.rename(path.with_name(f"{name}.avi{path.name[len(name) : -4]}.NPY"))
    for path in root.glob("*.npz"):
        with np.load(path) as held:
            arrays = {
                f"{k}.mkv" if k in names else k: (
                    np.char.add(held[k], ".mov") if k == "name" else held[k]
                )
                for k in held.files
            }
        np.savez(path, **arrays)


@pytest.mark.parametrize("respell", [respell_tables, respell_files], ids=["tables", "files"])
@pytest.mark.parametrize("form", FORMS)
def test_other_spellings_are_the_same_set(made, tmp_path, form, respell):
    root = shutil.copytree(made[form], tmp_path / "set")
    names = names_of(form, root)
    respell(root, names)
    for path in root.glob("*_CLIP_*.csv"):  # name files
        text = re.sub(r"_x264(.MP4)?__", "_x264__", path.read_text())
        path.write_text(
            text
            if respell is respell_tables
            else text.replace("_x264__", "_x264.avi__").replace(".npy", ".NPY")
        )
    assert content(form, root) == content(form, made[form])


def test_unicode_forms(tmp_path):
    """A folder copied from another system has decomposed accents; its tables have not."""
    one, other = (unicodedata.normalize(form, "été") for form in ("NFC", "NFD"))
    for part, name in (("train", f"{other}1"), ("test", f"{other}2")):
        ff.save(tmp_path / part / f"{name}.npy", ff.features(3, 4))
    ff.write_lines(tmp_path / "labels.csv", "name,label", f"{one}1,0", f"{one}2,1")
    ff.write_lines(tmp_path / "spans.csv", "name,start,end", f"{one}2,0,5", f"{other}2.mp4,10,20")
    layout = layouts.open_layout(ff.config("generic", tmp_path, "x"))
    assert [e.name for e in layout.entries("train")] == [f"{one}1"]
    assert layout.load(layout.entries("test")[0]).spans.tolist() == [[0, 5], [10, 20]]


def table(name, *lines):
    return lambda root: ff.write_lines(root / name, *lines)


def two_captions(root):
    said = json.loads((root / "captions.json").read_text())
    (root / "captions.json").write_text(
        json.dumps(said | {"Abuse001_x264.avi": next(iter(said.values()))})
    )


@pytest.mark.parametrize(
    "form, spoil, message",
    [
        (
            "generic",
            table("labels.csv", "name,label", "a,0", "b,1", "a.mp4,1"),
            r"labels.csv, line 4: 'a.mp4' and 'a' are one video",
        ),
        (
            "generic",
            table("frame_counts.txt", "c@90", "c.avi@96"),
            "frame_counts.txt, line 2: 'c.avi' and 'c' are one video",
        ),
        (
            "generic",
            lambda r: ff.save(r / "train/pose/a.mov.npy", ff.features(4, 7)),
            r"duplicated: a: .*a.npy and .*a.mov.npy|a.mov.npy and .*a.npy",
        ),
        (
            "xd",
            table("annotations.txt", "v=def__#1_label_G-0-0 1 2", "def__#1_label_G-0-0.mp4 3 4"),
            "line 2: .* are one video",
        ),
        (
            "ucf 2048",
            table("temporal_annotations.txt", *ff.UCF_ANNOTATION, "Abuse028  Abuse  1  2  -1  -1"),
            "line 3: video 'Abuse028_x264' stands twice",
        ),
        (
            "ucf 2048",
            table("frame_counts.txt", "Abuse028@64", "Abuse028_x264@65"),
            "Abuse028_x264' stands twice",
        ),
        (
            "logits",
            lambda r: np.savez(
                r / "i3d_logits_train.npz",
                x=ff.features(2, 8, 6),
                name=["Arson001_x264", "Arson001_x264.mp4"],
            ),
            "name, row 1: 'Arson001_x264.mp4' and 'Arson001_x264' are one video",
        ),
        (
            "captions",
            two_captions,
            "key 'Abuse001_x264.avi': 'Abuse001_x264.avi' and 'Abuse001_x264' are one video",
        ),
        (
            "shanghai",
            lambda r: ff.save(r / "test_frame_mask/01_0015.mp4.npy", np.zeros(4)),
            "are one video",
        ),
    ],
)
def test_two_spellings_that_contradict(made, tmp_path, form, spoil, message):
    root = shutil.copytree(made[form], tmp_path / "set")
    spoil(root)
    with pytest.raises(DataError, match=message):
        content(form, root)


def say(captions):
    return lambda root: (root / "captions.json").write_text(
        json.dumps(
            {
                n: {"duration": 4, "timestamps": [[0, 2]], "sentences": ["a man runs"]}
                for n in captions
            }
        )
    )


LEFT_OUT = [  # form, what is added, the note; the same with no name that fits, the error
    (
        "generic",
        table("spans.csv", "name,start,end", "c,0,9", "C,0,5"),
        "spans.csv: 1 of 2 names are of no video here and are left out: C",
        table("spans.csv", "name,start,end", "x,0,9"),
        "none of its 1 names is of a video here",
    ),
    (
        "generic",
        table("frame_counts.txt", "c@96", "d@48", "e9@5"),
        "frame_counts.txt: 1 of 3 frame counts .* left out: e9",
        table("frame_counts.txt", "x@96"),
        "no line in frame_counts.txt|none of its",
    ),
    (
        "generic",
        table("units.csv", "name,unit,start,end", "c,0,0,1", "x.mp4,0,0,1"),
        "units.csv: 1 of 2 names .* left out: x.mp4",
        table("units.csv", "name,unit,start,end", "x,0,0,1"),
        "units.csv.*none of its 1 names is of a video here. It has x; the videos are a, b, c, d",
    ),
    (
        "generic",
        table("labels.csv", "name,label", "a,0", "b,1", "c,1", "d,0", "zz,1"),
        "labels.csv: 1 of 5 rows .* left out: zz",
        table("labels.csv", "name,label", "x,0"),
        "label -1; expected 0 or 1",
    ),
    (
        "ucf 2048",
        table("frame_counts.txt", "Abuse028@64", "Normal003@48", "Arson001@9"),
        "1 of 3 frame counts .* left out: Arson001_x264",
        table("frame_counts.txt", "Arson001@9"),
        "none of its 1 names",
    ),
    (
        "shanghai",
        lambda r: ff.save(r / "test_frame_mask/01_0099.npy", np.ones(4)),
        "test_frame_mask: 1 of 3 frame masks .* left out: 01_0099",
        lambda r: [
            p.rename(p.with_name(f"02_{p.name}")) for p in (r / "test_frame_mask").glob("*.npy")
        ],
        "none of its 2 names",
    ),
    (
        "captions",
        say(["Abuse001_x264.mp4", "Abuse9"]),
        "captions.json: 1 of 2 captions are of no video here and are left out: Abuse9",
        say(["x", "y"]),
        (
            "captions.json.*none of its 2 names is of a video here. It has x, y; the videos are"
            " Abuse001_x264, "
        ),
    ),
]


@pytest.mark.parametrize(
    "form, more, note, none, error",
    LEFT_OUT,
    ids=[f"{i}-{case[0]}" for i, case in enumerate(LEFT_OUT)],
)
def test_names_that_no_video_has(made, tmp_path, form, more, note, none, error):
    root = shutil.copytree(made[form], tmp_path / "some")
    more(root)
    layout, _, modalities = FORMS[form]
    reader = layouts.open_layout(ff.config(layout, root, *modalities))
    assert reader.entries("train") and reader.entries("test")
    lines = parts.passed_over(reader)
    assert any(re.search(note, line) for line in lines), lines
    root = shutil.copytree(made[form], tmp_path / "none")
    none(root)
    with pytest.raises(DataError, match=error):
        content(form, root)


@pytest.mark.parametrize(
    "form, path",
    [("generic", "labels.csv"), ("generic", "spans.csv"), ("vadclip", "ucf_CLIP_rgb.csv")],
)
def test_rows_of_another_width(made, tmp_path, form, path, capsys):
    root = shutil.copytree(made[form], tmp_path / "set")
    ff.write_lines(root / path, *(root / path).read_text().split("\n")[:-1], "z,1,2,3,4,5,6")
    layout, _, modalities = FORMS[form]
    assert (
        prepare.main(
            [
                f"--dataset={layout}",
                f"--source={root}",
                f"--modalities={','.join(modalities)}",
                "--check",
            ]
        )
        == EXIT_BAD_INPUT
    )
    assert re.search(rf"{path}, line \d+: 7 fields; expected", capsys.readouterr().err)


def test_rows_of_another_width_in_a_table_to_score(made, tmp_path):
    root = shutil.copytree(made["vadclip"], tmp_path / "set")
    path = root / "ucf_CLIP_rgbtest.csv"
    ff.write_lines(
        path, *path.read_text().split("\n")[:-1], "/home/x/Normal_Videos_003_x264__5.npy"
    )
    with pytest.raises(DataError, match="line 4: 1 fields; expected 2"):
        layouts.open_input(path, ("clip",), ff.config("vadclip", root, "clip"))
    ff.write_lines(path, "path,label", "/home/x/Abuse028_x264__5.npy,Abuse")
    shutil.copytree(root / "UCFClipFeatures", root / "copy")
    with pytest.raises(DataError, match="may be .* or .*; expected one file of a name"):
        layouts.open_input(path, ("clip",), ff.config("vadclip", root, "clip"))


def test_a_listed_video_with_a_name_nearby(made, tmp_path):
    root = shutil.copytree(made["shanghai lists"], tmp_path / "set")
    ff.write_lines(root / TEST_LIST, "01_0015_i3d.npy", "01_0004_i3d.npy")
    with pytest.raises(
        DataError, match="01_0004: in the test list but without features, near '01_00"
    ):
        opened("shanghai lists", root).entries("test")


def test_files_beside_the_parts_are_named(made, tmp_path):
    root = shutil.copytree(made["generic"], tmp_path / "set")
    ff.save(root / "more/pose/e.npy", ff.features(3, 7))
    layout = layouts.open_layout(ff.config("generic", root, "pose"))
    assert [e.name for e in layout.entries("train")] == ["a", "b"]
    assert parts.passed_over(layout) == [
        f"1 files that belong to nothing are left out: {root / 'more/pose/e.npy'}"
    ]


# ---- videos themselves


def test_names_of_frames(tmp_path):
    names = ["01", "02"]
    assert match_names(["01.mp4", "2_label.h264", "e\u0301.avi"], [*names, "é"]) == [
        0,
        1,
        2,
    ]
    masks = tmp_path / "testing/test_frame_mask"
    for file in ("01.mp4.NPY", "02.npy", "07.npy"):
        with open(
            masks / file if masks.is_dir() else (masks.mkdir(parents=True) or masks / file), "wb"
        ) as out:
            np.save(out, np.array([0, 1], np.uint8))
    said = []
    assert [p.name for p in file_a_video(masks, ".npy", names, said.append)] == [
        "01.mp4.NPY",
        "02.npy",
    ]
    assert said == [
        f"note: {masks}: 1 of 3 files are of no test video here, and are left out: 07.npy"
    ]
    shutil.copy(masks / "02.npy", masks / "02.avi.npy")
    with pytest.raises(DataError, match="'02' and '02.avi' are one video"):
        truth.read_labels(masks, names, [2, 2])
    spans = ff.write_lines(tmp_path / "spans.txt", "01.mp4 1 1")
    assert truth.read_labels(spans, names, [2, 2])[0].tolist() == [1, 0]
    lines = ff.write_lines(
        tmp_path / "said.jsonl",
        *(json.dumps({"video": f"{n}.mp4", "frame": 1, "text": "a man"}) for n in names),
    )
    assert read_descriptions(lines, names, [2, 2]).filled.tolist() == [1, 1]


def sources(*names):
    return [
        videos.VideoSource(videos.video_name(n), Path("/clips", n), ("clips", *Path(n).parts[:-1]))
        for n in names
    ]


def test_tables_of_extraction(tmp_path):
    clips = sources("a/x.mp4", "b/y.mp4", "é.mkv")
    said = []
    rows = ("a/x.avi,0,train", "y,1,test", "e\u0301.mp4,0,test", "gone,0,train")
    path = ff.write_lines(tmp_path / "labels.csv", "name,label,split", *rows)
    found = labels.from_table(path, clips, 0.2, say=said.append)
    assert {n: (v.label, v.split) for n, v in found.items()} == {
        "a__x": (0, "train"),
        "b__y": (1, "test"),
        "é": (0, "test"),
    }
    assert said == [
        f"note: {path}: 1 of 4 lines are of no video that was given, and are left out: gone"
    ]
    for rows, message in (
        (("a/x,0,train", "a/x.mp4,1,train"), "line 3: 'a/x.mp4' and 'a/x' are one video"),
        (
            ("A/x,0,train", "y,1,test", "é,0,test"),
            r"no line for 1 of 3 videos: a__x .'a__x', near 'A__x'.*Lines of no video: A/x",
        ),
    ):
        with pytest.raises(DataError, match=message):
            labels.from_table(ff.write_lines(path, "name,label,split", *rows), clips, 0.2)
    with pytest.raises(
        DataError, match="'x' fits 2 videos: a__x, b__x; expected a line for each, with its folder"
    ):
        labels.from_table(
            ff.write_lines(path, "name,label", "x.mp4,0"), sources("a/x.mp4", "b/x.mp4"), 0.2
        )
    spans = ff.write_lines(
        tmp_path / "spans.csv", "name,start,end", "y.mp4,5,9", "b/y,1,2", "gone,0,1"
    )
    with pytest.raises(DataError, match="'y' and 'b__y' are both of /clips/b/y.mp4"):
        planning.read_spans(spans, clips, found)
    ff.write_lines(spans, "name,start,end", "y.mp4,5,9", "gone,0,1")
    assert planning.read_spans(spans, clips, found) == {"b__y": [(5, 9, "")], "gone": [(0, 1, "")]}
    ff.write_lines(spans, "name,start,end", "gone,0,1")
    with pytest.raises(DataError, match="none of its 1 names is of a video here"):
        planning.read_spans(spans, clips, found)


# ---- the cases that once went wrong


def case(root, rows, spans):
    for part, names in (("train", ("tr00", "tr01")), ("test", ("te00", "te01"))):
        for name in names:
            ff.save(root / part / f"{name}.npy", ff.features(20, 4, seed=sum(name.encode())))
    ff.write_lines(root / "labels.csv", "name,label,split,class", *rows)
    ff.write_lines(root / "spans.csv", "name,start,end,class", *spans)
    return ["--dataset=generic", f"--source={root}", "--modalities=x", "--check", "--deep"]


def test_case_05(tmp_path, capsys):
    rows = ["tr00,0,train,", "tr01,1,train,", "te00,0,test,", "te01,1,test,"]
    arguments = case(tmp_path / "a", [*rows, "tr01.mp4,0,train,"], ["te01,160,240,"])
    assert (
        prepare.main(arguments) == EXIT_BAD_INPUT
        and "'tr01.mp4' and 'tr01' are one video" in capsys.readouterr().err
    )
    arguments = case(
        tmp_path / "b", [row.replace(",", ".mp4,", 1) for row in rows], ["te01.mp4,160,240,"]
    )
    assert prepare.main(arguments) == 0
    out = capsys.readouterr().out
    assert (
        "0 errors, 0 notes" in out
        and "split: folder 'train' and folder 'test', as labels.csv says" in out
    )


def test_case_07(tmp_path, capsys):
    rows = ["tr00,0,train,", "tr01,1,train,", "te00,0,test,", "te01,1,test,"]
    arguments = [
        *case(tmp_path / "a", rows, ["te01,160,240,"]),
        "--text-encoder=hash",
        "--modalities=x,text",
    ]
    say(f"{row[:4]}.mp4" for row in rows)(tmp_path / "a")
    assert prepare.main(arguments) == 0 and "0 errors, 0 notes" in capsys.readouterr().out
    say(["film1.mp4", "film2.mp4"])(tmp_path / "a")
    assert prepare.main(arguments) == 1
    assert (
        "none of its 2 names is of a video here. It has film1.mp4, film2.mp4; the videos are te00,"
        " te01, tr00, tr01" in capsys.readouterr().out
    )


def test_annotations_find_a_video_with_and_without_v(tmp_path):
    table = annotations.parse_xd(ff.write_lines(tmp_path / "a.txt", "v=x_label_B1-0-0.MP4 1 2"))
    assert (
        "x_label_B1-0-0" in table
        and table["x_label_B1-0-0.avi"].tolist() == [[1, 2]]
        and "y_label_B1-0-0" not in table
    )
