"""Figures of a plan that need no compiler: chips, exchanges in a program's text, times, pages."""

import json

import pytest

from gfvad.base.types import ConfigError
from gfvad.plan import page
from gfvad.plan.chips import CHIPS, topology
from gfvad.plan.collectives import Collective, array_bytes, collectives
from gfvad.plan.roofline import Counted, apart, largest_batch, least_moved, times

PROGRAM = """
  %all-reduce.1 = (s32[]{:T(128)}, s32[]{:T(128)}) all-reduce(%a, %b), channel_id=1
  %all-reduce-start.2 = f32[128,8]{0,1:T(8,128)S(1)} all-reduce-start(%c), replica_groups={{0,1}}
  %all-reduce-done.2 = f32[128,8]{0,1} all-reduce-done(%all-reduce-start.2)
  ROOT %gather = bf16[2,3]{1,0} all-gather(%d), dimensions={0}
  %x = f32[4]{0} add(%all-reduce.1, %all-reduce.1)
"""


def counted(**changes):
    known = {
        "flops": 2e12,
        "moved": 8e9,
        "arguments": 3e9,
        "results": 1e9,
        "held": 9e9,
        "of_batch": 1e9,
        "collectives": {"all-reduce": Collective(1, 100_000_000)},
        "seconds": 1.0,
    }
    return Counted(**known | changes)


def plan(name="v5e:2x2", **changes):
    known = {
        "topology": topology(name),
        "batch": 64,
        "configured": 64,
        "steps": 1000,
        "training": counted(),
        "evaluation": counted(),
    }
    return page.Planned(**known | changes)


def test_exchanges_are_counted_once_with_their_bytes():
    assert collectives(PROGRAM) == {
        "all-reduce": Collective(2, 8 + 4096),
        "all-gather": Collective(1, 12),
    }


@pytest.mark.parametrize(
    "text, expected",
    [
        ("f32[]", 4),
        ("pred[3]", 3),
        ("(u8[2,2], s64[1])", 12),
        ("bf16[0,5]{1,0}", 0),
        ("token[]", 0),
    ],
)
def test_bytes_of_a_type(text, expected):
    assert array_bytes(text) == expected


@pytest.mark.parametrize("name, chips", [("v5e:16x16", 256), ("v5p:2x2x2", 8), ("h200:8", 8)])
def test_topologies(name, chips):
    found = topology(name)
    assert (found.chips, found.gpu) == (chips, name[0] == "h")


@pytest.mark.parametrize("name", ["v5", "v5e", "v5e:", "v5e:2xx", "h200:0", ":4", "v5e:-1"])
def test_what_is_no_topology(name):
    with pytest.raises(ConfigError, match=f"--topology={name}: .*expected"):
        topology(name)


def test_the_longest_of_three_binds():
    chip = CHIPS["v5e"]
    found = times(counted(), chip, 4)
    assert found.arithmetic == pytest.approx(2e12 / 197e12)
    assert found.memory == pytest.approx(8e9 / 819e9)
    # three halves of what is reduced, through one direction of the links
    assert found.interconnect == pytest.approx(1.5 * 1e8 / 100e9)
    assert (found.step, found.binds) == (found.arithmetic, "arithmetic")
    alone = times(counted(flops=0), chip, 1)
    assert alone.interconnect == 0 and alone.binds == "memory"


def test_how_far_from_its_bound():
    chip = CHIPS["v5e"]
    assert least_moved(counted()) == 4e9
    assert apart(counted(moved=4e9, flops=0), chip) == pytest.approx(1)
    assert apart(counted(moved=40e9, flops=0), chip) == pytest.approx(10)
    # arithmetic longer than what must be moved is the bound
    assert apart(counted(moved=4e9, flops=2e12), chip) == pytest.approx(1)


def test_largest_batch_by_proportion():
    # 2 GB of state, 7 GB of 16 examples; 0.9 * 16 - 2 left
    assert largest_batch(counted(), CHIPS["v5e"], 16) == int(12.4 / 7 * 16)
    assert largest_batch(counted(arguments=20e9), CHIPS["v5e"], 16) == 0


def test_page_and_tables_say_what_binds_and_what_to_do():
    plans = [
        plan(),
        plan("v5e:16x16", batch=256),
        plan(training=counted(held=17e9)),
        plan(training=None, evaluation=None, reason="no ragged_dot"),
        plan("h200:8", training=None, evaluation=None, written={"flops": 1e12, "bytes": 1.0}),
    ]
    text = page.page("xd", "sizes", plans)
    assert "| v5e:2x2 | 4 | 64 | 10.2 | arithmetic | 9.00 of 16 |" in text
    assert "a batch of 64 is not a multiple of 256 chips; planned with 256" in text
    assert "does NOT fit: 17.0 GB of 16" in text
    assert "does not compile: no ragged_dot" in text
    assert "every operation lowers for CUDA" in text
    json.dumps([page.figures(p) for p in plans], allow_nan=False)
    rows = list(page.csv_rows(plans[:1]))
    assert ("v5e:2x2", "training/collectives/all-reduce/count", 1) in rows


def test_where_scaling_stops():
    assert "at about 27 chips" in page.where_it_stops(plan())
    crowded = plan(training=counted(collectives={"all-reduce": Collective(1, 10**10)}))
    assert "the interconnect binds" in page.where_it_stops(crowded)
    assert "no more chips" in page.where_it_stops(plan(configured=4))
