"""Laws in whole matrices, for all sizes: the index domain at work."""

from symtheory.theory.matrices._expectation import expectation as expectation
from symtheory.theory.matrices._expression import TensorExpression as TensorExpression
from symtheory.theory.matrices._identity import OrthogonalMatrix as OrthogonalMatrix
from symtheory.theory.matrices._identity import ProjectionMatrix as ProjectionMatrix
from symtheory.theory.matrices._identity import identity as identity
from symtheory.theory.matrices._law import MatrixEquilibrium as MatrixEquilibrium
from symtheory.theory.matrices._law import MatrixLaw as MatrixLaw
