"""A loss as a program: traced once, lowered once to core operations, read over many domains.

loss --trace--> jaxpr --lower--> Program --evaluate--> values of a domain
"""

from symtheory.program._derivatives import redefines_derivatives as redefines_derivatives
from symtheory.program._derivatives import with_value_derivatives as with_value_derivatives
from symtheory.program._facts import all_operations as all_operations
from symtheory.program._facts import compares as compares
from symtheory.program._facts import depending as depending
from symtheory.program._facts import irrational as irrational
from symtheory.program._facts import is_continuous as is_continuous
from symtheory.program._facts import is_smooth as is_smooth
from symtheory.program._facts import operations_on as operations_on
from symtheory.program._facts import whole_number_inputs as whole_number_inputs
from symtheory.program._functions import FUNCTIONS as FUNCTIONS
from symtheory.program._functions import Function as Function
from symtheory.program._program import NO_DEADLINE as NO_DEADLINE
from symtheory.program._program import Deadline as Deadline
from symtheory.program._program import Operation as Operation
from symtheory.program._program import Positions as Positions
from symtheory.program._program import Program as Program
from symtheory.program._program import evaluate as evaluate
from symtheory.program._read import read as read
from symtheory.program._read import read_function as read_function
from symtheory.program._trace import trace as trace
from symtheory.program._types import kind_of_type as kind_of_type
from symtheory.program._types import rounds as rounds
from symtheory.program._walk import equations as equations
from symtheory.program._walk import has_loop as has_loop
from symtheory.program._walk import line_of as line_of
from symtheory.program._walk import location as location
from symtheory.program._walk import pruned as pruned
from symtheory.program._walk import subjaxprs as subjaxprs
from symtheory.program.lowering import lower as lower
from symtheory.program.lowering import lower_function as lower_function
