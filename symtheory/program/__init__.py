"""A loss as a program: traced once, lowered once to core operations, read over many domains.

loss --trace--> jaxpr --lower--> Program --evaluate--> values of a domain
"""

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
from symtheory.program._walk import equations as equations
from symtheory.program._walk import location as location
from symtheory.program._walk import pruned as pruned
from symtheory.program._walk import subjaxprs as subjaxprs
from symtheory.program.lowering import lower as lower
from symtheory.program.lowering import lower_function as lower_function
