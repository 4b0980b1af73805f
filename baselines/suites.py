"""The suites: what `irlbench run` runs by name."""

from __future__ import annotations

from irlbench.algorithm import TRACKS
from irlbench.suite import Entry, Suite

SMOKE = Suite(
    name="smoke",
    summary="one short trial of each kind, to check an installation (about 90 s on 2 cores)",
    entries=(
        Entry("gridworld/four-rooms-v0", ("random", "expert", "survival", "bc")),
        Entry(
            "control/cartpole-v0",
            ("random", "expert", "survival", "bc"),
            settings={"bc.gradient_steps": 300},
            budget={"steps": 4096},
        ),
        Entry("text/arithmetic-v0", ("base", "bc"), settings={"bc.gradient_steps": 20}),
    ),
    seeds=(0,),
)

QUICK = Suite(
    name="quick",
    summary="a gridworld, two robots and a language model, 3 seeds (about 5 minutes on 2 cores)",
    entries=(
        Entry("gridworld/four-rooms-v0", ("random", "expert", "survival", "bc")),
        Entry("control/cartpole-v0", ("random", "expert", "survival", "bc")),
        Entry("control/hopper-v0", ("random", "expert", "bc")),
        Entry("text/arithmetic-v0", ("base", "expert", "bc")),
    ),
    seeds=(0, 1, 2),
)

_EXACT = "demonstrations+dynamics"
_FROM_DEMONSTRATIONS = ("bc", "mce-irl", "gail", "airl", "iq-learn", "sqil")
_FROM_PREFERENCES = ("bt-reward", "ipl", "dpo")
_NUMBERS = (1, 3, 10, 30, 100)

GRIDWORLD = Suite(
    name="gridworld",
    summary="every algorithm in every track on every gridworld, 10 seeds (an hour on 2 cores)",
    entries=(
        *(
            Entry(
                f"gridworld/{name}-v0",
                ("random", "expert", "survival", *_FROM_DEMONSTRATIONS, *_FROM_PREFERENCES),
                tracks=tuple(TRACKS),
            )
            for name in (
                "four-rooms",
                "windy-cliff",
                "object-world",
                "garnet",
                "risky-path",
                "early-termination",
                "combination-lock",
            )
        ),
        *(
            Entry(f"gridworld/{name}-v0", algorithms, tracks=(track,), demonstrations=_NUMBERS)
            for name in ("four-rooms", "windy-cliff", "garnet")
            for algorithms, track in (
                (("bc",), "demonstrations"),
                (_FROM_DEMONSTRATIONS[1:], _EXACT),
            )
        ),
    ),
    seeds=tuple(range(10)),
)

_CORE = tuple(
    Entry(f"control/{name}-v0", ("bc", "iq-learn", "gail", "airl", "ipl"))
    for name in ("hopper", "halfcheetah")
)
_PEERS = tuple(f"imitation/{name}" for name in ("bc", "gail", "airl", "sqil", "density"))
_BESIDE = ("random", "expert", "survival", "sqil", "bt-reward", "dpo", *_PEERS)

CONTROL_CORE = Suite(
    name="control-core",
    summary="Hopper and HalfCheetah, one algorithm of each kind, 3 seeds (a night on 2 cores)",
    entries=_CORE,
    seeds=(0, 1, 2),
)

# The trials of the core are the same ones: in one directory none of them runs twice.
CONTROL = Suite(
    name="control",
    summary="every algorithm and peer on the control tasks, 3 seeds (days on 2 cores)",
    entries=(
        *_CORE,
        *(
            part
            for name in ("hopper", "halfcheetah")
            for part in (
                Entry(f"control/{name}-v0", _BESIDE),
                Entry(f"control/{name}-v0", ("iq-learn",), tracks=("demonstrations",)),
            )
        ),
        *(
            part
            for name in (
                "cartpole",
                "acrobot",
                "pendulum",
                "point-maze",
                "walker2d",
                "ant",
                "humanoid",
                "cartpole-fixed",
                "hopper-fixed",
                "walker2d-fixed",
                "ant-fixed",
                "humanoid-fixed",
            )
            for part in (
                Entry(f"control/{name}-v0", (*_CORE[0].algorithms, *_BESIDE)),
                Entry(f"control/{name}-v0", ("iq-learn",), tracks=("demonstrations",)),
            )
        ),
    ),
    seeds=(0, 1, 2),
)
