"""P2.3: training that starts on a mirror stays on it, as a model with fewer parameters (R3).

Statement: P theta = 0 is preserved exactly by SGD with momentum and either form of weight decay,
and a model with d - rank P parameters has identical outputs for all time. Adam preserves it if its
elementwise map commutes with I - 2P (swaps, sign flips), and not for general P.

Assumptions: l((I - 2P) theta; z) = l(theta; z) for every sample; the momentum starts at P v = 0.

Relation: equality.

Reference: arXiv 2408.15495, dimension reduction; R3.

Proof idea: everything that enters a step lies in range(I - P) = range(Q); in coordinates
theta = Q s the step is the same step of the loss l(Q s).

Example output:

    P2.3   proved        supported     refuted
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator
from proofs_check._steps import from_statement, proof, same, small, textbook
from symtheory.verdict import Derivation, Unchecked, prove


def claim() -> Claim:
    return Claim(
        "P2.3",
        "Dimension reduction: SGD with momentum and either form of weight decay keeps P theta = 0 "
        "and equals a model with d - rank P parameters for all time; Adam only where its map "
        "commutes with I - 2P",
        ("l has the P-reflection for every sample", "P v = 0 at the start"),
        "equality",
        "arXiv 2408.15495, dimension reduction; R3",
    )


def _step(a: Any, t: Any, v: Any, g: Any) -> Any:
    """Heavy ball with coupled decay (gamma) and decoupled decay (delta) at once."""
    speed = a["beta"] * v + g + 2 * a["gamma"] * t
    return t - a["eta"] * speed - 2 * a["eta"] * a["delta"] * t


def _inside(a: Any, name: str) -> Any:
    return a[name] - a["P"] @ a[name]


def exact() -> st.Verdict:
    """Any projection, learning rate, momentum and both decays, of any strength."""
    numbers = {"eta": (), "beta": (), "gamma": (), "delta": ()}
    arrays = {"P": st.ProjectionMatrix("d"), "t": "d", "v": "d", "g": "d", **numbers}
    swapped = sympy.Matrix([sympy.sign(4), sympy.sign(-3)])
    steps = [
        from_statement("P g = 0 for the gradient of every sample at P theta = 0", "P2.2"),
        st.identity(
            "with P theta = P v = P g = 0 the step and the new momentum have P = 0, for coupled "
            "and for decoupled decay",
            lambda a: a["P"] @ _step(a, _inside(a, "t"), _inside(a, "v"), _inside(a, "g")),
            arrays,
        ),
        st.identity(
            "theta = Q s, v = Q u: the step of l at theta is Q times the step of l(Q s), whose "
            "gradient is Q^T g, where Q Q^T g = g",
            lambda a: (
                _step(a, a["Q"] @ a["s"], a["Q"] @ a["u"], a["Q"] @ (a["Q"].T @ a["g"]))
                - a["Q"] @ _step(a, a["s"], a["u"], a["Q"].T @ a["g"])
            ),
            {"Q": ("d", "k"), "s": "k", "u": "k", "g": "d", **numbers},
        ),
        textbook(
            "Q Q^T = I - P with Q^T Q = I exists, with d - rank P columns; so theta_t = Q s_t and "
            "all outputs agree, by induction over the steps",
            "orthonormal basis of a subspace, induction",
            given="P an orthogonal projection",
        ),
        _elementwise(),
        *_odd(),
        textbook(
            "so Adam's map commutes with every swap and every flip, of gradients and of its state; "
            "at gradients and states that I - 2P fixes its update is fixed, too, for these P",
            "an elementwise map commutes with permutations of the entries, and an odd one with "
            "flips",
            given="the steps above",
        ),
        st.identity(
            "what I - 2P fixes is where P is 0: q + (I - 2P) q = 2 (q - P q)",
            lambda a: a["q"] + (a["q"] - 2 * a["P"] @ a["q"]) - 2 * (a["q"] - a["P"] @ a["q"]),
            {"P": st.ProjectionMatrix("d"), "q": "d"},
        ),
        same(
            "it does not for the mirror across n = (3, 4)/5: g = (4, -3) has n.g = 0, but Adam's "
            "first step is along sign(g), with n.sign(g) = -1/5",
            sympy.Matrix([sympy.Rational(3, 5), sympy.Rational(4, 5)]).dot(swapped),
            -sympy.Rational(1, 5),
        ),
    ]
    return proof("mirrors are kept and reduce the dimension", steps, claim().reference)


_ENTRYWISE = frozenset(
    (
        *("add", "sub", "mul", "div", "neg", "abs", "sqrt", "rsqrt", "integer_pow", "pow"),
        *("square", "max", "min", "select_n", "lt", "gt", "le", "ge", "eq", "ne", "and", "or"),
        *("not", "convert_element_type", "broadcast_in_dim", "copy"),
    )
)


def _elementwise() -> st.Verdict:
    """Read optax's Adam: every operation acts entry by entry, none sees two entries."""
    optimizer = optax.scale_by_adam()
    like = jnp.zeros(5)
    jaxpr = jax.make_jaxpr(optimizer.update)(like, optimizer.init(like))
    seen = set()

    def walk(inner: Any) -> None:
        for equation in inner.eqns:
            deeper = [v for v in equation.params.values() if hasattr(v, "eqns")]
            deeper += [v.jaxpr for v in equation.params.values() if hasattr(v, "jaxpr")]
            for part in deeper:
                walk(part)
            if not deeper:
                seen.add(equation.primitive.name)
                # A vector may meet vectors and numbers; nothing else turns it into something new.
                shapes = {v.aval.shape for v in (*equation.invars, *equation.outvars)}
                if not shapes <= {(), (5,)}:
                    seen.add(f"{equation.primitive.name} of shapes {sorted(shapes)}")
                if equation.outvars[0].aval.shape == () and (5,) in shapes:
                    seen.add(f"{equation.primitive.name} of a vector to a number")

    walk(jaxpr.jaxpr)
    odd = sorted(seen - _ENTRYWISE)
    claim = "Adam's map acts entry by entry, the same way on each"
    how = f"the operations of optax's Adam: {', '.join(sorted(seen))}"
    if odd:
        return st.Verdict(st.Status.REFUTED, claim, how=how, residual=odd)
    recheck = Unchecked("the program itself was read, operation by operation")
    return prove(claim, Derivation(how), recheck, residual=0)


def _odd() -> list[st.Verdict]:
    """One entry of Adam: its update is odd in gradient and momentum, its second moment even."""
    m, g = sympy.symbols("m g", real=True)
    v, eps = sympy.symbols("v epsilon", positive=True)
    b1, b2, c1, c2 = sympy.symbols("beta_1 beta_2 c_1 c_2", positive=True)
    momentum, square = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    update = (momentum / c1) / (sympy.sqrt(square / c2) + eps)
    flip = {m: -m, g: -g}
    return [
        same("a flip of m and g flips the new momentum", momentum.subs(flip), -momentum),
        same("and keeps the new second moment", square.subs(flip), square),
        same("and flips the update, at every step (c_i = 1 - beta_i^t)", update.subs(flip),
             -update),
    ]  # fmt: skip


_INPUTS, _UNITS, _BATCH, _RATE, _BETA, _GAMMA = 3, 4, 4, 0.01, 0.9, 0.02


def _optimizer(name: str) -> optax.GradientTransformation:
    decay = optax.add_decayed_weights(2 * _GAMMA)
    return {
        "coupled": optax.chain(decay, optax.sgd(_RATE, momentum=_BETA)),
        "decoupled": optax.chain(
            optax.trace(_BETA), decay, optax.scale_by_learning_rate(_RATE)
        ),
        "adam": optax.chain(decay, optax.adam(_RATE)),
    }[name]  # fmt: skip


def _outputs(activation: Any, theta: Any, x: Any) -> Any:
    """Return the outputs of a two-layer net; the rows of theta are its units (u_i, w_i)."""
    units = theta.reshape(_UNITS, 1 + _INPUTS)
    return activation(x @ units[:, 1:].T) @ units[:, 0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _trained(activation: Any, name: str, basis: Any, start: Any, x: Any, y: Any) -> Any:
    """Train theta = basis @ s from s = start; return final theta and outputs along the way."""
    optimizer = _optimizer(name)

    def one(basis: Any, start: Any, x: Any, y: Any) -> Any:
        def loss(s: Any, x: Any, y: Any) -> Any:
            return jnp.mean((_outputs(activation, basis @ s, x) - y) ** 2)

        def step(carry: Any, batch: Any) -> tuple[Any, Any]:
            s, state = carry
            updates, state = optimizer.update(jax.grad(loss)(s, *batch), state, s)
            return (optax.apply_updates(s, updates), state), _outputs(activation, basis @ s, x[0])

        (s, _), seen = jax.lax.scan(step, (start, optimizer.init(start)), (x, y))
        return basis @ s, seen

    return jax.vmap(one)(basis, start, x, y)


def _linear(x: Any) -> Any:
    return x


def _stays(
    name: str, activation: Any, oblique: bool, key: jax.Array, budget: Budget, reduced: bool
) -> st.Verdict:
    """Train nets from the mirror of a direction of the units, minibatch by minibatch.

    Args:
        name: Which optimizer.
        activation: Of the hidden units.
        oblique: The direction is drawn (linear nets have all of these mirrors); else it exchanges
            two units.
        key: Everything is drawn from it.
        budget: How long.
        reduced: Compare also with the model of d - rank P parameters.
    """
    rng, nets, width = generator(key), 8, 1 + _INPUTS
    steps = budget.steps(nets, nanoseconds=60_000.0, most=400)
    normal = np.tile(np.eye(_UNITS)[0] - np.eye(_UNITS)[1], (nets, 1))
    if oblique:
        normal = rng.normal(size=(nets, _UNITS))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    others = rng.normal(size=(nets, _UNITS, _UNITS - 1))
    full = np.linalg.qr(np.concatenate([normal[:, :, None], others], axis=2))[0]
    rest = np.stack([np.kron(q[:, 1:], np.eye(width)) for q in full])
    start = 0.5 * rng.normal(size=(nets, rest.shape[2]))
    x = rng.normal(size=(nets, steps, _BATCH, _INPUTS))
    teacher = rng.normal(size=(nets, 1, _INPUTS, 1)) / 2
    y = (x @ teacher)[..., 0] + 0.1 * rng.normal(size=(nets, steps, _BATCH))
    whole = np.tile(np.eye(_UNITS * width), (nets, 1, 1))
    theta, seen = _trained(activation, name, whole, (rest @ start[:, :, None])[..., 0], x, y)
    across = np.einsum("ni,nij->nj", normal, np.asarray(theta).reshape(nets, _UNITS, width))
    off, what = float(np.abs(across).max()), f"|P theta| of {nets} nets after {steps} steps"
    if reduced:
        _, fewer = _trained(activation, name, rest, start, x, y)
        off = max(off, float(np.abs(np.asarray(seen) - np.asarray(fewer)).max()))
        what += f", and all outputs beside a model with {start.shape[1]} of {whole.shape[1]}"
    where = "a drawn direction of the units" if oblique else "a swap"
    how = f"{what}; {where}, {name}; rounding, which unstable directions amplify"
    return small(f"training stays on the mirror ({name}, {where})", off, 1e-7, how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    keys = jax.random.split(key, 4)
    parts = [
        _stays("coupled", _linear, True, keys[0], budget, True),
        _stays("decoupled", _linear, True, keys[1], budget, True),
        _stays("coupled", jnp.tanh, False, keys[2], budget, True),
        _stays("adam", jnp.tanh, False, keys[3], budget, False),
    ]
    return st.conjunction("mirrors are kept, by SGD all of them and by Adam swaps", parts)


def control() -> st.Verdict:
    """Adam and a mirror that lies along no axis."""
    return _stays("adam", _linear, True, jax.random.key(1), Budget(1.0), False)


def twin() -> st.Verdict:
    """Adam and a mirror that exchanges two units, with which its map commutes."""
    return _stays("adam", _linear, False, jax.random.key(1), Budget(1.0), False)
