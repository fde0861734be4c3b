"""The jobs behind the command line, top to bottom: train (and evaluate), evaluate.
`score_input.py` scores."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gfvad.base import run_files
from gfvad.base.errors import EXIT_NOT_FINITE
from gfvad.base.progress import Progress
from gfvad.base.types import DataError, ScoredVideo
from gfvad.data import sampling, simulate, streams
from gfvad.data.features import layouts, records
from gfvad.data.features.source import SIMULATED, Source, fit_lengths, resolve
from gfvad.extraction import provenance
from gfvad.fusion.coefficients import dense_coefficients, is_pictured
from gfvad.measure import calibration, finite, protocols, results, tables, untrained, whole_clips
from gfvad.settings import config as config_lib
from gfvad.settings.config import Arguments
from gfvad.tasks.fusion import pictures, registry
from gfvad.tasks.fusion.evaluate import Evaluator, scored_videos
from gfvad.tasks.fusion.training import FUSION, Training
from gfvad.train import loop, parallel
from gfvad.train.checkpoint import Checkpoints
from gfvad.train.identity import alone, learnt, refuse_other_data, skipped_text, stated
from gfvad.train.meter import NonFiniteError
from gfvad.train.optim import make_optimiser
from gfvad.train.parallel import check_batches
from gfvad.train.run import SingleRun
from gfvad.train.state import TrainState, first_member, init_state

# checkpoint -> its name in results
RULES = {"last": "last", "best": "validation-best", "best_on_test": protocols.BEST_ON_TEST}
SCORES = "scores.npz"
# training videos (evenly over the split) whose scores give the mean and spread of the 'train'
# normalisation
STATISTICS_VIDEOS = 400
BANNER = """
  ##############################################################################################
  #  SIMULATED DATA. No features were given, so this run uses the embedded simulated set.        #
  #  Its numbers say nothing about the real {name:<52} #
  #  Real features: docs/data.md, then --config.data.root=FOLDER (require_real=True insists).    #
  ##############################################################################################
"""


class Parts(NamedTuple):
    """What every job needs of a run."""

    config: ConfigDict
    workdir: Path
    source: Source
    train: Any  # Records
    test: Any  # Records
    model: Any
    mapper: parallel.Mapper
    say: Callable[[str], None]


class Restored(NamedTuple):
    """Weights to evaluate, and the rule that chose them."""

    rule: str  # last | validation-best | best-on-test | step N
    step: int
    state: TrainState


class Scored(NamedTuple):
    """Frame scores of the test split by the weights that a rule chose."""

    rule: str
    videos: list[ScoredVideo]
    # mean and standard deviation of frame scores on training videos
    statistics: tuple[float, float] | None
    # of the checkpoint, whose alarm threshold is used; -1 for weights that were not calibrated
    step: int = -1
    # that threshold and how it was made; None: as the folder has it
    alarm: tuple[float, str] | None = None


@run_files.claims_run
def train(arguments: Arguments) -> int:
    """Trains (or goes on), then evaluates. Returns the exit code."""
    started = time.monotonic()
    parts = set_up(arguments)
    with alone(parts.workdir, parts.mapper.process_index):
        if (parts.workdir / loop.CHECKPOINTS).is_dir():
            with Checkpoints(parts.workdir / loop.CHECKPOINTS, parts.config, learnt(parts.train)):
                # opening refuses a run of another configuration before anything of it is written
                # over
                pass
        refuse_other_data(parts.workdir, data_of(parts)["content"])
        if parts.mapper.process_index == 0:
            config_lib.save(parts.config, parts.workdir)
            provenance.keep(parts.source.root, parts.workdir)
        try:
            task = Training(
                parts.config, parts.train, parts.model, parts.mapper, parts.test, parts.say
            )
            loop.train(SingleRun(task), parts.workdir)
        except NonFiniteError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_NOT_FINITE
        return evaluate_run(parts, "last", started)


@run_files.claims_results
def evaluate(arguments: Arguments) -> int:
    """Evaluates the checkpoints of a run again. Returns the exit code."""
    started = time.monotonic()
    require_checkpoints(arguments.workdir)
    parts = set_up(arguments)
    with alone(parts.workdir, parts.mapper.process_index):
        refuse_other_data(parts.workdir, data_of(parts)["content"])
        return evaluate_run(parts, arguments.checkpoint, started)


def data_of(parts: Parts) -> dict[str, Any]:
    """What results.json says of the data, by content."""
    return stated(train=parts.train, test=parts.test)


def set_up(arguments: Arguments) -> Parts:
    """Data, model and devices of a run; everything that can be wrong with the input is wrong
    here, before any long work."""
    config = arguments.config
    parallel.initialise_distributed()
    mapper = parallel.make_mapper(config.parallel.backend, config.parallel.devices)
    check_batches(config, mapper)
    say = loop.to_stderr if mapper.process_index == 0 else loop.quiet
    source = resolve(config, say)
    fit_lengths(config, source)
    announce(source, say)
    say(f"run: {arguments.workdir}")
    return assemble(config, arguments.workdir, source, mapper, say)


def announce(source: Source, say: Callable[[str], None]) -> None:
    """Says it where the data is simulated."""
    if source.simulated:
        say(BANNER.format(name=source.dataset.removesuffix(SIMULATED) + "."))


def assemble(
    config: ConfigDict,
    workdir: Path,
    source: Source,
    mapper: parallel.Mapper,
    say: Callable[[str], None],
) -> Parts:
    """The parts of a run whose data is found and whose lengths fit it."""
    damaged = config.data.on_corrupt
    train, test = (
        records.open_records(source.records, split, config.data.modalities, damaged)
        for split in ("train", "test")
    )
    model = registry.build_model(config, train.dims, records.feature_stats(source.records, damaged))
    for part in (train, test):
        if part.skipped:
            say(f"data: {skipped_text(part)}")
    return Parts(config, workdir, source, train, test, model, mapper, say)


def evaluate_run(parts: Parts, which: str, started: float) -> int:
    """Scores the test split, evaluates every protocol, writes results, scores and figures,
    prints the table."""
    evaluator = Evaluator(parts.mapper, parts.model, parts.config)
    found = checkpoints(parts, which)
    videos: dict[int, list[ScoredVideo]] = {}
    scored: list[Scored] = []
    for chosen in found:
        if chosen.step not in videos:
            videos[chosen.step] = score_videos(
                evaluator, chosen.state, parts.test, f"scoring the test split ({chosen.rule})"
            )
        if parts.mapper.process_index == 0:
            stats = (
                training_statistics(evaluator, chosen, parts)
                if parts.mapper.process_count == 1
                else None
            )
            scored.append(Scored(chosen.rule, videos[chosen.step], stats, chosen.step))
    if parts.mapper.process_index:
        return 0
    parts.say(
        f"evaluating every protocol, {parts.config.eval.bootstrap} bootstrap resamples"
        f" ({', '.join(one.rule for one in scored)})"
    )
    tree = write_run(parts, scored, lambda: time.monotonic() - started)
    folder, drawn = parts.workdir, []
    if parts.config.eval.figures:
        tensor = fusion_coefficients(parts.config, found[0].state)
        drawn = pictures.draw(
            folder,
            parts.source.dataset,
            evaluator,
            found[0].state,
            parts.test,
            scored[0].videos,
            tensor,
        )
        run_files.drawn(folder, drawn)
    tables.print_table(tree)
    for part in (parts.train, parts.test):
        if part.skipped:
            print(f"note: {skipped_text(part)}")
    print(
        f"\nresults  {folder / 'results.json'}, {folder / 'results.md'}\nscores   {folder / SCORES}"
    )
    if drawn:
        print(f"figures  {', '.join(str(path) for path in drawn)}")
    return 0


def write_run(
    parts: Parts,
    scored: Sequence[Scored],
    seconds: Callable[[], float],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluates every protocol and writes scores.npz, results.md and results.json, the last one
    last: it says that a run is finished.

    Args: scored: of each rule, the one whose scores are kept first; seconds: how long the run took;
    extra: what results.json says of the data (None: `data_of`). Returns the tree of results.json.
    """
    folder, cfg = parts.workdir, parts.config
    for one in scored:
        finite.require(folder / SCORES, one.videos, lambda i: parts.test[i].features)
    rows: list[protocols.Record] = []
    for one in scored:
        rows += protocols.protocol_matrix(
            one.videos, cfg.eval, one.statistics, checkpoint=one.rule, seed=cfg.seed
        )
        alarm = one.alarm or calibration.read_calibration(folder, one.step)
        rows += whole_clips.records(one.videos, alarm, one.rule, cfg.eval.bootstrap, cfg.seed)
    tree = results.build_results(
        rows,
        describe(parts, scored[0].videos, seconds()) | (data_of(parts) if extra is None else extra),
    )
    with run_files.run(folder).staged(last="results.json") as staging:
        results.write_scores(staging / SCORES, scored[0].videos)
        results.atomically(
            staging / "results.md", lambda file: file.write(tables.markdown(tree).encode())
        )
        return results.write_tree(staging / "results.json", tree)


def checkpoints(parts: Parts, which: str) -> list[Restored]:
    """The weights to evaluate: the one asked for and, beside the last, the best on validation
    (and on test, where it was followed)."""
    config = parts.config
    require_checkpoints(parts.workdir)
    rules = {which: RULES.get(which, f"step {which}")} | (RULES if which == "last" else {})
    if not config.eval.every_on_test:
        rules.pop("best_on_test", None)
    wanted = template(config, parts.model, parts.train)
    with Checkpoints(parts.workdir / loop.CHECKPOINTS, config, learnt(parts.train)) as kept:
        found = [
            (rule, kept.restore(name, wanted))
            for name, rule in rules.items()
            if name == which or kept.step_of(name) is not None
        ]
    return [Restored(rule, restored.step, restored.state) for rule, restored in found]


def require_checkpoints(workdir: Path) -> None:
    """Raises DataError where a folder is not that of a trained run."""
    if not (workdir / loop.CHECKPOINTS).is_dir():
        raise DataError(
            f"{workdir / loop.CHECKPOINTS}: not found; expected the folder of a trained run: train"
            " first, or give --workdir=RUN"
        )


def template(config: ConfigDict, model: Any, split: Any) -> TrainState:
    """A state of the right shapes, to restore into."""
    transform = make_optimiser(config.optim, config.train.steps).transform
    features = streams.example_features(split.dims, config.data)
    return init_state(model, transform, features, config.seed, config.train.members)


def score_videos(
    evaluator: Evaluator,
    state: TrainState,
    split: Any,
    label: str,
    indices: Sequence[int] | None = None,
) -> list[ScoredVideo]:
    """Frame scores of the videos of a split (None: all), with progress."""
    indices = range(len(split)) if indices is None else indices
    with Progress(len(indices), label) as progress:
        scores = evaluator.unit_scores(state, split, indices, progress.advance)
    return list(scored_videos(scores, split, indices))


def training_statistics(
    evaluator: Evaluator, chosen: Restored, parts: Parts
) -> tuple[float, float]:
    """Mean and standard deviation of frame scores over (at most STATISTICS_VIDEOS, evenly
    chosen) training videos; of the last checkpoint's the alarm threshold too."""
    indices = statistics_indices(len(parts.train))
    scored = score_videos(
        evaluator,
        chosen.state,
        parts.train,
        "scoring training videos for their statistics",
        indices,
    )
    lost = finite.divide(scored, lambda i: parts.train[int(indices[i])].features)[1]
    if lost:
        raise DataError(
            f"{len(lost)} training videos have no usable scores: "
            + "; ".join(f"{name}: {why}" for name, why in list(lost.items())[:3])
        )
    if chosen.rule == RULES["last"]:
        _, held_out = sampling.split_validation(
            parts.train.names, parts.train.labels, parts.config.data.validation_fraction
        )
        calibration.write_calibration(
            parts.workdir, chosen.step, scored, {parts.train.names[i] for i in held_out}
        )
    return spread_of_frames(scored)


def statistics_indices(videos: int) -> np.ndarray:
    """The videos of a training split of that many that `training_statistics` looks at."""
    return np.unique(np.linspace(0, videos - 1, min(videos, STATISTICS_VIDEOS)).round().astype(int))


def spread_of_frames(videos: Sequence[ScoredVideo]) -> tuple[float, float]:
    """Mean and standard deviation over all frame scores."""
    frames = np.concatenate([v.scores.astype(np.float32) for v in videos])
    return float(frames.mean(dtype=np.float64)), float(frames.std(dtype=np.float64))


def describe(parts: Parts, videos: Sequence[ScoredVideo], seconds: float) -> dict[str, Any]:
    """What results.json says besides the values."""
    config = parts.config
    without_seed = config.copy_and_resolve_references()
    # neither changes a value that is averaged over seeds
    without_seed.seed = without_seed.eval.bootstrap = 0
    label = " + ".join(config.data.modalities) + (f" ({config.variant})" if config.variant else "")
    meta = {
        "dataset": parts.source.dataset,
        "split": config.data.test_name,
        "ground_truth_frames": sum(len(v.scores) for v in videos),
        "positive_frames": sum(int(v.labels.sum()) for v in videos),
        "seed": config.seed,
        "config_hash": config_lib.config_hash(config),
        "group": config_lib.config_hash(without_seed),
        "label": label,
        "device": device_name(parts.mapper),
        "wall_seconds": seconds,
        "metric": config.eval.metric,
        "config": config.to_dict(),
    }
    if parts.source.simulated and parts.source.root is not None:
        meta["bayes_optimal"] = simulate.report(parts.source.root, config.data.modalities)
    return meta | compared(parts, videos)


def compared(parts: Parts, videos: Sequence[ScoredVideo]) -> dict[str, Any]:
    """Floors and other ground truths of a layout that has them, for results.json
    (`measure/untrained.py`); {} for others, and where only records were given."""
    if not layouts.LAYOUTS[parts.config.data.layout].compares:
        return {}
    if parts.source.root is None:
        parts.say(
            "floors are left out: they are made from the files in config.data.root, and only"
            " config.data.records was given"
        )
        return {}
    layout = layouts.open_layout(parts.config.data)
    return {
        "ground_truth": layout.ground_truth,
        **untrained.beside(videos, layout.untrained(), layout.other_truths()),
    }


def fusion_coefficients(
    config: ConfigDict, state: TrainState
) -> tuple[np.ndarray, list[str], int] | None:
    """(A as a dense tensor, its first channel; names of its axes; number of channels); None for
    a model without, or with more graphs than a picture shows."""
    names = registry.graph_names(config.model, config.data.modalities)
    fusion = config.model.fusion
    if FUSION not in state.params or not is_pictured(fusion, len(names)):
        return None
    channels = np.asarray(dense_coefficients(first_member(state.params[FUSION], state), fusion))
    axes = channels.ndim - 1
    return (
        channels[0],
        names if axes == len(names) else [f"graph {i + 1} of the pair" for i in range(axes)],
        len(channels),
    )


def device_name(mapper: parallel.Mapper) -> str:
    """'8 x cpu, pmap'."""
    return f"{mapper.n_global} x {jax.devices()[0].device_kind}, {mapper.backend}"
