"""What others take over from the symmetries of a loss: tables, specifications, aligned networks."""

from symtheory.symmetry.exports._align import Alignment as Alignment
from symtheory.symmetry.exports._align import align as align
from symtheory.symmetry.exports._approximate import Approximate as Approximate
from symtheory.symmetry.exports._approximate import ApproximateFamily as ApproximateFamily
from symtheory.symmetry.exports._approximate import approximate_symmetries as approximate_symmetries
from symtheory.symmetry.exports._constants import SmallConstant as SmallConstant
from symtheory.symmetry.exports._explanation import Explanation as Explanation
from symtheory.symmetry.exports._explanation import GroupFactor as GroupFactor
from symtheory.symmetry.exports._explanation import explain as explain
from symtheory.symmetry.exports._specification import PermutationClass as PermutationClass
from symtheory.symmetry.exports._specification import (
    PermutationSpecification as PermutationSpecification,
)
from symtheory.symmetry.exports._specification import (
    permutation_specification as permutation_specification,
)
from symtheory.symmetry.exports._table import ParameterRow as ParameterRow
from symtheory.symmetry.exports._table import ParameterTable as ParameterTable
from symtheory.symmetry.exports._table import parameter_table as parameter_table
