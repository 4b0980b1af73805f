"""The suites: what `irlbench run` runs by name."""

from __future__ import annotations

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
