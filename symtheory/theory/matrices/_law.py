"""The law of a matrix charge, valid for all sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy

from symtheory.domains.tensors import Indexed, Tensor, einsum
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory._closed_forms import ClosedForms
from symtheory.theory._expression import latex_name
from symtheory.theory.matrices import _print as printing
from symtheory.theory.matrices._check import compare_entries
from symtheory.theory.matrices._expression import TensorExpression, content
from symtheory.theory.matrices._noise import ProductNoise, fresh
from symtheory.verdict import Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixEquilibrium:
    """Where the drift of a matrix charge vanishes.

    Attributes:
        condition: The drift, in closed form; it is zero at the equilibrium.
        product: The factors and Gammas, if the loss depends on a product.
        charge: The charge.
        minimum: The noise where the mean gradient by the product vanishes, as at a minimum.
    """

    condition: TensorExpression
    product: ProductNoise | None
    charge: Indexed
    minimum: TensorExpression | None

    def statements(self) -> list[tuple[str, str, str]]:
        """Return what holds at the equilibrium: a heading, the text and the LaTeX."""
        if self.product is None:
            return [("equilibrium", f"{self.condition} = 0", f"{self.condition.latex()} = 0")]
        noise = self.product
        out = [("equilibrium, weight decay 0", *_balance(noise.formal))]
        ones = {c.tensor: Indexed.delta(c.tensor.sizes[0]) for c in noise.covariances}
        if (noise.formal.substituted(ones) + self.charge).is_zero:
            symbols = self.condition.settings
            eta, size, gamma = (
                symbols[name] for name in ("learning_rate", "batch_size", "weight_decay")
            )
            text = f"the same with Gamma + (4 {gamma} {size}/{eta}) I in place of each Gamma"
            rate = rf"\tfrac{{4{sympy.latex(gamma)} {sympy.latex(size)}}}{{{sympy.latex(eta)}}}"
            shown = rf"\Gamma \to \Gamma + {rate} I"
            out.append(("weight decay gamma", text, shown))
        if self.minimum is not None and noise.deviation is not None:
            _, constant, solution = noise.deviation
            where = f"{constant.name} = {printing.text(solution)}"
            [(_, value)] = self.minimum.terms
            out.append((f"weight decay 0, {where}", *_balance(content(value)[1])))
        if len(self.charge.sizes) == 2 and len(noise.covariances) == 2:
            taken = {t.name for t in noise.formal.tensors} | noise.formal.named_sizes
            x, n1, n2, g = (fresh(name, taken) for name in ("X", "N1", "N2", "g"))
            text = (
                f"{x} {n1} {x} = {n2}, where the two sides above are {n1} (it scales with {g}) and "
                f"{n2} (with 1/{g}); {g} = {x}^(1/2)"
            )
            lx, l1, l2, lg = (latex_name(name) for name in (x, n1, n2, g))
            shown = rf"{lx} {l1} {lx} = {l2},\quad {lg} = {{{lx}}}^{{1/2}}"
            out.append(("on the orbit of any point", text, shown))
        return out

    def latex(self) -> str:
        """Return the equilibrium conditions as LaTeX."""
        return " \\\\\n".join(shown for _, _, shown in self.statements())

    def sympy(self) -> Any:
        """Return the drift, which vanishes at the equilibrium, as SymPy matrices."""
        return self.condition.sympy()


def _balance(value: Indexed) -> tuple[str, str]:
    """Write value = 0 with the negative terms on the left."""
    left = Indexed(value.sizes, {t: -c for t, c in value.terms.items() if c < 0})
    right = Indexed(value.sizes, {t: c for t, c in value.terms.items() if c > 0})
    return (
        f"{printing.text(left)} = {printing.text(right)}",
        f"{printing.latex(left)} = {printing.latex(right)}",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixLaw(ClosedForms):
    """What SGD noise does to the charge of a symmetry, for all sizes at once.

    The same face as `Law`: charge, noise trace, drift, exact discrete drift, momentum drift and
    equilibrium, here as expressions in whole matrices. For a family of generators with a free
    matrix B the charge is the matrix Q with C_B = Tr[B Q].

    Attributes:
        model: The model, with sizes that are names.
        symmetry: Its symmetry.
        name: How the law is called in reports.
        verdict: The proof: `proved` if every step is.
        assumptions: What the law presupposes.
        charge: Q, such as U^T U - W W^T.
        noise_trace: The noise E[g^T A g] - E[g]^T A E[g] over the family.
        drift: dQ/dt = -4 gamma Q + (eta/S) noise (one step is time eta).
        discrete_drift: E[Q' - Q] of one SGD step, exactly.
        momentum_drift: Mean change per step with momentum beta, at gamma = 0.
        equilibrium: Where the drift vanishes.
        product: How noise enters through a product of two factors, if it does.

    Source: arXiv 2402.07193, sections on matrix factorization and the noise equilibrium.
    """

    model: Model
    symmetry: Exponential
    name: str
    verdict: Verdict
    assumptions: tuple[str, ...] = ()
    charge: TensorExpression | None = None
    noise_trace: TensorExpression | None = None
    drift: TensorExpression | None = None
    discrete_drift: TensorExpression | None = None
    momentum_drift: TensorExpression | None = None
    equilibrium: MatrixEquilibrium | None = None
    product: ProductNoise | None = None

    def __repr__(self) -> str:
        charge = "" if self.charge is None else f", Q = {self.charge}"
        return f"<{self.verdict.claim}: {self.status}{charge}>"

    def definitions(self) -> list[tuple[str, str, str]]:
        """Return what G, Gamma and Delta stand for: name, text and LaTeX."""
        return [] if self.product is None else _definitions(self.product)

    def latex(self) -> str:
        """Return the law as LaTeX: charge, drift, definitions and equilibrium."""
        if self.charge is None:
            return ""
        drift = self._formal_drift()[1]
        lines = [f"Q = {self.charge.latex()}", f"\\dot Q = {drift}"]
        lines += [shown for _, _, shown in self.definitions()]
        if self.equilibrium is not None:
            lines.append(self.equilibrium.latex())
        return " \\\\\n".join(lines)

    def text(self) -> list[tuple[str, str]]:
        """Return the law as lines of text: what, and its formula."""
        if self.charge is None:
            return []
        lines = [("charge Q", str(self.charge)), ("drift dQ/dt", self._formal_drift()[0])]
        lines += [(name, text) for name, text, _ in self.definitions()]
        if self.equilibrium is not None:
            lines += [(name, text) for name, text, _ in self.equilibrium.statements()]
        return lines

    def _formal_drift(self) -> tuple[str, str]:
        assert self.drift is not None
        drift = self.drift
        if self.product is not None:
            (decay, charge), (rate, _) = drift.terms
            drift = dataclasses.replace(drift, terms=((decay, charge), (rate, self.product.formal)))
        return str(drift), drift.latex()

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle \\begin{{array}}{{l}}{self.latex()}\\end{{array}}$"

    def sympy(self) -> dict[str, sympy.Basic]:
        """Return the closed forms with SymPy matrices of symbolic sizes, by name."""
        out = {name: expression.sympy() for name, expression in self.expressions().items()}
        if self.equilibrium is not None:
            out["equilibrium"] = self.equilibrium.sympy()
        return out

    def check_at(self, **sizes: int) -> Verdict:
        """Derive the law again entry by entry at given sizes and compare, exactly.

        Args:
            **sizes: A value for every size that is a name.

        Returns:
            `proved` if charge, noise, drift and discrete drift agree in every entry.

        >>> from symtheory.zoo import load
        >>> from symtheory.theory import derive
        >>> example = load("two-layer-linear")
        >>> law = derive(example.model, example.symmetries["double-rotation"])
        >>> str(law.check_at(dy=1, h=1, dx=1).status)
        'proved'
        """
        return compare_entries(self.model, self.symmetry, self.expressions(), sizes)


def _definitions(product: ProductNoise) -> list[tuple[str, str, str]]:
    out = []

    def define(tensor: Tensor, text: str, shown: str) -> None:
        out.append((tensor.name, text, f"{printing.latex(Indexed.of(tensor))} = {shown}"))

    if product.outer is None:
        value = product.gradient
        define(product.symbol, printing.text(value), printing.latex(value))
    else:
        number, r, residual, x = product.outer
        outer = einsum([(Indexed.of(r), "i"), (Indexed.of(x), "j")], "ij").scaled(number)
        define(product.symbol, printing.text(outer), printing.latex(outer))
        define(r, printing.text(residual), printing.latex(residual))
    if product.deviation is not None:
        delta, constant, solution = product.deviation
        value = solution - Indexed.of(constant)
        define(delta, printing.text(value), printing.latex(value))
    for covariance in product.covariances:
        value = covariance.value if covariance.in_deviation is None else covariance.in_deviation
        text, shown = (_formal(product, covariance.axis, write) for write in _WRITERS)
        define(
            covariance.tensor,
            f"{text} = {printing.text(value)}",
            f"{shown} = {printing.latex(value)}",
        )
    return out


_WRITERS: tuple[Callable[[Indexed], str], ...] = (printing.text, printing.latex)


def _formal(product: ProductNoise, axis: int, write: Callable[[Indexed], str]) -> str:
    """Write a Gamma with its expectations left as they stand."""
    mean = "E[{}]" if write is printing.text else r"\mathbb E[{}]"
    g = Indexed.of(product.symbol)
    rows = (("s", "i"), ("s", "j")) if axis == 0 else (("i", "s"), ("j", "s"))
    square, number = einsum([(g, rows[0]), (g, rows[1])], "ij"), Fraction(1)
    if product.outer is not None:
        scale, r, _, x = product.outer
        summed, kept = (Indexed.of(t) for t in ((r, x) if axis == 0 else (x, r)))
        square = einsum([(summed, "s"), (summed, "s"), (kept, "i"), (kept, "j")], "ij")
        number = scale * scale
    shown = mean.format(write(square))
    if number != 1:
        shown = f"{write(Indexed.constant(number))} {shown}"
    e, turn = mean.format(write(g)), "^T" if write is printing.text else r"^{\top}"
    means = f"{e}{turn} {e}" if axis == 0 else f"{e} {e}{turn}"
    return f"{shown} - {means}"
