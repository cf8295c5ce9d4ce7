"""Symmetries of the parameters: generators, families of them, and their verification."""

from symtheory.symmetry._arguments import exact_arguments as exact_arguments
from symtheory.symmetry._families import Family as Family
from symtheory.symmetry._families import Matrix as Matrix
from symtheory.symmetry._families import SymmetricMatrix as SymmetricMatrix
from symtheory.symmetry._families import Vector as Vector
from symtheory.symmetry._generator import Generator as Generator
from symtheory.symmetry._generator import read_generator as read_generator
from symtheory.symmetry._symmetry import Affine as Affine
from symtheory.symmetry._symmetry import Exponential as Exponential
from symtheory.symmetry._verify import verify as verify
from symtheory.symmetry.conservation._conservation import conservation_laws as conservation_laws
from symtheory.symmetry.conservation._conserved import ConservationLaws as ConservationLaws
from symtheory.symmetry.discovery._discover import discover as discover
from symtheory.symmetry.discovery._result import Discovery as Discovery
from symtheory.symmetry.mirrors._reflection import Reflection as Reflection
from symtheory.symmetry.mirrors._reflections import reflections as reflections
from symtheory.symmetry.mirrors._reflections_found import FoundReflections as FoundReflections
from symtheory.symmetry.mirrors._reflections_found import Reflections as Reflections
