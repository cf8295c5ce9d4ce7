"""Laws of the random arrays: how to draw them, and their exact moments of every order.

Every law has a `structure` (the shapes a draw has), `arrays` (its named, still symbolic
covariances and means), `bind`, `sample` and `moment`.
"""

from symtheory.data._empirical import Empirical as Empirical
from symtheory.data._entries import Rademacher as Rademacher
from symtheory.data._entries import Uniform as Uniform
from symtheory.data._law import Law as Law
from symtheory.data._law import Lookup as Lookup
from symtheory.data._law import random_rational as random_rational
from symtheory.data._normal import Normal as Normal
