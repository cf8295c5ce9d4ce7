"""Sharpness at equilibria, and warmup."""

from symtheory.theory.curvature._sharpness import Sharpness as Sharpness
from symtheory.theory.curvature._sharpness import sharpness as sharpness
from symtheory.theory.curvature._two_layer import TwoLayerSharpness as TwoLayerSharpness
from symtheory.theory.curvature._two_layer import two_layer_sharpness as two_layer_sharpness
from symtheory.theory.curvature._warmup import Warmup as Warmup
from symtheory.theory.curvature._warmup import warmup as warmup
