"""Networks written as a user would, for the tests of this room."""

import jax.numpy as jnp

import symtheory as st


def net(widths, activation=lambda x: x, bias=False, name="net"):
    """The squared error of a network with free labels; widths input first."""
    layers = len(widths) - 1
    params = {f"W{i}": (widths[i + 1], widths[i]) for i in range(layers)}
    if bias:
        params |= {f"b{i}": (widths[i + 1],) for i in range(layers)}

    def loss(p, z):
        h = z["x"]
        for i in range(layers):
            h = p[f"W{i}"] @ h + (p[f"b{i}"] if bias else 0)
            h = activation(h) if i < layers - 1 else h
        return jnp.sum((h - z["y"]) ** 2)

    random = {"x": st.Normal(widths[0]), "y": st.Normal(widths[-1])}
    return st.Model(loss, params=params, random=random, name=name)
