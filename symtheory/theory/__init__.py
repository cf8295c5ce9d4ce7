"""Theory: charges, their laws under SGD noise, and the noise equilibrium."""

from symtheory.theory._deep_balance import balance_residuals as balance_residuals
from symtheory.theory._deep_linear import DeepLinear as DeepLinear
from symtheory.theory._deep_linear import deep_linear_equilibrium as deep_linear_equilibrium
from symtheory.theory._deep_linear_proof import deep_linear_proof as deep_linear_proof
from symtheory.theory._derive import derive as derive
from symtheory.theory._entry_derive import derive_entries as derive_entries
from symtheory.theory._equilibrium import Equilibrium as Equilibrium
from symtheory.theory._equilibrium import EquilibriumPoint as EquilibriumPoint
from symtheory.theory._expectation import expectation as expectation
from symtheory.theory._expression import Expression as Expression
from symtheory.theory._identity import OrthogonalMatrix as OrthogonalMatrix
from symtheory.theory._identity import ProjectionMatrix as ProjectionMatrix
from symtheory.theory._identity import identity as identity
from symtheory.theory._law import Law as Law
from symtheory.theory._matrix_law import MatrixEquilibrium as MatrixEquilibrium
from symtheory.theory._matrix_law import MatrixLaw as MatrixLaw
from symtheory.theory._noether_flow import Flow as Flow
from symtheory.theory._scale import ScaleFixedPoint as ScaleFixedPoint
from symtheory.theory._scale import scale_fixed_point as scale_fixed_point
from symtheory.theory._tensor_expression import TensorExpression as TensorExpression
from symtheory.theory.slow._equilibria import RelativeEquilibrium as RelativeEquilibrium
from symtheory.theory.slow._flow import slow_flow as slow_flow
from symtheory.theory.slow._state import SlowFlow as SlowFlow
