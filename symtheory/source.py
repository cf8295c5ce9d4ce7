"""Where the command line finds a model: the zoo, or a Python file the user asked to run."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from symtheory import zoo
from symtheory.errors import InputError, did_you_mean
from symtheory.model import Model
from symtheory.symmetry import Exponential


@dataclasses.dataclass(frozen=True)
class Source:
    """A model with what is known about it.

    Attributes:
        name: What the user called it.
        model: The model, as far as it is bound.
        symmetries: Known symmetries by name, the main one first; of a file, all it defines.
        example: The zoo's example, if it is one.
    """

    name: str
    model: Model
    symmetries: Mapping[str, Exponential]
    example: zoo.Example | None = None

    def select(self, name: str | None, model: Model) -> list[Exponential]:
        """Return the symmetry of that name; without a name all that fit the model.

        A file may define several models, whose symmetries act on other parameters.

        Raises:
            InputError: There is no symmetry of that name.
        """
        if name is None:
            return [item for item in self.symmetries.values() if _fits(item, model)]
        if name not in self.symmetries:
            hint = did_you_mean(name, list(self.symmetries))
            raise InputError(f"{self.name} has no symmetry {name!r}; {hint}")
        return [self.symmetries[name]]


def load(text: str) -> Source:
    """Return the model of that name in the zoo, or `path/to/file.py:name`.

    The file is run, as the user asked; symmetries are the `Exponential` objects it defines.

    Raises:
        InputError: No such model, file or name, or the file does not import.

    >>> load("scalar-factor").model.leaves
    {'u': (), 'w': ()}
    """
    path, colon, name = text.rpartition(":")
    if not (colon and path.endswith(".py")):
        if pathlib.Path(text).is_dir() or text.strip(":/. ") == "":
            raise InputError(f"{text!r} is no model; give a name of the zoo or path/file.py:name")
        if text.endswith(".py"):
            raise InputError(f"say which object of the file is the model: {text}:NAME")
        example = zoo.load(text)
        return Source(text, example.model, example.symmetries, example)
    module = _run_file(pathlib.Path(path))
    objects = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    models = [key for key, value in objects.items() if isinstance(value, (Model, zoo.Example))]
    if name not in objects:
        raise InputError(f"{path} defines no {name!r}; {did_you_mean(name, models)}")
    found = objects[name]
    if isinstance(found, zoo.Example):
        return Source(text, found.model, found.symmetries, found)
    if not isinstance(found, Model):
        raise InputError(
            f"{name!r} in {path} is a {type(found).__name__}, not a Model; "
            f"{did_you_mean(name, models)}"
        )
    if found.name == "model":
        found = dataclasses.replace(
            found, name=name if name != "model" else pathlib.Path(path).stem
        )
    symmetries = {
        key: dataclasses.replace(value, name=value.name or key)
        for key, value in objects.items()
        if isinstance(value, Exponential)
    }
    return Source(text, found, symmetries)


def _fits(symmetry: Exponential, model: Model) -> bool:
    # Open sizes are taken different from one another, so that none fits by accident.
    names = [name for name, shape in model.unbound.items() if shape is None]
    try:
        symmetry.check(model.bind(**{name: 2 + k for k, name in enumerate(names)}))
    except InputError:
        return False
    return True


def _run_file(path: pathlib.Path) -> Any:
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}; give path/to/file.py:name")
    name = f"_symtheory_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # A model file may import its neighbours, as it could when run as a script.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the model file {path} does not import: {type(error).__name__}: {reason}; "
            f"run python {path} to see where"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def parse_sizes(items: list[str]) -> dict[str, int]:
    """Return `["h=3"]` as `{"h": 3}`.

    Raises:
        InputError: An item is not NAME=INTEGER.

    >>> parse_sizes(["h=3", "dx=2"])
    {'h': 3, 'dx': 2}
    """
    out = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            out[name.strip()] = int(value)
        except ValueError:
            raise InputError(f"--size takes NAME=INTEGER such as h=3, got {item!r}") from None
        if not (equals and name) or out[name.strip()] < 1:
            raise InputError(f"a size is a positive integer, such as --size h=3, got {item!r}")
    return out


def parse_values(items: list[str]) -> dict[str, Any]:
    """Return `["V=[[1,0],[0,1]]"]` as arrays by name; values are JSON, never evaluated.

    Raises:
        InputError: An item is not NAME=JSON numbers.

    >>> parse_values(["s=2.5"])["s"].item()
    2.5
    """
    out = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            array = np.asarray(json.loads(value)) if equals and name else None
        except ValueError:
            array = None
        if array is None or array.dtype.kind not in "iuf":
            raise InputError(
                f"--value takes NAME=NUMBERS in JSON, such as V=[[1,0],[0,1]], got {item!r}"
            )
        out[name.strip()] = array
    return out


def _cov(law: Any) -> Any:
    return getattr(law, "cov", None)


def fill(model: Model, seed: int = 0) -> tuple[Model, dict[str, Any]]:
    """Bind whatever is unbound to plain values, and return those too.

    Sizes become 2, covariances the identity, means 0, constants normal numbers of one decimal.
    """
    assumed: dict[str, Any] = {}
    sizes = {name: 2 for name, shape in model.unbound.items() if shape is None}
    if sizes:
        model = model.bind(**sizes)
        assumed |= sizes
    rng = np.random.default_rng(seed)
    for name, shape in list(model.unbound.items()):
        integers = tuple(int(size) for size in shape or ())
        if name in model.constants:
            value = np.round(rng.normal(size=integers), 1)
        elif any(name == cov for law in model.laws.values() if isinstance(cov := _cov(law), str)):
            value = np.eye(integers[0]) if integers else np.ones(())
        else:
            value = np.zeros(integers)
        model = model.bind(**{name: value})
        assumed[name] = value.tolist()
    return model, assumed
