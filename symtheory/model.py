"""The model: a per-sample loss written once, with the shapes and laws of what it reads."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.data import Empirical, Law
from symtheory.errors import InputError, cause, did_you_mean

Params = Any
Sample = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A per-sample loss l(theta; z), the shapes of theta and the law of the sample z.

    Args:
        loss: `loss(params, sample)`, or `loss(params, sample, constants)` when there are constants;
            an ordinary JAX function that returns a scalar.
        params: A pytree of shapes; a shape is a size or a tuple of sizes, a size an integer or a
            name. Arrays stand for their shapes.
        random: The law of every random array by name (independent of one another), or one
            `Empirical`, whose columns then are the sample.
        constants: Shapes of arrays the loss needs besides (a teacher, a mask), by name; arrays are
            taken as values.
        name: How the model is called in reports.
        values: Values of constants, covariances and means, by name (filled in by `bind`).
        sizes: Values of sizes, by name (filled in by `bind`).

    Source: arXiv 2402.07193, section 2 (the setting).

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
    ...               params={"u": (), "w": ()},
    ...               random={"x": Normal(()), "y": Normal((), cov="s2")})
    >>> sorted(model.unbound), model.bind(s2=4.0).unbound
    (['s2'], {})
    """

    loss: Callable[..., Any]
    params: Any
    random: Any = dataclasses.field(default_factory=dict)
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = "model"
    values: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise InputError(f"loss must be a function of (params, sample), got {self.loss!r}")
        try:
            leaves = jax.tree.leaves(self.params)
        except ValueError as error:
            raise InputError(
                f"params is no pytree: {cause(error)}; use keys of one kind in each dictionary"
            ) from error
        for leaf in leaves:
            if not jnp.issubdtype(getattr(leaf, "dtype", float), jnp.floating):
                raise InputError(
                    f"a parameter has the type {leaf.dtype}; parameters are real floating-point "
                    "arrays: split complex ones, and pass integers as constants"
                )
        object.__setattr__(self, "params", shapes.tree(self.params))
        if not self.leaves:
            raise InputError("the model has no parameters; give at least one shape in params")
        if not isinstance(self.random, (Empirical, Mapping)):
            raise InputError(
                f"random is {self.random!r}; give laws by name, such as {{'x': Normal(2)}}, "
                "or one Empirical(columns)"
            )
        laws = self.laws
        for name, law in laws.items():
            if not isinstance(law, Law):
                raise InputError(
                    f"random[{name!r}] is {law!r}; give a law such as Normal(shape), "
                    "Rademacher(shape), Uniform(shape) or Empirical(columns)"
                )
        values = dict(self.values)
        constants = {}
        for name, constant in self.constants.items():
            constants[name] = shapes.as_shape(constant)
            if hasattr(constant, "shape"):
                shapes.check_array(name, constant, constants[name])
                values[name] = np.asarray(constant)
        object.__setattr__(self, "constants", constants)
        arrays = {*constants, *(name for law in laws.values() for name in law.arrays)}
        for shape in self._all_shapes():
            for name in sorted(shapes.names(shape) & arrays):
                raise InputError(
                    f"{name!r} names both a size and an array; give one of them another name"
                )
        roles: dict[str, tuple[str, Any]] = {name: ("constant", s) for name, s in constants.items()}
        for law in laws.values():
            for name, shape in law.arrays.items():
                cov = getattr(law, "cov", None)
                role = ("covariance" if isinstance(cov, str) and cov == name else "mean", shape)
                if roles.setdefault(name, role) != role:
                    raise InputError(
                        f"{name!r} names a {roles[name][0]} of shape {roles[name][1]} and a "
                        f"{role[0]} of shape {shape}; use two names"
                    )
        object.__setattr__(self, "values", values)
        if not any(shapes.names(shape) for shape in self._all_shapes()):
            self._check_loss()

    @property
    def laws(self) -> dict[str, Law]:
        """The laws by name; a bare `Empirical` appears under the empty name."""
        return {"": self.random} if isinstance(self.random, Empirical) else dict(self.random)

    @property
    def leaves(self) -> dict[str, shapes.Shape]:
        """The parameter shapes by dotted name, in the order of the flattened pytree."""
        return dict(shapes.leaves(self.params))

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return sum(int(np.prod(shapes.fixed(shape), dtype=int)) for shape in self.leaves.values())

    @property
    def unbound(self) -> dict[str, shapes.Shape | None]:
        """Names still to be bound: sizes (with value None) and arrays (with their shapes)."""
        out: dict[str, shapes.Shape | None] = {}
        for shape in self._all_shapes():
            for size in sorted(shapes.names(shape)):
                out.update(dict.fromkeys(size.split("*")))
        for law in self.laws.values():
            out.update(law.arrays)
        out.update({n: shape for n, shape in self.constants.items() if n not in self.values})
        return {name: shape for name, shape in out.items() if not name.isdigit()}

    def _all_shapes(self) -> list[shapes.Shape]:
        samples = (law.structure for law in self.laws.values())
        trees = [self.params, *samples]
        return [shape for node in trees for _, shape in shapes.leaves(node)] + list(
            self.constants.values()
        )

    def bind(self, **sizes_and_arrays: Any) -> Model:
        """Return the model with sizes, constants, covariances or means fixed.

        Args:
            **sizes_and_arrays: A value for any of the names in `unbound`. Sizes that an array
                determines need not be given. A covariance may be a single number.

        Raises:
            InputError: A name is unknown or already bound, or an array does not fit.

        >>> from symtheory.data import Normal
        >>> model = Model(lambda p, z, c: (p @ z["x"] - c["v"] @ z["x"]) ** 2, params="n",
        ...               random={"x": Normal("n")}, constants={"v": ("n",)})
        >>> model.bind(v=[1.0, 2.0]).dimension
        2
        """
        unbound = self.unbound
        sizes: dict[str, int] = {}
        arrays: dict[str, Any] = {}
        for name, value in sizes_and_arrays.items():
            if name not in unbound:
                raise InputError(
                    f"{name!r} is not a name to bind; {did_you_mean(name, list(unbound))}"
                )
            if unbound[name] is None:
                sizes[name] = _checked_size(name, value)
            else:
                arrays[name] = value if hasattr(value, "shape") else np.asarray(value)
        for name, array in arrays.items():
            _infer_sizes(name, array, unbound[name] or (), sizes)
        constants = {n: shapes.bind(shape, sizes) for n, shape in self.constants.items()}
        covariances = [getattr(law, "cov", None) for law in self.laws.values()]
        covariances = {cov for cov in covariances if isinstance(cov, str)}
        for name, array in arrays.items():
            shape = shapes.bind(unbound[name] or (), sizes)
            if np.ndim(array) == 0 and name in covariances and len(shape) == 2:
                arrays[name] = np.asarray(array) * np.eye(shapes.fixed(shape)[0], dtype=int)
            shapes.check_array(name, arrays[name], shape)
        values = {**self.values, **{name: np.asarray(array) for name, array in arrays.items()}}
        random = (
            self.random
            if isinstance(self.random, Empirical)
            else {n: law.bind(sizes, arrays) for n, law in self.laws.items()}
        )
        params = shapes.map_tree(lambda shape: shapes.bind(shape, sizes), self.params)
        return dataclasses.replace(
            self,
            params=params,
            random=random,
            constants=constants,
            values=values,
            sizes={**self.sizes, **sizes},
        )

    def require_bound(self) -> Model:
        """Return the model itself if nothing is left to bind.

        Raises:
            InputError: A size, covariance, mean or constant is still a name.
        """
        for name, shape in self.unbound.items():
            if shape is None:
                raise InputError(
                    f"the size {name!r} is not bound; bind it with model.bind({name}=...) "
                    f"or --size {name}=N"
                )
            kind = "constant" if name in self.constants else "covariance or mean"
            text = "(" + ", ".join(map(str, shape)) + ")"
            raise InputError(
                f"the {kind} {name!r} of shape {text} is not bound; bind it with "
                f"model.bind({name}=...)"
            )
        return self

    def evaluate(self, params: Params, sample: Sample, constants: Any = None) -> Any:
        """Return the loss at one sample; `constants` default to the bound values.

        Raises:
            InputError: A constant is neither given nor bound.
        """
        # New containers: what a loss does to its arguments stays inside of it.
        params, sample = jax.tree.map(lambda leaf: leaf, (params, sample))
        if not self.constants:
            return self.loss(params, sample)
        if constants is None:
            for name in self.constants:
                if name not in self.values:
                    raise InputError(
                        f"the constant {name!r} is not bound; bind it with model.bind({name}=...) "
                        "or pass constants"
                    )
            constants = {name: self.values[name] for name in self.constants}
        return self.loss(params, sample, dict(constants))

    def sample(self, key: jax.Array, batch: tuple[int, ...] = (), dtype: Any = float) -> Sample:
        """Draw samples z with leading axes `batch`; the same key gives the same draw."""
        if isinstance(self.random, Empirical):
            return self.random.sample(key, batch, dtype)
        keys = jax.random.split(key, max(len(self.laws), 1))
        return {
            name: law.sample(k, batch, dtype)
            for k, (name, law) in zip(keys, self.laws.items(), strict=False)
        }

    def structure(self, dtype: Any = None) -> tuple[Any, Any, Any]:
        """Return the arguments of the loss as `jax.ShapeDtypeStruct`s: params, sample, constants.

        Raises:
            InputError: A size is not bound.
        """

        def struct(shape: shapes.Shape) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(shapes.fixed(shape), dtype or jnp.result_type(float))

        if isinstance(self.random, Empirical):
            sample: Any = shapes.map_tree(struct, self.random.structure)
        else:
            sample = {n: shapes.map_tree(struct, law.structure) for n, law in self.laws.items()}
        constants = {name: struct(shape) for name, shape in self.constants.items()}
        return shapes.map_tree(struct, self.params), sample, constants

    def check_params(self, params: Params) -> Params:
        """Return `params` if structure and shapes are the model's and all entries are finite.

        Raises:
            InputError: Naming the leaf that does not fit.
        """
        want = jax.tree.structure(shapes.map_tree(lambda shape: 0, self.params))
        got = jax.tree.structure(params)
        if want != got:
            raise InputError(
                f"the parameters have the structure {got}, but the model has {want}; "
                "use the same keys and nesting as in Model(params=...)"
            )
        for (name, shape), leaf in zip(self.leaves.items(), jax.tree.leaves(params), strict=True):
            shapes.check_array(f"parameter {name!r}", leaf, shape)
        return params

    def _check_loss(self) -> None:
        params, sample, constants = self.structure()
        try:
            out = self._shape_of_loss()
        except InputError:
            raise
        except Exception as error:  # the user's own function may raise anything
            if self._cast_labels():
                return self._check_loss()
            given = [("parameter", params), ("random", sample), ("constant", constants)]
            listed = ", ".join(
                f"{kind} {name or 'value'} {shape}"
                for kind, node in given
                for name, shape in shapes.leaves(node)
            )
            form = "loss(params, sample, constants)" if self.constants else "loss(params, sample)"
            raise InputError(
                f"the loss cannot be evaluated at the given shapes ({listed}): "
                f"{cause(error)}; it is called as {form}"
            ) from error
        if getattr(out, "shape", None) != ():
            got = jax.tree.map(lambda leaf: tuple(leaf.shape), out)
            raise InputError(
                f"the loss must return a scalar per sample, but it returns shape {got}; "
                "sum or average over the outputs"
            )
        if not jnp.issubdtype(out.dtype, jnp.floating):
            raise InputError(
                f"the loss must return a real floating-point number, but it returns {out.dtype}, "
                "which has no gradient; return a real number, such as 1.0 * count or jnp.abs(value)"
            )

    def _shape_of_loss(self) -> Any:
        return jax.eval_shape(lambda p, z, c: self.evaluate(p, z, c), *self.structure())

    def _cast_labels(self) -> bool:
        """Give integer columns of data sets to the loss as integers, those that it needs so.

        Samples are floating-point numbers everywhere; what indexes an array must be an integer.
        Returns whether the loss can be evaluated then.
        """
        columns = [
            (name, column)
            for name, law in self.laws.items()
            if isinstance(law, Empirical)
            for column, values in law.columns.items()
            if values.dtype.kind in "biu"
        ]
        plain = self.loss

        def works(chosen: list[tuple[str, str]]) -> bool:
            object.__setattr__(self, "loss", _with_integers(plain, chosen))
            try:
                self._shape_of_loss()
            except Exception:  # the user's own function may raise anything
                return False
            return True

        if not columns or not works(columns):
            object.__setattr__(self, "loss", plain)
            return False
        for column in list(columns):
            fewer = [other for other in columns if other != column]
            columns = fewer if works(fewer) else columns
        works(columns)
        return True


def _with_integers(loss: Callable[..., Any], columns: list[tuple[str, str]]) -> Callable[..., Any]:
    """Return a loss that casts columns (law, column) of its sample to integers."""

    @functools.wraps(loss)
    def labelled(params: Any, sample: Any, *constants: Any) -> Any:
        sample = dict(sample)
        for law, column in columns:
            if law:
                sample[law] = dict(sample[law])
            rows = sample[law] if law else sample
            rows[column] = jnp.asarray(rows[column]).astype(int)
        return loss(params, sample, *constants)

    return labelled


def _checked_size(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"the size {name!r} must be a positive integer, got {value!r}")
    return int(value)


def _infer_sizes(name: str, array: Any, shape: shapes.Shape, sizes: dict[str, int]) -> None:
    if np.ndim(array) != len(shape):
        return
    for size, have in zip(shape, np.shape(array), strict=True):
        if isinstance(size, str) and "*" not in size and sizes.setdefault(size, have) != have:
            raise InputError(
                f"{name} has shape {np.shape(array)}, which makes {size} = {have}, "
                f"but {size} = {sizes[size]} elsewhere"
            )
