"""Rules of the house about names, read from the source: one meaning a function name, and kinds of
task told apart by their contract."""

import ast
from collections import defaultdict

import pytest

from gfvad.settings.kinds import KINDS

MOST = 3  # modules that may define a function of one name
EVERYWHERE = {"main", "run"}  # of commands, of benches


@pytest.fixture(scope="module")
def trees(repository):
    """Path -> syntax tree, of the package and the configurations."""
    return {
        str(path.relative_to(repository)): ast.parse(path.read_text())
        for folder in ("gfvad", "configs")
        for path in sorted((repository / folder).rglob("*.py"))
    }


def test_a_function_name_stands_in_few_modules(trees):
    contract = {
        function.name
        for node in trees["gfvad/tasks/task.py"].body
        if isinstance(node, ast.ClassDef) and node.name == "Task"
        for function in node.body
        if isinstance(function, ast.FunctionDef)
    }
    assert {"check", "open_run", "export"} <= contract
    where = defaultdict(list)
    for path, tree in trees.items():
        for node in tree.body if path.startswith("gfvad/") else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                where[node.name].append(path)
    allowed = EVERYWHERE | contract
    many = {name: paths for name, paths in where.items() if len(paths) > MOST}
    assert not {name: paths for name, paths in many.items() if name not in allowed}


def names_of_kinds(tree):
    """Lines where an expression asks which kind of task it is by a string: a comparison, a case, a
    table that is read at once."""
    strings = lambda nodes: {n.value for n in nodes if isinstance(n, ast.Constant)} & KINDS.keys()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if any(strings(ast.walk(side)) for side in sides):
                yield node.lineno
        elif isinstance(node, ast.MatchValue) and strings((node.value,)):
            yield node.value.lineno
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
            if strings(key for key in node.value.keys if key):
                yield node.lineno


def test_the_rule_finds_what_asks_for_a_kind():
    text = """
a = config.kind == "weak"
b = "predictive" != kind
c = kind in ("weak", "other")
d = {"weak": 1, "predictive": 2}[kind]
match kind:
    case "weak": pass
ALLOWED = default_config("weak"), {"weak": 1}, kind == other
"""
    assert sorted(names_of_kinds(ast.parse(text))) == [2, 3, 4, 5, 7]


def test_kinds_are_asked_for_among_tasks_alone(trees):
    found = {
        path: lines
        for path, tree in trees.items()
        if not path.startswith("gfvad/tasks/") and (lines := list(names_of_kinds(tree)))
    }
    assert not found
