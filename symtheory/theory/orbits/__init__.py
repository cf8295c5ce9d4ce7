"""The equilibrium of a whole GL(h) orbit, and moving a model there."""

from symtheory.theory.orbits._found import gl_pairs as gl_pairs
from symtheory.theory.orbits._geometric_mean import geometric_mean as geometric_mean
from symtheory.theory.orbits._gl_pair import GLPair as GLPair
from symtheory.theory.orbits._rebalance import Rebalanced as Rebalanced
from symtheory.theory.orbits._rebalance import RebalanceReport as RebalanceReport
from symtheory.theory.orbits._rebalance import rebalance as rebalance
