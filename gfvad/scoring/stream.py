"""Scores of a file, a camera or a stream of a network as its frames come, printed and kept;
memory does not grow with time."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

from gfvad.base.errors import EXIT_SOME_FAILED
from gfvad.base.secrets import redact
from gfvad.base.types import ConfigError
from gfvad.encoders.units import Picture
from gfvad.extraction.live_sources import Live, is_file
from gfvad.measure.score_result import VideoScores
from gfvad.scoring import files
from gfvad.scoring.job import model_of, open_scorer
from gfvad.scoring.log import Log
from gfvad.scoring.patience import Interrupted, Patience
from gfvad.tasks.scoring import Request, Scorer, StreamModel


def watch(request: Request, loop: bool = False, seconds: float = 0.0) -> int:
    """Scores a source until it ends, is interrupted, or `seconds` of it have passed (0: never);
    returns the exit code: 0 done, 130 / 143 interrupted.

    Prints a line every half a second and says when an alarm begins and ends; with request.out they
    are kept in scores.csv and alarms.csv as they come, and the other files of `files.py` are
    written at the end. A camera or a stream that is not there is waited for, at most `seconds`
    where that is given.
    Raises DataError where the model or a file cannot be opened, or a source did not come in time,
    ConfigError for several sources.
    """
    if len(request.inputs) != 1:
        raise ConfigError(f"--stream with {len(request.inputs)} inputs; expected one source")
    with ExitStack() as stack:
        if request.out is not None:
            stack.enter_context(files.owned(request.out).locked("folder of scores", files.NAMES))
        return _watch(request, loop, seconds)


def source_name(source: str) -> str:
    """What a source is called in tables: a file's name without suffix, the last part of a URL's
    path, or its host; never a password."""
    if "://" not in source:
        return Path(source).stem or source
    try:
        parts = urlsplit(source)
        return redact(Path(parts.path).stem or parts.hostname or parts.scheme)
    except ValueError:  # no URL after all
        return source.partition("://")[0]


def _watch(request: Request, loop: bool, seconds: float) -> int:
    scorer = open_scorer(request)
    model = scorer.stream(request)
    stopped: list[int] = []
    before = {
        s: signal.signal(s, lambda number, frame: stopped.append(number))
        for s in (signal.SIGINT, signal.SIGTERM)
    }
    lost = 0
    try:
        patience = Patience(request.inputs[0], stopped, seconds)
        say = lambda line: print(redact(line), file=sys.stderr, flush=True)
        with closing(
            Live(
                request.inputs[0],
                model.side,
                loop=loop,
                say=say,
                opener=patience.open,
                sleep=patience.sleep,
            )
        ) as source:
            lost = score_pieces(request, source, (scorer, model), seconds, stopped)
    except Interrupted:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + stopped[0] if stopped else EXIT_SOME_FAILED if lost else 0


def score_pieces(
    request: Request,
    source: Live,
    opened: tuple[Scorer, StreamModel],
    seconds: float,
    stopped: Sequence[int],
) -> int:
    """Scores what comes until it ends, `stopped` holds a signal, or `seconds` of it have passed;
    returns how many scores were not finite."""
    scorer, model = opened
    stream = model.start(source.info)
    threshold = model.threshold if request.threshold is None else request.threshold
    rule = (model.rule or scorer.threshold_rule) if request.threshold is None else "given"
    print(
        f"model    {scorer.name}\nalarms   from {threshold:.4g} ({rule})\ndelay    {stream.delay}",
        flush=True,
    )
    columns = files.Columns(scorer.contributors, model.culprit)
    log = Log(request.out, source_name(request.inputs[0]), (threshold, scorer.alarm_gap), columns)
    frames = 0
    try:
        for piece in source:
            arrived = time.monotonic()
            for unit in stream.push(piece):
                log.take(unit, time.monotonic() - arrived)
            frames += isinstance(piece, Picture)
            if stopped or (seconds and isinstance(piece, Picture) and piece.time >= seconds):
                break
        else:
            for unit in stream.finish():
                log.take(unit, 0.0)
    finally:
        log.close()
    if request.out is not None and log.is_whole():
        names, given = scorer.contributors, request.inputs[0]
        start, end, score, contributions = files.read_stream(request.out, names)
        path = str(Path(given).expanduser().resolve()) if is_file(given) else ""
        made_of = dict(zip(names, contributions, strict=True))
        about = source_name(given), path, source.info.fps, frames
        video = VideoScores(*about, start, end, score, made_of, unit_frames=model.unit_frames)
        with files.owned(request.out).staged(last=files.SCORES_JSON) as folder:
            files.write_scores(folder, model_of(scorer, request), threshold, [video], tables=False)
    return log.lost
