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
