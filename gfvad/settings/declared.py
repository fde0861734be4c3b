"""How a setting is declared: once, as data. What a command line may say, what a hash contains, what
may vary inside one program, the help and the page of settings all derive from it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gfvad.base.errors import ConfigError
from gfvad.base.names import nearest

LONGEST = 80  # characters of a value in a message
LARGE = 1e6
# From this version on a new setting stands outside every hash while it has the value that does what
# was done before it, so that no older run changes its name.
QUIET_SINCE = (0, 2)


class Range(NamedTuple):
    """Numbers that a setting may have; an open end is itself out of it."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, number: object) -> bool:
        """Whether a finite number lies in it; NaN lies in none."""
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            return False
        if (self.open_low and number == self.low) or (self.open_high and number == self.high):
            return False
        return self.low <= number <= self.high and math.isfinite(number)

    def __str__(self) -> str:
        low, high = (f"{int(x):,}" if x == int(x) < 1e15 else f"{x:g}" for x in self[:2])
        if self.open_high:
            return f"in {'(' if self.open_low else '['}{low}, {high})"
        return f"above {low}, at most {high}" if self.open_low else f"from {low} to {high}"

    def short(self) -> str:
        """The same, without bounds that nobody meets."""
        if self.high < LARGE:
            return str(self)
        if self.low <= -LARGE:
            return ""
        return f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"


COUNT = Range(1, 10**9)
COUNT_OR_NONE = Range(0, 10**9)
WIDTH = Range(1, 65_536)  # of a layer; its square is a matrix of 16 GB
DEPTH = Range(0, 100)  # layers, orders
AMOUNT = Range(0, LARGE)  # a weight, a factor
SIGNED = Range(-LARGE, LARGE)
SHARE = Range(0, 1, open_high=True)
UNIT = Range(0, 1)


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration.

    The default says what kind of value it holds: True or False, text, a whole number, a number, or
    a tuple: of numbers where there is a range, else of names (a command line gives them as 'a,b').
    """

    key: str  # dotted: "train.steps"; inside `group` below its name
    default: Any
    range: Range | None = None  # of every number
    # valid values, or "module.NAME": where they are registered, looked up when a value is checked
    choices: tuple[Any, ...] | str = ()
    needed: bool = False  # a tuple of names: at least one, each once
    varies: bool = False  # settings that differ in it may be trained inside one program
    starts: bool = False  # decides only where parameters and random numbers start
    free: bool = False  # a run may be continued although it differs
    hashed: bool = True  # whether it can change a result
    since: str = ""  # version that it came with; "": it was always there
    before: Any = None  # value that does what was done before it came; None: the default
    only_with: str = ""  # key of the setting that it does nothing without
    meaning: str = ""

    def __post_init__(self) -> None:
        first = self.default[0] if self._several and self.default else self.default
        if isinstance(first, (int, float)) and not isinstance(first, bool) and not self.range:
            assert self.choices, f"{self.key}: a number needs a range"
        if self.before is None:
            object.__setattr__(self, "before", self.default)

    def means(self, meaning: str) -> Setting:
        """The setting, with what it means: one or two plain sentences."""
        return replace(self, meaning=meaning)

    @property
    def _several(self) -> bool:
        return isinstance(self.default, tuple)

    @property
    def names(self) -> bool:
        """Whether it holds a tuple of names."""
        return self._several and self.range is None

    @property
    def quiet(self) -> bool:
        """Whether it stands outside hashes while it has the value `before`."""
        return tuple(map(int, self.since.split("."))) >= QUIET_SINCE if self.since else False

    @property
    def valid(self) -> Collection[Any]:
        """The choices; of registered ones, those that are registered now."""
        if isinstance(self.choices, tuple):
            return self.choices
        module, name = self.choices.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)

    def expected(self) -> str:
        """'a whole number from 1 to 100', 'True or False'."""
        if isinstance(self.default, bool):
            return "True or False"
        if isinstance(self.default, str):
            return "text"
        if self.names:
            return "names, as ('a', 'b')"
        whole = self._whole
        if self._several:
            return f"{'whole ' * whole}numbers, each {self.range}, as (1, 2)"
        if self.range is None:
            return f"one of {', '.join(map(str, self.valid))}"
        noun = "fraction" if self.range == SHARE else "whole number" if whole else "number"
        return f"a {noun} {self.range}"

    def normal(self, value: Any) -> Any:
        """The value, with names given as 'a,b' apart."""
        if not self.names:
            return value
        words = (word.strip() for item in value for word in str(item).split(","))
        return tuple(word for word in words if word)

    def check(self, value: Any) -> None:
        """Raises ConfigError with the key, the value and what is valid."""
        items = value if self._several and isinstance(value, (tuple, list)) else (value,)
        if self._several != isinstance(value, (tuple, list)) or not all(map(self._holds, items)):
            self.refuse(value, self.expected())
        items = self.normal(items)
        valid = self.valid
        listed = ", ".join(map(str, valid))
        for item in items if valid else ():
            if item not in valid:
                hint = nearest(item, tuple(valid)) if isinstance(item, str) else ""
                raise ConfigError(f"config.{self.key} = {item!r}{hint} (one of {listed})")
        if self.needed and (not items or len(set(items)) < len(items)):
            self.refuse(value, f"at least one{f' of {listed}' if valid else ''}, each once")

    def refuse(self, value: Any, expected: str) -> None:
        """Raises ConfigError for a value."""
        raise ConfigError(f"config.{self.key} = {repr(value)[:LONGEST]}: expected {expected}")

    @property
    def _whole(self) -> bool:
        numbers = self.default if self._several else (self.default,)
        return bool(numbers) and all(isinstance(x, int) for x in numbers)

    def _holds(self, item: Any) -> bool:
        """Whether an item is of the setting's type, and in its range."""
        if isinstance(self.default, bool):
            return isinstance(item, bool)
        if isinstance(self.default, str):
            return isinstance(item, str) and "\0" not in item
        if self.names:  # a name of digits comes as a number from a command line
            return isinstance(item, (str, int)) and not isinstance(item, bool)
        if self._whole and not (isinstance(item, int) and not isinstance(item, bool)):
            return False
        return self.range is None or item in self.range


Settings = tuple[Setting, ...]


def group(name: str, *declared: Setting | str, **alike: Any) -> Settings:
    """Settings below a dotted name; `alike` holds for each of them. A text is what the setting
    before it means."""
    return tuple(
        replace(s.means(after) if isinstance(after, str) else s, key=f"{name}.{s.key}", **alike)
        for s, after in zip(declared, (*declared[1:], None))
        if isinstance(s, Setting)
    )


def changed(settings: Iterable[Setting], changes: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The same settings, some with other fields: {key: {"default": 8, "meaning": ...}}."""
    left = dict(changes)

    def change(setting: Setting) -> Setting:
        fields = left.pop(setting.key, {})
        if "default" in fields:  # which a setting of an earlier version did not have either
            fields = {"before": fields["default"], **fields}
        return replace(setting, **fields)

    result = tuple(map(change, settings))
    assert not left, f"no such settings: {', '.join(left)}"
    return result
