"""The import rules of docs/architecture.md, file lengths and other rules of the house, read from the source."""
import ast
import re

import pytest

ONE_IMPORTER = {
    "jraph": "gfvad/graphs/tuples.py",
    "orbax": "gfvad/train/checkpoint.py",
    "grain": "gfvad/data/pipeline.py",
    "tensorflow_datasets": "gfvad/data/records.py",
}
JAX_IN_DATA = {"gfvad/data/minilm.py"}
ENTRY_POINTS = {"gfvad.main", "gfvad.prepare"}


def _sources(repository):
    return {str(p.relative_to(repository)): p.read_text() for p in sorted((repository / "gfvad").rglob("*.py"))}


def _imports(text):
    """Every module name imported anywhere in a file, functions included."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("library", sorted(ONE_IMPORTER))
def test_one_importer(repository, library):
    found = [path for path, text in _sources(repository).items() if any(n.split(".")[0] == library for n in _imports(text))]
    assert found == [ONE_IMPORTER[library]]


def test_only_parallel_maps_over_devices(repository):
    pattern = re.compile(r"\b(pmap|shard_map)\s*\(|jax\.(pmap|shard_map)|import (pmap|shard_map)")
    code = {path: re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.S) for path, text in _sources(repository).items()}
    assert [path for path, text in code.items() if pattern.search(text)] == ["gfvad/parallel.py"]


@pytest.mark.parametrize(
    "folder, forbidden",
    [
        ("gfvad/graphs/", ("gfvad.fusion", "gfvad.models", "gfvad.train", "gfvad.data", "gfvad.eval")),
        ("gfvad/fusion/", ("gfvad.models", "gfvad.train", "gfvad.data", "gfvad.eval")),
        ("gfvad/models/", ("gfvad.train", "gfvad.data", "gfvad.eval")),
        ("gfvad/data/", ("gfvad.models", "gfvad.train")),
        ("gfvad/train/", ("gfvad.job",)),
    ],
)
def test_layers(repository, folder, forbidden):
    for path, text in _sources(repository).items():
        if path.startswith(folder):
            assert not [n for n in _imports(text) if n.startswith(forbidden)], path


def test_evaluation_stands_alone(repository):
    """Everything of eval but evaluate.py works on scores alone: no jax, no model, no training code."""
    for path, text in _sources(repository).items():
        if path.startswith("gfvad/eval/") and path != "gfvad/eval/evaluate.py":
            assert not [n for n in _imports(text) if n.startswith(("gfvad.models", "gfvad.train")) or n.split(".")[0] == "jax"], path


def test_jax_stays_out_of_data(repository):
    for path, text in _sources(repository).items():
        if path.startswith("gfvad/data/") and path not in JAX_IN_DATA:
            assert not [n for n in _imports(text) if n.split(".")[0] in ("jax", "flax", "optax")], path


def test_nobody_imports_the_entry_points(repository):
    for path, text in _sources(repository).items():
        assert not _imports(text) & ENTRY_POINTS, path


def test_file_lengths(repository):
    lengths = {path: text.count("\n") for path, text in _sources(repository).items()}
    assert lengths["gfvad/main.py"] < 80
    assert not {path: n for path, n in lengths.items() if n > 320}


def test_top_level(repository):
    """The design card's top level and what the project adds to it, nothing else."""
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    allowed = {"gfvad", "configs", "launch", "tests", "requirements.txt", "README.md", "docs", "LICENSE", "pyproject.toml", ".ci", ".gitignore"}
    assert {line.split("/")[0] for line in tracked.stdout.split("\n") if line} <= allowed


def test_architecture_names_existing_files(repository):
    """Every file and symbol the architecture page names exists."""
    page = (repository / "docs" / "architecture.md").read_text()
    package = repository / "gfvad"
    for name in set(re.findall(r"`((?:gfvad/)?[a-z_]+(?:/[a-z_]+)*\.py)`", page)):
        assert any((base / name.removeprefix("gfvad/")).is_file() for base in (package, repository, package / "data", package / "eval")), name
    for row in re.findall(r"^\| [^|]+ \| `([^`]+)` \| (.+) \|$", page, flags=re.M):
        text = (package / row[0]).read_text()
        for symbol in re.findall(r"`([A-Za-z_]+)`", row[1]):
            assert re.search(rf"^(def|class) {symbol}\b|^{symbol}\b", text, flags=re.M), f"{row[0]}: {symbol}"
