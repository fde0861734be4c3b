"""The import rules of docs/architecture.md, file lengths and other rules of the house, read from
the source."""

import ast
import re

import pytest

ONE_IMPORTER = {
    "jraph": "gfvad/graphs/tuples.py",
    "orbax": "gfvad/train/checkpoint.py",
    "grain": "gfvad/data/pipeline.py",
    "tensorflow_datasets": "gfvad/data/features/shards.py",
}
IMPORTERS = {  # libraries that are imported where they are needed, by these files alone
    "torch": {"gfvad/encoders/vision.py"},
    "transformers": {"gfvad/encoders/vision.py"},
    "onnxruntime": {"gfvad/encoders/onnx_image.py"},
    "av": {
        "gfvad/bench/fuzz/media.py",
        "gfvad/data/frames/decode.py",
        "gfvad/data/frames/containers.py",
        "gfvad/figures/video.py",
        "gfvad/extraction/media.py",
        "gfvad/extraction/clocks.py",
        # reads frames, writes a video, reads frames and sound, encodes anew
        "gfvad/reporting/transcode.py",
    },
    "plotly": {"gfvad/reporting/page.py"},
}
AT_THE_TOP = {"av"}
JAX_IN_DATA = {"gfvad/encoders/minilm.py", "gfvad/encoders/efficientnet.py"}
ENTRY_POINTS = ("gfvad.main", "gfvad.commands", "gfvad.shims")


def _sources(repository):
    return {
        str(p.relative_to(repository)): p.read_text()
        for p in sorted((repository / "gfvad").rglob("*.py"))
    }


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
    found = [
        path
        for path, text in _sources(repository).items()
        if any(n.split(".")[0] == library for n in _imports(text))
    ]
    assert found == [ONE_IMPORTER[library]]


@pytest.mark.parametrize("library", sorted(IMPORTERS))
def test_few_importers(repository, library):
    found = {
        path
        for path, text in _sources(repository).items()
        if any(n.split(".")[0] == library for n in _imports(text))
    }
    assert found == IMPORTERS[library]
    for path in () if library in AT_THE_TOP else found:
        # optional: the file itself has to import without it
        top = [
            node
            for node in ast.parse((repository / path).read_text()).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        assert not [
            n for node in top for n in _imports(ast.unparse(node)) if n.split(".")[0] == library
        ], path


def test_only_parallel_maps_over_devices(repository):
    pattern = re.compile(r"\b(pmap|shard_map)\s*\(|jax\.(pmap|shard_map)|import (pmap|shard_map)")
    code = {
        path: re.sub(r'""".*?"""|#[^\n]*', "", text, flags=re.S)
        for path, text in _sources(repository).items()
    }
    assert [path for path, text in code.items() if pattern.search(text)] == [
        "gfvad/train/parallel.py"
    ]


def test_measures_stand_alone(repository):
    """What is measured of scores and maps needs no jax and no model."""
    for path, text in _sources(repository).items():
        if path.startswith("gfvad/measure/"):
            names = {name.split(".")[0] for name in _imports(text)}
            assert not names & {"jax", "flax", "optax"}, path


@pytest.mark.parametrize(
    "folder", ["gfvad/data/frames/", "gfvad/measure/", "gfvad/extraction/", "gfvad/reporting/"]
)
def test_numpy_parts_load_no_jax(repository, folder):
    """Also not through what they import: in a fresh interpreter."""
    import subprocess
    import sys

    modules = [
        path.removesuffix(".py").replace("/", ".")
        for path in _sources(repository)
        if path.startswith(folder)
    ]
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print([m for m in"
        " ('jax', 'flax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr


def test_jax_stays_out_of_data(repository):
    for path, text in _sources(repository).items():
        if path.startswith("gfvad/data/") and path not in JAX_IN_DATA:
            assert not [n for n in _imports(text) if n.split(".")[0] in ("jax", "flax", "optax")], (
                path
            )


def test_nobody_imports_the_entry_points(repository):
    """But each other, and the commands by their former names."""
    for path, text in _sources(repository).items():
        if not path.startswith(("gfvad/commands/", "gfvad/shims/")) and "__main__" not in path:
            assert not [n for n in _imports(text) if n.startswith(ENTRY_POINTS)], path


def test_file_lengths(repository):
    lengths = {path: text.count("\n") for path, text in _sources(repository).items()}
    assert lengths["gfvad/main.py"] < 80
    assert not {path: n for path, n in lengths.items() if n > 320}


def test_top_level(repository):
    """The design card's top level and what the project adds to it, nothing else."""
    import subprocess

    tracked = subprocess.run(
        ["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    allowed = {
        "gfvad",
        "configs",
        "launch",
        "tests",
        "requirements.txt",
        "README.md",
        "docs",
        "LICENSE",
        "pyproject.toml",
        "setup.py",
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        ".github",
        ".ci",
        ".gitignore",
    }
    assert {line.split("/")[0] for line in tracked.stdout.split("\n") if line} <= allowed


def test_architecture_names_existing_files(repository):
    """Every file and symbol the architecture page names exists; in a row of two files ';' parts
    the symbols of each."""
    page = (repository / "docs" / "architecture.md").read_text()
    package = repository / "gfvad"
    for name in set(re.findall(r"`((?:gfvad/)?[a-z_]+(?:/[a-z_]+)*\.py)`", page)):
        assert any(
            (base / name.removeprefix("gfvad/")).is_file()
            for base in (
                package,
                repository,
                *(package / folder for folder in ("tasks/fusion", "tasks/prediction")),
            )
        ), name
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| (.+) \|$", page, flags=re.M)
    assert len(rows) > 20
    for files, symbols in rows:
        files, parts = re.findall(r"`([^`]+)`", files), symbols.split(";")
        assert len(parts) == len(files), symbols
        for file, part in zip(files, parts):
            for symbol in re.findall(r"`([A-Za-z_]+)`", part):
                assert re.search(
                    rf"^(def|class) {symbol}\b|^{symbol}\b",
                    (package / file).read_text(),
                    flags=re.M,
                ), f"{file}: {symbol}"


def test_architecture_is_one_page(repository):
    assert len((repository / "docs" / "architecture.md").read_text().splitlines()) <= 150


# From low to high: a folder imports from those before it, never from those after it.
LAYERS = (
    "base",
    "graphs",
    "fusion",
    "nn",
    "models",
    "measure",
    "settings",
    "encoders",
    "data",
    "data/simulate",
    "data/frames",
    "data/pictures",
    "data/features",
    "data/units",
    "train",
    "figures",
    "extraction",
    "tasks",
    "tasks/prediction",
    "tasks/fusion",
    "tasks/novelty",
    "plan",
    "scoring",
    "ablation",
    "reporting",
    "library",
    "plugins",
    "bench",
    "commands",
    "main",
)


def _layer(path):
    inner = path.removeprefix("gfvad/")
    nested = [name for name in LAYERS if "/" in name and inner.startswith(f"{name}/")]
    return nested[0] if nested else inner.split("/")[0].removesuffix(".py")


@pytest.fixture(scope="module")
def own_imports(repository):
    """Path -> paths of our own modules that it imports anywhere."""
    sources = _sources(repository)
    modules = {p[:-3].replace("/", ".").removesuffix(".__init__"): p for p in sources}
    found = {}
    for path, text in sources.items():
        names = set()
        tree = ast.parse(text)
        for node in ast.walk(tree):  # what is imported for types alone is not imported
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = [ast.Pass()]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                whole = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                # a module that is taken from its folder is no import of the folder
                names |= {n if n in modules else node.module for n in whole.values()}
        found[path] = {modules[n] for n in names if n in modules and n != "gfvad"} - {path}
    return found


def test_folders_import_downwards(own_imports):
    wrong = [
        f"{path} imports {other}"
        for path, others in own_imports.items()
        for other in others
        if not path.endswith("__main__.py")  # `python -m gfvad.bench`, as before
        and _layer(path) in LAYERS
        and _layer(other) in LAYERS
        and LAYERS.index(_layer(path)) < LAYERS.index(_layer(other))
    ]
    assert not wrong


def test_no_circle_of_imports(own_imports):
    """Not through functions either: what a module needs late does not need it."""
    state = {}

    def visit(path, trail):
        state[path] = "open"
        for other in sorted(own_imports[path]):
            assert state.get(other) != "open", " -> ".join([*trail, path, other])
            if other not in state:
                visit(other, (*trail, path))
        state[path] = "done"

    for path in own_imports:
        if path not in state:
            visit(path, ())
