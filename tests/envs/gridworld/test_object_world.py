"""The object world is the published one: colours, distances, reward, features, moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irlbench.envs.gridworld import ENVIRONMENTS
from irlbench.envs.gridworld.worlds import build_world
from irlbench.envs.gridworld.worlds.object_world import object_world
from irlbench.envs.gridworld.worlds.random_numbers import drawn

FIXED = {d["id"]: d["kwargs"] for d in ENVIRONMENTS}["irlbench/ObjectWorld-v0"]
UP, RIGHT, DOWN, LEFT, STAY = range(5)


def objects_of(size, objects, colours, seed):
    """Lines, columns, outer and inner colours, as they were drawn."""
    order = sorted(range(size**2), key=lambda cell: drawn(seed, 0, size**2)[cell])[:objects]
    outer, inner = (np.floor(drawn(seed, use, objects) * colours) for use in (1, 2))
    return [
        (cell // size, cell % size, o, i) for cell, o, i in zip(order, outer, inner, strict=True)
    ]


@settings(max_examples=25, deadline=None)
@given(size=st.integers(2, 9), colours=st.integers(2, 4), seed=st.integers(0, 999))
def test_reward_and_features_are_by_distance_to_colours(size, colours, seed):
    objects = min(6, size**2)
    model = object_world(size=size, objects=objects, colours=colours, seed=seed)
    placed = objects_of(size, objects, colours, seed)
    for state in range(size**2):
        line, column = divmod(state, size)

        def nearest(which, colour, line=line, column=column):
            away = [
                np.hypot(line - there[0], column - there[1])
                for there in placed
                if there[which] == colour
            ]
            return min(away, default=np.inf)

        if nearest(2, 0) > 3:
            wanted = 0.0
        else:
            wanted = 1.0 if nearest(2, 1) <= 2 else -1.0
        assert model.rewards[state] == wanted
        features = [
            float(nearest(which, colour) <= d)
            for which in (2, 3)
            for colour in range(colours)
            for d in range(1, size + 1)
        ]
        assert model.features is not None
        assert model.features[state].tolist() == features


def test_the_fixed_world_has_all_three_rewards_and_its_objects():
    model = build_world(**FIXED)
    assert model.states == 32**2 and model.actions == 5
    assert sum(letter != "." for line in model.layout for letter in line) == FIXED["objects"]
    assert {"0", "1"} == set("".join(model.layout)) - {"."}
    counts = [(model.rewards == value).sum() for value in (-1.0, 0.0, 1.0)]
    assert min(counts) > 100 and sum(counts) == 1024
    assert model.features is not None
    assert model.features.shape == (1024, 2 * 2 * 32)


def test_the_reward_is_a_product_of_features_and_not_linear():
    """Within 3 of outer colour 0, times (within 2 of outer colour 1) x 2 - 1."""
    model = build_world(**FIXED)
    assert model.features is not None
    features = model.features.reshape(1024, 4, 32)
    assert np.array_equal(model.rewards, features[:, 0, 2] * (2 * features[:, 1, 1] - 1))
    design = np.column_stack([model.features, np.ones(1024)])
    weights, *_ = np.linalg.lstsq(design, model.rewards, rcond=None)
    unexplained = np.var(model.rewards - design @ weights) / np.var(model.rewards)
    assert unexplained > 0.1


def test_moves_by_hand():
    model = object_world(size=3, objects=2, slip=0.4)
    # 0 1 2
    # 3 4 5
    # 6 7 8
    assert model.successors[4, STAY].tolist() == [1, 5, 7, 3, 4]
    assert model.probabilities[4, STAY].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6])
    assert model.probabilities[4, UP].tolist() == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1])
    assert model.successors[0, DOWN].tolist() == [0, 1, 3, 0, 0]
    assert model.starts.tolist() == list(range(9)) and not model.terminal.any()


def test_wind_blows_to_the_right_after_the_move():
    model = object_world(size=3, objects=2, slip=0.0, wind=0.25)
    led = dict(zip(model.successors[3, DOWN].tolist(), [0.0] * 10, strict=True))
    for state, chance in zip(model.successors[3, DOWN], model.probabilities[3, DOWN], strict=True):
        led[int(state)] += chance
    assert {s: p for s, p in led.items() if p} == pytest.approx({6: 0.75, 7: 0.25})
    stays = model.probabilities[5, STAY][model.successors[5, STAY] == 5].sum()
    assert stays == pytest.approx(1.0), "beyond the edge there is nothing"


def test_a_world_without_objects_pays_nothing():
    model = object_world(size=4, objects=0)
    assert not model.rewards.any()
    assert model.features is not None and not model.features.any()
