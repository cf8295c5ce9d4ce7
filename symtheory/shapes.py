"""Shapes whose sizes may still be names, and pytrees of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError

Size = int | str
Shape = tuple[Size, ...]


def is_shape(node: Any) -> bool:
    """Tell whether a node of a pytree is itself a shape: a size, or a tuple of sizes.

    Arrays, and anything else with a `shape`, count as the shape they have.
    """
    if isinstance(node, tuple) and not hasattr(node, "_fields"):
        return all(isinstance(size, (int, str)) for size in node)
    return isinstance(node, (int, str)) or hasattr(node, "shape")


def as_shape(node: Any) -> Shape:
    """Return a size, a tuple of sizes or something with a `shape` as a tuple of sizes.

    >>> as_shape("h"), as_shape((2, "dx")), as_shape(())
    (('h',), (2, 'dx'), ())
    """
    if hasattr(node, "shape"):
        node = tuple(node.shape)
    shape = node if isinstance(node, tuple) else (node,)
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, (int, str, np.integer)):
            raise InputError(f"a size is an integer or a name, got {size!r} in the shape {node!r}")
        if isinstance(size, str) and not size:
            raise InputError(f"a size has an empty name in the shape {node!r}")
        if not isinstance(size, str) and size < 0:
            raise InputError(f"sizes are not negative, got {size} in the shape {node!r}")
    return tuple(size if isinstance(size, str) else int(size) for size in shape)


def names(shape: Shape) -> set[str]:
    """Return the names among the sizes."""
    return {size for size in shape if isinstance(size, str)}


def bind(shape: Shape, sizes: Mapping[str, int]) -> Shape:
    """Replace the names that `sizes` knows; products such as "a*b" once all are known."""
    return tuple(_bind_size(size, sizes) for size in shape)


def _bind_size(size: Size, sizes: Mapping[str, int]) -> Size:
    if isinstance(size, int) or size in sizes:
        return size if isinstance(size, int) else sizes[size]
    factors = [_bind_size(part, sizes) for part in size.split("*")] if "*" in size else [size]
    return product(tuple(factors)) if len(factors) > 1 else size


def product(shape: Shape) -> Size:
    """Return the number of entries, as an integer or as a name like "a*b"."""
    number = math.prod(size for size in shape if isinstance(size, int))
    symbols = [size for size in shape if isinstance(size, str)]
    if not symbols:
        return number
    return "*".join([*([str(number)] if number != 1 else []), *symbols])


def fixed(shape: Shape) -> tuple[int, ...]:
    """Return the shape if all sizes are integers.

    Raises:
        InputError: A size is still a name.
    """
    missing = sorted(names(shape))
    if missing:
        listed = ", ".join(f"{name}=..." for name in missing)
        raise InputError(
            f"the size {missing[0]!r} is not bound; bind it with model.bind({listed}) "
            f"or --size {missing[0]}=N"
        )
    return tuple(int(size) for size in shape)


def tree(node: Any) -> Any:
    """Return a pytree of shapes with every leaf in the form of a tuple of sizes."""
    return jax.tree.map(as_shape, node, is_leaf=is_shape)


def map_tree(function: Any, node: Any) -> Any:
    """Apply `function` to every shape of a pytree of shapes."""
    return jax.tree.map(function, node, is_leaf=is_shape)


def leaves(node: Any) -> Iterator[tuple[str, Shape]]:
    """Yield each shape of a pytree with its dotted name ("layers.0.W"; "" for a bare shape).

    Where two leaves would have the same name, the keys that hold dots are put in quotes, so that
    names tell leaves apart.

    >>> [name for name, _ in leaves({"a": {"b": ()}, "a.b": ()})]
    ['a.b', '"a.b"']
    """
    found = jax.tree_util.tree_flatten_with_path(node, is_leaf=is_shape)[0]
    texts = [path_text(path) for path, _ in found]
    for (path, shape), text in zip(found, texts, strict=True):
        clear = texts.count(text) == 1
        yield text if clear else ".".join(map(_quoted, path)), as_shape(shape)


def path_text(path: Any) -> str:
    """Return the path of a leaf as its dotted name."""
    return ".".join(_key_text(key) for key in path)


def _key_text(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _quoted(key: Any) -> str:
    text = _key_text(key)
    return text if text and not set(text) & set('."') else json.dumps(text, ensure_ascii=False)


def check_array(name: str, array: Any, shape: Shape) -> None:
    """Check an array against a shape, names standing for any size.

    Raises:
        InputError: The shapes do not fit, or an entry is not finite.
    """
    got = tuple(np.shape(array))
    fits = len(got) == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, got, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
        raise InputError(f"{name} has shape {got} where {wanted} is needed")
    numbers = np.asarray(array)
    if numbers.dtype != object and not np.all(np.isfinite(numbers)):
        raise InputError(f"{name} has entries that are NaN or infinite; give finite numbers")
