"""200 mutated inputs in a process of their own; and that the judge of outcomes sees each kind of
wrong one."""

import os
import subprocess
import sys

import pytest
from documented import of

pytest.importorskip("av", reason="PyAV is not installed (launch/requirements-video.txt)")
pytest.importorskip("cv2", reason="OpenCV is not installed (launch/requirements-video.txt)")
pytest.importorskip("plotly", reason="plotly is not installed (launch/requirements-report.txt)")

from gfvad.bench.fuzz import cases, meant, oracle, places  # noqa: E402
from gfvad.bench.fuzz.effect import CHANGES, EITHER, ERROR, SAME, SECRET  # noqa: E402

CASES, SEED = 200, 0


def test_mutated_inputs(repository, tmp_path):
    """No traceback, no hang, nothing silently wrong, nothing written elsewhere: every kind of
    input, by the commands that read it."""
    [command] = of("fuzz")  # as it is documented
    words = [sys.executable, "-m", "gfvad.bench", *command.split("bench ")[1].split()]
    words += [f"--cases={CASES}", f"--seed={SEED}"]
    environment = os.environ | {"PYTHONPATH": str(repository), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        words,
        cwd=repository,
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{CASES} cases" in done.stdout


def test_cases_are_those_of_their_seed():
    """A number and a seed name the same case everywhere; all kinds take turns."""
    first, again = ([cases.draw(3, n) for n in range(40)] for _ in range(2))
    assert [(c.kind, c.command, c.mutation, c.rng.random()) for c in first] == [
        (c.kind, c.command, c.mutation, c.rng.random()) for c in again
    ]
    assert {c.kind for c in first} == set(cases.KINDS) and len(cases.KINDS) == 10
    assert [c.command for c in first] != [cases.draw(4, n).command for n in range(40)]


SOUND = {"digests": [{"train\ta": "1", "train\tb": "2"}], "exit": 0, "local": True}
CLEAR = "error: a.npy: not a number; expected numbers: make it again\n"


def verdict(expect, *, digest=None, errors="", status=0, hung=False, **told):
    told = {
        "effect": {"expect": expect, "names": ("a.npy", "a"), "seconds": told.pop("seconds", 0)},
        "digest": SOUND["digests"][0] if digest is None else digest,
    } | told
    return oracle.judge(told, SOUND, "", errors, status, hung).outcome


@pytest.mark.parametrize(
    "outcome, expect, given",
    [
        (oracle.RIGHT, SAME, {}),
        (oracle.RIGHT, EITHER, {}),
        (oracle.RIGHT, CHANGES, {"digest": {"train\ta": "9", "train\tb": "2"}}),
        (
            oracle.RIGHT,
            EITHER,
            {"digest": {"train\tb": "2"}, "errors": "warning: a.npy is passed over"},
        ),
        (oracle.CLEAR, ERROR, {"status": 2, "errors": CLEAR}),
        (
            oracle.CLEAR,
            ERROR,
            {
                "status": 1,
                "errors": "1 of 2 files gave no scores:\n  a.npy: not a number",
                "digest": {"train\tb": "2"},
            },
        ),
        (oracle.UNCLEAR, ERROR, {"status": 2, "errors": "error: it is wrong\n"}),
        (oracle.UNCLEAR, ERROR, {"status": 2, "errors": "a.npy is wrong\n"}),
        (oracle.UNCLEAR, ERROR, {"status": 2, "errors": CLEAR + CLEAR}),
        (
            oracle.UNCLEAR,
            ERROR,
            {"status": 2, "errors": CLEAR.replace("make it again", "please report this")},
        ),
        (oracle.UNCLEAR, ERROR, {"status": 2, "errors": CLEAR.replace("numbers", SECRET)}),
        (oracle.UNCLEAR, CHANGES, {"secret": "out/scores.csv"}),
        (
            oracle.TRACEBACK,
            ERROR,
            {
                "status": 97,
                "errors": "Traceback (most recent call last):\n  ...\nKeyError: 'a.npy'",
            },
        ),
        (oracle.TRACEBACK, ERROR, {"status": -11}),
        (oracle.HANG, ERROR, {"status": -9, "hung": True}),
        (oracle.SILENT, ERROR, {}),
        (oracle.SILENT, SAME, {"status": 2, "errors": CLEAR}),
        (oracle.SILENT, SAME, {"digest": {"train\ta": "9", "train\tb": "2"}}),
        (oracle.SILENT, EITHER, {"digest": {"train\tb": "2"}}),
        (oracle.SILENT, CHANGES, {"digest": {"train\ta": "1", "train\tb": "9"}}),
        (oracle.SILENT, CHANGES, {"not_finite": "out/scores.csv"}),
        (oracle.OUTSIDE, SAME, {"wrong": ["removed user/notes.txt"]}),
    ],
)
def test_the_judge(outcome, expect, given):
    assert verdict(expect, **given) == outcome


def test_what_is_written_elsewhere_is_seen(tmp_path):
    """Inputs and a user's files; what lies in an output folder already is the user's, unless it
    is named as the command's own."""
    for name in ("user/notes.txt", "in/a.npy", "out/notes.txt", "run/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = places.snapshot(tmp_path)
    (tmp_path / "out" / "scores.csv").write_text("made")
    (tmp_path / "run" / "config.json").write_text("new")
    assert places.written(before, places.snapshot(tmp_path), ("out", "run"), ("run",)) == []
    (tmp_path / "user" / "notes.txt").unlink()
    (tmp_path / "in" / "a.npy").write_text("other")
    (tmp_path / "out" / "notes.txt").unlink()
    (tmp_path / "stray").write_text("")
    found = places.written(before, places.snapshot(tmp_path), ("out", "run"), ("run",))
    assert found == [
        "changed in/a.npy",
        "removed out/notes.txt",
        "made stray",
        "removed user/notes.txt",
    ]


@pytest.mark.parametrize(
    "file, before, after, videos",
    [
        ("a.jsonl", '{"video": "a", "text": "b"}\n', '{"video": "a", "text": "("}\n', ["a"]),
        ("a.jsonl", '{"video": "a", "text": "b"}\n', '{"video": "x", "text": "b"}\n', []),
        ("a.jsonl", '{"video": "a", "text": "b"}\n', '{"video": "a", "texu": "b"}\n', []),
        (
            "a.json",
            '{"a": {"duration": 2.5, "sentences": ["x"]}, "b": 1}',
            '{"a": {"duration": 3.5, "sentences": [""]}, "b": 1}',
            ["a"],
        ),
        ("a.json", '{"a": {"duration": 2.5}}', '{"a": {"duration": NaN}}', []),
        ("a.json", '{"a": {"duration": 2.5}}', '{"a": {"duration": "x"}}', []),
        ("a.json", '{"a": [1, 2]}', '{"a": [1]}', []),
        ("a.csv", "name,start,end\na,10,20\nb,1,2\n", "name,start,end\na,10,70\nb,1,2\n", ["a"]),
        ("a.csv", "name,start,end\na,10,20\n", "name,start,end\na,10,2x\n", []),
        ("a.csv", "name,start,end\na,10,20\n", "name,start,end\nc,10,20\n", []),
        ("a.csv", "name,start,end\na,10,20\n", "name,start,end\na,10;20\n", []),
        ("a.txt", "a.mp4@10\n", "a.mp4@30\n", ["a"]),
    ],
)
def test_values_that_no_reader_can_tell(tmp_path, file, before, after, videos):
    """Names, keys, kinds and numbers of values are the reader's to judge; what stands there is
    not."""
    (tmp_path / file).write_text(after)
    assert meant.changed_values(before.encode(), tmp_path / file) == videos
