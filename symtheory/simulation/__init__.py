"""Ensembles of SGD, its stochastic differential equation and gradient flow.

Independent of `symtheory.theory` and `symtheory.symmetry`: the two are compared, never shared.
"""

from symtheory.simulation._checkpoint import CheckpointError as CheckpointError
from symtheory.simulation._devices import LostProcess as LostProcess
from symtheory.simulation._devices import together as together
from symtheory.simulation._flow import GradientFlow as GradientFlow
from symtheory.simulation._hosts import connect as connect
from symtheory.simulation._moments import Average as Average
from symtheory.simulation._run import Divergence as Divergence
from symtheory.simulation._run import Run as Run
from symtheory.simulation._sde import SDE as SDE
from symtheory.simulation._sgd import SGD as SGD
from symtheory.simulation._simulate import simulate as simulate
from symtheory.simulation._sweep import sweep as sweep

__all__ = [
    "SDE",
    "SGD",
    "Average",
    "CheckpointError",
    "Divergence",
    "GradientFlow",
    "LostProcess",
    "Run",
    "connect",
    "simulate",
    "sweep",
    "together",
]
