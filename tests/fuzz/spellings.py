"""The catalogue: elementwise functions, layers and movements of entries, in many spellings each."""

from __future__ import annotations

import dataclasses
import random


@dataclasses.dataclass(frozen=True)
class Function:
    """An elementwise function, with `degree` k where f(ch) = c^k f(h) for c > 0."""

    name: str
    texts: tuple[str, ...]
    degree: int | None = None
    parity: int = 0

    def text(self, rng: random.Random, argument: str) -> str:
        body = rng.choice(self.texts)
        return argument if body == "h" else f"(lambda h: {body})({argument})"


def _make(name: str, *texts: str, degree: int | None = None, parity: int = 0) -> Function:
    return Function(name, texts, degree, parity)


FUNCTIONS = (
    _make("identity", "h", "h + 0.0 * jnp.tanh(h)", "2 * h - h", degree=1, parity=-1),
    _make(
        "relu", "jax.nn.relu(h)", "jnp.maximum(h, 0.0)", "jnp.where(h > 0, h, 0.0)",
        "0.5 * (h + jnp.abs(h))", "jnp.clip(h, 0.0)", "h * (h > 0)", "jnp.maximum(0, h)",
        "h * jnp.heaviside(h, 0.0)", "jax.lax.max(h, jnp.zeros_like(h))", "-jnp.minimum(-h, 0.0)",
        "jax.lax.select(h >= 0, h, jnp.zeros_like(h))", "jnp.sqrt(jax.nn.relu(h) ** 2)",
        "jnp.max(jnp.stack([h, 0.0 * h]), axis=0)", "h - jnp.minimum(h, 0.0)",
        "jnp.where(h < 0, 0.0, h)", "h * (jnp.sign(h) + 1) / 2", degree=1,
    ),
    _make(
        "leaky", "jax.nn.leaky_relu(h, 0.125)", "jnp.where(h > 0, h, 0.5 * h)",
        "jnp.maximum(h, 0.25 * h)", degree=1,
    ),
    _make(
        "abs", "jnp.abs(h)", "jnp.sqrt(h ** 2)", "jnp.maximum(h, -h)", "h * jnp.sign(h)",
        "jnp.where(h < 0, -h, h)", degree=1, parity=1,
    ),
    _make("square", "h ** 2", "h * h", "jnp.square(h)", "jax.lax.integer_pow(h, 2)",
          degree=2, parity=1),
    _make("cube", "h ** 3", "h * h * h", "jnp.power(h, 3)", degree=3, parity=-1),
    _make("signed square", "h * jnp.abs(h)", "jnp.sign(h) * h ** 2", degree=2, parity=-1),
    _make("relu square", "jax.nn.relu(h) ** 2", "jnp.where(h > 0, h * h, 0.0)", degree=2),
    _make("sign", "jnp.sign(h)", "h / jnp.abs(h)", "jnp.where(h > 0, 1.0, -1.0)",
          degree=0, parity=-1),
    _make("step", "jnp.where(h > 0, 1.0, 0.0)", "(h > 0) * 1.0", "jnp.heaviside(h, 0.0)", degree=0),
    _make("relu ratio", "jax.nn.relu(h) / h", "jax.nn.relu(h) / jnp.abs(h)", degree=0),
    _make("tanh", "jnp.tanh(h)", "2 * jax.nn.sigmoid(2 * h) - 1",
          "(jnp.exp(h) - jnp.exp(-h)) / (jnp.exp(h) + jnp.exp(-h))", parity=-1),
    _make("sin", "jnp.sin(h)", "jnp.cos(h - jnp.pi / 2)", parity=-1),
    _make("cos", "jnp.cos(h)", parity=1),
    _make("erf", "jax.lax.erf(h)", "jax.scipy.special.erf(h)", parity=-1),
    _make("exp", "jnp.exp(h)", "jnp.expm1(h) + 1", "1 / jnp.exp(-h)"),
    _make("softplus", "jax.nn.softplus(h)", "jnp.log1p(jnp.exp(h))", "jnp.logaddexp(h, 0.0)"),
    _make("logistic", "jax.nn.sigmoid(h)", "1 / (1 + jnp.exp(-h))", "jax.lax.logistic(h)"),
    _make("gelu", "jax.nn.gelu(h)", "jax.nn.gelu(h, approximate=False)"),
    _make("silu", "jax.nn.silu(h)", "h * jax.nn.sigmoid(h)"),
    _make("elu", "jax.nn.elu(h)", "jnp.where(h > 0, h, jnp.exp(jnp.minimum(h, 0.0)) - 1)"),
    _make("root", "jnp.sqrt(h ** 2 + 1)", "jnp.hypot(h, 1.0)", "(1 + h * h) ** 0.5", parity=1),
    _make("log", "jnp.log(1 + h ** 2)", "jnp.log1p(h * h)", parity=1),
    _make("softsign", "h / (1 + jnp.abs(h))", "jax.nn.soft_sign(h)", parity=-1),
    _make("clip", "jnp.clip(h, -1.0, 1.0)", "jnp.maximum(-1.0, jnp.minimum(h, 1.0))",
          "jax.nn.hard_tanh(h)", parity=-1),
    _make("floor", "jnp.floor(h)", "h - jnp.floor(h)"),
    _make("arctan", "jnp.arctan(h)", "jnp.arctan2(h, 1.0)", parity=-1),
    _make("hinge far", "jax.nn.relu(h - 30.0) + h", "jnp.where(h > 50, h ** 2, h)"),
)  # fmt: skip


def function(rng: random.Random) -> Function:
    """Return a function; homogeneous ones, which have symmetries, come more often."""
    homogeneous = [f for f in FUNCTIONS if f.degree is not None]
    return rng.choice(homogeneous) if rng.random() < 0.5 else rng.choice(FUNCTIONS)


def moved(rng: random.Random, text: str, size: int) -> str:
    """Return a spelling of the identity (rarely of something close to it) on a vector."""
    places = ", ".join(map(str, range(size)))
    index = f"jnp.array([{places}])"
    turned = f"jnp.array([{', '.join(str(size - 1 - k) for k in range(size))}])"
    body = rng.choice(
        [
            f"jnp.zeros({size}).at[{index}].set(v)",
            f"jnp.zeros({size}).at[{index}].add(v)",
            f"jnp.zeros({size + 1}).at[1:].set(v)[1:]",
            "jnp.concatenate([v[:1], v[1:]])",
            "jnp.pad(v, (1, 0))[1:]",
            "jax.lax.pad(v, 0.0, [(0, 1, 1)])[0:-1:2]",
            "v[::-1][::-1]",
            f"v[{turned}][{turned}]",
            "jnp.diagonal(jnp.diag(v))",
            f"jnp.take_along_axis(v, {index}, axis=0)",
            "jnp.roll(jnp.roll(v, 1), -1)",
            f"jnp.take(v, {index})",
            f"v.at[{index}].get()",
            f"v.at[{index}].get(mode='fill', fill_value=0.0)",
            f"jnp.stack([{', '.join(f'v[{k}]' for k in range(size))}])",
            f"jnp.broadcast_to(v, (2, {size}))[0]",
            f"jax.lax.dynamic_slice(v, (0,), ({size},))",
            "jnp.repeat(v, 2)[::2]",
            f"jnp.eye({size}) @ v",
            f"jnp.einsum('ij,j->i', jnp.eye({size}), v)",
            f"jnp.tile(v, 2)[{size}:]",
            "jnp.squeeze(v[None, :], 0)",
            "jnp.where(v > 0, v, v)",
            "jnp.diagonal(jnp.broadcast_to(v[:, None], (v.size, v.size)))",
            "jnp.cumsum(jnp.diff(v, prepend=0.0))",
            "jax.lax.map(lambda e: e, v)",
            "jax.vmap(lambda e: e * 1.0)(v)",
            "jnp.append(v[:-1], v[-1])",
            "v.at[0].add(v[-1] * 0.0)",
            # not the identity
            "v.at[0].mul(2.0)",
            "v.at[-1].set(1.0)",
            "jnp.sort(v)",
            "jnp.cumsum(v)",
            "v[::-1]",
            "v.at[0].add(1.0)",
        ]
    )
    return f"(lambda v: {body})({text})"


def layer(rng: random.Random, matrix: str, vector: str, rows: int, columns: int) -> str:
    """Return a spelling of matrix @ vector."""
    return rng.choice(
        [
            f"{matrix} @ {vector}",
            f"jnp.einsum('ij,j->i', {matrix}, {vector})",
            f"jnp.sum({matrix} * {vector}, axis=1)",
            f"jnp.tensordot({matrix}, {vector}, 1)",
            f"jax.vmap(lambda r: r @ {vector})({matrix})",
            f"({vector}[None] @ {matrix}.T)[0]",
            f"jnp.dot({matrix}, {vector})",
            f"jnp.concatenate([{matrix}[:1] @ {vector}, {matrix}[1:] @ {vector}])",
            f"jnp.matmul({matrix}, {vector}[:, None])[:, 0]",
            f"jnp.sum({matrix}.reshape({rows}, 1, {columns}) * {vector}, axis=(1, 2))",
            f"({matrix}.T.swapaxes(0, 1) @ {vector})",
            f"jax.lax.map(lambda r: jnp.sum(r * {vector}), {matrix})",
        ]
    )


def inner(rng: random.Random, left: str, right: str, size: int) -> str:
    """Return a spelling of left . right for two vectors."""
    scan = f"jax.lax.scan(lambda c, e: (c + e[0] * e[1], None), 0.0, ({left}, {right}))[0]"
    return rng.choice(
        [
            f"({left} @ {right})",
            f"jnp.sum({left} * {right})",
            f"jnp.dot({left}, {right})",
            f"jnp.einsum('i,i->', {left}, {right})",
            f"jnp.cumsum({left} * {right})[-1]",
            f"{size} * jnp.mean({left} * {right})",
            f"jnp.trace(jnp.outer({left}, {right}))",
            f"jnp.sum(jnp.diagonal({left}[:, None] * {right}[None, :]))",
            f"jax.lax.fori_loop(0, {size}, lambda i, c: c + {left}[i] * {right}[i], 0.0)",
            f"sum(({left})[k] * ({right})[k] for k in range({size}))",
            scan,
        ]
    )
