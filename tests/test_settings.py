"""Hyperparameters that a user or a file names: converted, or refused before anything runs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import pytest

from irlbench.algorithm import option
from irlbench.configurable import Configurable
from irlbench.errors import UsageError


@dataclass(frozen=True)
class Config:
    """One field of each kind."""

    rate: float = option(0.5, "A number.")
    steps: int = option(3, "A whole number.")
    widths: tuple[int, ...] = option((4, 4), "Several.")
    limit: float | None = option(None, "A number, or nothing.")


class Thing(Configurable):
    """Has settings."""

    id = "mine/thing"
    Config = Config


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("rate", 2, 2.0),
        ("rate", "1e-3", 1e-3),
        ("steps", "7", 7),
        ("widths", [8], (8,)),
        ("widths", "(1, 2, 3)", (1, 2, 3)),
        ("widths", [], ()),
        ("limit", None, None),
        ("limit", 2.5, 2.5),
    ],
)
def test_what_fits_is_taken(name, value, meant):
    assert getattr(Thing.configure("control", {name: value}).config, name) == meant


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("rate", 10**400, "mine/thing.rate is too large for a float"),
        ("rate", float("nan"), "must be finite"),
        ("rate", "1e999", "must be finite"),
        ("rate", "x", "must be of type float"),
        ("steps", 2.5, "must be of type int"),
        ("widths", [1, "a"], "must hold items of type int"),
        ("widths", [1.5], "must hold items of type int"),
        ("widths", [True], "must hold items of type int"),
        ("widths", [[1]], "must hold items of type int"),
        ("widths", 5, "must be of type tuple"),
        ("limit", float("inf"), "must be finite"),
        ("limit", [float("nan")], "cannot be kept in a record"),
        ("limit", datetime.datetime(2020, 1, 1), "cannot be kept in a record"),
        ("limit", "\ud800", "cannot be kept in a record"),
    ],
)
def test_what_does_not_fit_is_refused(name, value, told):
    with pytest.raises(UsageError, match=told):
        Thing.configure("control", {name: value})
