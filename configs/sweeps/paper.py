"""What the first paper varies, on its plain form: the orders P and Q of the expansion, each from 1
to 10 with the other as it is, and both alike; and of the degree-variance regulariser (Eq. 7) the
threshold alpha, the rank k and the weight lambda, with the values that the paper names. Besides,
what it leaves open: features centred or standardised, R^(0) = I, A as an outer product.

gfvad ablate --config=ucf:paper --sweep=paper --workdir=runs/paper \\
    --config.data.root=/data/ucf_crime
"""

from configs.variants import REGULARISER
from gfvad.tasks.fusion.subsets import graph_count, plain_start

STRENGTH = 0.1  # of the regulariser, where the base has none
ORDERS = range(1, 11)  # the paper's search


def get_sweep(config):
    on = {"loss.variance": config.loss.variance or STRENGTH}
    # fused graphs that start as minterms have an order of their own
    start = plain_start(config)
    slots = 2 if config.model.fusion.form in ("full", "outer") else graph_count(config)
    plain = config.model.expansion.order

    def apart(slot, order):
        """One graph's order, the others' as in the base."""
        orders = tuple(order if m == slot else plain for m in range(slots))
        orders = () if order == plain else orders
        largest = max(plain, order)
        return {"model.expansion.order": largest, "model.fusion.orders": orders, **start}

    names = {0: "P", 1: "Q"}
    sides = {
        name: {f"{name}={order}": apart(slot, order) for order in ORDERS}
        for slot, name in names.items()
        if slot < slots and slots > 1
    }
    both = {
        f"P=Q={p}": {"model.expansion.order": p, "model.fusion.orders": (), **start} for p in ORDERS
    }
    left_open = {
        "centred": {"data.standardize": "center"},
        "standardised": {"data.standardize": "standardize"},
        "zeroth-identity": {"model.expansion.zeroth": "identity", **start},
    }
    if config.model.fusion.form == "full":
        left_open["outer"] = {"model.fusion.form": "outer"}
    of_sets = {f"as-{name}": {**on, **values} for name, values in REGULARISER.items()}
    return {
        "axes": {
            **sides,
            "order": both,
            "alpha": {
                f"alpha={alpha:g}": {"loss.variance_alpha": alpha, **on}
                for alpha in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
            },
            "k": {f"k={k}": {"loss.variance_k": k, **on} for k in (1, 5, 8, 11, 15, 17, 20)},
            "lambda": {
                f"lambda={weight:g}": {"loss.variance": weight}
                for weight in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
            },
            "set": of_sets,
            "open": left_open,
        },
        "seeds": 5,
    }
