"""Small losses that use every primitive in scope, in the ways people write them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

MASK = np.tril(np.ones((3, 3), dtype=bool))


@jax.custom_vjp
def _doubled_square(x):
    return x * x


_doubled_square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))


@jax.custom_jvp
def _cube(x):
    return x**3


_cube.defjvp(lambda x, t: (x[0] ** 3, 3 * x[0] ** 2 * t[0]))


def _rms(x):
    return x / jnp.sqrt(jnp.mean(x**2) + 0.1)


def _layer_norm(x):
    return (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-5)


def _attention(q, k):
    scores = jnp.where(MASK, q @ k.T, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1) @ k


def _scan(x, w):
    def step(carry, row):
        carry = carry + w @ row
        return carry, carry[0] * row[1]

    last, outs = lax.scan(step, jnp.zeros(3), x)
    return jnp.concatenate([last, outs])


# name: (function, shapes). Expressions are drawn at random, away from zero.
RATIONAL = {
    "matmul": (lambda a, b: a @ b, [(2, 3), (3, 2)]),
    "matmul chain": (lambda a, b, x: a @ b @ a @ x, [(2, 3), (3, 2), (3,)]),
    "batched matmul": (lambda a, b: a @ b, [(2, 2, 3), (2, 3, 2)]),
    "einsum transposed": (lambda a, b: jnp.einsum("ij,kj->ik", a, b), [(2, 3), (2, 3)]),
    "einsum batch": (lambda a, b: jnp.einsum("bij,bkj->bik", a, b), [(2, 2, 3), (2, 1, 3)]),
    "einsum batch last": (lambda a, b: jnp.einsum("ijb,jkb->kib", a, b), [(1, 2, 2), (2, 3, 2)]),
    "einsum three": (lambda a, b, x: jnp.einsum("ij,jk,k->i", a, b, x), [(2, 3), (3, 2), (2,)]),
    "einsum trace": (lambda a: jnp.einsum("ii->", a), [(3, 3)]),
    "outer": (lambda a, b: jnp.outer(a, b), [(2,), (3,)]),
    "vdot": (lambda a, b: jnp.vdot(a, b), [(3,), (3,)]),
    "kron": (lambda a, b: jnp.kron(a, b), [(2, 2), (1, 2)]),
    "tensordot": (lambda a, b: jnp.tensordot(a, b, axes=((1, 0), (0, 1))), [(2, 3), (3, 2)]),
    "tensordot two": (lambda a, b: jnp.tensordot(a, b, axes=1), [(2, 3), (3, 2)]),
    "empty matmul": (lambda a: a[:, :0] @ a[:0, :], [(2, 2)]),
    "broadcasting": (lambda a, b: a[:, None] * b[None] + a[:, None] - 2, [(2,), (3,)]),
    "broadcast to": (lambda a: jnp.broadcast_to(a, (2, 3)) * 2, [(3,)]),
    "reshape": (lambda a: jnp.reshape(a, (3, 2)) @ a, [(2, 3)]),
    "transpose": (lambda a: jnp.transpose(a, (2, 0, 1))[0], [(2, 2, 2)]),
    "strided": (lambda a: a[::2] * a[1::2], [(4,)]),
    "last": (lambda a: a[-1] * a[0], [(3,)]),
    "backwards": (lambda a: a[::-1] * a, [(3,)]),
    "rows and columns": (lambda a: a[1:, ::2] + a[:1, :2], [(2, 3)]),
    "gather": (lambda a: a[jnp.array([2, 0, 2])] ** 2, [(3,)]),
    "gather rows": (lambda a: a[jnp.array([1, -1])], [(3, 2)]),
    "gather pairs": (lambda a: a[jnp.array([0, 1]), jnp.array([1, 0])] ** 2, [(2, 2)]),
    "take": (lambda a: jnp.take(a, jnp.array([1, 0]), axis=1, mode="clip"), [(2, 2)]),
    "dynamic slice": (lambda a: lax.dynamic_slice(a, (1,), (2,)) ** 2, [(3,)]),
    "dynamic slice clamped": (lambda a: lax.dynamic_slice(a, (9,), (2,)), [(3,)]),
    "dynamic update": (lambda a, b: lax.dynamic_update_slice(a, b, (1,)), [(3,), (2,)]),
    "dynamic index": (lambda a: lax.dynamic_index_in_dim(a, 1), [(3, 2)]),
    "set": (lambda a, b: a.at[1].set(b), [(3,), ()]),
    "set rows": (lambda a, b: a.at[jnp.array([0, 2])].set(b), [(3, 2), (2, 2)]),
    "add at": (lambda a, b: a.at[jnp.array([0, 0])].add(b), [(3,), (2,)]),
    "multiply at": (lambda a: a.at[1].multiply(3.0), [(3,)]),
    "concatenate": (lambda a, b: jnp.concatenate([a, b * a[0]], axis=0), [(2,), (3,)]),
    "stack": (lambda a, b: jnp.stack([a, b, a * b], axis=1), [(2,), (2,)]),
    "hstack": (lambda a, b: jnp.hstack([a, b]), [(2, 1), (2, 2)]),
    "split": (lambda a: jnp.split(a, 2)[1] * jnp.split(a, [1, 2])[0], [(4,)]),
    "pad": (lambda a: jnp.pad(a, 1) * 2, [(2, 2)]),
    "pad interior": (lambda a: lax.pad(a, 0.0, [(1, -1, 2)]), [(3,)]),
    "tile": (lambda a: jnp.tile(a, (2, 2)), [(2,)]),
    "repeat": (lambda a: jnp.repeat(a, 2), [(2,)]),
    "flip": (lambda a: jnp.flip(a, 1) @ a.T, [(2, 2)]),
    "roll": (lambda a: jnp.roll(a, 1) * a, [(3,)]),
    "diag": (lambda a: jnp.diag(a) @ jnp.diag(jnp.diag(a)), [(2, 2)]),
    "trace": (lambda a: jnp.trace(a @ a), [(2, 2)]),
    "tril": (lambda a: jnp.tril(a) @ jnp.triu(a), [(2, 2)]),
    "masked": (lambda a: jnp.where(MASK, a, 0.0), [(3, 3)]),
    "eye": (lambda a: (a - jnp.eye(2)) @ a, [(2, 2)]),
    "arange": (lambda a: a * jnp.arange(3.0), [(3,)]),
    "linspace": (lambda a: a * jnp.linspace(0, 1, 3), [(3,)]),
    "cumsum": (lambda a: jnp.cumsum(a * a), [(3,)]),
    "cumsum reversed": (lambda a: lax.cumsum(a, reverse=True), [(3,)]),
    "cumprod": (lambda a: jnp.cumprod(a), [(3,)]),
    "sum": (lambda a: jnp.sum(a, axis=0) * jnp.sum(a), [(2, 3)]),
    "sum of nothing": (lambda a: jnp.sum(a[:0]) + jnp.prod(a[:0]), [(2,)]),
    "mean": (lambda a: jnp.mean(a, axis=1, keepdims=True) * a, [(2, 3)]),
    "prod": (lambda a: jnp.prod(a, axis=0), [(3, 2)]),
    "variance": (lambda a: jnp.var(a), [(3,)]),
    "variance unbiased": (lambda a: jnp.var(a, ddof=1), [(3,)]),
    "square loss": (lambda a, x, y: jnp.sum((a @ x - y) ** 2), [(2, 2), (2,), (2,)]),
    "powers": (lambda a: a**3 + a**-1 + a**-2 + jnp.square(a) + a**0, [(2,)]),
    "division": (lambda a, b: a / b + 1 / (1 + b**2), [(2,), (2,)]),
    "polynomial": (lambda a: jnp.polyval(jnp.array([1.0, -2.0, 0.5]), a), [(2,)]),
    "cross": (lambda a, b: jnp.cross(a, b), [(3,), (3,)]),
    "one hot": (lambda a: jax.nn.one_hot(2, 3) @ a + jax.nn.one_hot(jnp.array([1, 0]), 3)[0] @ a,
                [(3,)]),
    "jit": (lambda a: jax.jit(lambda x: jax.jit(jnp.square)(x) + 1)(a), [(2,)]),
    "custom vjp": (lambda a: jax.grad(lambda x: jnp.sum(_doubled_square(x)))(a), [(2,)]),
    "custom jvp": (lambda a: _cube(a), [(2,)]),
    "checkpoint": (lambda a: jax.checkpoint(lambda x: x**3 + x)(a), [(2,)]),
    "stop gradient": (lambda a: a * lax.stop_gradient(a**2), [(2,)]),
    "scan": (_scan, [(2, 3), (3, 3)]),
    "scan reversed": (lambda x: lax.scan(lambda c, r: (c * r, c + r), 1.0, x, reverse=True)[1],
                      [(3,)]),
    "scan of nothing": (lambda x: lax.scan(lambda c, r: (c * r, c + r), 1.0, x[:0])[0] + x, [(2,)]),
    "fori": (lambda a: lax.fori_loop(0, 3, lambda i, c: c * a + i, a), [(2,)]),
    "map": (lambda a: lax.map(lambda r: r @ r, a), [(2, 2)]),
    "vmap": (lambda a, x: jax.vmap(lambda r: a @ r)(x), [(2, 2), (3, 2)]),
    "associative scan": (lambda a: lax.associative_scan(jnp.multiply, a), [(3,)]),
    "fixed cond": (lambda a: lax.cond(len(a) > 1, lambda x: x**2, lambda x: -x, a), [(2,)]),
    "vander": (lambda a: jnp.vander(a, 3), [(2,)]),
    "meshgrid": (lambda a, b: jnp.multiply(*jnp.meshgrid(a, b)), [(2,), (3,)]),
    "integer power scanned": (lambda a: lax.integer_pow(a, -3), [(2,)]),
}  # fmt: skip

IRRATIONAL = {
    "half powers": (lambda a: a**0.5 + a**1.5 + a**-0.5, [(2,)]),
    "other powers": (lambda a: a**0.3 + a ** (1 / 3) + a**2.4, [(2,)]),
    "power of a power": (lambda a, b: a**b, [(2,), (2,)]),
    "sqrt": (lambda a: jnp.sqrt(a) * a + lax.rsqrt(a), [(2,)]),
    "cbrt": (lambda a: jnp.cbrt(a), [(2,)]),
    "log": (lambda a: jnp.log(a) + jnp.log1p(a) + jnp.log2(a), [(2,)]),
    "lgamma": (lambda a: lax.lgamma(a), [(1,)]),
    "entropy": (lambda a: -jnp.sum(a * jnp.log(a / jnp.sum(a))), [(2,)]),
}
"""Losses of positive entries."""

SMOOTH = {
    "exp": (lambda a: jnp.exp(a) + jnp.expm1(-a) + jnp.exp2(a), [(2,)]),
    "logsumexp": (lambda a: jax.scipy.special.logsumexp(a), [(3,)]),
    "logsumexp axis": (lambda a: jax.scipy.special.logsumexp(a, axis=0, keepdims=True), [(2, 2)]),
    "logaddexp": (lambda a, b: jnp.logaddexp(a, b), [(2,), (2,)]),
    "tanh": (lambda a: jnp.tanh(a), [(3,)]),
    "sigmoid": (lambda a: jax.nn.sigmoid(a), [(3,)]),
    "log sigmoid": (lambda a: jax.nn.log_sigmoid(a), [(2,)]),
    "softplus": (lambda a: jax.nn.softplus(a), [(3,)]),
    "relu": (lambda a: jax.nn.relu(a), [(4,)]),
    "relu6": (lambda a: jax.nn.relu6(3 * a), [(4,)]),
    "leaky relu": (lambda a: jax.nn.leaky_relu(a, 0.1), [(4,)]),
    "elu": (lambda a: jax.nn.elu(a), [(4,)]),
    "selu": (lambda a: jax.nn.selu(a), [(2,)]),
    "gelu tanh": (lambda a: jax.nn.gelu(a), [(3,)]),
    "gelu erf": (lambda a: jax.nn.gelu(a, approximate=False), [(3,)]),
    "silu": (lambda a: jax.nn.silu(a), [(3,)]),
    "softsign": (lambda a: jax.nn.soft_sign(a), [(3,)]),
    "hard tanh": (lambda a: jax.nn.hard_tanh(a), [(4,)]),
    "abs": (lambda a: jnp.abs(a) * a + jnp.sign(a), [(4,)]),
    "maximum": (lambda a, b: jnp.maximum(a, b) - jnp.minimum(a, 2 * b), [(3,), (3,)]),
    "max": (lambda a: jnp.max(a) + jnp.min(a**2), [(3,)]),
    "max axis": (lambda a: jnp.max(a, axis=1), [(2, 2)]),
    "max initial": (lambda a: jnp.max(a, initial=0.0, where=MASK[1]), [(3,)]),
    "cummax": (lambda a: lax.cummax(a), [(3,)]),
    "clip": (lambda a: jnp.clip(a, -0.5, 0.75), [(4,)]),
    "clamp": (lambda a: lax.clamp(0.0, a, 1.0), [(3,)]),
    "where": (lambda a, b: jnp.where(a > b, a**2, b), [(3,), (3,)]),
    "where both": (lambda a, b: jnp.where((a > 0) & ~(b >= a), a, b), [(3,), (3,)]),
    "where either": (lambda a, b: jnp.where((a < 0) | (b != a), a * b, 7.0), [(3,), (3,)]),
    "comparisons as numbers": (lambda a, b: (a > b) * a + (a <= b) * 2.0, [(3,), (3,)]),
    "guarded": (lambda a: jnp.where(a > 0, jnp.log(jnp.where(a > 0, a, 1.0)), 0.0), [(4,)]),
    "any and all": (lambda a: jnp.where(jnp.any(a > 0), a, -a) + jnp.all(a > 1), [(2,)]),
    "softmax": (lambda a: jax.nn.softmax(a), [(3,)]),
    "softmax axis": (lambda a: jax.nn.softmax(a, axis=0), [(2, 2)]),
    "log softmax": (lambda a: jax.nn.log_softmax(a), [(3,)]),
    "cross entropy": (lambda a, x: -jax.nn.log_softmax(a @ x)[1], [(3, 2), (2,)]),
    "cross entropy one hot": (lambda a: -jax.nn.one_hot(1, 3) @ jax.nn.log_softmax(a), [(3,)]),
    "masked attention": (_attention, [(3, 1), (3, 1)]),
    "layer norm": (_layer_norm, [(3,)]),
    "rms norm": (_rms, [(3,)]),
    "standardize": (lambda a: jax.nn.standardize(a), [(3,)]),
    "norm": (lambda a: jnp.linalg.norm(a) + jnp.linalg.norm(a, ord=1), [(3,)]),
    "max norm": (lambda a: jnp.linalg.norm(a, ord=jnp.inf), [(2,)]),
    "row norms": (lambda a: jnp.linalg.norm(a, axis=1), [(2, 2)]),
    "std": (lambda a: jnp.std(a), [(3,)]),
    "cosine": (lambda w, x: x @ w / jnp.linalg.norm(w), [(2,), (2,)]),
    "trigonometric": (lambda a: jnp.sin(a) * jnp.cos(2 * a) + jnp.tan(a), [(2,)]),
    "inverse trigonometric": (lambda a: jnp.arctan(a) + jnp.arcsinh(a) + jnp.arcsin(a / 9),
                              [(2,)]),
    "hyperbolic": (lambda a: jnp.sinh(a) * jnp.cosh(a) + jnp.arctanh(a / 9), [(2,)]),
    "erf": (lambda a: lax.erf(a) + lax.erfc(a) * a + lax.erf_inv(a / 9), [(2,)]),
    "relu network": (lambda a, b, x: b @ jax.nn.relu(a @ x), [(2, 2), (1, 2), (2,)]),
    "deep relu": (lambda a, b, x: jax.nn.relu(b @ jax.nn.relu(a @ x)), [(2, 2), (2, 2), (2,)]),
    "tanh network": (lambda a, b, x: b @ jnp.tanh(a @ x), [(2, 2), (1, 2), (2,)]),
    "gated": (lambda a, b, x: jax.nn.silu(a @ x) * (b @ x), [(2, 2), (2, 2), (2,)]),
    "huber": (lambda a: jnp.where(jnp.abs(a) < 1, a**2 / 2, jnp.abs(a) - 0.5), [(4,)]),
    "hinge": (lambda a, x: jax.nn.relu(1 - a @ x), [(2,), (2,)]),
    "swish scan": (lambda a: lax.fori_loop(0, 2, lambda i, c: jnp.tanh(c * a), a), [(2,)]),
}  # fmt: skip
