"""From ring elements to numbers: one JAX function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.domains import Element, Symbols
from symtheory.errors import InputError

Arrays = Mapping[tuple[str, str], Any]
"""Values of symbol arrays by kind and name."""

_NUMERIC: dict[str, Callable[..., Any]] = {
    "positive": lambda x: (x > 0) * 1.0,
    "vanishing": lambda x: (x == 0) * 1.0,
    "cospi": lambda x: jnp.cos(jnp.pi * x),
    "sinpi": lambda x: jnp.sin(jnp.pi * x),
}


def _numeric(function: str) -> Callable[..., Any]:
    """Return a function of arrays by the name of its kernel."""
    known = _NUMERIC.get(function) or getattr(jnp, function, None)
    return known or getattr(jax.lax, function)


def lower(elements: list[Element], symbols: Symbols) -> Callable[[Arrays], Any]:
    """Return a JAX function that evaluates elements; its argument gives arrays by kind and name.

    Each polynomial becomes one gather of at most its degree in factors per term, one product and
    one dot product with the coefficients, whatever its number of terms.
    """
    if not elements:
        return lambda arrays: jnp.zeros((0,))
    ring = elements[0].ring
    needed = _needed(elements)
    names = {index: text for text, index in ring.names.items()}
    texts = [names[i] for i in needed if i not in ring.kernels]
    kernels = [i for i in needed if i in ring.kernels]
    column = {i: 1 + k for k, i in enumerate([*(i for i in needed if i not in ring.kernels)])}
    column |= {i: 1 + len(texts) + k for k, i in enumerate(kernels)}
    sources = [symbols.labels[text] for text in texts]
    steps = [
        (_numeric(k.function), _program(k.argument, column))
        for k in (ring.kernels[i] for i in kernels)
    ]
    programs = [_program(element, column) for element in elements]

    def evaluate(arrays: Arrays) -> Any:
        entries = [jnp.ones(())]
        for label in sources:
            try:
                array = arrays[label.kind, label.name]
            except KeyError:
                raise InputError(
                    f"no value is given for {label.name!r}; bind it with "
                    f"model.bind({label.name}=...) or pass {label.name}=..."
                ) from None
            entries.append(jnp.asarray(array)[label.index])
        x = jnp.stack(jnp.broadcast_arrays(*entries))
        for function, program in steps:
            x = jnp.concatenate([x, function(_run(program, x))[None]])
        return jnp.stack([_run(program, x) for program in programs])

    return evaluate


def _needed(elements: list[Element]) -> list[int]:
    """Return the generators that occur, kernels after everything they depend on."""
    found: set[int] = set()
    stack = list(elements)
    while stack:
        element = stack.pop()
        for poly in (element.numerator, element.denominator):
            if poly is None:
                continue
            for index, degree in enumerate(poly.degrees()):
                if degree > 0 and index not in found:
                    found.add(index)
                    if index in element.ring.kernels:
                        stack.append(element.ring.kernels[index].argument)
    return sorted(found)


Program = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray] | None]


def _program(element: Element, column: dict[int, int]) -> Program:
    def polynomial(poly: Any) -> tuple[np.ndarray, np.ndarray]:
        terms = poly.to_dict()
        factors = [
            [column[i] for i, n in enumerate(exponents) if n for _ in range(int(n))]
            for exponents in terms
        ]
        width = max(map(len, factors), default=0)
        index = np.zeros((len(terms), width), dtype=np.int32)
        for row, used in enumerate(factors):
            index[row, : len(used)] = used
        return np.array([int(c.p) / int(c.q) for c in terms.values()]), index

    below = None if element.denominator is None else polynomial(element.denominator)
    return polynomial(element.numerator), below


def _run(program: Program, x: Any) -> Any:
    (coefficients, index), below = program
    top = jnp.asarray(coefficients, x.dtype) @ jnp.prod(x[index], axis=1)
    return top if below is None else top / _run((below, None), x)
