"""Small functions that use the structured primitives, in the ways people write them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NCHW = ("NCHW", "OIHW", "NCHW")
NHWC = ("NHWC", "HWIO", "NHWC")


def conv(stride=(1, 1), padding="VALID", lhs=(1, 1), rhs=(1, 1), groups=1, batches=1, dims=NCHW):
    return lambda x, k: lax.conv_general_dilated(
        x, k, stride, padding, lhs_dilation=lhs, rhs_dilation=rhs, dimension_numbers=dims,
        feature_group_count=groups, batch_group_count=batches,
    )  # fmt: skip


def pool(init, function, window, stride, padding="VALID"):
    return lambda x: lax.reduce_window(x, init, function, window, stride, padding)


def by_cond(x):
    return lax.cond(x[0] > 0, lambda y: y**2, lambda y: -y, x)


def by_switch(x):
    return lax.switch((x[0] > 0).astype(int) + (x[1] > 0).astype(int),
                      [lambda y: y, lambda y: 2 * y, lambda y: y**2], x)  # fmt: skip


def by_while(x):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x))[1]


def labelled(x):
    return jax.nn.log_softmax(x)[jnp.argmax(x)]


def scanned_positions(x):
    def step(carry, k):
        return carry + x[k] * (k + 1), x[(k + 1) % 3]

    return lax.scan(step, 0.0, jnp.arange(3))[1] * lax.scan(step, 0.0, jnp.arange(3))[0]


def updated_in_a_loop(x):
    return lax.fori_loop(0, 3, lambda k, c: c.at[k].set(c[(k + 1) % 3] * x[k]), x)


# name: (function, shapes, positive)
CASES = {
    "conv": (conv(), [(2, 3, 5, 4), (4, 3, 3, 2)]),
    "conv strided": (conv((2, 1), "SAME"), [(1, 2, 5, 4), (3, 2, 3, 3)]),
    "conv padded": (conv(padding=((1, 2), (0, 1))), [(1, 1, 3, 3), (2, 1, 2, 2)]),
    "conv dilated": (conv(rhs=(2, 1)), [(1, 1, 5, 4), (1, 1, 2, 2)]),
    "conv transposed": (conv(lhs=(2, 2), padding=((1, 1), (1, 1))), [(1, 2, 3, 3), (2, 2, 2, 2)]),
    "conv grouped": (conv(groups=2), [(1, 4, 3, 3), (6, 2, 2, 2)]),
    "conv depthwise": (conv(groups=3), [(2, 3, 3, 3), (3, 1, 2, 2)]),
    "conv batch groups": (conv(batches=2), [(2, 1, 3, 3), (4, 1, 2, 2)]),
    "conv channels last": (conv(dims=NHWC), [(1, 4, 3, 2), (2, 2, 2, 3)]),
    "conv 1x1": (conv(), [(1, 3, 2, 2), (2, 3, 1, 1)]),
    "conv 1d": (lambda x, k: jnp.convolve(x, k), [(5,), (3,)]),
    "conv helper": (lambda x, k: lax.conv(x, k, (1, 1), "SAME"), [(1, 1, 4, 4), (1, 1, 3, 3)]),
    "conv transpose helper": (lambda x, k: lax.conv_transpose(x, k, (2,), "SAME",
                              dimension_numbers=("NWC", "WIO", "NWC")), [(1, 3, 2), (3, 2, 2)]),
    "max pool": (pool(-jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2)), [(1, 2, 4, 4)]),
    "max pool overlapping": (pool(-jnp.inf, lax.max, (2, 2), (1, 1), "SAME"), [(3, 3)]),
    "min pool": (pool(jnp.inf, lax.min, (2,), (1,)), [(4,)]),
    "sum pool": (pool(0.0, lax.add, (2, 2), (2, 1), "SAME"), [(3, 3)]),
    "sum pool from a number": (pool(2.0, lambda a, b: b + a, (2,), (1,)), [(4,)]),
    "product pool from a number": (pool(3.0, lambda a, b: a * b, (2,), (2,)), [(4,)]),
    "reduction from a number": (
        lambda x: lax.reduce(x, 2.0, lambda a, b: a * b, (1,)), [(2, 3)],
    ),
    "mean pool": (lambda x: pool(0.0, lax.add, (2,), (2,))(x) / 2, [(4,)]),
    "sort": (jnp.sort, [(4,)]),
    "sort axis": (lambda x: jnp.sort(x, axis=0) * x, [(3, 2)]),
    "sort descending": (lambda x: -jnp.sort(-x), [(3,)]),
    "argsort": (lambda x: x[jnp.argsort(x)] * jnp.arange(3.0), [(3,)]),
    "sort with values": (lambda x, y: lax.sort((x, y), num_keys=1)[1], [(3,), (3,)]),
    "median": (jnp.median, [(3,)]),
    "top k": (lambda x: lax.top_k(x, 2)[0] * 3, [(4,)]),
    "top k places": (lambda x: x[lax.top_k(x, 2)[1]] ** 2, [(4,)]),
    "argmax": (lambda x: x[jnp.argmax(x)] * 2, [(4,)]),
    "largest of each row": (lambda x: jax.vmap(lambda a: a[jnp.argmax(a)])(x) * 2, [(2, 3)]),
    "argmin axis": (lambda x: jnp.take_along_axis(x, jnp.argmin(x, 1)[:, None], 1), [(2, 3)]),
    "label by value": (labelled, [(3,)]),
    "one hot of argmax": (lambda x: jax.nn.one_hot(jnp.argmax(x), 3) * x, [(3,)]),
    "cumsum": (jnp.cumsum, [(4,)]),
    "cumsum axis reversed": (lambda x: lax.cumsum(x, 1, reverse=True), [(2, 3)]),
    "cumprod": (lambda x: jnp.cumprod(x, 0), [(3, 2)]),
    "cummax": (lambda x: lax.cummax(x) + lax.cummin(x, reverse=True), [(4,)]),
    "cumlogsumexp": (lambda x: lax.cumlogsumexp(x), [(3,)]),
    "clamp": (lambda x: lax.clamp(-0.5, x, 0.5) + jnp.clip(x, -1, 0.2), [(4,)]),
    "atan2": (lambda x, y: jnp.arctan2(x, y), [(3,), (3,)]),
    "hypot": (lambda x, y: jnp.hypot(x, y), [(3,), (3,)]),
    "floor": (lambda x: jnp.floor(x) + jnp.ceil(x) * x + jnp.round(2 * x), [(4,)]),
    "trunc": (lambda x: jnp.trunc(3 * x) * x, [(4,)]),
    "remainder": (lambda x: jnp.mod(x, 0.75) + jnp.fmod(x, 0.75), [(4,)]),
    "sign": (lambda x: jnp.sign(x) * x**2, [(4,)]),
    "expm1 and log1p": (lambda x: jnp.expm1(x) + jnp.log1p(x**2), [(3,)]),
    "log2 and exp2": (lambda x: jnp.log2(1 + x**2) + jnp.exp2(x) + jnp.log10(2 + x**2), [(3,)]),
    "erf": (lambda x: jax.scipy.special.erf(x) + jax.scipy.special.erfc(x) * x, [(3,)]),
    "erf inverse": (lambda x: jax.scipy.special.erfinv(x / 4), [(2,)]),
    "gamma": (lambda x: jax.scipy.special.gammaln(x**2), [(2,)]),
    "softplus": (lambda x: jax.nn.softplus(x) + jax.nn.log_sigmoid(x), [(3,)]),
    "logaddexp": (lambda x, y: jnp.logaddexp(x, y), [(2,), (2,)]),
    "gelu": (lambda x: jax.nn.gelu(x) + jax.nn.gelu(x, approximate=False), [(3,)]),
    "elu": (lambda x: jax.nn.elu(x) + jax.nn.selu(x) + jax.nn.celu(x), [(3,)]),
    "relu6": (lambda x: jax.nn.relu6(8 * x) + jax.nn.hard_tanh(x), [(3,)]),
    "xlogy": (lambda x: jax.scipy.special.xlogy(x**2, x**2), [(3,)]),
    "fft": (lambda x: jnp.abs(jnp.fft.fft(x)) ** 2, [(5,)]),
    "rfft": (lambda x: jnp.fft.rfft(x).real + jnp.fft.rfft(x).imag, [(6,)]),
    "irfft": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.arange(4), 6), [(6,)]),
    "irfft odd": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x), 5) * x, [(5,)]),
    "fft 2d": (lambda x: jnp.abs(jnp.fft.fft2(x)) ** 2, [(2, 3)]),
    "ifft": (lambda x: jnp.fft.ifft(jnp.fft.fft(x) ** 2).real, [(4,)]),
    "complex": (lambda x, y: jnp.abs(lax.complex(x, y) ** 3 * jnp.conj(lax.complex(y, x))) ** 2,
                [(2,), (2,)]),
    "complex matmul": (lambda x, y: jnp.real((x + 1j * y) @ (x - 2j * y)), [(2, 2), (2, 2)]),
    "complex exp": (lambda x: jnp.real(jnp.exp(1j * x) / (1 + 1j * x)), [(2,)]),
    "det": (lambda x: jnp.linalg.det(x + 3 * jnp.eye(3)), [(3, 3)]),
    "det 4": (lambda x: jnp.linalg.det(x + 3 * jnp.eye(4)), [(4, 4)]),
    "slogdet": (lambda x: jnp.linalg.slogdet(x @ x.T + jnp.eye(2))[1], [(2, 2)]),
    "inverse": (lambda x: jnp.linalg.inv(x + 3 * jnp.eye(2)) @ x, [(2, 2)]),
    "solve": (lambda x, y: jnp.linalg.solve(x + 3 * jnp.eye(3), y), [(3, 3), (3,)]),
    "cholesky": (lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(3)), [(3, 3)]),
    "triangular": (
        lambda x, y: jax.scipy.linalg.solve_triangular(x + 2 * jnp.eye(2), y, lower=True),
        [(2, 2), (2,)],
    ),
    "cond": (by_cond, [(3,)]),
    "switch": (by_switch, [(3,)]),
    "scan over positions": (scanned_positions, [(3,)]),
    "updates in a loop": (updated_in_a_loop, [(3,)]),
    "scan of rows": (lambda x, w: lax.scan(lambda c, r: (jnp.tanh(w @ c + r), c), x[0], x),
                     [(3, 2), (2, 2)]),
    "scan reversed": (lambda x: lax.scan(lambda c, r: (c + r, c * r), 0.0, x, reverse=True),
                      [(4,)]),
    "take along axis": (lambda x: jnp.take_along_axis(x, jnp.array([[1], [0]]), 1), [(2, 3)]),
    "diagonal": (lambda x: jnp.diagonal(x) * jnp.trace(x), [(3, 3)]),
    "off diagonal": (lambda x: jnp.diagonal(x, 1), [(3, 3)]),
    "pairs": (lambda x: x[jnp.array([0, 1]), jnp.array([1, 0])], [(2, 3)]),
    "set pairs": (lambda x, y: x.at[jnp.array([0, 1]), jnp.array([1, 0])].set(y), [(2, 3), (2,)]),
    "set columns": (lambda x, y: x.at[:, jnp.array([2, 0])].set(y), [(2, 3), (2, 2)]),
    "set a slice": (lambda x, y: x.at[1:3].set(y), [(4,), (2,)]),
    "set one entry": (lambda x, y: x.at[1, 0].set(y), [(2, 2), ()]),
    "add twice": (lambda x, y: x.at[jnp.array([1, 1, 0])].add(y), [(3, 2), (3, 2)]),
    "add pairs twice": (lambda x, y: x.at[jnp.array([1, 1]), jnp.array([0, 0])].add(y),
                        [(2, 2), (2,)]),
    "multiply twice": (lambda x, y: x.at[jnp.array([1, 1])].multiply(y), [(3,), (2,)]),
    "largest at": (lambda x, y: x.at[jnp.array([1, 1])].max(y), [(3,), (2,)]),
    "segment sum": (lambda x: jax.ops.segment_sum(x, jnp.array([0, 1, 0, 2]), 3), [(4, 2)]),
    "get filled": (lambda x: x.at[jnp.array([0, 7])].get(mode="fill", fill_value=2.0), [(3,)]),
    "get clipped": (lambda x: x.at[jnp.array([0, 7])].get(mode="clip"), [(3,)]),
    "dropped": (lambda x, y: x.at[jnp.array([0, 7])].set(y, mode="drop"), [(3,), (2,)]),
    "window slice": (lambda x: lax.dynamic_slice(x, (1, 0), (2, 2)), [(4, 3)]),
    "window update": (lambda x, y: lax.dynamic_update_slice(x, y, (1, 1)), [(4, 3), (2, 2)]),
    "pad negative": (lambda x: lax.pad(x, 1.5, [(2, -1, 1)]), [(3,)]),
    "interior pad": (lambda x: lax.pad(x, 0.0, [(0, 0, 2), (1, 1, 0)]), [(2, 2)]),
    "tril": (lambda x: jnp.tril(x) @ jnp.triu(x, 1), [(3, 3)]),
    "roll": (lambda x: jnp.roll(x, 1, 0) * x, [(3, 2)]),
    "repeat": (lambda x: jnp.repeat(x, 2, 1), [(2, 2)]),
    "einsum diagonal": (lambda x, y: jnp.einsum("ii,ij->j", x, y), [(2, 2), (2, 3)]),
    "einsum batch in the middle": (lambda x, y: jnp.einsum("ibj,bjk->kib", x, y),
                                   [(2, 3, 2), (3, 2, 2)]),
    "norm of rows": (lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True), [(2, 3)]),
    "group norm": (lambda x: (x - x.reshape(2, 2).mean(1).repeat(2)) / jnp.sqrt(x.var() + 1e-5),
                   [(4,)]),
    "attention": (
        lambda q, k, v: jax.nn.softmax(jnp.where(np.tri(3, dtype=bool), q @ k.T, -jnp.inf)) @ v,
        [(3, 2), (3, 2), (3, 2)],
    ),
}  # fmt: skip
