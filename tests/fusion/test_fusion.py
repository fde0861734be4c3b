"""The fusion operator against a plain numpy float64 oracle, and the properties the specification
asks of it."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusing import MASK, N, apply, cosines, operator, pulled, random_params
from jax.test_util import check_grads

from gfvad.fusion.coefficients import constrained, dense_coefficients
from gfvad.fusion.polynomial import cp_polynomial, full_polynomial
from gfvad.graphs.relations import cosine


def family(r, mask, order, kind, zeroth, restart=0.15):
    """[P + 1, N, N] in float64."""
    pairs, eye = np.outer(mask, mask).astype(float), np.diag(mask).astype(float)
    r = r * pairs
    if kind == "hadamard":
        return np.stack([pairs if zeroth == "ones" else eye] + [r**p for p in range(1, order + 1)])
    scale = 1 / np.sqrt(np.abs(r).sum(1) + (1 - mask))
    step, terms = scale[:, None] * r * scale, [eye]
    for _ in range(order):
        terms.append(
            terms[-1] @ step if kind == "walk" else (1 - restart) * step @ terms[-1] + restart * eye
        )
    return np.stack(terms)


def operator_oracle(module, params, graphs, mask):
    """Every term of the dense tensor by itself; a graph without a part in a term multiplies by
    1."""
    fusion, e = module.fusion, module.expansion
    terms = [family(r, mask, e.order, e.kind, e.zeroth) for r in graphs]
    count, pairs = len(graphs), np.outer(mask, mask)
    chosen = (
        list(combinations(range(count), 2))
        if fusion.graphs == "random_pair"
        else [tuple(range(count))]
    )
    x = {k: np.asarray(constrained(v, fusion), np.float64) for k, v in params.items()}
    fused = np.zeros((fusion.channels, N, N))
    for channel, kept in product(range(fusion.channels), chosen):
        for powers in product(range(e.order + 1), repeat=len(kept)):
            value = np.prod([terms[m][p] for m, p in zip(kept, powers)], axis=0)
            if "A" in x:
                fused[channel] += x["A"][(channel, *powers)] * value
            elif "a" in x:
                slots = kept if fusion.form == "cp" else range(2)
                fused[channel] += (
                    sum(
                        np.prod([factors[s, p] for s, p in zip(slots, powers)])
                        for factors in x["a"][channel]
                    )
                    * value
                )
        if "c" in x:
            for slot, (m, p) in product(range(len(kept)), [(None, p) for p in range(e.order + 1)]):
                m = kept[slot]
                fused[channel] += (
                    x["c"][channel, m if fusion.form == "cp" else slot, p] * terms[m][p]
                )
    return fused / len(chosen) * pairs


CASES = (
    [
        {"form": "full", "kind": kind, "zeroth": zeroth, "count": 2, "parametrisation": "free"}
        for kind, zeroth in (
            ("hadamard", "ones"),
            ("hadamard", "identity"),
            ("walk", "ones"),
            ("diffusion", "ones"),
        )
    ]
    + [
        {
            "form": "cp",
            "kind": kind,
            "zeroth": zeroth,
            "count": 3,
            "parametrisation": "free",
            "channels": 2,
        }
        for kind, zeroth in (("hadamard", "ones"), ("hadamard", "identity"), ("walk", "ones"))
    ]
    + [
        {
            "form": "outer",
            "kind": "hadamard",
            "zeroth": "identity",
            "count": 2,
            "parametrisation": "nonneg",
        },
        {
            "form": "cp",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 1,
            "parametrisation": "simplex",
        },
        {
            "form": "cp",
            "kind": "diffusion",
            "zeroth": "ones",
            "count": 2,
            "parametrisation": "simplex",
            "graphs": "random_pair",
        },
        {
            "form": "cp",
            "kind": "hadamard",
            "zeroth": "identity",
            "count": 3,
            "parametrisation": "simplex",
            "graphs": "random_pair",
        },
        {
            "form": "full",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 4,
            "parametrisation": "nonneg",
            "graphs": "random_pair",
        },
        {
            "form": "full",
            "kind": "hadamard",
            "zeroth": "identity",
            "count": 2,
            "parametrisation": "free",
            "cross_terms": False,
        },
        {
            "form": "cp",
            "kind": "walk",
            "zeroth": "ones",
            "count": 3,
            "parametrisation": "simplex",
            "cross_terms": False,
        },
        {
            "form": "cp",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 3,
            "parametrisation": "nonneg",
            "cross_terms": False,
            "graphs": "random_pair",
        },
        {
            "form": "outer",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 3,
            "parametrisation": "free",
            "cross_terms": False,
            "graphs": "random_pair",
        },
        {
            "form": "cp",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 3,
            "parametrisation": "simplex",
            "cross_terms": False,
            "graphs": "random_pair",
        },
        {
            "form": "full",
            "kind": "hadamard",
            "zeroth": "ones",
            "count": 2,
            "parametrisation": "simplex",
            "order": 0,
        },
    ]
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(str(v) for v in case.values()))
def test_operator(case):
    """Values against the oracle, padding (values and gradients), the dense tensor's agreement,
    constraints."""
    case = {"rank": 2, **case}
    count, order = case.pop("count"), case.pop("order", 2)
    module = operator(order, **case)
    graphs = cosines(count).astype(np.float32)
    params = random_params(module, graphs)
    weight = (
        np.random.default_rng(1).normal(size=(case.get("channels", 1), N, N)).astype(np.float32)
    )
    run = pulled(lambda p, g: module.apply({"params": p}, g, MASK, train=False))
    found, clean = run(weight, params, graphs)
    found = np.asarray(found)
    assert found.shape == weight.shape and found.dtype == np.float32
    np.testing.assert_allclose(
        found, operator_oracle(module, params, graphs.astype(np.float64), MASK), atol=2e-5
    )
    assert not found[:, ~MASK].any() and not found[:, :, ~MASK].any()
    junk = run(weight, params, np.where(np.outer(MASK, MASK), graphs, np.nan).astype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, (found, clean), junk)
    assert not np.asarray(clean[1])[:, ~MASK].any()

    dense = (
        np.asarray(dense_coefficients(params, module.fusion))
        if count <= 3 or case["form"] != "cp"
        else None
    )
    if case["parametrisation"] != "free":
        assert (dense >= 0).all()
    if case["parametrisation"] == "simplex":
        np.testing.assert_allclose(dense.reshape(len(dense), -1).sum(1), 1.0, atol=1e-6)
    if case["kind"] == "hadamard" and case["zeroth"] == "ones" and dense.ndim == count + 1:
        terms = [family(r, MASK, order, "hadamard", "ones") for r in graphs]
        letters = "pqs"[:count]
        by_dense = np.einsum(
            f"G{letters}," + ",".join(f"{c}ij" for c in letters) + "->Gij", dense, *terms
        )
        np.testing.assert_allclose(found, by_dense, atol=5e-5)


@pytest.mark.parametrize(
    "kind, zeroth", [("hadamard", "ones"), ("hadamard", "identity"), ("walk", "ones")]
)
def test_cp_of_full_rank_equals_full(kind, zeroth):
    """Rank P + 1: component p is the p-th power of one graph times row p of A."""
    order = 4
    with jax.enable_x64(True):
        graphs = cosines(2)
        A = np.random.default_rng(1).normal(size=(1, order + 1, order + 1))
        factors = np.stack([np.eye(order + 1), A[0]], axis=1)[None]
        full = apply(operator(order, kind, zeroth, form="full"), {"A": A}, graphs)
        cp = apply(operator(order, kind, zeroth, form="cp", rank=order + 1), {"a": factors}, graphs)
        np.testing.assert_allclose(cp, full, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(
            dense_coefficients({"a": factors}, operator(form="cp").fusion), A, atol=1e-14
        )


@pytest.mark.parametrize("orders", [(2, 5), (5, 2)])
def test_cp_of_rank_of_the_smaller_order_equals_full(orders):
    """Rank min(P, Q) + 1 also where P and Q differ: the components follow the shorter axis."""
    A, (Ra, Rb), top = (
        np.random.default_rng(1).normal(size=(orders[0] + 1, orders[1] + 1)),
        cosines(2),
        max(orders) + 1,
    )
    rank = min(orders) + 1
    a = np.zeros((rank, 2, top))
    for r in range(rank):
        slots = (0, 1) if orders[0] < orders[1] else (1, 0)
        a[r, slots[0], r] = 1.0
        row = A[r] if orders[0] < orders[1] else A[:, r]
        a[r, slots[1], : len(row)] = row
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            cp_polynomial(a, np.stack([Ra, Rb])), full_polynomial(A, Ra, Rb), rtol=1e-13, atol=1e-13
        )


@pytest.mark.parametrize(
    "form, kind, parametrisation",
    [
        ("full", "hadamard", "nonneg"),
        ("outer", "walk", "nonneg"),
        ("cp", "hadamard", "nonneg"),
        ("cp", "diffusion", "simplex"),
        ("full", "hadamard", "free"),
    ],
)
def test_nonnegative_coefficients_keep_positive_semidefinite(form, kind, parametrisation):
    real = np.ones(N, bool)
    with jax.enable_x64(True):
        module = operator(4, kind, form=form, parametrisation=parametrisation, dtype=jnp.float64)
        lowest = []
        for seed in range(5):
            graphs = cosines(2, seed)
            fused = apply(module, random_params(module, graphs, 2.0, seed), graphs, real)
            lowest.append(np.linalg.eigvalsh(fused).min())
    # and the test can fail: a free A does not keep it
    assert min(lowest) < -0.1 if parametrisation == "free" else min(lowest) > -1e-10


@pytest.mark.parametrize(
    "kind, zeroth", [("hadamard", "ones"), ("hadamard", "identity"), ("diffusion", "ones")]
)
def test_permuting_units_permutes_the_fused_graph(kind, zeroth):
    module = operator(2, kind, zeroth, form="cp", rank=2)
    graphs = cosines(3).astype(np.float32)
    params = random_params(module, graphs)
    fuse = jax.jit(lambda g, m: module.apply({"params": params}, g, m, train=False))
    fused = np.asarray(fuse(graphs, MASK))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(N)
        permuted = fuse(graphs[:, order][:, :, order], MASK[order])
        np.testing.assert_allclose(permuted, fused[:, order][:, :, order], atol=1e-5)


@pytest.mark.parametrize(
    "form, kind, zeroth",
    [("full", "hadamard", "identity"), ("cp", "hadamard", "ones"), ("cp", "diffusion", "ones")],
)
def test_operator_gradients_against_finite_differences(form, kind, zeroth):
    with jax.enable_x64(True):
        module = operator(
            2,
            kind,
            zeroth,
            form=form,
            rank=2,
            parametrisation="simplex" if form == "cp" else "free",
            dtype=jnp.float64,
        )
        graphs = cosines(2)
        params = random_params(module, graphs)
        loss = jax.jit(
            lambda p, g: jnp.sin(3 * module.apply({"params": p}, g, MASK, train=False)).sum()
        )
        check_grads(loss, (params, graphs), order=1, modes=["rev"], eps=1e-5, atol=1e-8, rtol=1e-8)


def test_zero_units_keep_gradients_finite():
    """From features with a silent unit through relations and operator."""
    x = np.random.default_rng(0).normal(size=(2, N, 4)).astype(np.float32)
    x[0, 3] = 0.0
    for kind, zeroth in (("hadamard", "identity"), ("walk", "ones")):
        module = operator(2, kind, zeroth, form="cp", rank=2)
        params = random_params(module, cosines(2).astype(np.float32))
        loss = lambda x: module.apply(
            {"params": params}, jax.vmap(cosine, (0, None))(x, MASK), MASK, train=False
        ).sum()
        assert np.isfinite(np.asarray(jax.jit(jax.grad(loss))(x))).all()


def test_parameter_counts():
    """The paper's full A at P = Q = 8 has 81 parameters; cp r M (P + 1); outer 2 (P + 1)."""
    graphs = cosines(2).astype(np.float32)
    count = lambda module, graphs=graphs: sum(
        p.size for p in jax.tree.leaves(random_params(module, graphs))
    )
    assert count(operator(8, form="full")) == 81
    assert count(operator(8, form="outer")) == 18
    assert count(operator(8, form="cp", rank=5), cosines(3).astype(np.float32)) == 5 * 3 * 9
    assert count(operator(8, form="full", channels=3)) == 3 * 81


@pytest.mark.parametrize(
    "form, parametrisation", product(("full", "outer", "cp"), ("free", "nonneg", "simplex"))
)
def test_start(form, parametrisation):
    """G starts near a mixture of the mean and the product, diagonal near 1; every parameter has
    a gradient; no two components agree."""
    module = operator(2, form=form, parametrisation=parametrisation)
    graphs = cosines(2, n=12).astype(np.float32)
    mask = np.ones(12, bool)
    weight = np.random.default_rng(0).normal(size=(1, 12, 12)).astype(np.float32)

    @jax.jit
    def run(key):
        params = module.init(key, graphs, mask, train=False)["params"]
        fused, pull = jax.vjp(
            lambda p: module.apply({"params": p}, graphs, mask, train=False), params
        )
        return params, fused[0], pull(weight)[0]

    params, fused, gradients = jax.tree.map(np.asarray, run(jax.random.key(0)))
    beside = ~np.eye(12, dtype=bool)
    # the later components of cp start at squares
    mixture = np.stack(
        [
            x[beside]
            for x in (np.ones((12, 12)), graphs.mean(0), graphs.prod(0), (graphs**2).mean(0))
        ],
        1,
    )
    (_, mean, both, _), left, *_ = np.linalg.lstsq(mixture, fused[beside])
    assert left[0] < 0.05 * np.var(fused[beside]) * beside.sum() and mean > 0.3 and both > 0.1
    np.testing.assert_allclose(np.diagonal(fused), 1.0, atol=0.2)
    assert all((np.abs(g) > 1e-6).all() for g in jax.tree.leaves(gradients))
    if form == "cp":
        components = np.asarray(params["a"][0]).reshape(module.fusion.rank, -1)
        assert min(np.abs(a - b).max() for a, b in combinations(components, 2)) > 0.1


@pytest.mark.parametrize("mask", [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
def test_one_unit_and_none(mask):
    mask = np.array(mask, bool)
    for kind, zeroth in (("hadamard", "identity"), ("walk", "ones")):
        module = operator(2, kind, zeroth, form="cp", parametrisation="simplex")
        graphs = np.ones((2, N, N), np.float32)
        fused = apply(module, random_params(module, graphs), graphs, mask)
        np.testing.assert_allclose(fused[0], np.diag(mask), atol=1e-6)
