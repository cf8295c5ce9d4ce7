"""What commands do with MODEL, sizes and values before they compute anything."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symtheory.model import Model
    from symtheory.source import Source


def double_precision() -> None:
    """Switch JAX to 64 bit, as entry points do."""
    import jax

    jax.config.update("jax_enable_x64", True)


def load(text: str) -> Source:
    """Return the model a user names, with what is known about it."""
    from symtheory.source import load

    return load(text)


def bind(
    source: Source, sizes: list[str], values: list[str], *, symbolic: bool = False
) -> tuple[Model, Model]:
    """Return the model with sizes bound, and with everything bound that is known.

    Zoo models have defaults for both; with `symbolic` the second is only used to search.
    """
    from symtheory.source import fill, parse_sizes, parse_values

    given, arrays = parse_sizes(sizes), parse_values(values)
    example = source.example
    if example is not None:
        sized = example.sized(**given)
        if arrays:
            sized = sized.bind(**arrays)
        defaults = example.arrays({**example.sizes, **given})
        return sized, sized.bind(**{k: v for k, v in defaults.items() if k in sized.unbound})
    model = source.model.bind(**given, **arrays)
    return model, fill(model)[0] if symbolic and only_arrays(model) else model


def only_arrays(model: Model) -> bool:
    """Tell whether all that is open are arrays, not sizes."""
    return all(shape is not None for shape in model.unbound.values())


def shapes_text(model: Model) -> str:
    """Return the shapes of the parameters in one line."""

    def shown(shape: tuple[int | str, ...]) -> str:
        named = any(isinstance(size, str) for size in shape)
        return (" x " if named else "x").join(map(str, shape)) or "scalar"

    return ", ".join(f"{name or 'theta'} {shown(shape)}" for name, shape in model.leaves.items())


def values_text(model: Model) -> str:
    """Return the bound values in one line."""
    texts = (f"{name} = {value.tolist()}" for name, value in model.values.items())
    return ", ".join(texts).replace("[", "\\[")


def check_folder(path: pathlib.Path) -> None:
    """Refuse a folder that cannot be written before anything is computed for it."""
    from symtheory.errors import InputError

    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"--out {str(path)!r} cannot be written; give another folder")


def first(value: Any, default: Any) -> Any:
    """Return an option, or its default where it was not given."""
    return default if value is None else value
