"""`gfvad COMMAND`: its help, its one dialect of options, what it says of a slip of the pen, and the
names that commands had before."""

import importlib
import re
import subprocess
import sys

import pytest
from documented import documented, kind

import gfvad
from gfvad.base.errors import EXIT_BAD_INPUT, ConfigError
from gfvad.base.options import Parser, joined
from gfvad.main import COMMANDS, main, overview

FORMER = {
    **{f"gfvad.{name}": name for name in ("ablate", "export", "extract", "prepare", "report")},
    "gfvad.score": "score",
    "gfvad.bench": "bench",
    "gfvad.main": "",
    "gfvad.eval.compare": "compare",
    **{f"gfvad.eval.{name}": f"compare {name}" for name in ("summary", "breakdown", "folds")},
    "gfvad.eval.published": "compare published",
    "gfvad.data.video.describe": "extract describe",
}


def shown(capsys, *words):
    """What a command line prints where it ends well."""
    try:
        code = main(words)
    except SystemExit as left:  # argparse's help
        code = left.code
    assert code == 0
    return capsys.readouterr().out


def test_every_command_stands_in_the_overview(repository):
    files = {path.stem for path in (repository / "gfvad/commands").glob("[a-z]*.py")}
    assert files == set(COMMANDS)
    lines = overview().splitlines()
    assert all(any(re.match(rf"  {name} +[A-Z].*\.$", line) for line in lines) for name in COMMANDS)
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    """What it does, its options, and three examples, each run by a test of this folder."""
    text = shown(capsys, name, "--help")
    about = importlib.import_module(f"gfvad.commands.{name}").__doc__
    assert about.splitlines()[0] in text
    examples = re.findall(rf"^    (gfvad {name} .*?)(?:  |$)", text, flags=re.M)
    examples += ["gfvad doctor"] * (name == "doctor")
    assert len(examples) >= 3
    assert all(kind(example) and example in documented() for example in examples)
    assert all(len(line) <= 100 for line in text.splitlines())
    if name not in ("bench",):
        assert len(re.findall(r"^  (?:-h, )?--[a-z]", text, flags=re.M)) >= 2


def test_help_is_quick(repository):
    """Under a second, and under two with the command's own; no jax is loaded for either."""
    code = (
        "import sys; from gfvad.main import main; main(sys.argv[1:]); print('jax' in sys.modules)"
    )
    for words, seconds in ((["--help"], 1.0), (["train", "--help"], 2.0)):
        done = subprocess.run(
            [sys.executable, "-c", f"import time; {code}; print(time.process_time())", *words],
            cwd=repository,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        *_, loaded, spent = done.stdout.splitlines()
        assert loaded == "False" and float(spent) < seconds


@pytest.mark.parametrize(
    "words, message",
    [
        (["trian"], "gfvad trian: no such command; did you mean 'train'?"),
        (["score", "x", "--modle=y"], "no option --modle; did you mean '--model'?"),
        (["score", "x", "--model=y", "--out="], "--out=: empty; expected a place"),
        (["ablate", "--swep=y"], "did you mean '--sweep'?"),
        (["bench", "fusoin"], "did you mean 'fusion'?"),
        (["train", "--config=xd", "--config.train.step=3"], "did you mean 'train.steps'?"),
        (["train", "--wrkdir=x"], "workdir"),
        (["compare", "a"], "required: B (see gfvad compare --help)"),
    ],
)
def test_slips(words, message, capsys):
    assert main(words) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1


def test_nothing_asked_for(capsys):
    assert main([]) == EXIT_BAD_INPUT and "gfvad COMMAND" in capsys.readouterr().out
    assert shown(capsys, "--version") == f"gfvad {gfvad.__version__}\n"


def test_one_dialect():
    assert joined(["--a", "1", "--b=2", "--c", "-3", "x", "--d"]) == [
        "--a=1",
        "--b=2",
        "--c=-3",
        "x",
        "--d",
    ]
    parser = Parser("gfvad x", None)
    parser.add_argument("--size", type=int)
    assert parser.parse_args(["--size", "3"]) == parser.parse_args(["--size=3"])
    for wrong in (["--si=3"], ["--size=three"], ["more"]):
        with pytest.raises(ConfigError, match="gfvad x --help"):
            parser.parse_args(wrong)


def test_evaluate_is_the_mode_of_that_name(tmp_path, capsys):
    for words in (["evaluate"], ["--mode=evaluate"], ["train", "--mode", "evaluate"]):
        assert main([*words, "--workdir", str(tmp_path)]) == EXIT_BAD_INPUT
        assert "config.json: not found; expected a run's folder" in capsys.readouterr().err


@pytest.mark.parametrize("module, meant", FORMER.items())
def test_former_names(module, meant, repository):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    words = f"gfvad {meant}".strip()
    assert words in done.stdout


def test_the_library_is_not_hidden_by_a_former_command(repository):
    """`gfvad.score` is a function, also where something has imported the module of that name."""
    code = "import gfvad.score, gfvad; assert callable(gfvad.score), gfvad.score"
    assert "score" in gfvad.__all__
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True)
    assert done.returncode == 0, done.stderr
