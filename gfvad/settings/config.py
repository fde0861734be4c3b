"""Command line and configuration: everything wrong with them is said by name, before any device
work."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

import gfvad
from gfvad.base.errors import ConfigError, DataError
from gfvad.base.files import lies_at, read_json, write_text
from gfvad.base.names import nearest as nearest
from gfvad.settings import history
from gfvad.settings import values as config_values

CONFIG = "config.json"  # in a run's folder
WRITTEN_BY = "gfvad_version"  # key of config.json that is none of the config
MODES = ("train", "evaluate", "score")
CHOICES = {
    "data.train_sampling": ("uniform", "window", "mean"),
    "data.eval_mode": ("full", "segments"),
    "data.standardize": ("none", "center", "standardize"),
    "data.text_assign": ("nearest", "decay", "overlap"),
    "data.on_corrupt": ("error", "skip"),
    "optim.name": ("adamw", "adam", "sgd"),
    "optim.schedule": ("constant", "cosine"),
    "eval.metric": ("auc", "ap"),
    "parallel.backend": ("pmap", "shard_map"),
}
POSITIVE = (
    "data.train_units",
    "data.eval_batch_size",
    "train.steps",
    "train.members",
    "train.batch_size",
    "train.log_every",
    "train.eval_every",
    "train.checkpoint_every",
    "train.keep",
    "optim.learning_rate",
    "loss.topk_divisor",
    "loss.variance_k",
)
NOT_NEGATIVE = (
    "optim.warmup_steps",
    "optim.weight_decay",
    "optim.clip_norm",
    "eval.bootstrap",
    "parallel.devices",
    "loss.variance",
    "loss.smoothness",
    "loss.sparsity",
    "loss.balance",
    "loss.reconstruction",
    "loss.branch",
    "loss.unit_normal",
    "loss.unit_abnormal",
    "loss.unit_abnormal_steps",
    "loss.consistency",
    "optim.graph_rate",
    "seed",
)
FRACTIONS = (
    "data.validation_fraction",
    "model.dropout",
    "model.input_dropout",
    "loss.label_smoothing",
)


class Arguments(NamedTuple):
    """What a command line asks for."""

    config: ConfigDict
    mode: str
    workdir: Path
    checkpoint: str  # last | best | a step
    input: Path | None
    output: Path | None
    captions: Path | None
    data: Path | None = None  # evaluate: other data than the run's own


def flatten(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    """Dotted key -> value of every leaf of a config; an empty group is one."""
    leaves: dict[str, object] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        leaves.update(
            flatten(value, f"{name}.")
            if isinstance(value, ConfigDict) and len(value)
            else {name: value}
        )
    return leaves


def _flag_values(argv: Sequence[str]) -> flags.FlagValues:
    values, words = flags.FlagValues(), ["gfvad", *argv]
    config_flags.DEFINE_config_file(
        "config",
        None,
        "configs/NAME.py or configs/NAME.py:VARIANT",
        flag_values=values,
        sys_argv=words,
    )
    flags.DEFINE_enum(
        "mode",
        "train",
        MODES,
        "train (evaluates at the end), evaluate, or score videos without labels",
        flag_values=values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "folder of the run (default: runs/DATASET-HASH of the config)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "checkpoint",
        "last",
        "evaluate, score: last, best (on validation), or a step",
        flag_values=values,
    )
    flags.DEFINE_string("input", None, "score: a feature file or folder", flag_values=values)
    flags.DEFINE_string(
        "output",
        None,
        "score: the scores.npz to write; evaluate with --data: a folder",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data",
        None,
        "evaluate: a folder of other data (features, frames or prepared records) than the run's"
        " own; needs --output",
        flag_values=values,
    )
    flags.DEFINE_string(
        "captions",
        None,
        "score: JSON of timed sentences of the input (default: captions.json beside it)",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "show this help", short_name="h", flag_values=values)
    return values


def _unknown_override(argv: Sequence[str]) -> ConfigError | None:
    """The first --config.KEY that the chosen config file does not have, as an error with the
    nearest valid key."""
    keys = [a[len("--config.") :].split("=", 1)[0] for a in argv if a.startswith("--config.")]
    plain = [a for a in argv if not a.startswith("--config.")]
    values = _flag_values(plain)
    values(["gfvad", *plain])
    if values.config is None:
        return ConfigError("--config.KEY=VALUE needs --config=configs/NAME.py") if keys else None
    known = flatten(values.config)
    groups = {k.rsplit(".", i)[0] for k in known for i in range(1, k.count(".") + 1)}
    for key in keys:
        if key in groups:
            return ConfigError(
                f"--config.{key}: {key} is a group of keys, set one of"
                f" {', '.join(k for k in known if k.startswith(key + '.'))}"
            )
        if key not in known:
            return ConfigError(f"--config.{key}: no such key{nearest(key, list(known))}")
    return None


def parse(argv: Sequence[str]) -> Arguments | None:
    """Parses and validates a command line (without the program's name); None where only the help
    was asked for.

    Raises ConfigError naming the key, what was found and what is valid.
    """
    # the file before its overrides, in whatever order they were given
    argv = sorted(argv, key=lambda a: not a.startswith("--config="))
    values = _flag_values(argv)
    try:
        error = _unknown_override(argv)
        if error:
            raise error
        rest = values(["gfvad", *argv])[1:]
    except flags.Error as e:
        lines = [line for line in str(e).splitlines() if line.strip()]
        raise ConfigError(
            lines[0] if len(lines) == 1 else f"{lines[0].split(': Error')[0]}: {lines[-1].strip()}"
        ) from e
    except OSError as e:
        given = next((a for a in argv if a.startswith("--config=")), "--config")
        found = sorted(
            str(p)
            for p in Path("configs").glob("*.py")
            if p.stem not in ("common", "variants", "__init__")
        )
        raise ConfigError(
            f"{given}: file not found; configs here:"
            f" {', '.join(found) or 'none, run this in the checkout'}"
        ) from e
    if values.help:
        print(
            "python -m gfvad.main --config=configs/xd.py [--config.KEY=VALUE ...]"
            f" [--workdir=DIR]\n{values.get_help()}"
        )
        return None
    if rest:
        raise ConfigError(
            f"unexpected argument {rest[0]!r}; options are written --name=value (see --help)"
        )
    config = values.config
    if config is None:
        config = load(values.workdir)
        validate_stored(config, values.workdir)
    else:
        validate(config)
    workdir = (
        Path(values.workdir)
        if values.workdir
        else Path("runs") / f"{config.data.dataset}-{config_hash(config)}"
    )
    if values.mode == "score" and not (values.input and values.output):
        raise ConfigError("--mode=score needs --input=FILE_OR_FOLDER and --output=scores.npz")
    if values.mode == "score" and not str(values.output).endswith(".npz"):
        raise ConfigError(f"--output={values.output}: expected a name ending in .npz")
    if values.data and (values.mode != "evaluate" or not values.output):
        raise ConfigError(
            f"--data={values.data}: expected --mode=evaluate --workdir=RUN --data=FOLDER"
            " --output=FOLDER, which evaluates a run on other data"
        )
    if values.mode == "evaluate" and values.output and not values.data:
        raise ConfigError(
            f"--output={values.output}: a run is evaluated into its own folder; expected"
            " --data=FOLDER too, for an evaluation on other data"
        )
    as_path = lambda text: Path(text).expanduser() if text else None  # noqa: E731
    return Arguments(
        config,
        values.mode,
        workdir,
        values.checkpoint,
        as_path(values.input),
        as_path(values.output),
        as_path(values.captions),
        as_path(values.data),
    )


def load(workdir: str | None) -> ConfigDict:
    """The config stored in a run's folder."""
    if not workdir:
        raise ConfigError(
            "--config=configs/NAME.py is missing (or --workdir=DIR of an earlier run)"
        )
    path = Path(workdir) / CONFIG
    if not lies_at(path):
        raise ConfigError(
            f"{path}: not found; expected a run's folder, or give --config=configs/NAME.py"
        )
    try:
        # which key is not finite is said below
        tree = read_json(path, "the config of a run", finite=False)
    except DataError as error:
        raise ConfigError(f"not a config: {error}; or give --config=configs/NAME.py") from None
    version = str(tree.pop(WRITTEN_BY, "(an early version, which left no number)"))
    try:
        config = ConfigDict(_tuples(tree))
        kind = config.get("kind", "weak")
        for key, value in history.defaults(kind).items():
            _set_default(config, key, value)
        leaves = set(flatten(config))
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: not a config ({error}); give --config=configs/NAME.py"
        ) from None
    if not isinstance(kind, str) or kind not in history.KNOWN:
        raise ConfigError(
            f"{path}: kind = {kind!r}, written by gfvad {version}; this is gfvad"
            f" {gfvad.__version__}, which knows {', '.join(history.KNOWN)}"
        )
    if strange := history.unknown(leaves, kind):
        raise ConfigError(
            f"{path}: key"
            f" {strange[0]!r}{f' and {len(strange) - 1} more' if len(strange) > 1 else ''} is"
            f" unknown here: the run was written by gfvad {version}, this is gfvad"
            f" {gfvad.__version__}; use the version that wrote it, or take the key out if you"
            " added it"
        )
    if missing := sorted(history.KNOWN[kind] - leaves):
        raise ConfigError(
            f"{path}: key {missing[0]!r} is missing (the run was written by gfvad {version});"
            " expected every key of the config: give --config=configs/NAME.py"
        )
    _of_file(path, lambda: config_values.check(flatten(config)))
    return config


def validate_stored(config: ConfigDict, workdir: str | Path) -> None:
    """`validate` of what `load` gave; messages name the file."""
    _of_file(Path(workdir) / CONFIG, lambda: validate(config))


def _of_file(path: Path, check: Callable[[], None]) -> None:
    try:
        check()
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}; the file was changed or is damaged: put it back, or give"
            " --config=configs/NAME.py"
        ) from None


def _set_default(config: ConfigDict, key: str, value: object) -> None:
    """Sets a dotted key where it is absent, groups above it included."""
    *groups, leaf = key.split(".")
    for group in groups:
        if group not in config:
            config[group] = ConfigDict()
        config = config[group]
    if leaf not in config:
        config[leaf] = value


def save(config: ConfigDict, workdir: Path) -> None:
    """Writes config.json, with the version that writes it, into a run's folder (whole or not at
    all). Raises DataError where it cannot."""
    text = json.dumps({**config.to_dict(), WRITTEN_BY: gfvad.__version__}, indent=1, sort_keys=True)
    write_text(workdir / CONFIG, text)


def config_hash(config: ConfigDict) -> str:
    """Eight hex digits that change with any value that can change a result."""
    import hashlib

    apart = ("data.cache_dir", "eval.figures", "train.log_every", "data.on_corrupt")
    leaves = {k: v for k, v in flatten(config).items() if k not in apart}
    return hashlib.sha256(json.dumps(leaves, sort_keys=True, default=list).encode()).hexdigest()[:8]


def _tuples(tree):
    """JSON lists back to the tuples they were."""
    if isinstance(tree, dict):
        return {k: _tuples(v) for k, v in tree.items()}
    return tuple(_tuples(v) for v in tree) if isinstance(tree, list) else tree


def validate(config: ConfigDict) -> None:
    """Normalises 'a,b' given for a tuple of names, then refuses impossible values by name."""
    leaves, kind = flatten(config), config.get("kind", "weak")
    config_values.check(leaves)
    if kind not in history.KNOWN:
        raise ConfigError(f"config.kind = {kind!r}: expected one of {', '.join(history.KNOWN)}")
    if missing := sorted(history.KNOWN[kind] - set(leaves) - {"kind"}):
        raise ConfigError(
            f"config.{missing[0]} is missing; expected every key of a configuration of kind"
            f" {kind!r} (configs/)"
        )
    if kind == "predictive":
        from gfvad.tasks.prediction.settings import validate as validate_predictive

        return validate_predictive(config)
    for key in ("modalities",):
        names = tuple(
            part.strip()
            for item in config.data[key]
            for part in str(item).split(",")
            if part.strip()
        )
        config.data[key] = names
    for group, key in (
        (config.model.filter, "modalities"),
        (config.model.relation, "sources"),
        (config.model, "confidence"),
    ):
        group[key] = tuple(
            part.strip() for item in group[key] for part in str(item).split(",") if part.strip()
        )
    leaves = flatten(config)

    def refuse(key: str, expected: str) -> None:
        raise ConfigError(f"config.{key} = {leaves[key]!r}: expected {expected}")

    for key, valid in CHOICES.items():
        if leaves[key] not in valid:
            raise ConfigError(
                f"config.{key} = {leaves[key]!r}{nearest(str(leaves[key]), valid)} (one of"
                f" {', '.join(valid)})"
            )
    for key in POSITIVE:
        if not leaves[key] > 0:
            refuse(key, "a number above 0")
    for key in NOT_NEGATIVE:
        if leaves[key] < 0:
            refuse(key, "0 or more")
    for key in FRACTIONS:
        if not 0 <= leaves[key] < 1:
            refuse(key, "a fraction in [0, 1)")
    if not config.data.modalities:
        refuse("data.modalities", "at least one modality")
    if len(set(config.data.modalities)) < len(config.data.modalities):
        refuse("data.modalities", "each modality once")
    lengths = config.data.eval_lengths
    if not lengths or any(n <= 0 for n in lengths) or list(lengths) != sorted(set(lengths)):
        refuse("data.eval_lengths", "increasing positive lengths")
    if config.data.validation_fraction > 0.5:
        refuse("data.validation_fraction", "at most 0.5")
    if (
        "text" in config.data.modalities
        and not config.data.captions
        and config.data.layout not in ("xd_violence", "tevad", "ped2_weak")
    ):
        raise ConfigError(
            "config.data.modalities has 'text' but config.data.captions is empty; give the JSON of"
            " timed sentences"
        )
    from gfvad.data import corrupt
    from gfvad.tasks.fusion import registry  # imports jax, which starts no backend

    corrupt.check(config.data.corruption, config.data.modalities)
    registry.check(config, config.data.modalities)
    return None
