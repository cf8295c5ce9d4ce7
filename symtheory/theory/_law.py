"""The law of a charge: closed forms, their proof, and what they predict."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import sympy

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.symmetry import Exponential
from symtheory.theory._closed_forms import ClosedForms
from symtheory.theory._equilibrium import Equilibrium
from symtheory.theory._expression import Expression
from symtheory.theory._layout import Layout
from symtheory.theory._noether_flow import Flow, noether_flow
from symtheory.theory._noise import Noise, SampledNoise, quadratic
from symtheory.verdict import Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class Law(ClosedForms):
    """What SGD noise does to the charge of a symmetry.

    Attributes:
        model: The model the law is about.
        symmetry: Its symmetry.
        name: How the law is called in reports.
        verdict: The proof: `proved` if every step is; its parts are `steps`.
        assumptions: What the law presupposes.
        charge: C = theta^T A theta.
        noise_trace: Tr[Sigma A], Sigma the centred covariance of the per-sample gradient.
        drift: dC/dt = -4 gamma C + (eta/S) Tr[Sigma A] under the SDE (one step is time eta).
        discrete_drift: E[C' - C] of one SGD step, exactly:
            -4 eta gamma (1 - eta gamma) C + eta^2 (grad L^T A grad L + Tr[Sigma A]/S).
        momentum_drift: Mean change per step with heavy-ball momentum at gamma = 0 and white
            noise: (eta/(1 - beta))^2 Tr[Sigma A]/S.
        equilibrium: Where the drift vanishes.

    All expressions are None when the symmetry is refuted or has no charge.

    Source: arXiv 2402.07193; the discrete and momentum laws are this package's.
    """

    model: Model
    symmetry: Exponential
    name: str
    verdict: Verdict
    assumptions: tuple[str, ...] = ()
    charge: Expression | None = None
    noise_trace: Expression | None = None
    drift: Expression | None = None
    discrete_drift: Expression | None = None
    momentum_drift: Expression | None = None
    equilibrium: Equilibrium | None = None
    noise: Noise | None = None
    layout: Layout = dataclasses.field(default_factory=Layout)

    def __repr__(self) -> str:
        charge = "" if self.charge is None else f", C = {self.charge}"
        return f"<{self.verdict.claim}: {self.status}{charge}>"

    def latex(self) -> str:
        """Return the law as LaTeX: charge, drift, discrete drift and equilibrium."""
        lines = []
        heads = {"charge": "C", "drift": "\\dot C", "discrete_drift": "\\mathbb E[C'-C]"}
        for name, head in heads.items():
            expression = getattr(self, name)
            if expression is not None:
                lines.append(f"{head} = {expression.latex()}")
        if self.equilibrium is not None:
            lines.append(self.equilibrium.latex())
        return " \\\\\n".join(lines)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle \\begin{{array}}{{l}}{self.latex()}\\end{{array}}$"

    def sympy(self) -> dict[str, sympy.Basic]:
        """Return the closed forms as SymPy expressions, by name."""
        out = {name: expression.sympy() for name, expression in self.expressions().items()}
        if self.equilibrium is not None:
            out["equilibrium"] = self.equilibrium.sympy()
        return out

    def observables(self) -> dict[str, Callable[..., Any]]:
        """Return what a simulation should record: the charge, and g_B^T A g_B of each step.

        The second needs the minibatch gradient of the step. With it the exact discrete law
        C' = (1 - 2 eta gamma)^2 C + eta^2 g_B^T A g_B can be checked along a path.
        """
        self._require("observed")
        return dict(self._observables)

    # Kept, so that simulations of the same law find their compiled program again.
    @functools.cached_property
    def _observables(self) -> dict[str, Callable[..., Any]]:
        def charge(params: Any) -> Any:
            return quadratic(self.symmetry, self.layout, params)

        def gradient_form(params: Any, gradient: Any) -> Any:
            del params
            return quadratic(self.symmetry, self.layout, gradient)

        gradient_form.needs_gradient = True  # type: ignore[attr-defined]
        return {"charge": charge, "gradient_form": gradient_form}

    def noether_flow(
        self,
        params: Any,
        times: Any,
        *,
        temperature: float,
        learning_rate: float = 0.0,
        weight_decay: float = 0.0,
        deadline: Deadline = NO_DEADLINE,
        **values: Any,
    ) -> Flow:
        """Return the predicted path of the charge from `params`; see `noether_flow`.

        Args:
            params: Where the flow starts.
            times: Times at which to record; one SGD step is time eta.
            temperature: T = eta/S.
            learning_rate: eta, to include the terms of a discrete step.
            weight_decay: gamma.
            deadline: A time limit (`symtheory.program.Deadline`).
            **values: Constants and covariances the model leaves unbound.
        """
        self._require("integrated")
        assert self.noise is not None
        self.model.check_params(jax.tree.map(lambda leaf: leaf, params))
        return noether_flow(
            self.noise,
            self.symmetry,
            self.layout,
            params,
            times,
            temperature=temperature,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            values=values,
            deadline=deadline,
        )

    def sampled_parts(self, count: int) -> list[Law]:
        """Return laws whose moments are taken on independent pools, to see how much that matters.

        Empty for a law with exact moments.
        """
        if not isinstance(self.noise, SampledNoise):
            return []
        return [dataclasses.replace(self, noise=part) for part in self.noise.parts(count)]

    def _require(self, what: str) -> None:
        if self.charge is None or self.noise is None:
            raise InputError(
                f"the law of {self.name} has no charge to be {what}: it is {self.status} "
                f"({self.verdict.how})"
            )
