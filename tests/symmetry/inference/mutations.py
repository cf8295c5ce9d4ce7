"""Wrong rules, planted one at a time, and the loss whose recheck catches each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from symtheory.symmetry.inference import _classes, _constraints
from symtheory.symmetry.inference._alignment import PRODUCT
from symtheory.symmetry.inference._constraints import MIXING, PERMUTATION
from symtheory.symmetry.inference._transformations import Transformations as T
from symtheory.symmetry.inference._values import NOTHING, Terms

_Patch = Callable[[Any], None]


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A wrong rule: what it replaces, and losses that show it."""

    name: str
    plant: _Patch
    caught_by: str


def _skip(owner: Any, name: str, result: Callable[..., Any]) -> _Patch:
    return lambda patch: patch.setattr(owner, name, result)


def _restrict_only_mixing(patch: Any) -> None:
    old = T.restrict
    patch.setattr(T, "restrict", lambda self, slots, kind: old(self, slots, MIXING))


def _without_demands(method: str, *demands: str) -> _Patch:
    """Return a patch under which a method makes no demands of given kinds."""

    def plant(patch: Any) -> None:
        old = getattr(T, method)

        def wrong(self: Any, *args: Any, **kwargs: Any) -> Any:
            names = [name for name in demands if name not in vars(self)]
            for name in names:
                setattr(self, name, lambda *a, **k: None)
            try:
                return old(self, *args, **kwargs)
            finally:
                for name in names:
                    delattr(self, name)

        patch.setattr(T, method, wrong)

    return plant


def _contraction_keeps_orientation(patch: Any) -> None:
    old = _constraints.Constraints.unite
    patch.setattr(
        _constraints.Constraints, "unite",
        lambda self, pairs, contracted: old(self, pairs, [False] * len(pairs)),
    )  # fmt: skip


def _copies(keep: str) -> _Patch:
    """Return a patch under which copies are decided without one of the two conditions."""

    def plant(patch: Any) -> None:
        old = _classes._find_copies

        class Log:
            def __init__(self, log: Any) -> None:
                self.seen = log.seen if keep == "seen" else _owners(log)
                self.unions = log.unions if keep == "unions" else []

        patch.setattr(_classes, "_find_copies", lambda log, u, g: old(Log(log), u, g))

    return plant


def _owners(log: Any) -> dict[Any, Any]:
    first: dict[int, Any] = {}
    for atoms in log.seen:
        for atom in atoms:
            first.setdefault(atom, atoms)
    return dict.fromkeys(first.values())


def _equal_without(name: str) -> _Patch:
    def plant(patch: Any) -> None:
        old = T.equal

        def wrong(self: Any, xs: Any, shift: bool = True) -> Terms:
            out = old(self, [dataclasses.replace(x, **{name: NOTHING}) for x in xs], shift)
            return dataclasses.replace(out, **{name: getattr(xs[0], name)})

        patch.setattr(T, "equal", wrong)

    return plant


def _images_are_the_same(patch: Any) -> None:
    patch.setattr(T, "_chain", lambda self, name: 1)


def _sum_of_shift_is_shift(patch: Any) -> None:
    old = T.summed

    def wrong(self: Any, x: Any, axes: Any) -> Terms:
        still = {k: r for k, r in x.terms.shift.items()}
        removed = {s.number for k in axes for s in x.axes[k]}
        out = old(self, x, axes).shift
        return Terms(
            shift={**out, **{k: r for k, r in still.items() if not removed.intersection(k[0])}}
        )

    patch.setattr(T, "summed", wrong)


def _power_keeps_degree(patch: Any) -> None:
    old = T.power

    def wrong(self: Any, x: Any, exponent: Any) -> Any:
        out = old(self, x, exponent)
        terms = dataclasses.replace(out.terms, scale=x.terms.scale)
        return self.plain(out.axes, terms, out.hidden, out.data)

    patch.setattr(T, "power", wrong)


def _function_is_homogeneous(patch: Any) -> None:
    old = T._function

    def wrong(self: Any, function: str, terms: Terms) -> Terms:
        out = old(self, function, dataclasses.replace(terms, scale=NOTHING))
        return out if function in ("exp", "log") else dataclasses.replace(out, scale=terms.scale)

    patch.setattr(T, "_function", wrong)


def _function_keeps_sign(patch: Any) -> None:
    old = T._function

    def wrong(self: Any, function: str, terms: Terms) -> Terms:
        out = old(self, function, dataclasses.replace(terms, sign=NOTHING))
        return dataclasses.replace(out, sign=terms.sign)

    patch.setattr(T, "_function", wrong)


def _product_mixes(patch: Any) -> None:
    old = T._aligning

    def wrong(self: Any, x: Any, y: Any, events: Any) -> None:
        same = [(a, b, "linear" if mode == PRODUCT else mode) for a, b, mode in events]
        old(self, x, y, same)

    patch.setattr(T, "_aligning", wrong)


def _rounding_is_none(patch: Any) -> None:
    """Factors pass through a cast: they do where they are powers of two, and only there."""
    old = T._cast
    patch.setattr(T, "_cast", lambda self, kind, x: old(self, "real", x))


def _every_constant_is_zero(patch: Any) -> None:
    from symtheory.symmetry.inference import _slots

    patch.setattr(_slots, "facts_of", lambda value: frozenset({"scale", "sign", "mixing"}))


def _fixed_slots_do_not_fix(patch: Any) -> None:
    old = T.restrict

    def wrong(self: Any, slots: Any, kind: str) -> None:
        if kind != PERMUTATION:
            old(self, slots, kind)

    patch.setattr(T, "restrict", wrong)


def _shift_of_products(patch: Any) -> None:
    def wrong(self: Any, x: Any, y: Any) -> Any:
        one, other = (x, y) if x.terms.shift else (y, x)
        read = [s.number for axis in other.axes for s in axis if s.kind != "constant"]
        return self.image(one.terms.shift, set(), read, self.application(), every=True)

    patch.setattr(T, "_shifted", wrong)


MUTATIONS = [
    Mutation(
        "no demand on signs",
        lambda p: p.setattr(
            _constraints.Constraints,
            "vanish",
            lambda self, row, sign, old=_constraints.Constraints.vanish: (
                None if sign else old(self, row, sign)
            ),
        ),
        "swiglu",
    ),
    Mutation("permutations are never excluded", _restrict_only_mixing, "factorization"),
    Mutation("functions may mix", _skip(T, "no_mixing", lambda self, x: None), "classifier"),
    Mutation("products may mix", _product_mixes, "a diagonal layer between linear ones"),
    Mutation("a contraction keeps the orientation", _contraction_keeps_orientation, "tied"),
    Mutation("copies by what is carried only", _copies("seen"), "heads with each other"),
    Mutation("copies by what is aligned only", _copies("unions"), "two heads"),
    Mutation("sums of unequal factors", _equal_without("scale"), "layer norm"),
    Mutation("sums of unequal signs", _equal_without("sign"), "mixture"),
    Mutation("choices of unequal shifts", _equal_without("shift"), "a mask that is finite"),
    Mutation("all images are one", _images_are_the_same, "swiglu"),
    Mutation("a sum moves like one of its terms", _sum_of_shift_is_shift, "a sum and its total"),
    Mutation("a power keeps the degree", _power_keeps_degree, "a sum of a power"),
    Mutation("every function is homogeneous", _function_is_homogeneous, "swiglu"),
    Mutation("every function is odd", _function_keeps_sign, "swiglu"),
    Mutation("every constant is zero", _every_constant_is_zero, "batch norm"),
    Mutation("data do not fix", _fixed_slots_do_not_fix, "swiglu"),
    Mutation("a product of shifted factors", _shift_of_products, "swiglu"),
    Mutation(
        "a sum of unequal factors along an axis", _without_demands("_along", "vanish"), "two heads"
    ),
    Mutation("a contraction of unequal factors", _without_demands("_dot", "vanish"), "mixture"),
    Mutation("the largest of signed values", _without_demands("_extremum", "vanish"), "mixture"),
    Mutation(
        "the largest along an axis", _without_demands("_fold", "vanish"), "the largest of several"
    ),
    Mutation("a comparison of anything", _without_demands("_compare", "vanish"), "prelu"),
    Mutation("an order of anything", _without_demands("sort", "vanish", "restrict"), "an order"),
    Mutation("a power of what is shifted", _without_demands("power", "vanish"), "a sum of a power"),
    Mutation(
        "an exponential of what is rescaled", _without_demands("_function", "vanish"), "swiglu"
    ),
    Mutation("places that are values", _without_demands("choose", "restrict"), "classifier"),
    Mutation("places that are known", _without_demands("reread", "restrict"), "places that repeat"),
    Mutation(
        "rows that are none", _without_demands("_scrambled", "restrict"), "rows of another shape"
    ),
    Mutation(
        "fill values are not seen",
        _skip(T, "_filled_in", lambda self, x, fill: x),
        "a label outside of the classes",
    ),
    Mutation(
        "blocks need not agree", _without_demands("merged", "vanish"), "an order of two vectors"
    ),
    Mutation("what is carried need not agree", _without_demands("_agreeing", "vanish"), "stacked"),
    Mutation("steps may be exchanged", _without_demands("_entered", "restrict"), "stacked"),
    Mutation("rounding changes nothing", _rounding_is_none, "half precision"),
    Mutation(
        "what is rounded may be anything", _without_demands("_cast", "vanish"), "half precision"
    ),
]
