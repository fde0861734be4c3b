"""What the first paper varies, on its plain form: the order P = Q of the expansion, and of the
degree-variance regulariser (Eq. 7) the threshold alpha, the rank k and the weight lambda.

gfvad ablate --config=ucf:paper --sweep=paper --workdir=runs/paper \\
    --config.data.root=/data/ucf_crime

The paper searches P and Q from 1 to 10 each; here both graphs share one order. A full A of order 10
holds every smaller P and Q: their coefficients are then 0.
"""

from gfvad.tasks.fusion.subsets import plain_start

STRENGTH = 0.1  # of the regulariser, where the base has none


def get_sweep(config):
    on = {"loss.variance": config.loss.variance or STRENGTH}
    # fused graphs that start as minterms have an order of their own
    start = plain_start(config)
    return {
        "axes": {
            "order": {f"P=Q={p}": {"model.expansion.order": p, **start} for p in range(1, 11)},
            "alpha": {
                f"alpha={alpha:g}": {"loss.variance_alpha": alpha, **on}
                for alpha in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
            },
            "k": {f"k={k}": {"loss.variance_k": k, **on} for k in (1, 5, 8, 11, 15, 17, 20)},
            "lambda": {
                f"lambda={weight:g}": {"loss.variance": weight}
                for weight in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
            },
        },
        "seeds": 5,
    }
