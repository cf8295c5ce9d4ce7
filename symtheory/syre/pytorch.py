"""Decay towards a drawn bias for PyTorch's optimizers (needs the extra `torch`).

    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    optimizer = DecayTowards(adam, weight_decay=1e-4, seed=0)
    loss.backward(); optimizer.step()

This module is imported only when asked for: `from symtheory.syre import pytorch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from symtheory.errors import InputError
from symtheory.syre._bias import check_decay, fan_in

try:
    import torch  # pyright: ignore[reportMissingImports]
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise ImportError(
        "symtheory.syre.pytorch needs PyTorch; install it with pip install 'symtheory[torch]'"
    ) from error

_RELATIVE = 0.01


class DecayTowards(torch.optim.Optimizer):
    """A torch optimizer with the decay 2 gamma D (w - theta_0) added, theta_0 drawn once (syre).

    By default the decay is added to the gradient before the step, which is the path of training
    theta = w - theta_0 on l(theta + theta_0) + gamma |theta|^2. With `decoupled` the weights move
    by -lr 2 gamma (w - theta_0) before the step instead, as in AdamW. The weight decay of the
    wrapped optimizer must be 0.

    A parameter group may have its own options: `syre_decay` (gamma; 0 leaves the group alone, for
    biases and scales) and `syre_sigma0`.

    Args:
        optimizer: Any optimizer of torch.
        weight_decay: gamma; torch's own `weight_decay` corresponds to 2 gamma.
        seed: Seed of the bias; parameter k of the optimizer has a generator of its own.
        sigma0: Spread of the bias: one number, or None for .01/sqrt(fan-in) of each parameter.
        sigma_d: Draw D from U(1 - sigma_D, 1 + sigma_D).
        decoupled: Add the decay to the weights and not to the gradient.

    Raises:
        InputError: An argument is out of range, a parameter is not floating-point, or the wrapped
            optimizer decays by itself.

    Source: arXiv 2408.15495, the algorithm.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        weight_decay: float,
        *,
        seed: int,
        sigma0: float | None = None,
        sigma_d: float | None = None,
        decoupled: bool = False,
    ) -> None:
        check_decay(weight_decay)
        if sigma_d is not None and not 0 < sigma_d < 1:
            raise InputError(f"sigma_d is {sigma_d!r}; give a number between 0 and 1, or None")
        _check_sigma(sigma0)
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.sigma0, self.sigma_d, self.decoupled = sigma0, sigma_d, decoupled
        self.seed = int(seed)
        self.centers: dict[int, torch.Tensor] = {}
        self.diagonals: dict[int, torch.Tensor] = {}
        # Shared with the wrapped optimizer, so that schedulers and zero_grad act on both.
        self.param_groups = optimizer.param_groups
        self.defaults = optimizer.defaults
        self.state = optimizer.state
        self._draw()

    def _parameters(self) -> list[tuple[int, torch.Tensor, dict[str, Any]]]:
        pairs = [(p, group) for group in self.param_groups for p in group["params"]]
        return [(k, p, group) for k, (p, group) in enumerate(pairs)]

    def _draw(self) -> None:
        for k, param, group in self._parameters():
            if group.get("weight_decay"):
                raise InputError(
                    f"the wrapped optimizer has weight_decay = {group['weight_decay']:g}, which "
                    "would pull towards 0 as well; set it to 0"
                )
            gamma = group.get("syre_decay", self.weight_decay)
            if not gamma >= 0:
                raise InputError(f"syre_decay is {gamma!r}; give 0 or a positive number")
            if gamma == 0 or k in self.centers:
                continue
            if not param.is_floating_point():
                raise InputError(
                    f"parameter {k} has the type {param.dtype}; decay towards a drawn bias needs "
                    "floating-point parameters: give its group syre_decay=0"
                )
            sigma = group.get("syre_sigma0", self.sigma0)
            _check_sigma(sigma)
            shape = tuple(param.shape)
            # Convolutions of torch are (out, in, window...).
            inputs = fan_in(shape) if len(shape) <= 2 else math.prod(shape[1:])
            sigma = _RELATIVE / math.sqrt(inputs) if sigma is None else sigma
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + k)
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * sigma
            self.centers[k] = drawn.to(param)
            if self.sigma_d is not None:
                uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
                self.diagonals[k] = (1 + self.sigma_d * (2 * uniform - 1)).to(param)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the wrapped optimizer and draw its bias."""
        self.optimizer.add_param_group(param_group)
        self._draw()

    @torch.no_grad()
    def _pull(self) -> None:
        for k, param, group in self._parameters():
            gamma = group.get("syre_decay", self.weight_decay)
            if gamma == 0 or param.grad is None:
                continue
            if k not in self.centers or self.centers[k].shape != param.shape:
                raise InputError(
                    f"parameter {k} has the shape {tuple(param.shape)}, for which no bias was "
                    "drawn; wrap the optimizer again"
                )
            pull = (param - self.centers[k]).mul_(2 * gamma)
            if k in self.diagonals:
                pull.mul_(self.diagonals[k])
            if self.decoupled:
                param.add_(pull, alpha=-float(group["lr"]))
            else:
                param.grad.add_(pull)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Add the decay and take a step of the wrapped optimizer.

        Args:
            closure: Evaluates the loss and its gradient again; the decay is added to each.
        """
        if closure is None:
            self._pull()
            return self.optimizer.step()
        if self.decoupled:
            raise InputError("decoupled decay takes no closure; call backward() and then step()")

        def pulled() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._pull()
            return loss

        return self.optimizer.step(pulled)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, as in torch."""
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """Return the state of the wrapped optimizer together with the bias."""
        bias = {"centers": dict(self.centers), "diagonals": dict(self.diagonals)}
        return {"optimizer": self.optimizer.state_dict(), **bias}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        """Load what `state_dict` returned.

        Raises:
            InputError: The bias does not fit the parameters.
        """
        params = {k: param for k, param, _ in self._parameters()}
        for k, center in state_dict["centers"].items():
            if k not in params or center.shape != params[k].shape:
                raise InputError(
                    f"the saved bias of parameter {k} has the shape {tuple(center.shape)}, which "
                    "does not fit this model; load it into the model it was saved from"
                )
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.param_groups, self.state = self.optimizer.param_groups, self.optimizer.state
        self.centers = {k: c.to(params[k]) for k, c in state_dict["centers"].items()}
        self.diagonals = {k: d.to(params[k]) for k, d in state_dict["diagonals"].items()}


def _check_sigma(sigma0: float | None) -> None:
    if sigma0 is not None and not (math.isfinite(sigma0) and sigma0 > 0):
        raise InputError(
            f"sigma0 is {sigma0!r}; the bias needs a spread: give a positive number, or None for "
            ".01/sqrt(fan-in)"
        )
