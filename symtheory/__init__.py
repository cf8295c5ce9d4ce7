"""symtheory: derive, prove and simulate what parameter symmetries and SGD noise do to a loss.

Write the per-sample loss once, as an ordinary JAX function. The package reads that same function
in several ways and tells which symmetries it has, what SGD noise does along them in closed form,
where the noise equilibrium is, and whether a simulation agrees.

>>> import symtheory as st
>>> model = st.Model(loss=lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
...                  params={"u": (), "w": ()}, random={"x": st.Normal(()), "y": st.Normal(())})
>>> rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
>>> str(st.verify(model, rescaling).status)
'proved'
>>> st.derive(model, rescaling).charge.sympy()
u**2 - w**2
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Alignment": "symmetry",
    "Approximate": "symmetry",
    "Explanation": "symmetry",
    "ParameterTable": "symmetry",
    "PermutationSpecification": "symmetry",
    "align": "symmetry",
    "approximate_symmetries": "symmetry",
    "explain": "symmetry",
    "parameter_table": "symmetry",
    "permutation_specification": "symmetry",
    "Affine": "symmetry",
    "DeepLinear": "theory",
    "Discovery": "symmetry",
    "ConservationLaws": "symmetry",
    "Empirical": "data",
    "Equilibrium": "theory",
    "Estimate": "comparison",
    "Expression": "theory",
    "Exponential": "symmetry",
    "Family": "symmetry",
    "GLPair": "theory",
    "GradientFlow": "simulation",
    "InputError": "errors",
    "Law": "theory",
    "MatrixLaw": "theory",
    "Matrix": "symmetry",
    "Model": "model",
    "Normal": "data",
    "OrthogonalMatrix": "theory",
    "ProjectionMatrix": "theory",
    "Rademacher": "data",
    "Reflection": "symmetry",
    "Run": "simulation",
    "SDE": "simulation",
    "SGD": "simulation",
    "StationaryLaw": "theory",
    "SlowFlow": "theory",
    "Status": "verdict",
    "SymmetricMatrix": "symmetry",
    "SymtheoryError": "errors",
    "Uniform": "data",
    "UnreadableError": "errors",
    "Vector": "symmetry",
    "Verdict": "verdict",
    "certify": "syre",
    "cite": "references",
    "compare": "comparison",
    "connect": "simulation",
    "conjunction": "verdict",
    "compare_slow_flow": "comparison",
    "NotStationaryError": "comparison",
    "stationarity": "comparison",
    "stationary_mean": "comparison",
    "balance_residuals": "theory",
    "conservation_laws": "symmetry",
    "deep_linear_equilibrium": "theory",
    "deep_linear_proof": "theory",
    "derive": "theory",
    "discover": "symmetry",
    "equivalence": "comparison",
    "expectation": "theory",
    "geometric_mean": "theory",
    "gl_pairs": "theory",
    "trend": "comparison",
    "identity": "theory",
    "mean_over_replicas": "comparison",
    "predict": "comparison",
    "rebalance": "theory",
    "scale_fixed_point": "theory",
    "reflections": "symmetry",
    "remove_symmetries": "syre",
    "sharpness": "theory",
    "simulate": "simulation",
    "stationary_law": "theory",
    "sweep": "simulation",
    "two_layer_sharpness": "theory",
    "slow_flow": "theory",
    "verify": "symmetry",
    "warmup": "theory",
}
_ROOMS = ("syre", "verdict", "zoo")

__all__ = sorted([*_HOMES, *_ROOMS])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing the package must not import jax or sympy.
    if name in _HOMES:
        value = getattr(importlib.import_module(f"symtheory.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"symtheory.{name}")
    raise AttributeError(f"module 'symtheory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if TYPE_CHECKING:
    from symtheory import syre as syre
    from symtheory import verdict as verdict
    from symtheory import zoo as zoo
    from symtheory.comparison import Estimate as Estimate
    from symtheory.comparison import NotStationaryError as NotStationaryError
    from symtheory.comparison import compare as compare
    from symtheory.comparison import compare_slow_flow as compare_slow_flow
    from symtheory.comparison import equivalence as equivalence
    from symtheory.comparison import mean_over_replicas as mean_over_replicas
    from symtheory.comparison import predict as predict
    from symtheory.comparison import stationarity as stationarity
    from symtheory.comparison import stationary_mean as stationary_mean
    from symtheory.comparison import trend as trend
    from symtheory.data import Empirical as Empirical
    from symtheory.data import Normal as Normal
    from symtheory.data import Rademacher as Rademacher
    from symtheory.data import Uniform as Uniform
    from symtheory.errors import InputError as InputError
    from symtheory.errors import SymtheoryError as SymtheoryError
    from symtheory.errors import UnreadableError as UnreadableError
    from symtheory.model import Model as Model
    from symtheory.references import cite as cite
    from symtheory.simulation import SDE as SDE
    from symtheory.simulation import SGD as SGD
    from symtheory.simulation import GradientFlow as GradientFlow
    from symtheory.simulation import Run as Run
    from symtheory.simulation import connect as connect
    from symtheory.simulation import simulate as simulate
    from symtheory.simulation import sweep as sweep
    from symtheory.symmetry import Affine as Affine
    from symtheory.symmetry import Alignment as Alignment
    from symtheory.symmetry import Approximate as Approximate
    from symtheory.symmetry import ConservationLaws as ConservationLaws
    from symtheory.symmetry import Discovery as Discovery
    from symtheory.symmetry import Explanation as Explanation
    from symtheory.symmetry import Exponential as Exponential
    from symtheory.symmetry import Family as Family
    from symtheory.symmetry import Matrix as Matrix
    from symtheory.symmetry import ParameterTable as ParameterTable
    from symtheory.symmetry import PermutationSpecification as PermutationSpecification
    from symtheory.symmetry import Reflection as Reflection
    from symtheory.symmetry import SymmetricMatrix as SymmetricMatrix
    from symtheory.symmetry import Vector as Vector
    from symtheory.symmetry import align as align
    from symtheory.symmetry import approximate_symmetries as approximate_symmetries
    from symtheory.symmetry import conservation_laws as conservation_laws
    from symtheory.symmetry import discover as discover
    from symtheory.symmetry import explain as explain
    from symtheory.symmetry import parameter_table as parameter_table
    from symtheory.symmetry import permutation_specification as permutation_specification
    from symtheory.symmetry import reflections as reflections
    from symtheory.symmetry import verify as verify
    from symtheory.syre import certify as certify
    from symtheory.syre import remove_symmetries as remove_symmetries
    from symtheory.theory import DeepLinear as DeepLinear
    from symtheory.theory import Equilibrium as Equilibrium
    from symtheory.theory import Expression as Expression
    from symtheory.theory import GLPair as GLPair
    from symtheory.theory import Law as Law
    from symtheory.theory import MatrixLaw as MatrixLaw
    from symtheory.theory import OrthogonalMatrix as OrthogonalMatrix
    from symtheory.theory import ProjectionMatrix as ProjectionMatrix
    from symtheory.theory import SlowFlow as SlowFlow
    from symtheory.theory import StationaryLaw as StationaryLaw
    from symtheory.theory import balance_residuals as balance_residuals
    from symtheory.theory import deep_linear_equilibrium as deep_linear_equilibrium
    from symtheory.theory import deep_linear_proof as deep_linear_proof
    from symtheory.theory import derive as derive
    from symtheory.theory import expectation as expectation
    from symtheory.theory import geometric_mean as geometric_mean
    from symtheory.theory import gl_pairs as gl_pairs
    from symtheory.theory import identity as identity
    from symtheory.theory import rebalance as rebalance
    from symtheory.theory import scale_fixed_point as scale_fixed_point
    from symtheory.theory import sharpness as sharpness
    from symtheory.theory import slow_flow as slow_flow
    from symtheory.theory import stationary_law as stationary_law
    from symtheory.theory import two_layer_sharpness as two_layer_sharpness
    from symtheory.theory import warmup as warmup
    from symtheory.verdict import Status as Status
    from symtheory.verdict import Verdict as Verdict
    from symtheory.verdict import conjunction as conjunction
