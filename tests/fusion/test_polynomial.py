"""Horner polynomials and their own gradients: term-by-term oracles, finite differences, vmap,
devices, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fusing import N, cosines, pulled
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

import gfvad.fusion.polynomial as polynomial
from gfvad.fusion.polynomial import cp_polynomial, full_polynomial


def full_oracle(A, a, b, weight):
    """Term by term: G, dA, dRa, dRb."""
    G, dA, da, db = np.zeros_like(a), np.zeros_like(A), np.zeros_like(a), np.zeros_like(b)
    for p, q in np.ndindex(*A.shape):
        G += A[p, q] * a**p * b**q
        dA[p, q] = (weight * a**p * b**q).sum()
        da += weight * A[p, q] * p * a ** max(p - 1, 0) * b**q
        db += weight * A[p, q] * a**p * q * b ** max(q - 1, 0)
    return G, (dA, da, db)


def cp_oracle(a, R, weight):
    """Component by component: G, da, dR."""
    G, da, dR = np.zeros_like(R[0]), np.zeros_like(a), np.zeros_like(R)
    rank, graphs, terms = a.shape
    value = lambda r, m: sum(a[r, m, p] * R[m] ** p for p in range(terms))
    for r in range(rank):
        G += np.prod([value(r, m) for m in range(graphs)], 0)
        for m in range(graphs):
            rest = weight * np.prod(
                [value(r, k) for k in range(graphs) if k != m] or [np.ones_like(G)], 0
            )
            for p in range(terms):
                da[r, m, p] = (rest * R[m] ** p).sum()
                dR[m] += rest * a[r, m, p] * p * R[m] ** max(p - 1, 0)
    return G, (da, dR)


def compare(found, expected, tolerance):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "orders, chunk", [((0, 0), 20), ((0, 3), 16384), ((4, 1), 8), ((8, 8), 16384)]
)
def test_full_polynomial(orders, chunk, monkeypatch):
    """Values and gradients in both precisions; chunk 20 cuts 36 elements into halves, 8 into
    five pieces of which the last reaches back."""
    monkeypatch.setattr(polynomial, "CACHE_CHUNK", chunk)
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(orders[0] + 1, orders[1] + 1)), *cosines(2)
    weight = rng.normal(size=(N, N))
    expected = full_oracle(*arrays, weight)
    with jax.enable_x64(True):
        compare(pulled(full_polynomial)(weight, *arrays), expected, 1e-12)
    single = pulled(full_polynomial)(*(x.astype(np.float32) for x in (weight, *arrays)))
    assert single[0].dtype == jnp.float32
    compare(single, expected, 1e-4)


@pytest.mark.parametrize(
    "rank, graphs, order, chunk", [(1, 1, 0, 20), (3, 1, 2, 16384), (2, 2, 8, 8), (2, 4, 3, 16384)]
)
def test_cp_polynomial(rank, graphs, order, chunk, monkeypatch):
    monkeypatch.setattr(polynomial, "CACHE_CHUNK", chunk)
    rng = np.random.default_rng(0)
    arrays, weight = (
        (rng.normal(size=(rank, graphs, order + 1)), cosines(graphs)),
        rng.normal(size=(N, N)),
    )
    with jax.enable_x64(True):
        compare(pulled(cp_polynomial)(weight, *arrays), cp_oracle(*arrays, weight), 1e-11)


def test_polynomial_gradients_against_finite_differences():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        full, cp = (
            (rng.normal(size=(3, 5)) / 4, *cosines(2)),
            (
                rng.normal(size=(2, 3, 4)) / 4,
                cosines(3),
            ),
        )
        for f, arrays in ((full_polynomial, full), (cp_polynomial, cp)):
            loss = jax.jit(lambda *arrays: jnp.sin(f(*arrays)).sum())
            check_grads(loss, arrays, order=1, modes=["rev"], eps=1e-5, atol=1e-8, rtol=1e-8)


def test_gradients_at_zero_relations():
    """Powers of 0 and products of factors that are 0: exact, not 0 / 0."""
    a = jnp.zeros((1, 3, 3)).at[0, :, 1].set(1.0)
    R = jnp.zeros((3, 2, 2)).at[1:].set(2.0)
    _, (da, dR) = pulled(cp_polynomial)(jnp.ones((2, 2)), a, R)
    np.testing.assert_array_equal(dR[0], 4.0)
    np.testing.assert_array_equal(dR[1:], 0.0)
    np.testing.assert_array_equal(da[0, 0], [16.0, 0.0, 0.0])


@pytest.mark.parametrize("n", [1, 7, 12, 13, 24, 25])
@pytest.mark.parametrize("batch", [1, 3, 4])
def test_every_element_is_counted_once(n, batch):
    """Whatever the length: pieces that do not divide it overlap, and groups of examples must not
    mix."""
    field = np.arange(1.0, 1 + n * batch).reshape(batch, n).astype(np.float32)
    found = polynomial._walk(
        lambda c, g: c * g.sum(1), 12, np.arange(1.0, 1 + batch, dtype=np.float32), field
    )
    np.testing.assert_array_equal(found, np.arange(1.0, 1 + batch) * field.sum(1))


@pytest.mark.parametrize("chunk", [80, 7])
@pytest.mark.parametrize("form", ["full", "cp"])
def test_vmap_shares_and_batches_coefficients(form, chunk, monkeypatch):
    """B examples with coefficients shared, and channels nested in them: the sums of single
    oracles. Chunks hold two examples or parts."""
    monkeypatch.setattr(polynomial, "CACHE_CHUNK", chunk)
    rng = np.random.default_rng(0)
    R, weight = rng.normal(size=(4, 2, N, N)), rng.normal(size=(4, 3, N, N))
    if form == "full":
        c, f, oracle = (
            rng.normal(size=(3, 3, 4)),
            lambda c, r: full_polynomial(c, r[0], r[1]),
            full_oracle_stacked,
        )
    else:
        c, f, oracle = rng.normal(size=(3, 2, 2, 4)), cp_polynomial, cp_oracle
    dc, dR = np.zeros_like(c), np.zeros_like(R)
    for b, g in np.ndindex(4, 3):
        _, (slope_c, slope_R) = oracle(c[g], R[b], weight[b, g])
        dc[g] += slope_c
        dR[b] += slope_R
    with jax.enable_x64(True):
        nested = lambda c, R: jax.vmap(lambda r: jax.vmap(f, (0, None))(c, r))(R)
        compare(pulled(nested)(weight, c, R)[1], (dc, dR), 1e-11)
        # one channel's coefficients shared by the batch
        dc = sum(oracle(c[0], R[b], weight[b, 0])[1][0] for b in range(4))
        compare(pulled(jax.vmap(f, (None, 0)))(weight[:, 0], c[0], R)[1][0], dc, 1e-11)


@pytest.mark.parametrize("graphs", ["full", 1, 2, 3])
def test_channels_at_once_are_channels_one_by_one(graphs):
    """Values bit by bit; gradients are those of the single oracles."""
    rng = np.random.default_rng(1)
    R, weight = (
        rng.normal(size=(2 if graphs == "full" else graphs, N, N)),
        rng.normal(size=(3, N, N)),
    )
    if graphs == "full":
        c, f, oracle = rng.normal(size=(3, 3, 4)), full_polynomial, full_oracle_stacked
        of_stack = lambda c, R: f(c, R[0], R[1])
    else:
        c, of_stack, oracle = rng.normal(size=(3, 2, graphs, 4)), cp_polynomial, cp_oracle
    dc, dR = zip(*(oracle(x, R, w)[1] for x, w in zip(c, weight)))
    with jax.enable_x64(True):
        G, found = pulled(of_stack)(weight, c, R)
        np.testing.assert_array_equal(G, np.stack([of_stack(x, R) for x in c]))
        compare(found, (np.stack(dc), np.sum(dR, 0)), 1e-11)


def full_oracle_stacked(A, R, weight):
    G, (dA, *dR) = full_oracle(A, *R, weight)
    return G, (dA, np.stack(dR))


@pytest.mark.parametrize("checked", [True, False])
def test_split_over_devices(checked):
    """Under shard_map, with and without its checks of varying axes: the gradients of one device."""
    if jax.device_count() < 2:
        pytest.skip(
            "needs two devices (emulated ones: XLA_FLAGS=--xla_force_host_platform_device_count=8)"
        )
    rng = np.random.default_rng(0)
    R, A, a = (rng.normal(size=s).astype(np.float32) for s in ((4, 2, N, N), (3, 4), (2, 2, 4)))
    forms = (lambda A, r: full_polynomial(A, *r), cp_polynomial)
    loss = lambda c, R: sum((jax.vmap(f, (None, 0))(x, R) ** 2).mean() for f, x in zip(forms, c))
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def body(c, R):
        if checked:
            return jax.grad(lambda c: jax.lax.pmean(loss(c, R), "d"))(c)
        return jax.lax.pmean(jax.grad(loss)(c, R), "d")

    split = jax.jit(
        jax.shard_map(body, mesh=mesh, in_specs=(P(), P("d")), out_specs=P(), check_vma=checked)
    )((A, a), R)
    for x, y in zip(split, jax.jit(jax.grad(loss))((A, a), R)):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_no_powers_are_kept():
    """Temporary memory of forward and backward at P = Q = 8 stays far under that of one batch of
    graphs; 18 would be naive."""
    batch = jax.ShapeDtypeStruct((64, 128, 128), jnp.float32)  # 4.2 MB

    def both(A, Ra, Rb, weight):
        G, pull = jax.vjp(jax.vmap(full_polynomial, (None, 0, 0)), A, Ra, Rb)
        return G, pull(weight)

    memory = (
        jax.jit(both)
        .lower(jax.ShapeDtypeStruct((9, 9), jnp.float32), batch, batch, batch)
        .compile()
        .memory_analysis()
    )
    assert memory.temp_size_in_bytes < 2e6


@pytest.mark.parametrize("rank", [2, 4])
def test_components_cost_no_memory(rank):
    """Of the CP form whatever the rank: less than four arrays like a batch of graphs, two of which
    are the gradients before they are given out."""
    batch = jax.ShapeDtypeStruct((64, 128, 128), jnp.float32)

    def both(a, Ra, Rb, weight):
        G, pull = jax.vjp(jax.vmap(lambda a, *R: cp_polynomial(a, R), (None, 0, 0)), a, Ra, Rb)
        return G, pull(weight)

    coefficients = jax.ShapeDtypeStruct((rank, 2, 9), jnp.float32)
    lowered = jax.jit(both).lower(coefficients, batch, batch, batch)
    memory = lowered.compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 64 * 128 * 128 * 4 + 2e6


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="expected A"):
        full_polynomial(np.ones(3), np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="expected a"):
        cp_polynomial(np.ones((1, 2, 3)), np.ones((3, 2, 2)))


def test_benchmark_prints_its_table(capsys):
    from gfvad.commands.bench import main

    assert main(["fusion", "--n", "5", "--batch", "2", "--order", "2", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all(
        name in line for name, line in zip(("naive", "Horner", "ours"), lines[2:])
    )
    assert max(float(line.split()[-1]) for line in lines[2:]) < 1e-4
    assert main(["fussion"]) == 2
    assert "did you mean 'fusion'" in capsys.readouterr().err
