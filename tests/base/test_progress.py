"""What a long job says about itself."""

import io

from gfvad.base import progress as progress_lib
from gfvad.base.progress import Progress, format_duration, format_progress


def test_durations():
    assert [format_duration(s) for s in (0, 0.2, 59.5, 61, 3600, 36061)] == [
        "0:00",
        "0:01",
        "1:00",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]
    assert (
        format_duration(float("inf")) == format_duration(float("nan")) == format_duration(-1) == "?"
    )


def test_lines():
    assert (
        format_progress("train", 120, 400, "videos", 4.0)
        == "train: 120/400 videos (30 %), 30.0 videos/s, 0:10 left"
    )
    assert (
        format_progress("train", 400, 400, "videos", 12.0)
        == "train: 400 videos in 0:12, 33.3 videos/s"
    )
    assert format_progress("train", 5, 0, "steps", 2.0) == "train: 5 steps, 2.5 steps/s"
    assert (
        format_progress("train", 2, 10, "videos", 10.0)
        == "train: 2/10 videos (20 %), 5.0 s a video, 0:40 left"
    )
    assert (
        format_progress("train", 0, 10, "videos", 0.0)
        == "train: 0/10 videos (0 %), 0.0 videos/s, ? left"
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_whole_lines(monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(progress_lib.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with Progress(4, "read", stream=stream) as bar:
        for _ in range(4):
            bar.advance()
    lines = stream.getvalue().splitlines()
    # a line every few seconds, not one a video
    assert 2 <= len(lines) < 5 and lines[-1].startswith("read: 4 videos in")
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_one_line(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(progress_lib.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    with Progress(2, "read", stream=stream) as bar:
        bar.advance()
        bar.advance()
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") == 3


def test_an_error_leaves_the_count():
    stream = io.StringIO()
    try:
        with Progress(9, "read", stream=stream) as bar:
            bar.advance(3)
            raise KeyError
    except KeyError:
        pass
    assert stream.getvalue().startswith("read: 3/9 videos")
