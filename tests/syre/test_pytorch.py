"""The same for PyTorch; skipped where torch is not installed."""

import copy

import pytest

import symtheory as st

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from symtheory.syre.pytorch import DecayTowards  # noqa: E402


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    ).double()


def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 3, generator=generator, dtype=torch.float64)
    return x, x.sum(1, keepdim=True)


INNER = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
}


def train(model, optimizer, steps=100, extra=lambda: 0.0):
    x, y = batch()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean() + extra()
        loss.backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("sigma_d", [None, 0.1])
def test_the_same_path_as_the_reparametrized_loss(inner, sigma_d):
    gamma = 0.02
    model, other = net(), net()
    wrapped = DecayTowards(inner(model.parameters()), gamma, seed=0, sigma0=0.2, sigma_d=sigma_d)
    got = train(model, wrapped)
    centers = [wrapped.centers[k] for k in range(4)]
    diagonals = [wrapped.diagonals.get(k, torch.ones(())) for k in range(4)]
    x, y = batch()
    offsets = [
        (p.detach() - c).requires_grad_() for p, c in zip(other.parameters(), centers, strict=True)
    ]
    optimizer = inner(offsets)
    for _ in range(100):
        optimizer.zero_grad()
        w = dict(
            zip(
                (name for name, _ in other.named_parameters()),
                (t + c for t, c in zip(offsets, centers, strict=True)),
                strict=True,
            )
        )
        out = torch.func.functional_call(other, w, (x,))
        decay = sum((d * t * t).sum() for t, d in zip(offsets, diagonals, strict=True))
        (((out - y) ** 2).mean() + gamma * decay).backward()
        optimizer.step()
    for p, t, c in zip(got, offsets, centers, strict=True):
        assert torch.max(torch.abs(p - (t + c).detach())) < 1e-11


def test_decoupled_under_sgd_is_the_same_and_under_adam_is_not():
    for inner, close in ((INNER["sgd"], True), (INNER["adam"], False)):
        runs = []
        for decoupled in (False, True):
            model = net()
            wrapped = DecayTowards(
                inner(model.parameters()), 0.02, seed=0, sigma0=0.2, decoupled=decoupled
            )
            runs.append(train(model, wrapped))
        gap = max(float(torch.max(torch.abs(a - b))) for a, b in zip(*runs, strict=True))
        assert (gap < 1e-12) == close


def test_reproducible_and_checkpointable():
    model = net()
    wrapped = DecayTowards(INNER["adam"](model.parameters()), 0.02, seed=5)
    train(model, wrapped, 10)
    saved, weights = copy.deepcopy(wrapped.state_dict()), copy.deepcopy(model.state_dict())
    end = train(model, wrapped, 10)
    fresh = net(seed=9)
    fresh.load_state_dict(weights)
    again = DecayTowards(INNER["adam"](fresh.parameters()), 0.02, seed=77)
    again.load_state_dict(saved)
    for a, b in zip(end, train(fresh, again, 10), strict=True):
        assert torch.equal(a, b)
    one, two = (DecayTowards(INNER["sgd"](net().parameters()), 0.02, seed=5) for _ in range(2))
    assert all(torch.equal(one.centers[k], two.centers[k]) for k in one.centers)


def test_groups_leave_out_biases():
    model = net()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": weights, "syre_sigma0": 0.5},
        {"params": biases, "syre_decay": 0.0},
    ]
    wrapped = DecayTowards(torch.optim.SGD(groups, lr=1.0), 0.1, seed=0)
    before = [p.detach().clone() for p in biases]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    wrapped.step()
    assert all(torch.equal(a, b) for a, b in zip(before, biases, strict=True))
    assert set(wrapped.centers) == {0, 1}
    assert 0.3 < float(wrapped.centers[0].std()) < 0.7


def test_fan_in_and_schedulers():
    layer = torch.nn.Conv2d(16, 64, 3)
    inner = torch.optim.SGD(layer.parameters(), lr=1.0)
    wrapped = DecayTowards(inner, 0.1, seed=0)
    assert float(wrapped.centers[0].std()) == pytest.approx(0.01 / 12, rel=0.05)
    scheduler = torch.optim.lr_scheduler.StepLR(wrapped, 1, 0.5)
    layer(torch.ones(1, 16, 4, 4)).sum().backward()
    wrapped.step()
    scheduler.step()
    assert inner.param_groups[0]["lr"] == 0.5


def test_duplicates_part():
    def twins():
        model = net()
        with torch.no_grad():
            for layer, axis in ((model[0], 0), (model[2], 1)):
                w = layer.weight
                w.copy_(torch.repeat_interleave(w.narrow(axis, 0, 4), 2, dim=axis))
            model[0].bias.copy_(torch.repeat_interleave(model[0].bias[:4], 2))
        return model

    def apart(model):
        w = model[0].weight.detach()
        return float(torch.max(torch.abs(w[::2] - w[1::2])))

    plain = twins()
    train(plain, torch.optim.SGD(plain.parameters(), lr=0.05, weight_decay=0.04), 500)
    free = twins()
    train(free, DecayTowards(INNER["sgd"](free.parameters()), 0.02, seed=0), 500)
    assert apart(plain) < 1e-13 and apart(free) > 1e-5


def test_nothing_changes_without_decay():
    with pytest.warns(UserWarning, match="removal needs gamma > 0"):
        model = net()
        got = train(model, DecayTowards(INNER["adam"](model.parameters()), 0.0, seed=0))
    other = net()
    for a, b in zip(got, train(other, INNER["adam"](other.parameters())), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": -0.1}, "removal needs gamma > 0"),
        ({"sigma0": 0.0}, "give a positive number"),
        ({"sigma_d": 1.5}, "between 0 and 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(st.InputError, match=message):
        DecayTowards(
            INNER["sgd"](net().parameters()), **{"weight_decay": 0.1, "seed": 0, **options}
        )


def test_an_optimizer_that_decays_by_itself():
    inner = torch.optim.SGD(net().parameters(), lr=0.1, weight_decay=0.1)
    with pytest.raises(st.InputError, match="pull towards 0 as well"):
        DecayTowards(inner, 0.1, seed=0)


def test_a_parameter_that_changed_shape():
    weight = torch.nn.Parameter(torch.ones(3))
    wrapped = DecayTowards(torch.optim.SGD([weight], lr=0.1), 0.1, seed=0)
    weight.data = torch.ones(5)
    weight.grad = torch.ones(5)
    with pytest.raises(st.InputError, match="wrap the optimizer again"):
        wrapped.step()
    saved = wrapped.state_dict()
    with pytest.raises(st.InputError, match="does not fit"):
        wrapped.load_state_dict(saved)


def test_integer_parameters():
    number = torch.nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)
    inner = torch.optim.SGD([number], lr=0.1)
    with pytest.raises(st.InputError, match="floating-point"):
        DecayTowards(inner, 0.1, seed=0)
