"""Text and arrays that are not what they seem: every reader says the file, the place and what to
do; nothing hangs, nothing asks for memory first."""

import io
import json
import os
import struct
import zipfile

import feature_folders as ff
import numpy as np
import pytest

from gfvad.base import arrays, files
from gfvad.base.types import DataError
from gfvad.commands import prepare
from gfvad.data import annotations, text
from gfvad.data.features.layouts.arrays import Npz, read_array, read_header
from gfvad.data.frames import masks, truth
from gfvad.data.simulate import bayes, writer
from gfvad.encoders import description_lines, model_folder, token_folder, torch_file
from gfvad.figures import curves
from gfvad.measure import calibration, folds, results, summary
from gfvad.reporting.clips import read_details
from gfvad.tasks.prediction import score_rule

TEXTS = {
    "frame counts": annotations.parse_frame_counts,
    "xd": annotations.parse_xd,
    "ucf": annotations.parse_ucf,
    "ped2": annotations.parse_ped2,
    "spans.csv": annotations.parse_spans_csv,
    "csv": lambda path: list(files.read_table(path, ("name", "label"))),
    "spans": lambda path: truth.read_spans(path, ["01"], [4]),
    "log": curves.read_log,
    "descriptions": lambda path: list(description_lines.read_lines(path)),
}
JSONS = {
    "captions": text.load_captions,
    "results": results.read_results,
    "summary": summary.read,
    "model": lambda path: model_folder.read_json(path, "fetch it"),
    "descriptions": lambda path: list(description_lines.read_lines(path)),
}
IN_FOLDERS = {  # name of the file -> reader of its folder
    writer.MANIFEST: writer.read_manifest,
    "calibration.json": lambda folder: calibration.read_calibration(folder, 1),
    "sweep.json": lambda folder: folds.read_fold(folder, "auc"),
}
OTHER_TEXTS = {
    "UTF-16": ("a 1 2\n".encode("utf-16"), "UTF-16"),
    "Latin-1": (b"name\na\xe9 1 2\n", r"line 2, byte 2 \(0xe9\): not UTF-8"),
    "null": (b"a 1\nb\0 2\n", "line 2: a null byte"),
}
OTHER_JSONS = {
    "half an emoji": ('{"a": {"b": ["bad \\ud83d half"]}}', "half a character"),
    "depth": ('{"a": ' * 100_000, "JSON"),
    "list": ("[1, 2]", "a JSON list"),
    "number": ("3", "a JSON int"),
    "digits": ('{"a": ' + "9" * 400 + "}", "400 digits"),
    "twice": ('{"a": 1, "a": 2}', "'a' stands twice"),
    "cut": ('{"a": ', "not usable JSON"),
}
ODD_FILES = {
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "folder": lambda path: path.mkdir(),
    "absent": lambda path: None,
}


def refused(read, path, words=""):
    with pytest.raises(DataError, match=words or None) as found:
        read(path)
    message = str(found.value)
    assert path.name in message and "\n" not in message
    message.encode()  # can be printed


@pytest.mark.parametrize("content, words", OTHER_TEXTS.values(), ids=OTHER_TEXTS)
@pytest.mark.parametrize("read", TEXTS.values(), ids=TEXTS)
def test_texts_of_other_encodings(tmp_path, read, content, words):
    (tmp_path / "list.txt").write_bytes(content)
    refused(read, tmp_path / "list.txt", words)


@pytest.mark.parametrize("make", ODD_FILES.values(), ids=ODD_FILES)
@pytest.mark.parametrize(
    "read",
    [
        *TEXTS.values(),
        *JSONS.values(),
        read_header,
        Npz,
        torch_file.read_torch,
        results.read_scores,
        token_folder.token_file,
    ],
)
def test_what_is_no_regular_file(tmp_path, read, make):
    make(tmp_path / "x.file")
    refused(read, tmp_path / "x.file")


@pytest.mark.parametrize("content, words", OTHER_JSONS.values(), ids=OTHER_JSONS)
@pytest.mark.parametrize("read", JSONS.values(), ids=JSONS)
def test_json_that_is_not_what_it_seems(tmp_path, read, content, words):
    (tmp_path / "x.json").write_text(content)
    refused(read, tmp_path / "x.json", words)


@pytest.mark.parametrize("content, words", OTHER_JSONS.values(), ids=OTHER_JSONS)
@pytest.mark.parametrize("name", IN_FOLDERS)
def test_json_of_a_folder(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    refused(lambda path: IN_FOLDERS[name](path.parent), tmp_path / name, words)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    entry = {"duration": 2.0, "timestamps": [[0, 1]], "sentences": ["someone runs"]}
    contents = {
        "a.json": (text.load_captions, json.dumps({"v": entry})),
        "a.csv": (annotations.parse_spans_csv, "name,start,end\nv,1,2\n"),
        "a.txt": (annotations.parse_frame_counts, "v@7\r\n"),
        "a.jsonl": (
            lambda p: {line.video: 1 for line in description_lines.read_lines(p)},
            '{"video": "v", "frame": 1, "text": "x"}\n',
        ),
    }
    for name, (read, content) in contents.items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert set(read(tmp_path / name)) == {"v"}, name


def test_a_field_over_the_limit(tmp_path):
    (tmp_path / "x.csv").write_text("name,label\n" + "x" * (2 << 20) + ",1\n")
    refused(
        lambda path: list(files.read_table(path, ("name", "label"))),
        tmp_path / "x.csv",
        "line 2: field larger",
    )


@pytest.mark.parametrize(
    "spoil, code, words",
    [
        (lambda b: b.replace(b"someone", b"half \\ud83d", 1), 2, "half a character"),
        (lambda b: b"\xef\xbb\xbf" + b, 0, "0 errors"),
        (lambda b: b.decode().encode("utf-16"), 2, "UTF-16"),
        (lambda b: b[:-3], 2, "line 1, column"),
    ],
    ids=["half an emoji", "byte order mark", "UTF-16", "cut"],
)
def test_captions_by_the_command(tmp_path, capsys, spoil, code, words):
    """Cases 08 and 10 as a user meets them."""
    root = ff.ucf_logits(tmp_path / "set")
    path = root / "captions.json"
    path.write_bytes(spoil(path.read_bytes()))
    options = ["--modalities=i3d_logits,text", "--captions=captions.json", "--text-encoder=hash"]
    assert prepare.main(["--dataset=ucf_logits", f"--source={root}", "--check", *options]) == code
    said = capsys.readouterr()
    assert words in (said.err if code else said.out) and "Traceback" not in said.err
    assert not code or str(path) in said.err


# ---- arrays


def header(**changes):
    """The first bytes of a .npy with a header of one's own."""
    entries = {"descr": "'<f4'", "fortran_order": "False", "shape": "(2, 3)"} | changes
    content = "{" + ", ".join(f"'{k}': {v}" for k, v in entries.items()) + "}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content.encode()


BODY = bytes(24)
NPYS = {
    "huge": header(shape="(9999999999, 9999999999, 9999999999)") + BODY,
    "overflow": header(shape="(4294967296, 4294967296, 2)") + BODY,
    "negative": header(shape="(-1, 3)") + BODY,
    "axes": header(shape=f"({'1, ' * 40})") + BODY,
    "structured": header(descr="[('a', '<f4')]") + BODY,
    "inner": header(descr="('<f4', (3,))") + BODY,
    "objects": header(descr="'|O'") + BODY,
    "no size": header(descr="'<U0'") + BODY,
    "no dict": b"\x93NUMPY\x01\x00\x04\x00[1]\n" + BODY,
    "deep": b"\x93NUMPY\x01\x00" + struct.pack("<H", 8000) + b"(" * 8000 + BODY,
    "long": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + BODY,
    "format 3": b"\x93NUMPY\x03\x00" + header()[8:] + BODY,
    "cut": header()[:20],
    "magic": b"NUMPY" + BODY,
    "empty": b"",
    "short": header() + BODY[:-4],
    "more": header() + BODY + b"x",
    "bool": header(shape="(True, 3)") + BODY,
}


@pytest.mark.parametrize("content", NPYS.values(), ids=NPYS)
@pytest.mark.parametrize(
    "read",
    [
        arrays.load_npy,
        arrays.map_npy,
        token_folder.token_file,
        lambda path: read_array(path, read_header(path)),
    ],
)
def test_npy_that_claims_what_it_does_not_hold(tmp_path, read, content):
    (tmp_path / "x.npy").write_bytes(content)
    refused(read, tmp_path / "x.npy")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.float16(3),
        np.array(["ö", "bc"]),
        np.array([b"a", b""]),
        np.array([True, False]),
        np.arange(3).astype("M8[s]"),
    ],
)
def test_arrays_are_those_of_numpy(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", a=array, b=np.ones(3))
        for found in (
            arrays.load_npy(tmp_path / "x.npy"),
            arrays.map_npy(tmp_path / "x.npy"),
            Npz(tmp_path / "x.npz").array("a"),
            arrays.load_npz(tmp_path / "x.npz")["a"],
        ):
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype and found.shape == array.shape


def packed(*members, method=zipfile.ZIP_DEFLATED, spoil=lambda content: content):
    """An .npz of (name, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return bytes(spoil(bytearray(file.getvalue())))


def encrypted(content):
    """Sets the flag of a password in both headers."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    return content


def flipped(content):
    content[content.index(BODY) + 3] ^= 1
    return content


def swollen(content):
    """The directory says that a member has a gigabyte."""
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 1 << 30)
    return content


WHOLE = header() + BODY
NPZS = {
    "encrypted": packed(("a.npy", WHOLE), spoil=encrypted),
    "bzip2": packed(("a.npy", WHOLE), method=zipfile.ZIP_BZIP2),
    "lzma": packed(("a.npy", WHOLE), method=zipfile.ZIP_LZMA),
    "swollen": packed(("a.npy", WHOLE), spoil=swollen),
    "claims more": packed(("a.npy", header(shape="(99999999, 3)") + BODY)),
    "holds more": packed(("a.npy", WHOLE + b"x")),
    "twice": packed(("a.npy", WHOLE), ("a", WHOLE)),
    "empty member": packed(("a.npy", b"")),
    "no array": packed(("a.npy", b"hello")),
    "folder": packed(("a/", b"")),
    "flipped": packed(("a.npy", WHOLE), method=zipfile.ZIP_STORED, spoil=flipped),
    "cut": packed(("a.npy", WHOLE))[:-30],
    "tail": packed(("a.npy", WHOLE))[40:],
    "text": b"PK no zip",
    "objects": packed(("a.npy", header(descr="'|O'") + BODY)),
    "surrogate name": packed(("a\n.npy", b"x")),
}
NPZ_READERS = {
    "npz": lambda path: Npz(path).array("a"),
    "all": arrays.load_npz,
    "scores": results.read_scores,
    "scorer": score_rule.read_rule,
    "bayes": lambda path: bayes.read_truth(path.parent),
    "masks": lambda path: masks.open_masks(path, []),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("content", NPZS.values(), ids=NPZS)
@pytest.mark.parametrize("read", NPZ_READERS.values(), ids=NPZ_READERS)
def test_odd_and_damaged_containers(tmp_path, read, content):
    (tmp_path / writer.TRUTH).write_bytes(content)
    (tmp_path / writer.MANIFEST).write_text(
        json.dumps({"generator_version": writer.VERSION, "settings": {}})
    )
    refused(read, tmp_path / writer.TRUTH)


@pytest.mark.parametrize("content", NPZS.values(), ids=NPZS)
def test_a_report_goes_on_without_damaged_details(tmp_path, content):
    (tmp_path / "v.npz").write_bytes(content)
    found, note = read_details(tmp_path / "v.npz")
    assert found == {} and "v.npz" in note


def test_names_that_are_no_text(tmp_path):
    for name in (
        np.array(["a\ud83d"]),
        np.array([b"\xe9"]),
        np.frombuffer(struct.pack("<I", 0x7FFFFFFF), "<U1"),
    ):
        np.savez(tmp_path / "x.npz", name=name)
        refused(lambda path: Npz(path).names(), tmp_path / "x.npz", "no text")


def test_more_than_there_is_memory():
    arrays.require_memory("x", 1 << 20)
    with pytest.raises(DataError, match="fits into memory"):
        arrays.require_memory("x", 1 << 60)


@pytest.mark.parametrize(
    "text", ["３", "1_0", "²", "+5", "0x10", "1e2", "10.0", "", "--1", "9" * 40, "nan"]
)
def test_what_is_no_plain_number_is_no_frame(tmp_path, text):
    """Python's own int and float take some of these."""
    for file, line in (
        ("spans.csv", f"name,start,end\nv,{text},99\n"),
        ("counts.txt", f"v@{text}\n"),
    ):
        (tmp_path / file).write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match="spans.csv, line 2"):
        annotations.parse_spans_csv(tmp_path / "spans.csv")
    with pytest.raises(DataError, match="counts.txt, line 1"):
        annotations.parse_frame_counts(tmp_path / "counts.txt")


def test_a_span_twice(tmp_path):
    """Two classes may share one; the same line again is a slip."""
    rows = "name,start,end,class\nv,1,9,a\nv,1,9,b\n"
    (tmp_path / "spans.csv").write_text(rows)
    assert annotations.parse_spans_csv(tmp_path / "spans.csv")["v"] == [(1, 9, "a"), (1, 9, "b")]
    (tmp_path / "spans.csv").write_text(rows + "v.mp4,1,9,a\n")
    with pytest.raises(DataError, match="line 4: span 1 to 9 of video 'v.mp4' stands twice"):
        annotations.parse_spans_csv(tmp_path / "spans.csv")
