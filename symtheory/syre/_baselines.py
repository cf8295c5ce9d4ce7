"""What syre is to be compared with: every method with its own key, behind one interface."""

from __future__ import annotations

import dataclasses
from typing import Any

import optax

from symtheory.syre._asymmetry import AsymmetricActivation, ShrinkAndPerturb, WFix
from symtheory.syre._bias import Sigma, check_decay
from symtheory.syre._prepared import Loss, Prepared
from symtheory.syre._transform import decay_towards


@dataclasses.dataclass(frozen=True)
class Untouched:
    """No removal and no decay.

    >>> prepared = Untouched().prepare(lambda w: w**2, 1.0, key=0)
    >>> float(prepared.loss(prepared.params))
    1.0
    """

    name = "none"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem as it is."""
        return Prepared(loss, params)


@dataclasses.dataclass(frozen=True)
class PlainDecay:
    """Weight decay towards 0 at the same gamma: what syre has to beat.

    Args:
        weight_decay: gamma; the gradient of the decay is 2 gamma w.
    """

    weight_decay: float
    name = "plain decay"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem with 2 gamma w added to the gradient."""
        check_decay(self.weight_decay)
        return Prepared(loss, params, optax.add_decayed_weights(2 * self.weight_decay))


@dataclasses.dataclass(frozen=True)
class DecayToInit:
    """Decay at the same gamma, towards the initial weights.

    Args:
        weight_decay: gamma.
    """

    weight_decay: float
    name = "decay to init"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem with 2 gamma (w - w_init) added to the gradient."""
        return Prepared(loss, params, decay_towards(self.weight_decay, center=params))


@dataclasses.dataclass(frozen=True)
class Syre:
    """Decay at the same gamma, towards a bias drawn from the key.

    Args:
        weight_decay: gamma.
        sigma0: Spread of the bias; see `decay_towards`.
        sigma_d: Spread of D; see `decay_towards`.
        in_axis: Which axis of a weight counts its inputs.
    """

    weight_decay: float
    sigma0: Sigma = None
    sigma_d: float | None = None
    in_axis: int = -1
    name = "syre"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem with `decay_towards` in front of the optimizer."""
        options: dict[str, Any] = {"sigma0": self.sigma0, "sigma_d": self.sigma_d}
        before = decay_towards(self.weight_decay, key=key, in_axis=self.in_axis, **options)
        return Prepared(loss, params, before)


Method = (
    Untouched | PlainDecay | DecayToInit | Syre | WFix | AsymmetricActivation | ShrinkAndPerturb
)


def baselines(weight_decay: float, sigma0: Sigma = None) -> tuple[Method, ...]:
    """Return syre and everything it is compared with, all decays at the same gamma.

    Args:
        weight_decay: gamma of every method that decays.
        sigma0: Spread of the bias of syre.

    >>> [method.name for method in baselines(0.01)]
    ['none', 'plain decay', 'decay to init', 'syre', 'W-fix', 'asymmetric activation',
     'shrink and perturb']
    """
    return (
        Untouched(),
        PlainDecay(weight_decay),
        DecayToInit(weight_decay),
        Syre(weight_decay, sigma0),
        WFix(weight_decay=weight_decay),
        AsymmetricActivation(weight_decay=weight_decay),
        ShrinkAndPerturb(weight_decay=weight_decay),
    )
