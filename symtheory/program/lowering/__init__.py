"""From the primitives of JAX to core operations: the one place that knows their names."""

from symtheory.program.lowering._lower import lower as lower
from symtheory.program.lowering._lower import lower_function as lower_function
from symtheory.program.lowering._rule import RULES as RULES
