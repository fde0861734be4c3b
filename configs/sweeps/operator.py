"""The fusion operator: full, outer product or CP of some rank; free, nonneg or simplex
coefficients; all graphs or a random pair; without cross terms.

gfvad ablate --config=ucf --sweep=operator --workdir=runs/operator \\
    --config.data.root=/data/ucf_crime
"""

from gfvad.tasks.fusion.subsets import graph_count, plain_start


def get_sweep(config):
    start = plain_start(config)
    # full and outer take two graphs: of more, a random pair a step, as in the paper
    pair = {"model.fusion.graphs": "random_pair"} if graph_count(config) > 2 else {}
    two = {name: {"model.fusion.form": name, **pair, **start} for name in ("full", "outer")}
    ranks = {
        f"cp-rank{r}": {"model.fusion.form": "cp", "model.fusion.rank": r, **start}
        for r in (1, 2, 4, 8)
    }
    held = {
        name: {"model.fusion.parametrisation": name, **start}
        for name in ("free", "nonneg", "simplex")
    }
    cross = {"no-cross-terms": {"model.fusion.cross_terms": False, **start}}
    settings = {
        "base": {},
        **ranks,
        **two,
        **held,
        **cross,
        "random-pair": {"model.fusion.graphs": "random_pair"},
    }
    if start:
        settings["start-mean"] = start
    return {
        "settings": settings,
        "base": "base",
        "optional": ("full", "outer", "random-pair"),
        "seeds": 5,
    }
