"""Deep linear nets: the closed form of their equilibrium, and its proof."""

from symtheory.theory.deep._balance import balance_residuals as balance_residuals
from symtheory.theory.deep._closed_form import DeepLinear as DeepLinear
from symtheory.theory.deep._closed_form import deep_linear_equilibrium as deep_linear_equilibrium
from symtheory.theory.deep._proof import deep_linear_proof as deep_linear_proof
