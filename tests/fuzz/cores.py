"""Cores of losses, each with a planted symmetry, and the terms that are put on top of them.

A core writes lines into a draft, declares parameters, samples and planted candidates, and returns
the text of a scalar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fuzz import spellings

if TYPE_CHECKING:
    from tests.fuzz.losses import Draft


def _residual(d: Draft, output: str, target: str = "y") -> str:
    """Return the text of a loss of one output."""
    d.line(f"e = {output}")
    options = [
        f"(e - {target}) ** 2", f"(e - {target}) ** 2", f"0.5 * jnp.square(e - {target})",
        f"jnp.abs(e - {target})", f"jax.nn.softplus(-{target} * e)", f"{target} * e",
        f"jnp.logaddexp(0.0, -{target} * e)", f"jnp.sqrt((e - {target}) ** 2 + 1)",
        f"jnp.where(jnp.abs(e - {target}) < 1, 0.5 * (e - {target}) ** 2, "
        f"jnp.abs(e - {target}) - 0.5)", f"(e - {target}) ** 2 + e * {target}",
        f"jnp.cos(e) * {target}", f"jnp.tanh(e - {target}) ** 2", f"(e * {target} - 1) ** 4",
    ]  # fmt: skip
    return d.rng.choice(options)


def _swap(places: list[tuple[str, int]], i: int, j: int, sign: int = 1) -> dict[str, Any]:
    """Exchange units i and j of leaves along axes (with a sign), as a matrix made later."""

    def matrix(case: Any) -> np.ndarray:
        flat = np.arange(case.dimension)
        tree = {n: leaf.copy() for n, leaf in case.unflatten(flat).items()}
        signs = {n: np.ones(leaf.shape) for n, leaf in tree.items()}
        for name, axis in places:
            leaf = np.moveaxis(tree[name], axis, 0)
            leaf[[i, j]] = leaf[[j, i]]
            np.moveaxis(signs[name], axis, 0)[[i, j]] *= sign
        order = np.concatenate([tree[n].ravel() for n in case.shapes])
        factors = np.concatenate([signs[n].ravel() for n in case.shapes])
        return np.eye(len(flat))[order] * factors[:, None]

    return {"matrix": matrix}


def _mixing(left: tuple[str, int], right: tuple[str, int], i: int, j: int) -> dict[str, Any]:
    """The generator U -> U E_ij, W -> -E_ij W of a product over a hidden axis."""

    def matrix(case: Any) -> np.ndarray:
        out = np.zeros((case.dimension, case.dimension))
        flat = case.unflatten(np.arange(case.dimension))
        rows = lambda place, k: np.moveaxis(flat[place[0]], place[1], 0)[k].ravel()
        out[rows(left, i), rows(left, j)] = 1.0
        out[rows(right, j), rows(right, i)] = -1.0
        return out

    return {"matrix": matrix}


def two_layer(d: Draft) -> str:
    """A hidden layer with any activation, any spelling, biases or not."""
    h, n = d.pick((1, 1), (2, 1), (2, 2), (2, 1), (3, 1), (2, 3), (1, 3), (1, 2))
    x = d.sample("x", n)
    w, u = d.param("W", h, n), d.param("u", h)
    y = d.sample("y")
    f = d.function()
    bias = d.left >= h and d.chance(0.3)
    a = spellings.layer(d.rng, w, x, h, n)
    if bias:
        a = f"({a} + {d.param('b', h)})"
    d.line(f"h = {d.moved(f.text(d.rng, a), h)}")
    d.line(f"u = {d.moved(u, h)}")
    places = [("W", 0), ("u", 0), *([("b", 0)] if bias else [])]
    unit = d.rng.randrange(h)
    one = np.arange(h) == unit
    k = f.degree
    if k is not None:
        rates = {"W": one[:, None] * 1.0, "u": -k * one, **({"b": one * 1.0} if bias else {})}
        d.plant(f"rescaling of unit {unit}", rates)
    if f.name == "identity" and h > 1:
        d.plant("mixing", _mixing(("u", 0), ("W", 0), 0, 1) if not bias else {"W": 1.0, "u": -1.0})
    if h > 1:
        d.mirrors.append(("swap", _swap(places, 0, 1)))
        if f.parity < 0:
            d.mirrors.append(("signed swap", _swap(places, 0, 1, -1)))
    if f.parity:
        flip = {n: p * (1 - 2 * (one if p.ndim == 1 else one[:, None] * 1.0)) for n, p in
                (("W", np.ones((h, n))), ("u", np.ones(h)), ("b", np.ones(h)))
                if (n != "b" or bias) and (n != "u" or f.parity < 0)}  # fmt: skip
        d.mirrors.append(("flip", {"matrix": lambda c: np.diag(_ones(c, flip))}))
    return _residual(d, spellings.inner(d.rng, "u", "h", h), y)


def _ones(case: Any, parts: dict[str, Any]) -> np.ndarray:
    return np.concatenate(
        [np.broadcast_to(parts.get(n, 1.0), shape).ravel() for n, shape in case.shapes.items()]
    )


def factors(d: Draft) -> str:
    """A product of powers of scalars or vectors."""
    x = d.sample("x")
    y = d.sample("y")
    n = d.pick(1, 1, 2)
    names = d.rng.sample(["u", "w", "v", "a"], d.pick(2, 2, 3))
    powers = [d.pick(1, 1, 1, 2, -1, 3) for _ in names]
    texts = []
    for name, power in zip(names, powers, strict=True):
        leaf = d.param(name) if n == 1 else d.moved(d.param(name, n), n)
        texts.append(leaf if power == 1 else f"({leaf}) ** {power}")
    d.plant("rescaling", {names[0]: float(powers[1]), names[1]: -float(powers[0])})
    if n > 1:
        d.plant("first entries", {names[0]: np.array([powers[1], 0.0]),
                                  names[1]: np.array([-powers[0], 0.0])})  # fmt: skip
    product = " * ".join(texts)
    f = d.function() if d.chance(0.4) else spellings.FUNCTIONS[0]
    return _residual(d, f"jnp.sum({f.text(d.rng, product)}) * {x}", y)


def deep(d: Draft) -> str:
    """A chain of functions of scalars."""
    x, y = d.sample("x"), d.sample("y")
    text, degrees = x, []
    for name in ("a", "b", "c")[: d.pick(2, 3)]:
        f = d.function()
        text = f.text(d.rng, f"{d.param(name)} * {text}")
        degrees.append(f.degree)
    if degrees[0] is not None:
        d.plant("rescaling of a against b", {"a": 1.0, "b": -float(degrees[0])})
    return _residual(d, text, y)


def softmax(d: Draft) -> str:
    """Classification: cross entropy of logits with a label."""
    k, n = d.pick((2, 1), (3, 1), (3, 2), (2, 2))
    x, label = d.sample("x", n), d.sample(f"label{k if d.chance(0.85) else k + 1}")
    w = d.param("W", k, n)
    logits = spellings.layer(d.rng, w, x, k, n)
    d.plant("shift of logits", {}, {"W": np.arange(n) == 0})
    if d.left >= k and d.chance(0.5):
        logits = f"{logits} + {d.param('b', k)}"
        d.plant("shift of b", {}, {"b": 1.0})
    fixed = d.chance(0.2)
    if fixed:
        logits = f"jnp.concatenate([({logits}), jnp.array([{d.pick(0.0, -60.0)}])])"
    d.line(f"l = {d.moved(logits, k + fixed)}")
    loss = [
        f"-jax.nn.log_softmax(l)[{label}]",
        f"jax.nn.logsumexp(l) - l[{label}]",
        f"-jnp.log(jax.nn.softmax(l)[{label}])",
        f"jnp.log(jnp.sum(jnp.exp(l))) - jnp.take(l, {label}, mode='clip')",
        f"-jnp.sum(jax.nn.one_hot({label}, l.size) * jax.nn.log_softmax(l))",
        f"jax.nn.logsumexp(l) - l.at[{label}].get(mode='fill', fill_value=0.0)",
        f"jax.nn.logsumexp(l) - jnp.sum(jnp.where(jnp.arange(l.size) == {label}, l, 0.0))",
        f"jnp.max(l) - l[{label}]",
        f"jnp.sum((jax.nn.softmax(l) - jax.nn.one_hot({label}, l.size)) ** 2)",
        f"jnp.sum(jax.nn.relu(1 + l - jnp.take_along_axis(l, {label}[None], axis=0)))",
    ]
    return d.rng.choice(loss)


def normalized(d: Draft) -> str:
    """Something divided by its own size: scale invariance, on one side of 0 or both."""
    n = d.pick(1, 2, 3)
    x, y = d.sample("x", n), d.sample("y")
    v = d.moved(d.param("v", n), n)
    d.line(f"v = {v}")
    unit = d.pick(
        "v / jnp.sqrt(v @ v)", "v / jnp.linalg.norm(v)", "v * jax.lax.rsqrt(jnp.sum(v ** 2))",
        "v / jnp.abs(v)", "jax.nn.relu(v) / v", "v / jnp.max(jnp.abs(v))",
        "v / jnp.sum(jnp.abs(v))", "v / jnp.mean(v)", "(v - jnp.mean(v)) / jnp.std(v)",
        "v / jnp.sqrt(v @ v + 1e-5)", "v / (v @ v)", "jnp.sign(v) * jnp.sqrt(jnp.abs(v))",
        "jnp.sort(v) / jnp.max(v)", "v / v[0]",
    )  # fmt: skip
    d.line(f"n = {unit}")
    g = d.param("g")
    d.plant("scale of v", {"v": 1.0})
    d.plant("shift of v", {}, {"v": 1.0})
    d.plant("v against g", {"v": 1.0, "g": d.pick(1.0, -1.0)})
    return _residual(d, f"{g} * {spellings.inner(d.rng, 'n', x, n)}", y)


def reductions(d: Draft) -> str:
    """Reductions of a vector that absorb shifts, scales or permutations."""
    n = d.pick(2, 3)
    x, y = d.sample("x"), d.sample("y")
    d.line(f"a = {d.moved(d.param('a', n), n)}")
    text = d.pick(
        "jnp.max(a) - jnp.min(a)", "jnp.var(a)", "a[0] - a[-1]", "jnp.max(a) - jnp.mean(a)",
        "jnp.sum(jnp.sort(a) * jnp.arange(a.size))", "jnp.sum(jnp.diff(a) ** 2)",
        "jnp.sum(jnp.abs(a[:, None] - a[None, :]))", "jnp.prod(a)", "jnp.max(a) / jnp.min(a)",
        "jnp.cumsum(a)[-1] - a[0]", "jnp.ptp(a)", "jax.nn.logsumexp(a) - a[0]",
        "jnp.sum(jnp.sort(a)[::-1][:1])", "jnp.median(a) - jnp.mean(a)", "jnp.cumprod(a)[-1]",
        "jnp.argmax(a) * 1.0", "jnp.sum(a) ** 2 - a @ a", "a[jnp.argmax(a)] - jnp.max(a) + a[0]",
        "jnp.linalg.norm(a)", "jnp.sum(jax.lax.top_k(a, 1)[0])", "jnp.sum(a[jnp.argsort(a)])",
    )  # fmt: skip
    d.plant("shift of a", {}, {"a": 1.0})
    d.plant("scale of a", {"a": 1.0})
    d.mirrors.append(("swap", _swap([("a", 0)], 0, 1)))
    if d.chance(0.5):
        text = f"{d.param('c')} * ({text})"
        d.plant("a against c", {"a": 1.0, "c": -float(d.pick(1, 2))})
    return _residual(d, f"({text}) * {x}", y)


def rotations(d: Draft) -> str:
    """Functions of a Gram matrix or of a norm."""
    n = 2
    rows = d.pick(1, 2)
    y = d.sample("y")
    u = d.param("U", rows, n)
    x = d.sample("x", rows)
    if d.chance(0.5):
        gram = d.pick(f"{u} @ {u}.T", f"jnp.einsum('ik,jk->ij', {u}, {u})", f"jnp.inner({u}, {u})")
        out = f"{x} @ ({gram}) @ {x}"
    else:
        v = d.param("V", n)
        out = f"({x} @ {u}) @ {d.moved(v, n)}"
        d.plant("mixing", _mixing(("V", 0), ("U", 1), 0, 1))
        d.plant("scale", {"U": 1.0, "V": -1.0})

    def turn(case: Any) -> np.ndarray:
        out = np.zeros((case.dimension, case.dimension))
        for leaf in case.unflatten(np.arange(case.dimension)).values():
            if leaf.shape and leaf.shape[-1] == n:
                rows = leaf.reshape(-1, n)
                out[rows[:, 0], rows[:, 1]], out[rows[:, 1], rows[:, 0]] = 1.0, -1.0
        return out

    d.plant("rotation", {"matrix": turn})
    return _residual(d, out, y)


def convolution(d: Draft) -> str:
    """A small convolution, an activation, and a readout."""
    x, y = d.sample("x", 3), d.sample("y")
    k, u = d.param("k", 2), d.param("u", 2)
    f = d.function()
    conv = d.pick(
        f'jnp.convolve({x}, {k}, mode="valid")', f'jnp.correlate({x}, {k}, mode="valid")',
        f"jnp.stack([{x}[:2] @ {k}, {x}[1:] @ {k}])",
        f"jax.lax.conv_general_dilated({x}[None, None], {k}[None, None], (1,), 'VALID')[0, 0]",
    )  # fmt: skip
    if f.degree is not None:
        d.plant("rescaling", {"k": 1.0, "u": -float(f.degree)})
    return _residual(d, spellings.inner(d.rng, u, d.moved(f.text(d.rng, conv), 2), 2), y)


def branches(d: Draft) -> str:
    """A choice by a sample, by a parameter, or by both."""
    x, y = d.sample("x"), d.sample("y")
    u, w, a = d.param("u"), d.param("w"), d.param("a")
    test = d.pick(f"{x} > 0", f"{a} > 0", f"{a} * {x} > 0", f"{u} * {w} > {x}", f"{u} > {w}",
                  f"{x} > 5", f"{a} ** 2 > -1", f"{u} * {w} > 0", f"{x} == 0")  # fmt: skip
    left, right = f"{u} * {w} * {x}", d.pick(f"{u} * {w}", f"{a} * {u}", f"{u}", "0.0", f"{w} ** 2")
    text = d.pick(
        f"jnp.where({test}, {left}, {right})",
        f"jax.lax.cond({test}, lambda: {left}, lambda: {right} + 0.0 * {u})",
        f"jax.lax.select({test}, {left}, {right} + 0.0 * {u})",
    )
    d.plant("rescaling", {"u": 1.0, "w": -1.0})
    d.plant("a against u", {"u": 1.0, "a": -1.0})
    d.plant("scale of a", {"a": 1.0})
    return _residual(d, text, y)


def scanned(d: Draft) -> str:
    """A loop over units, and a recurrence."""
    x, y = d.sample("x"), d.sample("y")
    f = d.function()
    n = d.pick(2, 3)
    if d.chance(0.6):
        u, w = d.param("u", n), d.param("w", n)
        body = f"lambda c, e: (c + e[0] * {f.text(d.rng, f'e[1] * {x}')}, None)"
        text = f"jax.lax.scan({body}, 0.0, ({u}, {w}))[0]"
        if f.degree is not None:
            d.plant("rescaling", {"u": float(f.degree), "w": -1.0})
        d.mirrors.append(("swap", _swap([("u", 0), ("w", 0)], 0, 1)))
    else:
        a, b, c = d.param("a"), d.param("b"), d.param("c")
        body = f"lambda s, _: ({f.text(d.rng, f'{a} * s + {b} * {x}')}, None)"
        text = f"{c} * jax.lax.scan({body}, 0.0, None, length={n})[0]"
        if f.degree is not None:
            d.plant("rescaling", {"b": 1.0, "c": -float(f.degree)})
    return _residual(d, text, y)


def attention(d: Draft) -> str:
    """Scores q . k of two positions, softmaxed or not, with values."""
    x, y = d.sample("x", 2), d.sample("y")
    q, k = d.param("q", 2), d.param("k", 2)
    v = d.param("v") if d.chance(0.6) else "1.0"
    d.line(f"s = jnp.outer({x}, {d.moved(q, 2)}) @ jnp.outer({x}, {k}).T")
    row = d.pick("jax.nn.softmax(s, axis=-1)", "s", "jax.nn.softmax(s, axis=0)",
                 "jnp.exp(s) / jnp.sum(jnp.exp(s))", "jnp.tril(s)")  # fmt: skip
    d.plant("mixing", _mixing(("q", 0), ("k", 0), 0, 1))
    d.plant("scale", {"q": 1.0, "k": -1.0})
    return _residual(d, f"jnp.sum(({row}) @ {x}) * {v}", y)


CORES = [two_layer] * 6 + [
    factors, factors, deep, softmax, softmax, normalized, normalized, reductions, reductions,
    rotations, convolution, branches, branches, scanned, attention,
]  # fmt: skip


def twist(d: Draft, value: str) -> str:
    """Put terms on top that keep a symmetry, break it, or break it only far away."""
    names = list(d.shapes)
    name = d.rng.choice(names)
    leaf = f'p["{name}"]'
    total = f"jnp.sum({leaf})"
    if d.chance(0.08):
        d.param("unused", *d.pick((), (2,))) if d.left > 1 else None
    if d.chance(0.08):
        value = value.replace(leaf, f"stop({leaf})", 1)
        d.lines = [text.replace(leaf, f"stop({leaf})", 1) for text in d.lines]
    if not d.chance(0.4):
        return value
    d.tags.append("twist")
    other = f'jnp.sum(p["{d.rng.choice(names)}"])'
    sample = d.rng.choice(list(d.columns))
    number = f"jnp.sum({sample})" if not sample.startswith("label") else f"(1.0 * {sample})"
    measure = d.pick(total, f"jnp.sum({leaf} ** 2)", f"{total} * {other}", f"jnp.max({leaf})",
                     f"{total} - {other}", f"jnp.sum(jnp.abs({leaf}))")  # fmt: skip
    term = d.pick(
        f"jax.nn.relu({measure} - 100.0)", f"jnp.where({measure} > 50, {measure}, 0.0)",
        f"jnp.maximum({measure}, 1e3)", f"jnp.maximum({measure} - 1e4, 0.0) ** 2",
        f"1e-3 * {measure}", f"1e-6 * {measure}", f"jnp.where({measure} > 50, 1.0, 0.0)",
        f"jnp.where({number} > 0, {measure}, 0.0)", f"0.0 * {measure}",
        f"jax.nn.relu({measure} * {number} - 10.0)", f"jnp.exp({total} - 30.0)",
        f"jnp.clip({measure}, -100.0, 100.0) - {measure}", f"jnp.sin({measure}) * {number}",
        f"jax.nn.relu(-1.0 - {measure} ** 2)", f"jnp.floor({measure} / 100)",
        f"jnp.where({measure} > {measure} + 1, {measure}, 0.0)",
    )  # fmt: skip
    return d.pick(f"{value} + {term}", f"{value} + {term}", f"({value}) * (1 + {term})")
