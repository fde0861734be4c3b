"""`gfvad score --stream` of a source that is not there: waits, says why, ends at once
when asked to, and no password is said."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from gfvad.commands import score
from gfvad.scoring import stream
from gfvad.tasks.scoring import StreamModel


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """The model is opened before the source; none is needed here."""
    model = StreamModel(32, 0.5, 16, None)
    monkeypatch.setattr(
        stream, "open_scorer", lambda request: SimpleNamespace(stream=lambda request: model)
    )


def call(source, *arguments):
    return score.main(["--model=none", source, "--stream", *arguments])


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://user:secret@127.0.0.1:1/a?token=secret",
        "http://user:secret@127.0.0.1:1/a.m3u8",
        "camera:99",
    ],
)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_waiting_ends_with_a_signal(capsys, source, signum):
    asked = []
    thread = threading.Timer(
        0.5, lambda: (asked.append(time.monotonic()), os.kill(os.getpid(), signum))
    )
    thread.start()
    before = signal.getsignal(signum)
    assert call(source) == 128 + signum
    assert time.monotonic() - asked[0] < 2 and signal.getsignal(signum) is before
    said = capsys.readouterr().err
    assert (
        "not there yet" in said
        and "connecting again in 1 s" in said
        and "copy or encode" not in said
    )
    assert "secret" not in said and "user" not in said and "Traceback" not in said


def test_waiting_ends_with_its_time(capsys):
    assert call("rtsp://user:secret@127.0.0.1:1/a", "--seconds=0.3") == 2
    said = capsys.readouterr().err
    assert "not there within 0.3 s" in said and "secret" not in said


def test_a_host_that_never_answers_is_left_at_once(monkeypatch):
    """The network knows no signals: what opens it runs beside."""
    monkeypatch.setattr("gfvad.scoring.patience.open_source", lambda source, side: time.sleep(5))
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    assert call("rtsp://10.255.255.1/a") == 130 and time.monotonic() - began < 3


@pytest.mark.parametrize(
    "make",
    [
        lambda p: None,
        lambda p: p.write_bytes(b"no video"),
        lambda p: os.mkfifo(p),
        lambda p: p.symlink_to(p),
    ],
)
def test_a_file_is_an_error_at_once(tmp_path, capsys, make):
    path = tmp_path / "film.mp4"
    make(path)
    assert call(str(path)) == 2
    assert str(path) in capsys.readouterr().err
