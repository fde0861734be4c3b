"""Names of one's own beside the project's: what may be registered, and how it is found."""

import pytest

from gfvad.base import registry
from gfvad.base.errors import ConfigError
from gfvad.base.registry import Registry


def first():
    return 1


def second():
    return 2


def test_names_are_found_or_told():
    names = Registry("model.part", {"first": first})
    assert names.find("first") is first and "first" in names and list(names) == ["first"]
    with pytest.raises(ConfigError, match=r"config.model.part = 'fist'; did you mean 'first'\?"):
        names.find("fist")
    assert names.find(f"{__name__}:second") is second and "anything:at_all" in names
    for wrong, said in (
        ("nowhere_at_all:x", "No module named"),
        (f"{__name__}:x", "attribute 'x'"),
    ):
        with pytest.raises(ConfigError, match=said):
            names.find(wrong)


def test_registering_again():
    """The same function of the same file replaces itself, as a config that is read twice needs it;
    another one does not."""
    names = Registry("model.part", {"first": first}, adopt=lambda value: (value,))
    assert names.register("mine", second) is second and names["mine"] == (second,)
    again = {}
    exec("def second(): return 3", {"__name__": __name__}, again)
    names.register("mine", again["second"])
    assert names["mine"][0]() == 3
    for name, value in (("first", second), ("mine", first)):
        with pytest.raises(ConfigError, match="registered already"):
            names.register(name, value)
    with pytest.raises(ConfigError, match="is no name"):
        names.register("not a name", first)


def test_plugins(tmp_path, monkeypatch):
    """A file of GFVAD_PLUGINS is run once, when a name is not known."""
    names = Registry("model.part", {"first": first})
    monkeypatch.setattr(registry, "_read", set())
    monkeypatch.setattr(registry, "_registry_of_test", names, raising=False)
    (tmp_path / "mine.py").write_text(
        "from gfvad.base import registry\n"
        "def third():\n    return 3\n"
        "registry._registry_of_test.register('third', third)\n"
    )
    monkeypatch.setenv("GFVAD_PLUGINS", str(tmp_path / "mine.py"))
    assert "first" in names and len(names) == 1
    assert names.find("third")() == 3 and "third" in names
    monkeypatch.setenv("GFVAD_PLUGINS", str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match="none.py is not there"):
        names.find("fourth")
