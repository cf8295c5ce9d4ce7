"""E[f(z)] in closed form for arrays of symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy

from symtheory import shapes
from symtheory.data import Law
from symtheory.domains.tensors import Indexed, Tensor, read_indexed
from symtheory.errors import InputError
from symtheory.theory.matrices._expression import TensorExpression
from symtheory.theory.matrices._moments import expectation as exact_expectation
from symtheory.theory.matrices._moments import sample_tensors


def expectation(
    function: Callable[..., Any],
    random: Mapping[str, Law],
    constants: Mapping[str, Any] | None = None,
) -> TensorExpression:
    """Return E[f(z)] or E[f(z, c)] exactly, whatever the sizes.

    Gaussian arrays are paired by Wick's (Isserlis') theorem, with means; independent entries of
    another law bring in their higher cumulants.

    Args:
        function: `f(sample)`, or `f(sample, constants)`: a JAX function made of sums, products,
            contractions, transposes and traces; the result may be an array.
        random: Independent random arrays by name; sizes, means and covariances may be names.
        constants: Shapes of fixed arrays by name.

    Returns:
        An expression in whole matrices, with `latex()`, `sympy()` and `callable()`, a JAX function
        `f(**values)` of the constants, means and covariances.

    Raises:
        UnreadableError: The function uses a primitive that the index domain cannot read.

    >>> from symtheory.data import Normal
    >>> print(expectation(lambda z, c: z["x"][:, None] * z["x"] @ c["A"] @ z["x"][:, None] * z["x"],
    ...                   {"x": Normal("n", cov="S")}, {"A": ("n", "n")}))
    S A^T S + S A S + Tr[A S] S
    """
    for name, law in random.items():
        if not isinstance(law, Law):
            raise InputError(f"random[{name!r}] is {law!r}; give a law such as Normal(shape)")
    laws = sample_tensors(random)
    samples = {t.name: t for t in laws}
    fixed = {n: Tensor("constant", n, shapes.as_shape(s)) for n, s in (constants or {}).items()}
    _check_names(random, fixed)
    groups = [samples] if constants is None else [samples, fixed]
    value = read_indexed(
        function,
        [{name: tensor.sizes for name, tensor in group.items()} for group in groups],
        [{name: Indexed.of(tensor) for name, tensor in group.items()} for group in groups],
    )
    if not isinstance(value, Indexed):
        raise InputError("expectation takes a function that returns one array; call it for each")
    result = exact_expectation(value, laws)
    names = {t: (t.kind, t.name) for t in result.tensors}
    return TensorExpression(((sympy.Integer(1), result),), None, names, {})


def _check_names(random: Mapping[str, Law], fixed: Mapping[str, Tensor]) -> None:
    """Refuse a name that would stand for two things in the result."""
    roles: dict[str, set[object]] = {}
    for law in random.values():
        for size in shapes.names(shapes.as_shape(law.shape)):
            roles.setdefault(size, set()).add("size")
        for name, shape in law.arrays.items():
            role = "covariance" if name == getattr(law, "cov", None) else "mean"
            roles.setdefault(name, set()).add((role, shape))
    for name, tensor in fixed.items():
        roles.setdefault(name, set()).add("constant")
        for size in shapes.names(tensor.sizes):
            roles.setdefault(size, set()).add("size")
    for name, found in roles.items():
        if len(found) > 1:
            raise InputError(
                f"{name!r} names more than one thing among sizes, constants, means and "
                "covariances; use different names"
            )
