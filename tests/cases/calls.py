"""Every public call that reads the loss of a model, with the least it needs besides."""

import jax
import numpy as np

import symtheory as st
from symtheory import syre


def _ones(model):
    return jax.tree.map(lambda s: np.ones(s), model.params, is_leaf=lambda s: isinstance(s, tuple))


def _scaling():
    return st.Exponential(lambda p: p, name="scaling")


def _removed(model):
    return st.remove_symmetries(model, weight_decay=0.1, sigma0=0.1, key=0)


def _certified(model):
    return st.certify(_removed(model), seconds=10)


def _simulated(dynamics):
    def call(model):
        key = jax.random.key(0)
        return st.simulate(
            model, dynamics, params=_ones(model), steps=3, replicas=2, key=key, observe={}
        )

    return call


def _swept(model):
    grid = {"learning_rate": [0.01, 0.02]}
    options = {"steps": 3, "replicas": 2, "key": jax.random.key(0), "observe": {}}
    return st.sweep(model, st.SGD(0.01), grid, params=_ones(model), **options)


CALLS = {
    "verify": lambda m: st.verify(m, _scaling(), seconds=10),
    "verify_reflection": lambda m: st.verify(m, st.Reflection(lambda p: p), seconds=10),
    "discover": lambda m: st.discover(m, seconds=10),
    "reflections": lambda m: st.reflections(m, seconds=10),
    "conservation_laws": lambda m: st.conservation_laws(m, seconds=10),
    "conservation_laws_momentum": lambda m: st.conservation_laws(m, momentum=True, seconds=10),
    "derive": lambda m: st.derive(m, _scaling(), seconds=10),
    "remove_symmetries": _removed,
    "certify": _certified,
    "sgd": _simulated(st.SGD(0.01)),
    "sde": _simulated(st.SDE(temperature=0.1, step=0.01)),
    "gradient_flow": _simulated(st.GradientFlow(step=0.01)),
    "sweep": _swept,
    "sharpness": lambda m: st.sharpness(m, _ones(m)),
    "slow_flow": lambda m: st.slow_flow(m, _ones(m)),
    "stationary_law": lambda m: st.stationary_law(m, seconds=10),
    "forecast": lambda m: syre.forecast(_removed(m), st.Reflection(lambda p: p)),
}
