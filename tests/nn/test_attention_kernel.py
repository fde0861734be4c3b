"""The TPU's attention kernel, interpreted on a processor, against the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from gfvad.base.platforms import compiling_for
from gfvad.models import sib_vad
from gfvad.nn import attention_kernel
from gfvad.nn.attention_kernel import fits, kernel_attention

HEADS = 4


def in_float64(q, k, v):
    """Attention of heads side by side by numpy."""
    split = lambda x: x.astype(np.float64).reshape(len(x), HEADS, -1)
    q, k, v = split(q), split(k), split(v)
    logits = np.einsum("lhd,shd->hls", q, k) / np.sqrt(q.shape[-1])
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    found = np.einsum("hls,shd->lhd", raised / raised.sum(-1, keepdims=True), v)
    return found.reshape(found.shape[0], -1)


@pytest.fixture
def drawn():
    """Queries, keys, values and a gradient of two clips; no length is a multiple of a block."""
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=(2, n, 128)), jnp.float32) for n in (130, 131, 131, 130)]


def test_kernel_is_attention(drawn):
    """Result against float64, its gradients against those of the plain form; under vmap."""
    *given, g = drawn

    def worth(attend):
        def of(q, k, v):
            found = jax.vmap(attend)(q, k, v)
            return jnp.sum(g * found), found

        return jax.jit(jax.value_and_grad(of, (0, 1, 2), has_aux=True))

    with pltpu.force_tpu_interpret_mode():
        (_, found), gradients = worth(lambda *x: kernel_attention(*x, HEADS))(*given)
    for i in range(2):
        expected = in_float64(*(np.asarray(x[i]) for x in given))
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    _, plain = worth(sib_vad.attention)(*given)
    for one, other in zip(gradients, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_it_is_taken_for_a_tpu_only(drawn, monkeypatch):
    taken = []
    kernel = lambda q, k, v, heads: taken.append(heads) or q
    monkeypatch.setattr(attention_kernel, "kernel_attention", kernel)
    given = [x[0] for x in drawn[:3]]
    with compiling_for("tpu"):  # nobody has asked for it
        sib_vad.attention(*given)
    assert not taken
    monkeypatch.setattr(sib_vad, "KERNEL", True)
    for platform in ("cpu", "gpu", "tpu"):
        with compiling_for(platform):
            sib_vad.attention(*given)
    assert taken == [sib_vad.HEADS]


@pytest.mark.parametrize(
    "length, width, kind, expected",
    [
        (1026, 256, jnp.float32, True),
        (1026, 64, jnp.float32, False),  # narrower than what a TPU reads at once
        (1026, 256, jnp.bfloat16, False),
        (100_000, 256, jnp.float32, False),  # larger than a chip's own memory
    ],
)
def test_what_fits(length, width, kind, expected):
    given = jax.eval_shape(lambda: jnp.zeros((length, width), kind))
    assert fits(given, given, HEADS) is expected
