"""Move a factorized layer to the equilibrium of its orbit, leaving its function as it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.theory.orbits._geometric_mean import Balance, balance
from symtheory.theory.orbits._gl_pair import GLPair, leaves_of
from symtheory.theory.orbits._inputs import checked_gamma, checked_pair, gradient_stacks
from symtheory.theory.orbits._proof import verify_pair
from symtheory.verdict import Status, Verdict


@dataclasses.dataclass(frozen=True)
class RebalanceReport:
    """What a rebalancing did.

    Attributes:
        imbalance_before: |N1 - N2| / (|N1| + |N2|) (Frobenius) at the start, over all batch
            entries, with N1 = U^T M_U U and N2 = W M_W W^T; 0 at equilibrium, at most 1.
        imbalance_after: The same for the new factors.
        output_change: max |f(new) - f(old)| / max |f(old)| of the function given, else None.
        rank: Dimension of the joint range, by batch entry: below the width, the rest of the hidden
            space is a null block that was left as it was.
        width: The hidden width h.
        symmetry: Verdict on the pair being a symmetry of the model's loss, None without a model.
    """

    imbalance_before: float
    imbalance_after: float
    output_change: float | None
    rank: tuple[int, ...]
    width: int
    symmetry: Verdict | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Rebalanced:
    """New parameters, and the report on them."""

    params: Any
    report: RebalanceReport


def rebalance(
    params: Any,
    pair: Any,
    *,
    noise: tuple[Any, Any] | None = None,
    gradients: Any = None,
    temperature: float = 1.0,
    weight_decay: float = 0.0,
    model: Model | None = None,
    function: Callable[[Any], Any] | None = None,
    seconds: float | None = 60.0,
) -> Rebalanced:
    """Move the factors U, W of a pair along their GL(h) orbit to the noise equilibrium.

    On the orbit (U g, g^-1 W) the point with U^T M_U U = W M_W W^T, M = (T/2) Gamma + 2 gamma 1,
    is unique up to rotations: g = X^(1/2), X N1 X = N2, N1 = U^T M_U U, N2 = W M_W W^T. It is
    where SGD noise and weight decay balance every symmetric charge U -> U e^B, W -> e^-B W. Without
    `noise` and `gradients` both Gamma are the identity: norm balance U^T U = W W^T.

    Factors of any condition are accepted. Where U W has rank below h, only the joint range of the
    two factors is balanced; what is left of the hidden space stays as it was, and the report's
    `rank` says so. The work is done in double precision and cast back to each leaf's type.

    Args:
        params: A pytree of arrays.
        pair: Two leaf names (the left one contracted on its last axis, the right one on its
            first), a `GLPair`, or a generator or group that `discover` found.
        noise: (Gamma_U, Gamma_W): numbers, vectors of diagonals or positive definite matrices over
            the outer axes of the two factors, flattened (with batch axes: one for all, or stacked).
        gradients: Per-sample gradients instead, a pytree like `params` with a leading sample axis:
            N1 and N2 are then their centred second moments.
        temperature: T = eta/S, matters only beside weight decay.
        weight_decay: gamma.
        model: If given, the pair is verified to be a symmetry of its loss first.
        function: If given, params -> outputs, which must not change.
        seconds: Time limit of the verification.

    Returns:
        `Rebalanced`: new parameters, and a report.

    Raises:
        InputError: The pair does not fit or is not a symmetry, a factor is zero or not finite, a
            Gamma is not positive definite, or the outputs of `function` changed. Nothing is
            changed in place.

    Source: arXiv 2402.07193, matrix factorization; the geometric mean is this package's.

    >>> import numpy as np
    >>> new = rebalance({"U": np.array([[8.0]]), "W": np.array([[2.0]])}, ("U", "W"))
    >>> float(new.params["U"][0, 0]), new.report.imbalance_before > 0.8
    (4.0, True)
    """
    for name, value in (("temperature", temperature), ("weight_decay", weight_decay)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a finite number that is not negative, got {value}")
    if temperature == 0 and weight_decay == 0:
        raise InputError(
            "neither noise nor weight decay acts (temperature = weight_decay = 0), so every point "
            "of the orbit is at rest; give one of them"
        )
    if noise is not None and gradients is not None:
        raise InputError("give either noise=(Gamma_U, Gamma_W) or gradients=..., not both")
    leaves = leaves_of(params)
    chosen = checked_pair(pair, leaves)
    verdict = None
    if model is not None:
        model.check_params(params)
        verdict = verify_pair(model, chosen, seconds)
        if verdict.status is Status.REFUTED:
            raise InputError(
                f"the pair is not a symmetry of {model.name}: {verdict.how}; "
                "discover(model) lists the pairs that are"
            )
    with jax.enable_x64(True):
        left, right = (s.astype(jnp.float64) for s in chosen.stacks(leaves))
        rows = (left.shape[1], right.shape[1])
        if gradients is None:
            gammas = (None, None) if noise is None else tuple(noise)
            if len(gammas) != 2:
                raise InputError("noise is a pair (Gamma_U, Gamma_W)")
            roots = [
                checked_gamma(gamma, n, left.shape[0], side, temperature, weight_decay)
                for gamma, n, side in zip(gammas, rows, ("Gamma_U", "Gamma_W"), strict=True)
            ]
            out = _given(left, right, *roots)
        else:
            # N1 is made of the gradient by the right factor, U^T G G^T U, and N2 of the left one's.
            of_left, of_right = gradient_stacks(gradients, chosen, leaves)
            noisy = float(np.sqrt(temperature / 2)), float(np.sqrt(2 * weight_decay))
            out = _sampled(left, right, of_right * noisy[0], of_left * noisy[0], noisy[1])
        new = chosen.unstack(out.left, out.right, leaves)
        before, after, rank, width = out.before, out.after, out.rank, left.shape[2]
    new_params = jax.tree.unflatten(
        jax.tree.structure(params), [new.get(name, leaf) for name, leaf in leaves.items()]
    )
    change = None if function is None else _output_change(function, params, new_params, chosen)
    report = RebalanceReport(
        float(before), float(after), change, tuple(int(r) for r in rank), width, verdict
    )
    return Rebalanced(new_params, report)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Moved:
    left: Any
    right: Any
    before: Any
    after: Any
    rank: Any


def _balance_all(a: Any, c: Any) -> Balance:
    # One after the other, so that full-rank pairs skip the null block.
    return jax.lax.map(lambda pair: balance(*pair), (a, c))


@jax.jit
def _given(left: Any, right: Any, left_root: Any, right_root: Any) -> _Moved:
    """Balance stacks of U and W^T; a root is lower triangular with L L^T = M, or a number."""

    def weigh(stack: Any, root: Any) -> Any:
        return root * stack if root.ndim == 0 else jnp.swapaxes(root, -1, -2) @ stack

    def unweigh(stack: Any, root: Any) -> Any:
        if root.ndim == 0:
            return stack / root
        solve = functools.partial(jax.scipy.linalg.solve_triangular, trans=1, lower=True)
        return jax.vmap(solve)(root, stack)

    a, c = weigh(left, left_root), weigh(right, right_root)
    found: Balance = _balance_all(a, c)
    new_left = unweigh(found.left, left_root) + left @ found.idle
    new_right = unweigh(found.right, right_root) + right @ found.idle_inverse
    after = weigh(new_left, left_root), weigh(new_right, right_root)
    return _Moved(new_left, new_right, _imbalance(a, c), _imbalance(*after), found.rank)


@jax.jit
def _sampled(left: Any, right: Any, of_right: Any, of_left: Any, decay: Any) -> _Moved:
    """Balance where N1 and N2 are Gram matrices of gradients (batch, samples, hidden)."""
    a = jnp.concatenate([of_right, decay * left], axis=1)
    c = jnp.concatenate([of_left, decay * right], axis=1)
    found: Balance = _balance_all(a, c)
    forward, inverse = found.forward + found.idle, found.inverse + found.idle_inverse
    after = _imbalance(a @ forward, c @ inverse)
    return _Moved(left @ forward, right @ inverse, _imbalance(a, c), after, found.rank)


def _imbalance(a: Any, c: Any) -> Any:
    n1, n2 = (jnp.swapaxes(x, -1, -2) @ x for x in (a, c))
    return jnp.linalg.norm(n1 - n2) / (jnp.linalg.norm(n1) + jnp.linalg.norm(n2))


def _output_change(function: Callable[[Any], Any], old: Any, new: Any, pair: GLPair) -> float:
    before, after = (np.asarray(jax.flatten_util.ravel_pytree(function(p))[0]) for p in (old, new))
    change = float(np.max(np.abs(after - before)) / max(np.max(np.abs(before)), 1e-300))
    allowed = float(np.sqrt(np.finfo(before.dtype).eps))
    if not change <= allowed:
        names = [factor.leaf for factor in (*pair.left, *pair.right)]
        raise InputError(
            f"the outputs of the function changed by {change:.2g} (relative; {allowed:.1g} is "
            f"allowed for {before.dtype}), so {names} are not a pair that it depends on through "
            "their product; check the leaves and axes"
        )
    return change
