"""Stationary laws of the scalar two-layer net."""

from symtheory.theory.stationary._law import StationaryLaw as StationaryLaw
from symtheory.theory.stationary._stationary import stationary_law as stationary_law
