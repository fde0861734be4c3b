"""What commands write, at the command line: nobody else's file is replaced, one bad item stops
nothing, no password is told, no cell runs, two writers, no room."""

from __future__ import annotations

import csv
import errno
import json
import os
from types import SimpleNamespace

import feature_folders as ff
import numpy as np
import pytest
from scoring_calls import (  # noqa: F401
    FORMULA,
    NAMES,
    call,
    features,
    scorer,
)

from gfvad.base import locks, run_files
from gfvad.base.errors import DataError, command
from gfvad.base.files import read_table
from gfvad.commands import prepare, report, score
from gfvad.measure import results
from gfvad.measure.score_result import UnitScore
from gfvad.scoring import files
from gfvad.tasks.scoring import StreamModel


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---- nobody else's file is replaced


@pytest.mark.parametrize("name", ["scores.csv", "alarms.csv", "scores.json", "details/calm.npz"])
def test_score_leaves_what_is_not_its_own(call, scorer, tmp_path, capsys, name):
    theirs = ff.write_lines(tmp_path / "out" / name, "mine")
    assert call() == 2 and theirs.read_text() == "mine\n" and not scorer.seen  # before any work
    said = capsys.readouterr().err
    assert said.startswith(
        (
            f"error: {theirs}: a file of 5 bytes, not written by gfvad score; expected",
            f"error: {theirs}: a ",
        )
    )
    assert "move it away" in said and len(said.strip().splitlines()) == 1
    assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == [theirs.name]


def test_score_again_over_its_own(call, tmp_path, capsys):
    assert call() == 0
    notes, first = (
        ff.write_lines(tmp_path / "out" / "notes.txt", "mine"),
        (tmp_path / "out" / "scores.csv").read_bytes(),
    )
    assert (
        call() == 0
        and (tmp_path / "out" / "scores.csv").read_bytes() == first
        and notes.read_text() == "mine\n"
    )
    (tmp_path / "out" / ".gfvad-scores.json").unlink()  # the version before kept no record
    assert call() == 0
    with open(tmp_path / "out" / "scores.csv", "a") as file:
        file.write("my remark\n")
    assert call() == 2 and (tmp_path / "out" / "scores.csv").read_text().endswith("my remark\n")
    assert "scores.csv: changed since gfvad score wrote it" in capsys.readouterr().err


def test_a_report_leaves_what_is_not_its_own(call, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    assert call() == 0
    out = tmp_path / "out"
    config = ff.write_lines(tmp_path / "run" / "config.json", '{"data": {}}')
    for theirs in (
        config,
        ff.write_lines(tmp_path / "thesis.html", "<html>mine</html>"),
        out / "scores.json",
    ):
        before = theirs.read_bytes()
        assert report.main([str(out), f"--out={theirs}"]) == 2 and theirs.read_bytes() == before
        assert f"{theirs}: a " in capsys.readouterr().err
    assert report.main([str(out)]) == 0 and report.main([str(out)]) == 0
    page = (out / "report.html").read_text()
    assert '"threshold":0.5' in page and 'content="gfvad report"' in page
    (out / ".gfvad-report.json").unlink()
    assert report.main([str(out)]) == 0  # known by its content
    with open(out / "report.html", "a") as file:
        file.write("<p>my remark</p>")
    assert report.main([str(out)]) == 2 and (out / "report.html").read_text().endswith(
        "<p>my remark</p>"
    )


def test_an_output_of_frames(tmp_path, capsys):
    """`--mode=score --output=`, of both kinds of model."""

    @command
    @run_files.claims_output
    def job(arguments):
        run_files.publish(
            arguments.output, lambda path: results.write_scores(path, {"a": np.full(3, value)})
        )
        return 0

    arguments, value = SimpleNamespace(output=tmp_path / "scores.npz"), 0.25
    assert job(arguments) == 0
    value = 0.5
    (tmp_path / ".gfvad-frame-scores.json").unlink()
    assert job(arguments) == 0 and results.read_scores(tmp_path / "scores.npz")["a"][0] == 0.5
    for content in ({"x": np.zeros((4, 3), np.float32)}, {"name": np.array(["a"])}):
        np.savez_compressed(tmp_path / "scores.npz", **content)
        before = (tmp_path / "scores.npz").read_bytes()
        for record in (True, False):
            if not record:
                (tmp_path / ".gfvad-frame-scores.json").unlink(missing_ok=True)
            assert job(arguments) == 2 and (tmp_path / "scores.npz").read_bytes() == before
        assert "scores.npz: " in capsys.readouterr().err
    with locks.locked(tmp_path, lock=".scores.npz.lock"):
        (tmp_path / "scores.npz").unlink()
        assert job(arguments) == 2 and "works in this output" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.json", '{"name": "my-app"}'),
        ("results.json", '{"schema": "mine"}'),
        ("results.md", "# My results"),
        ("scores.npz", "x"),
        ("metrics.jsonl", '{"loss": 1}\n'),
        ("calibration.json", "[]"),
        ("features.json", "{}"),
        ("figures/learning_curves.png", "x"),
    ],
)
def test_a_run_leaves_what_is_not_its_own(tmp_path, capsys, name, content):
    begun = []
    job = command(run_files.claims_run(lambda arguments: begun.append(1) or 0))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert (
        job(SimpleNamespace(workdir=tmp_path)) == 2
        and not begun
        and (tmp_path / name).read_text() == content
    )
    assert f"{tmp_path / name}: a" in capsys.readouterr().err


def test_prepared_sets_keep_a_users_file(tmp_path, capsys):
    root, out = ff.xd(tmp_path / "xd"), tmp_path / "records"
    arguments = ["--dataset=xd_violence", f"--source={root}", f"--out={out}", "--modalities=audio"]
    assert prepare.main(arguments) == 0
    notes = ff.write_lines(out / "notes.txt", "mine")
    assert prepare.main(arguments) == 0 and notes.is_file()  # nothing to do
    for path in (root / "vggish-features").rglob("*.npy"):
        os.utime(path, (1, 1))  # the source changed
    assert (
        prepare.main(arguments) == 2
        and notes.read_text() == "mine\n"
        and "notes.txt" in capsys.readouterr().err
    )
    notes.unlink()
    assert prepare.main(arguments) == 0


# ---- cells, passwords


def test_no_cell_of_scores_runs(call, tmp_path):
    assert call() == 0
    for name in ("scores.csv", "alarms.csv"):
        cells = {row["video"] for row in rows(tmp_path / "out" / name)}
        assert (
            f"'{FORMULA}" in cells
            and "'@street" in cells
            and "'-1+2" in cells
            and not any(cell[0] in "=+-@\t" for cell in cells)
        )
        assert {r["video"] for _, r in read_table(tmp_path / "out" / name, ("video",))} <= set(
            NAMES
        )
    assert [
        v["name"] for v in json.loads((tmp_path / "out" / "scores.json").read_text())["videos"]
    ] == list(NAMES)


def of_stream(stream):
    """A scorer that scores a stream by `stream`."""
    model = StreamModel(64, 0.5, 16, lambda info: stream)
    facts = {"kind": "weak", "name": "model", "path": "model", "threshold_rule": "made up"}
    return SimpleNamespace(
        **facts,
        contributors=("motion",),
        bounded=True,
        alarm_gap=1.0,
        stream=lambda request: model,
    )


class Silent:
    """A streamer that gives a row a picture."""

    delay = "none"

    def push(self, piece):
        return [UnitScore(piece.time, piece.time + 1, 0.9, {"motion": 1.0})]

    def finish(self):
        return []


@pytest.fixture
def stream(monkeypatch):
    pytest.importorskip("av", reason="PyAV is not installed (launch/requirements-video.txt)")
    from gfvad.scoring import stream

    monkeypatch.setattr(stream, "open_scorer", lambda request: of_stream(Silent()))
    return stream


SECRET = "rtsp://user:secret@127.0.0.1:1/x?token=hidden"


def everything(folder, said):
    return (
        said.out
        + said.err
        + "".join(p.read_text(errors="replace") + p.name for p in folder.rglob("*") if p.is_file())
    )


@pytest.mark.parametrize(
    "arguments", [["--stream"], ["--stream", "--loop"], [], ["more", "--stream"]]
)
def test_no_password_of_an_unreachable_stream(stream, tmp_path, capfd, monkeypatch, arguments):
    from gfvad.extraction import live_sources

    # with few attempts and no waiting, whatever the command's own patience
    monkeypatch.setattr(
        stream,
        "Live",
        lambda source, side, **more: live_sources.Live(
            source, side, **{**more, "max_retries": 1, "sleep": lambda seconds: None}
        ),
    )
    assert score.main([f"--model={tmp_path}", SECRET, *arguments, f"--out={tmp_path / 'out'}"]) == 2
    text = everything(tmp_path, capfd.readouterr())
    assert (
        "secret" not in text
        and "hidden" not in text
        and "user:" not in text
        and ("127.0.0.1" in text or "more" in arguments or not arguments)
    )


def test_no_password_of_a_wrong_command_line(tmp_path, capfd):
    from gfvad.commands import extract

    for main, argv in (
        (score.main, [SECRET, "--model=x", f"--what={SECRET}"]),
        (report.main, ["x", SECRET]),
        (prepare.main, [SECRET]),
    ):
        assert main(argv) == 2
    assert extract.main([SECRET, f"--out={tmp_path / 'out'}"]) == 2
    text = everything(tmp_path, capfd.readouterr())
    assert "secret" not in text and "hidden" not in text and "127.0.0.1" in text


class Source:
    """Pictures of a stream that breaks once, with a library's error that tells the URL."""

    info = SimpleNamespace(sound=False, fps=1.0, duration=0.0)

    def __init__(self, source, side):
        if len(opened) == 1:
            opened.append(0)
            raise DataError(f"{source}: Connection refused: {source!r}")
        opened.append(1)

    def __iter__(self):
        from gfvad.encoders.units import Picture

        yield from (Picture(float(k), np.zeros((4, 4, 3), np.uint8)) for k in range(3))

    def close(self):
        pass


opened: list[int] = []


def test_no_password_in_what_a_stream_leaves(stream, tmp_path, capfd, monkeypatch):
    from gfvad.extraction import live_sources

    monkeypatch.setattr(
        stream,
        "Live",
        lambda source, side, **more: live_sources.Live(
            source, side, **{**more, "opener": Source, "sleep": lambda seconds: None}
        ),
    )
    arguments = [
        f"--model={tmp_path}",
        SECRET,
        "--stream",
        f"--out={tmp_path / 'out'}",
        "--seconds=4",
    ]
    for _ in range(2):  # over its own, too
        opened.clear()
        assert score.main(arguments) == 0
    assert {row["video"] for row in rows(tmp_path / "out" / "scores.csv")} == {"x"} and len(
        rows(tmp_path / "out" / "alarms.csv")
    ) == 1
    text = everything(tmp_path, capfd.readouterr())
    assert "secret" not in text and "hidden" not in text
    assert not [p for p in (tmp_path / "out").iterdir() if "lock" in p.name]
    (tmp_path / "out" / "scores.csv").write_text("mine")
    assert score.main(arguments) == 2 and (tmp_path / "out" / "scores.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "source, name",
    [
        ("rtsp://user:secret@host", "host"),
        ("rtsp://user:secret@host/", "host"),
        ("rtsp://host:554/gate.1", "gate"),
        ("http://a:b@[::1", "http"),
        ("camera:0", "camera:0"),
        ("a/b.mp4", "b"),
    ],
)
def test_names_of_sources(stream, source, name):
    assert stream.source_name(source) == name


# ---- two writers, no room


@pytest.mark.parametrize("what", ["score", "stream", "report"])
def test_the_second_writer_says_who_is_there(call, stream, tmp_path, capsys, monkeypatch, what):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    assert call() == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    commands = {
        "score": call,
        "stream": lambda: call("--stream"),
        "report": lambda: report.main([str(tmp_path / "out")]),
    }
    with locks.locked(
        tmp_path / "out", lock=".gfvad-report.lock" if what == "report" else locks.LOCK
    ):
        assert commands[what]() == 2
    said = capsys.readouterr().err
    assert (
        f"process {os.getpid()} (" in said and "since 20" in said and "give another folder" in said
    )
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "code, message",
    [(errno.ENOSPC, "make some"), (errno.EROFS, "right to write"), (errno.ENOTDIR, "another path")],
)
@pytest.mark.parametrize("what", ["score", "report"])
def test_nothing_saved_is_lost_without_room(
    call, tmp_path, capsys, monkeypatch, code, message, what
):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    assert call() == 0 and report.main([str(tmp_path / "out")]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}

    def full(file):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("gfvad.base.files.os.fsync", full)
    assert (call() if what == "score" else report.main([str(tmp_path / "out")])) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert (
        said[-1].startswith("error: ") and message in said[-1] and str(tmp_path / "out") in said[-1]
    )
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_a_file_in_the_place_of_a_folder(call, scorer, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gfvad.reporting.page.plotly_script", lambda: "")
    (tmp_path / "out").write_text("mine")
    assert (
        call() == 2
        and call("--stream") == 2
        and not scorer.seen
        and (tmp_path / "out").read_text() == "mine"
    )
    assert (
        capsys.readouterr().err.count(
            f"error: {tmp_path / 'out'}: cannot be written to (not a folder)"
        )
        == 2
    )


def test_a_folder_that_is_removed_meanwhile(call, scorer, tmp_path):
    import shutil

    given = scorer.units.score
    scorer.units.score = lambda *arguments, **more: (
        shutil.rmtree(tmp_path / "out", ignore_errors=True),
        given(*arguments, **more),
    )[1]
    assert call() == 0  # all of it is written at the end
    assert {p.name for p in (tmp_path / "out").iterdir()} >= set(files.NAMES)


def test_a_stream_whose_folder_is_removed(stream, tmp_path, capsys, monkeypatch):
    import shutil

    class Removes(Silent):
        def push(self, piece):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            return super().push(piece)

    monkeypatch.setattr(stream, "open_scorer", lambda request: of_stream(Removes()))
    from gfvad.extraction import live_sources

    opened.clear()
    monkeypatch.setattr(
        stream,
        "Live",
        lambda source, side, **more: live_sources.Live(source, side, **{**more, "opener": Source}),
    )
    assert (
        score.main(
            [f"--model={tmp_path}", "rtsp://host/x", "--stream", f"--out={tmp_path / 'out'}"]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert "scores.csv: cannot be written" in said and "removed" in said and "Traceback" not in said


def test_a_cell_of_markdown_stays_one(tmp_path):
    from gfvad.measure.tables import markdown_cell

    assert markdown_cell("a|b\n<script> < 0.5") == "a\\|b &lt;script> < 0.5"
