"""What is being trained goes into arrays and back without the loss of a bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from irlbench.baselines.learners.base import LearnerSettings
from irlbench.baselines.learners.state import (
    optimiser_state,
    part,
    put_back,
    restore_optimiser,
    take,
    to_array,
    under,
)
from irlbench.baselines.learners.trainer import Trainer
from irlbench.errors import DataError

SETTINGS = LearnerSettings(0.1, 0.01, (), 1.0, total_steps=20)


@given(arrays.arrays(np.uint16, arrays.array_shapes(min_dims=0, max_dims=3)))
def test_every_bit_of_bfloat16_survives(bits):
    """Infinities, negative zeros and every NaN included."""
    tensor = torch.tensor(bits).view(torch.bfloat16)
    array = to_array(tensor)
    assert array.dtype == np.uint16 and array.tobytes() == bits.tobytes()
    back = torch.zeros_like(tensor)
    put_back(back, {"x": array}, "x")
    assert back.view(torch.uint16).numpy().tobytes() == bits.tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_other_types_are_kept_as_they_are(dtype, shape):
    tensor = (torch.randn(shape) * 100).to(dtype)
    back = torch.zeros_like(tensor)
    put_back(back, {"x": to_array(tensor)}, "x")
    assert torch.equal(back, tensor)


def test_arrays_are_copies():
    tensor = torch.zeros(2)
    array = to_array(tensor)
    tensor += 1
    assert array.tolist() == [0, 0]
    put_back(tensor, {"x": array}, "x")
    tensor += 1
    assert array.tolist() == [0, 0]


def test_tensors_that_share_memory_still_do():
    tensor = torch.zeros(2)
    tied = tensor.view(2)
    put_back(tensor, {"x": np.array([1.0, 2.0], np.float32)}, "x")
    assert tied.tolist() == [1, 2]


def test_parts_lie_side_by_side():
    one, two = {"a": np.zeros(1)}, {"a": np.ones(1), "b.c": np.zeros(2)}
    both = {**under("one", one), **under("one.more", two), **under("oneself", two)}
    assert part("oneself", both) == two
    assert part("one.more", both) == two
    assert set(part("one", both)) == {"a", "more.a", "more.b.c"}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.zeros((2, 1), np.float32), r"is float32 \(2, 1\), but float32 \(2,\) is needed"),
        (np.zeros(2), r"is float64 \(2,\), but float32 \(2,\) is needed"),
        (None, "is missing"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(found, message):
    state = {} if found is None else {"weight": found}
    with pytest.raises(DataError, match=rf"'weight': {message}.*delete it to begin anew"):
        take(state, "weight", np.zeros(2, np.float32))


def parameters(dtype=torch.float32):
    """The last is never used: it has no gradient, and Adam remembers nothing of it."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(), (3,), (2, 3), (4,)]
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]


def train(trainer, trained, steps):
    for step in range(steps):
        factor = 1 + trainer.updates + step
        trainer.step(sum((p.float() ** 2).sum() for p in trained[:-1]) * factor)


def same_bits(ours, wanted):
    assert ours.keys() == wanted.keys()
    assert all(ours[name].tobytes() == wanted[name].tobytes() for name in wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_trainer_goes_on_as_if_it_had_never_stopped(dtype, steps):
    fixed, ours = torch.arange(3.0), parameters(dtype)
    trainer = Trainer(ours, SETTINGS, warmup=0.5, fixed=[fixed])
    train(trainer, ours, steps)
    state = trainer.state()
    train(trainer, ours, 5)
    theirs, other_fixed = parameters(dtype), torch.zeros(3)
    other = Trainer(theirs, SETTINGS, warmup=0.5, fixed=[other_fixed])
    train(other, theirs, 3)  # whatever it did before is forgotten
    other.restore(state)
    assert other.updates == steps and other_fixed.tolist() == [0, 1, 2]
    same_bits(other.state(), state)
    train(other, theirs, 5)
    same_bits(other.state(), trainer.state())


@given(data=st.data())
def test_a_state_with_any_array_missing_added_or_misshapen_is_refused(data):
    ours = parameters()
    trainer = Trainer(ours, SETTINGS, fixed=[torch.zeros(2)])
    train(trainer, ours, 2)
    state = trainer.state()
    assert len(state) == 1 + 1 + 4 + 3 * 3
    name = data.draw(st.sampled_from(sorted(state)))
    change = data.draw(st.sampled_from(["missing", "longer", "type"]))
    if change == "missing" and not name.startswith("trained.memory"):
        del state[name]
    elif change == "type":
        state[name] = state[name].astype(np.complex64)
    else:
        state[name] = np.concatenate([state[name], state[name]])
    fresh = parameters()
    with pytest.raises(DataError, match=name.removeprefix("trained.")):
        Trainer(fresh, SETTINGS, fixed=[torch.zeros(2)]).restore(state)


def test_a_state_of_more_parameters_is_refused():
    optimiser = torch.optim.Adam(parameters())
    with pytest.raises(DataError, match=r"parameter.3.*has no place here"):
        restore_optimiser(torch.optim.Adam(parameters()[:-1]), optimiser_state(optimiser))
