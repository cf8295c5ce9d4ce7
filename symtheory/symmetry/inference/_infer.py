"""Infer the symmetries of a loss from its program and the shapes of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symtheory.errors import InputError, UnreadableError
from symtheory.model import Model
from symtheory.program import (
    NO_DEADLINE,
    Deadline,
    Program,
    lower,
    redefines_derivatives,
    trace,
)  # fmt: skip
from symtheory.symmetry.inference._classes import Solution, joined, solve
from symtheory.symmetry.inference._explain import Evidence
from symtheory.symmetry.inference._inferred import Inferred
from symtheory.symmetry.inference._layout import Inputs, Layout, inputs, refined, whole
from symtheory.symmetry.inference._read_off import read_off
from symtheory.symmetry.inference._result import Leaf, path_of
from symtheory.symmetry.inference._transformations import Transformations
from symtheory.symmetry.inference._values import FIXED, INVARIANT, Plain

_MOST_PASSES = 200


def analyse(
    program: Program, leaves: list[Any], others: list[Any], deadline: Deadline = NO_DEADLINE
) -> tuple[Transformations, Inputs, list[Layout], Solution]:
    """Read a program until no atom needs to be split any more, and solve what it demands.

    Args:
        program: The program of a loss; its inputs are the parameters, then everything else.
        leaves: Shapes of the parameters.
        others: Shapes of samples and constants.
        deadline: A time limit.
    """
    layouts: list[Layout] = [whole(shape) for shape in leaves]
    for _ in range(_MOST_PASSES):
        domain, given = _read(program, layouts, others, None, deadline)
        requests = {a: r for a, r in domain.log.requests.items() if a in given.places}
        if not requests:
            break
        changed: set[tuple[int, tuple[int, ...]]] = set()
        for atom, request in requests.items():
            place = given.places[atom]
            if (place.leaf, place.block) not in changed:  # the others keep their numbers
                changed.add((place.leaf, place.block))
                layouts[place.leaf] = refined(layouts[place.leaf], place, request)
    else:
        raise UnreadableError(
            f"the axes of the parameters are still being split after {_MOST_PASSES} passes; "
            "write the loss with fewer slices of its parameters"
        )
    solution = solve(domain.log, given, domain.atoms)
    if domain.blocked:
        more = [_read(program, layouts, others, moving, deadline) for moving in (0, 1)]
        solution = joined([solution, *(solve(d.log, g, d.atoms) for d, g in more)])
    return domain, given, layouts, solution


def _read(
    program: Program, layouts: list[Layout], others: list[Any], moving: int | None,
    deadline: Deadline,
) -> tuple[Transformations, Inputs]:  # fmt: skip
    domain = Transformations(moving)
    given = inputs(domain, layouts)
    data = [
        Plain(tuple(domain.axis(n, FIXED) for n in shape), INVARIANT, (), True) for shape in others
    ]
    [loss] = domain.run(program, [*given.values, *data], deadline)
    domain.log.source = None
    domain.invariant(domain.merged(domain.lift(loss)))
    return domain, given


def infer(
    model_or_function: Model | Callable[..., Any],
    params: Any = None,
    *others: Any,
    deadline: Deadline = NO_DEADLINE,
) -> Inferred:
    """Infer the symmetries of a loss from its program; nothing is sampled, only shapes are read.

    Every axis of every parameter is followed through the core operations of the loss. What is
    found are the transformations that act on whole axes: invertible and orthogonal matrices,
    permutations, rescalings, signs, shifts, with independent copies for heads, experts, layers.
    All of them leave the value of the loss unchanged, for all parameters and samples.

    Args:
        model_or_function: A `Model`, or a loss `loss(params, *others)`.
        params: For a function: a pytree of arrays or `jax.ShapeDtypeStruct`.
        *others: The sample, constants: whatever else the loss reads.
        deadline: A time limit.

    Raises:
        UnreadableError: The loss cannot be lowered; says where.
        InputError: The sizes of a model are not bound, or the loss is not a scalar.

    Source: arXiv 2402.07193, section 2 (the symmetries); the typing rules are this project's own.

    >>> struct = lambda *shape: jax.ShapeDtypeStruct(shape, np.float32)
    >>> loss = lambda p, x: ((p["U"] @ jax.nn.relu(p["W"] @ x)) ** 2).sum()
    >>> found = infer(loss, {"U": struct(2, 7), "W": struct(7, 3)}, struct(3))
    >>> [(c.group, c.size) for c in found.classes if c.group != "none"], found.counts.symmetric
    ([('O', 2), ('permutations', 7)], 7)
    """
    arguments = (params, *others)
    if isinstance(model_or_function, Model):
        model = model_or_function.require_bound() if _open(model_or_function) else model_or_function
        function: Callable[..., Any] = lambda p, z, c: model.evaluate(p, z, c)
        arguments = model.structure()
    else:
        function = model_or_function
    closed, _ = trace(function, *jax.tree.map(_struct, arguments))
    if [v.aval.shape for v in closed.jaxpr.outvars] != [()]:
        shapes = [v.aval.shape for v in closed.jaxpr.outvars]
        raise InputError(f"the loss has results of shape {shapes}; it must return one scalar")
    return infer_traced(closed, arguments[0], deadline)


def infer_traced(
    closed: ClosedJaxpr, params: Any, deadline: Deadline = NO_DEADLINE,
    program: Program | None = None,
) -> Inferred:  # fmt: skip
    """Infer the symmetries of a traced loss; `params` are its first arguments (see `infer`).

    A `program` is read in place of the one that the loss is lowered to.
    """
    program = lower(closed) if program is None else program
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    shapes = [tuple(map(int, v.aval.shape)) for v in closed.jaxpr.invars]
    domain, given, layouts, solution = analyse(
        program, shapes[: len(paths)], shapes[len(paths) :], deadline
    )
    leaves, start = [], 0
    for (keys, _), shape, layout in zip(paths, shapes, layouts, strict=False):
        leaves.append(Leaf(path_of(keys), shape, layout, start))
        start += math.prod(shape)
    found = read_off(given, solution, leaves)
    evidence = Evidence(domain.log, given, solution, tuple(leaves))
    return Inferred(tuple(leaves), tree, found, not redefines_derivatives(closed), evidence)


def _struct(leaf: Any) -> jax.ShapeDtypeStruct:
    dtype = getattr(leaf, "dtype", None)
    return jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype if dtype is None else dtype)


def _open(model: Model) -> bool:
    return any(shape is None for shape in model.unbound.values())
