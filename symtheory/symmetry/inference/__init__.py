"""Symmetries read off the program of a loss, at any size, with the line that breaks each."""

from symtheory.symmetry.inference._explain import AxisReport as AxisReport
from symtheory.symmetry.inference._explain import Cause as Cause
from symtheory.symmetry.inference._generators import Direction as Direction
from symtheory.symmetry.inference._generators import GLPair as GLPair
from symtheory.symmetry.inference._infer import infer as infer
from symtheory.symmetry.inference._infer import infer_traced as infer_traced
from symtheory.symmetry.inference._inferred import Inferred as Inferred
from symtheory.symmetry.inference._mirrors import Mirrors as Mirrors
from symtheory.symmetry.inference._result import Axis as Axis
from symtheory.symmetry.inference._result import AxisClass as AxisClass
from symtheory.symmetry.inference._result import Counts as Counts
from symtheory.symmetry.inference._result import Family as Family
from symtheory.symmetry.inference._result import Flips as Flips
from symtheory.symmetry.inference._result import Target as Target
from symtheory.symmetry.inference._transformations import Transformations as Transformations
