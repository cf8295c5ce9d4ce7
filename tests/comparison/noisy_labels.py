"""The smallest model with a law that moves: a product of two numbers fitted to noisy labels."""

import symtheory as st


def model_and_law():
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"y": st.Normal((), mean=1.0, cov=0.5)},
    )
    rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
    return model, st.derive(model, rescaling)
