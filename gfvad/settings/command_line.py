"""The command line of a run: everything wrong with it is said by name, before any device work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

import gfvad
from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest
from gfvad.settings import page
from gfvad.settings.config import config_hash, flatten, load, stored

MODES = ("train", "evaluate", "score")
SHARED_FILES = (
    "__init__",
    "common",
    "predictive",
    "novelty",
    "variants",
    "predictive_variants",
    "novelty_variants",
)
PATHS = ("input", "output", "captions", "data")


class Arguments(NamedTuple):
    """What a command line asks for."""

    config: ConfigDict
    mode: str  # one of MODES
    workdir: Path  # folder of the run
    checkpoint: str  # last | best | a step
    input: Path | None  # score: a feature file or folder
    output: Path | None  # score: the scores.npz to write; evaluate with data: a folder
    captions: Path | None  # score: JSON of timed sentences of the input
    data: Path | None = None  # evaluate: other data than the run's own


def parse(argv: Sequence[str], check: Callable[[ConfigDict], None]) -> Arguments:
    """Parses and checks a command line (without the program's name).

    check: refuses impossible configurations (`gfvad.tasks.check`). Raises ConfigError naming the
    key, what was found and what is valid.
    """
    values, rest = _read(argv)
    if rest:
        raise ConfigError(
            f"unexpected argument {rest[0]!r}; options are written --name=value (see --help)"
        )
    config = values.config
    if config is not None:
        check(config)
    elif values.workdir:
        config = load(values.workdir)
        with stored(values.workdir):
            check(config)
    else:
        raise ConfigError(
            "--config=configs/NAME.py is missing (or --workdir=DIR of an earlier run)"
        )
    _refuse_mismatch(values)
    workdir = values.workdir or f"runs/{config.data.dataset}-{config_hash(config)}"
    path = {
        name: Path(text).expanduser() if (text := values[name].value) else None for name in PATHS
    }
    return Arguments(config, values.mode, Path(workdir), values.checkpoint, **path)


def settings_text(argv: Sequence[str]) -> str:
    """The settings of the config that a command line names, with its values: help. Raises
    ConfigError."""
    chosen = [word for word in argv if word.startswith("--config")]
    return page.as_text(_read(chosen)[0].config)


def find_config(name: str, option: str = "config", folder: str = "configs") -> Path:
    """The file of a config: a path, or the name of one in configs/ here, or of one that ships with
    the package (`xd`, `configs/xd.py`); of a sweep alike. Makes `import configs` work for it.

    Raises ConfigError with the names that there are.
    """
    given = Path(name).expanduser()
    file = f"{given.name.removesuffix('.py')}.py"
    places = [given] if given.suffix == ".py" else [Path(folder) / file]
    if given.parent in (Path("."), Path(folder)):
        places.append(shipped_configs().parent / folder / file)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"--{option}={name}: file not found; expected the path of one, or one of"
            f" {', '.join(config_names(folder))}"
        )
    if (root := str(shipped_configs().parent)) not in sys.path:
        sys.path.append(root)
    return path


def shipped_configs() -> Path:
    """The folder of the configs that come with the package: of the checkout, or installed."""
    package = Path(gfvad.__file__).parent
    checkout = package.parent / "configs"
    return checkout if (checkout / "common.py").is_file() else package / "bundled" / "configs"


def config_names(folder: str = "configs") -> list[str]:
    """Names that --config= takes: of configs/ here, and of those that ship with the package; or
    --sweep=, of configs/sweeps."""
    folders = (Path(folder), shipped_configs().parent / folder)
    names = {path.stem for folder in folders for path in folder.glob("*.py")}
    return sorted(names - set(SHARED_FILES))


def _read(argv: Sequence[str]) -> tuple[flags.FlagValues, Sequence[str]]:
    """Values of the options, and the words that are none. Raises ConfigError."""
    # the file before its overrides, in whatever order they were given
    argv = sorted(map(_with_path, argv), key=lambda word: not word.startswith("--config="))
    values = _flag_values(argv)
    try:
        _refuse_unknown_keys(argv)
        return values, values(["gfvad", *argv])[1:]
    except flags.Error as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ConfigError(
            lines[0] if len(lines) == 1 else f"{lines[0].split(': Error')[0]}: {lines[-1].strip()}"
        ) from error


def _with_path(word: str) -> str:
    """'--config=xd:rgb' with the path of the file."""
    if not word.startswith("--config="):
        return word
    name, colon, variant = word.removeprefix("--config=").partition(":")
    return f"--config={find_config(name)}{colon}{variant}"


def _flag_values(argv: Sequence[str]) -> flags.FlagValues:
    values, words = flags.FlagValues(), ["gfvad", *argv]
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=words)
    flags.DEFINE_enum("mode", MODES[0], MODES, "", flag_values=values)
    flags.DEFINE_string("checkpoint", "last", "", flag_values=values)
    for name in ("workdir", *PATHS):
        flags.DEFINE_string(name, None, "", flag_values=values)
    return values


def _refuse_unknown_keys(argv: Sequence[str]) -> None:
    """Raises ConfigError for the first --config.KEY that the chosen config file does not have, with
    the nearest valid key."""
    prefix = "--config."
    keys = [word.removeprefix(prefix).split("=")[0] for word in argv if word.startswith(prefix)]
    plain = [word for word in argv if not word.startswith(prefix)]
    values = _flag_values(plain)
    values(["gfvad", *plain])
    if values.config is None:
        if keys:
            raise ConfigError("--config.KEY=VALUE needs --config=configs/NAME.py")
        return
    known = list(flatten(values.config))
    for key in keys:
        if below := [other for other in known if other.startswith(f"{key}.")]:
            raise ConfigError(
                f"--config.{key}: {key} is a group of keys, set one of {', '.join(below)}"
            )
        if key not in known:
            raise ConfigError(f"--config.{key}: no such key{nearest(key, known)}")


def _refuse_mismatch(values: flags.FlagValues) -> None:
    """Raises ConfigError for options that do not go together, or are empty."""
    if values.workdir == "":
        raise ConfigError("--workdir=: no folder; expected one, or no --workdir for the default")
    if values.mode == "score" and not (values.input and values.output):
        raise ConfigError("--mode=score needs --input=FILE_OR_FOLDER and --output=scores.npz")
    if values.mode == "score" and not str(values.output).endswith(".npz"):
        raise ConfigError(f"--output={values.output}: expected a name ending in .npz")
    if values.data and (values.mode != "evaluate" or not values.output):
        raise ConfigError(
            f"--data={values.data}: expected gfvad evaluate --workdir=RUN --data=FOLDER"
            " --output=FOLDER, which evaluates a run on other data"
        )
    if values.mode == "evaluate" and values.output and not values.data:
        raise ConfigError(
            f"--output={values.output}: a run is evaluated into its own folder; expected"
            " --data=FOLDER too, for an evaluation on other data"
        )
