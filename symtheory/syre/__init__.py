"""Remove the reflection symmetries of a loss (syre), certify it, and compare it fairly.

`decay_towards` is the transformation for optax, `symtheory.syre.pytorch` the same for PyTorch (only
with the extra `torch`), `reparametrize` and `remove_symmetries` the same as a change of the loss.
"""

from symtheory.syre._asymmetry import AsymmetricActivation as AsymmetricActivation
from symtheory.syre._asymmetry import ShrinkAndPerturb as ShrinkAndPerturb
from symtheory.syre._asymmetry import WFix as WFix
from symtheory.syre._baselines import DecayToInit as DecayToInit
from symtheory.syre._baselines import PlainDecay as PlainDecay
from symtheory.syre._baselines import Syre as Syre
from symtheory.syre._baselines import Untouched as Untouched
from symtheory.syre._baselines import baselines as baselines
from symtheory.syre._bias import draw_bias as draw_bias
from symtheory.syre._bias import draw_diagonal as draw_diagonal
from symtheory.syre._bias import fan_in as fan_in
from symtheory.syre._bounds import expected_square as expected_square
from symtheory.syre._bounds import strength_bound as strength_bound
from symtheory.syre._certificate import certify as certify
from symtheory.syre._diagnosis import Diagnosis as Diagnosis
from symtheory.syre._diagnosis import diagnose as diagnose
from symtheory.syre._forecast import Forecast as Forecast
from symtheory.syre._forecast import forecast as forecast
from symtheory.syre._gradient import symmetric_gradient as symmetric_gradient
from symtheory.syre._group import FiniteGroup as FiniteGroup
from symtheory.syre._model import RemovedModel as RemovedModel
from symtheory.syre._model import remove_symmetries as remove_symmetries
from symtheory.syre._pitchfork import Pitchfork as Pitchfork
from symtheory.syre._prepared import Prepared as Prepared
from symtheory.syre._rank import rank as rank
from symtheory.syre._reparametrize import reparametrize as reparametrize
from symtheory.syre._reparametrize import to_offsets as to_offsets
from symtheory.syre._reparametrize import to_weights as to_weights
from symtheory.syre._state import DecayTowardsState as DecayTowardsState
from symtheory.syre._state import center_of as center_of
from symtheory.syre._state import diagonal_of as diagonal_of
from symtheory.syre._transform import decay_towards as decay_towards
from symtheory.syre._transform import weights_only as weights_only
