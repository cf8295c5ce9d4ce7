"""Linear algebra: one null space, one rank and one echelon form for each kind of number.

==================  ====================================================  =======================
module              numbers                                               what its answers are
==================  ====================================================  =======================
`exact`             rationals, in sparse rows                             exact
`modular`           residues mod 2^31 - 1                                 ranks from below
`floats`            floats, ranks by a gap between singular values        candidates, no proof
`enclosed`          Arb balls, or floats with bounds                      ranks from below, proved
==================  ====================================================  =======================
"""

from symtheory.linear_algebra import _enclosed as enclosed
from symtheory.linear_algebra import _exact as exact
from symtheory.linear_algebra import _floats as floats
from symtheory.linear_algebra import _modular as modular

__all__ = ["enclosed", "exact", "floats", "modular"]
