"""`gfvad bench stream`: the predictive model on one video: frames a second of whole-video
scoring, delay of a paced stream, memory over a long looped one.

Everything is counted: decoding, resizing, optical flow, the model, the score. Compilation is not
(its seconds are printed).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gfvad.base.options import Parser
from gfvad.base.progress import Progress
from gfvad.bench.fusion import busy
from gfvad.data.frames import decode
from gfvad.data.frames.video_folders import VideoFile
from gfvad.encoders.units import Picture
from gfvad.tasks.prediction.scorer import PredictiveScorer, one_video
from gfvad.tasks.prediction.stream import FRAMES, ClipStreamer

MEGABYTE = 1 << 20


def resident() -> float:
    """Megabytes of this process in memory (the most so far, where the system does not tell the
    present ones)."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def looped(video: VideoFile, fps: float, seconds: float) -> Iterator[tuple[float, np.ndarray]]:
    """(time, frame [H, W, 3]) of a video again and again, decoded anew each time, for so many
    seconds of it."""
    count, frames = int(seconds * fps), iter(())
    for i in range(count):
        frame = next(frames, None)
        if frame is None:
            frames = decode.read_frames(video, decode.RGB)
            frame = next(frames)
        yield i / fps, frame


def time_whole(
    scorer: PredictiveScorer, video: VideoFile, repeats: int
) -> tuple[int, float, float]:
    """(frames, seconds of the first scoring, with compilation; median seconds of `repeats`
    further ones)."""
    taken = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        frames = scorer.score_video(video.path).frames
        taken.append(time.perf_counter() - start)
    return frames, taken[0], float(np.median(taken[1:]))


def paced(streamer: ClipStreamer, video: VideoFile, fps: float, seconds: float) -> np.ndarray:
    """Seconds from the moment a frame was due to its row, of every frame of a stream at its own
    pace. What comes late, because the last frame took long, counts as late."""
    streamer.restart()
    delays = []
    start = time.perf_counter()
    for at, frame in looped(video, fps, seconds):
        time.sleep(max(0.0, start + at - time.perf_counter()))
        for _ in streamer.push(Picture(at, frame)):
            delays.append(time.perf_counter() - start - len(delays) / fps)
    streamer.finish()
    return np.array(delays)


def endurance(
    streamer: ClipStreamer, video: VideoFile, fps: float, seconds: float
) -> tuple[list[tuple[float, float]], float]:
    """((stream seconds, megabytes in memory) at start, middle and end of a stream as fast as it
    goes; frames a second)."""
    total, marks, rows = int(seconds * fps), [], 0
    started = time.perf_counter()
    with Progress(total, "stream", "frames") as progress:
        for i, (at, frame) in enumerate(looped(video, fps, seconds)):
            rows += len(streamer.push(Picture(at, frame)))
            # not at once: the first minute fills buffers
            if i in (min(total - 1, int(60 * fps)), total // 2, total - 1):
                marks.append((at, resident()))
            progress.advance()
    rows += len(streamer.finish())
    if rows != total:
        raise AssertionError(f"{rows} rows of {total} frames")
    return marks, total / (time.perf_counter() - started)


def run(argv: Sequence[str]) -> int:
    """Prints a line a figure."""
    parser = Parser("gfvad bench stream", __doc__)
    option = parser.add_argument
    option("--workdir", required=True, help="folder of a run of the predictive model")
    option("--video", required=True, type=Path, help="a video, or a folder of numbered images")
    option("--checkpoint", default="last")
    option("--frames", type=int, default=FRAMES, help="that a stream brings to the model together")
    option("--repeats", type=int, default=3, help="timed scorings of the whole video")
    option("--paced", type=float, default=60.0, help="seconds of stream with delays taken; 0: not")
    option("--seconds", type=float, default=3600.0, help="of stream with memory taken; 0: not")
    arguments = parser.parse_args(list(argv))
    start = time.perf_counter()
    scorer = PredictiveScorer.open(arguments.workdir, arguments.checkpoint)
    video = one_video(arguments.video.expanduser())
    fps = decode.frame_rate(video) or decode.DEFAULT_FPS
    say = partial(print, flush=True)
    say(f"{scorer.name}{busy()}; opened in {time.perf_counter() - start:.1f} s")
    if arguments.repeats:
        frames, first, again = time_whole(scorer, video, arguments.repeats)
        say(
            f"whole video: {frames} frames at {fps:g} a second: {frames / again:.1f} frames/s,"
            f" {frames / again / fps:.2f} times real time; the first took {first:.1f} s"
        )
    start = time.perf_counter()
    streamer = ClipStreamer(scorer, arguments.frames)
    say(
        f"stream in groups of {arguments.frames} frames, made ready in"
        f" {time.perf_counter() - start:.1f} s"
    )
    if arguments.paced:
        delays = paced(streamer, video, fps, arguments.paced)
        say(
            f"delay of {len(delays)} frames paced at {fps:g} a second: median"
            f" {np.median(delays):.3f} s, 95 % below {np.quantile(delays, 0.95):.3f} s, longest"
            f" {delays.max():.3f} s"
        )
    if arguments.seconds:
        marks, rate = endurance(streamer, video, fps, arguments.seconds)
        sizes = ", ".join(f"{size:,.1f} MB in memory at {at:,.0f} s" for at, size in marks)
        say(f"looped stream of {arguments.seconds:,.0f} s at {rate:.1f} frames/s: {sizes}")
    return 0
