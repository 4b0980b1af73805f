"""Networks side by side against plain modules of PyTorch: outputs, gradients, what is kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from irlbench.baselines.learners.side_by_side import FlatAdam, SideBySide
from irlbench.policies.mlp import SquashedGaussianMLPPolicy
from irlbench.rewards.continuous import StateActionMLPReward

SHAPES = [(1, (8,)), (2, (8,)), (1, (8, 5)), (2, (8, 5)), (3, (8, 5)), (2, (8, 5, 6))]
shapes = pytest.mark.parametrize(("networks", "hidden"), SHAPES)


def made(networks=2, hidden=(8, 5), *, inputs=4, outputs=3, precision="float32", seed=0):
    generator = torch.Generator().manual_seed(seed)
    return SideBySide(inputs, hidden, outputs, networks, generator=generator, precision=precision)


def plain(net):
    """The same networks as modules of PyTorch, in float64."""
    found = []
    for network in range(net.networks):
        arrays = net.arrays(network, {"head": slice(None)})
        layers = [nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(net.widths)]
        names = [*(f"hidden.{i}" for i in range(len(layers) - 1)), "head"]
        with torch.no_grad():
            for name, layer in zip(names, layers, strict=True):
                layer.weight.copy_(torch.from_numpy(arrays[f"{name}.weight"]))
                layer.bias.copy_(torch.from_numpy(arrays[f"{name}.bias"]))
        modules = [m for layer in layers for m in (layer, nn.ReLU())][:-1]
        found.append(nn.Sequential(*modules))
    return found


def of_parameters(net, flat):
    """A vector of gradients as weights `[out, in]` and biases of each network's layers, in order."""
    views = net.split(flat)
    found = []
    for network in range(net.networks):
        for layer, (weight, bias) in enumerate(zip(views[::2], views[1::2], strict=True)):
            if layer == 0:
                own = slice(network * net.widths[1], (network + 1) * net.widths[1])
                found += [weight[:, own].T, bias[own]]
            else:
                found += [weight[network].T, bias[network]]
    return found


def rows(count=7, inputs=4, seed=1):
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(seed))


@shapes
def test_outputs_and_gradients_are_those_of_plain_modules(networks, hidden):
    net, x = made(networks, hidden), rows()
    slope = torch.randn(networks, 7, 3, generator=torch.Generator().manual_seed(2))
    given = x.double().requires_grad_()
    modules = plain(net)
    wanted = torch.stack([module(given) for module in modules])
    (wanted * slope).sum().backward()
    out, tape = net.evaluate(x)
    assert out.dtype == torch.float32 and not out.requires_grad
    torch.testing.assert_close(out.double(), wanted.detach(), atol=1e-6, rtol=1e-5)
    of_inputs, flat = net.gradients(tape, slope, inputs=True)
    torch.testing.assert_close(of_inputs.double(), given.grad, atol=1e-5, rtol=1e-5)
    own = [p.grad for module in modules for p in module.parameters()]
    for found, right in zip(of_parameters(net, flat), own, strict=True):
        torch.testing.assert_close(found.double(), right, atol=1e-5, rtol=1e-5)
    assert net.gradients(tape, slope)[0] is None
    assert net.gradients(tape, slope, parameters=False) == (None, None)


@shapes
def test_autograd_finds_the_same(networks, hidden):
    net, x = made(networks, hidden), rows().requires_grad_()
    slope = torch.randn(networks, 7, 3, generator=torch.Generator().manual_seed(2))
    of_inputs, flat = net.gradients(net.evaluate(x.detach())[1], slope, inputs=True)
    (net(x) * slope).sum().backward()
    assert torch.equal(x.grad, of_inputs)
    assert torch.equal(net.parameters_flat.grad, flat)
    net.parameters_flat.grad = x.grad = None
    (net(x, frozen=True) * slope).sum().backward()
    assert torch.equal(x.grad, of_inputs)
    assert net.parameters_flat.grad is None


@shapes
def test_bfloat16_is_float32_within_its_rounding(networks, hidden):
    """Eight bits: 2^-9 of each number, some times over in sums of a dozen."""
    exact, low = made(networks, hidden), made(networks, hidden, precision="bfloat16")
    assert torch.equal(exact.parameters_flat, low.parameters_flat)
    slope = torch.ones(networks, 500, 3)
    outs, grads = [], []
    for net in (exact, low):
        out, tape = net.evaluate(rows(500))
        assert out.dtype == torch.float32
        outs.append(out)
        grads.append(torch.cat([g.flatten() for g in net.gradients(tape, slope, inputs=True)]))
    assert not torch.equal(*outs)
    assert (outs[0] - outs[1]).abs().max() < 0.02
    # A relu whose input is near zero may be on in one and off in the other: compare the whole.
    assert torch.linalg.vector_norm(grads[0] - grads[1]) < 0.05 * torch.linalg.vector_norm(grads[0])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("fused", [False, True])
def test_after_a_step_of_adam_the_new_parameters_count(precision, fused):
    """A fused step leaves the version of its parameters as it was: nothing may be kept by it."""
    net, x = made(precision=precision), rows()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1, fused=fused)
    single = rows(1).numpy()
    before, tape = net.evaluate(x)
    before_rows = net.rows(single)
    _, net.parameters_flat.grad = net.gradients(tape, torch.ones_like(before))
    optimiser.step()
    fresh = made(precision=precision, seed=9)
    with torch.no_grad():
        fresh.parameters_flat.copy_(net.parameters_flat)
    after, _ = net.evaluate(x)
    assert torch.equal(after, fresh.evaluate(x)[0])
    assert (after - before).abs().mean() > 0.05
    assert np.array_equal(net.rows(single), fresh.rows(single))
    assert np.abs(net.rows(single) - before_rows).max() > 0.05


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@shapes
def test_rows_are_the_first_networks_outputs(networks, hidden, precision):
    """In float32, whatever the precision of updates."""
    net, x = made(networks, hidden, precision=precision), rows(5)
    exact = made(networks, hidden)
    np.testing.assert_allclose(net.rows(x.numpy()), exact.evaluate(x)[0][0], atol=1e-6)


@shapes
def test_the_arrays_are_a_policy_and_a_reward_of_numpy(networks, hidden):
    actor = made(networks, hidden, outputs=4)
    x = rows(6)
    for network in range(networks):
        heads = {"mean": slice(0, 2), "log_std": slice(2, None)}
        bounds = {
            f"action_{end}": np.full(2, v, np.float32) for end, v in (("low", -1), ("high", 1))
        }
        policy = SquashedGaussianMLPPolicy({**actor.arrays(network, heads), **bounds}, "relu")
        mean, log_std = actor.evaluate(x)[0][network].numpy().T.reshape(2, 2, 6).transpose(0, 2, 1)
        noise = np.array([[0.3, -1.2]], dtype=np.float32)
        actions, _ = policy.with_noise(x.numpy(), noise)
        wanted = np.tanh(mean + np.exp(log_std) * noise)
        np.testing.assert_allclose(actions[:, 0], wanted, atol=1e-5)
    critics = made(networks, hidden, outputs=1)
    for network in range(networks):
        arrays = critics.arrays(network, {"reward": slice(None)})
        found = StateActionMLPReward(arrays, "relu").of(x[:, :3].numpy(), x[:, 3:].numpy())
        np.testing.assert_allclose(found, critics.evaluate(x)[0][network, :, 0], atol=1e-6)
    arrays["reward.bias"][:] = 5.0
    assert not (critics.arrays(networks - 1, {"reward": slice(None)})["reward.bias"] == 5).any()


def test_a_slow_copy_goes_its_share_of_the_way():
    net = made()
    slow = net.slow_copy()
    x = rows()
    assert torch.equal(slow.evaluate(x)[0], net.evaluate(x)[0])
    begun = net.parameters_flat.detach().clone()
    with torch.no_grad():
        net.parameters_flat += 1.0
    assert torch.equal(slow.parameters_flat, begun), "apart until it follows"
    slow.follow(net, 0.25)
    torch.testing.assert_close(slow.parameters_flat, begun + 0.25)
    assert not slow.parameters_flat.requires_grad
    assert net.parameters_flat.requires_grad
    net.rows(x.numpy())  # the copy made after it was asked for rows has views of its own
    other = net.slow_copy()
    with torch.no_grad():
        other.parameters_flat.zero_()
    assert not other.rows(x.numpy()).any()
    assert net.rows(x.numpy()).any()


def test_first_weights_lie_within_what_is_usual_and_a_seed_decides_them():
    net = made(2, (50, 40), inputs=25, outputs=30)
    for view, inputs in zip(net.split(net.parameters_flat), (25, 25, 50, 50, 40, 40), strict=True):
        bound = 1 / inputs**0.5
        assert 0.9 * bound < view.abs().max() <= bound
    assert torch.equal(made().parameters_flat, made().parameters_flat)
    assert not torch.equal(made().parameters_flat, made(seed=1).parameters_flat)
    out = made().evaluate(rows())[0]
    assert not torch.equal(out[0], out[1]), "networks begin apart"


def test_what_it_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        made(hidden=())
    with pytest.raises(ValueError, match="float32, bfloat16, got 'float16'"):
        made(precision="float16")


def test_the_fast_step_is_that_of_adam_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.zeros(50, requires_grad=True) for _ in range(2))
    fast = FlatAdam(ours, 0.01)
    plain_one = torch.optim.Adam([theirs], lr=0.01, fused=True)
    for _ in range(20):
        ours.grad = torch.randn(50, generator=generator)
        theirs.grad = ours.grad.clone()
        fast.step_fast()
        plain_one.step()
    assert torch.equal(ours, theirs) and ours.abs().min() > 0
    mine, other = fast.state[ours], plain_one.state[theirs]
    assert mine["step"] == 20
    assert all(torch.equal(mine[name], other[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_a_gradient_may_be_written_over_the_last_one():
    net = made(precision="bfloat16")
    found = []
    for reuse in (False, True, True, False):
        for seed in (1, 2):
            out, tape = net.evaluate(rows(seed=seed))
            _, flat = net.gradients(tape, torch.ones_like(out), reuse=reuse)
            found.append((flat, flat.clone()))
    kept = [flat for flat, _ in found]
    assert kept[0].data_ptr() != kept[1].data_ptr(), "each has its own"
    assert torch.equal(kept[0], found[0][1]) and torch.equal(kept[1], found[1][1])
    assert len({flat.data_ptr() for flat in kept[2:6]}) == 1
    assert len({flat.data_ptr() for flat in kept}) == 5
    assert torch.equal(found[2][1], found[0][1]) and torch.equal(found[5][1], found[1][1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_kept_follows_the_parameters(precision):
    net = made(precision=precision)
    net.evaluate(rows())
    with torch.no_grad():
        net.parameters_flat.mul_(0.5)
    fresh = made(precision=precision, seed=5)
    with torch.no_grad():
        fresh.parameters_flat.copy_(net.parameters_flat)
    assert torch.equal(net.evaluate(rows())[0], fresh.evaluate(rows())[0])
    net.parameters_flat.data = torch.zeros_like(net.parameters_flat)  # memory of its own
    assert not net.evaluate(rows())[0].any()
