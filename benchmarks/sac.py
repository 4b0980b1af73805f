"""The solver `sac` against Stable-Baselines3's SAC on HalfCheetah: how fast, and how good.

    OMP_NUM_THREADS=1 python benchmarks/sac.py [--precision both]
    OMP_NUM_THREADS=1 python benchmarks/sac.py --learn [--out runs/sac]

Both step one environment and make one update per step, with two critics and an actor of 256 and 256
units, batches of 256, a learnt temperature and one thread; all other numbers are the peer's
defaults.

Without `--learn`, their environment steps per second, updates included. They take turns in this
process, block by block, so that whatever else the machine does hits both alike; the bar is on the
median of the ratios of a round.

With `--learn`, the return of the deterministic policy after 100,000 steps, over 10 episodes of the
same evaluation seeds, 3 seeds each. Every training that is finished leaves a file in `--out` and is
not done again, and ours keep checkpoints: the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irlbench.algorithm import Run
from irlbench.envs.control.rollouts import run_episodes
from irlbench.home import home
from irlbench.metrics.statistics import Interval, paired_difference
from irlbench.policy import Policy
from irlbench.registry import registry
from irlbench.running import provenance
from irlbench.running.experts import train_expert
from irlbench.serialisation import read_json, write_text_atomic

TASK, ENVIRONMENT, PEER = "control/halfcheetah", "HalfCheetah-v5", "stable-baselines3"
PRECISIONS = ("float32", "bfloat16")
SPEED_UP = 2.0
HIDDEN, BATCH = [256, 256], 256
EPISODES = 10
#: Of a solver that is stopped from outside.
_WITHOUT_END = 10**9


def settings(precision: str, steps: int, random_steps: int) -> dict[str, Any]:
    """Those of the solver, the peer's defaults throughout but for the random steps."""
    return {
        "steps": steps,
        "random_steps": random_steps,
        "precision": precision,
        "actor_critic_hidden": HIDDEN,
        "batch_size": BATCH,
        "num_envs": 1,
        "buffer": 1_000_000,
        "critics": 2,
        "actor_learning_rate": 3e-4,
        "critic_learning_rate": 3e-4,
        "critic_target_rate": 0.005,
        "temperature": 1.0,
        "learn_temperature": True,
        "temperature_learning_rate": 3e-4,
        "entropy_per_action": -1.0,
    }


def peer_model(seed: int, random_steps: int) -> Any:
    """Stable-Baselines3's SAC with its defaults, its networks and batches spelt out."""
    import gymnasium
    from stable_baselines3 import SAC

    return SAC(
        "MlpPolicy",
        gymnasium.make(ENVIRONMENT),
        learning_starts=random_steps,
        batch_size=BATCH,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": HIDDEN},
        seed=seed,
        device="cpu",
    )


class _Turns(Run):
    """A run that halts after as many steps as it was given, until it is given more."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.left, self.ended = 0, False
        self.go, self.halted = threading.Semaphore(0), threading.Semaphore(0)

    @property
    def exhausted(self) -> bool:
        """Asked by the solver before each step."""
        if not self.left:
            self.halted.release()
            self.go.acquire()
        self.left -= 1
        return self.ended


class Ours:
    """The solver in a thread of its own, which stands still while others have their turn.

    Args:
        precision: One of `PRECISIONS`.
        random_steps: Steps before the first update.
        seed: Of the training.
    """

    def __init__(self, precision: str, random_steps: int, seed: int = 0) -> None:
        self.name = f"sac {precision}"
        self._run = _Turns(seed)
        self._error: BaseException | None = None
        wanted = settings(precision, _WITHOUT_END, random_steps)
        self._solver = registry().solver("sac").configure("control", wanted)
        self._thread = threading.Thread(target=self._solve, args=(seed,), daemon=True)
        self._thread.start()
        self._wait()

    def _solve(self, seed: int) -> None:
        try:
            task = registry().task(TASK)
            problem = task.expert_problem(seed, home())
            self._solver.solve(problem, task.true_reward(), self._run.budget, self._run)
        except BaseException as error:
            self._error = error
        finally:
            self._run.halted.release()

    def _wait(self) -> None:
        self._run.halted.acquire()
        if self._error is not None:
            raise self._error

    def turn(self, steps: int) -> float:
        """Seconds that so many steps take."""
        self._run.left = steps
        began = time.perf_counter()
        self._run.go.release()
        self._wait()
        return time.perf_counter() - began

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self._run.gradient_steps

    def close(self) -> None:
        """Ends the training."""
        self._run.left, self._run.ended = 1, True
        self._run.go.release()
        self._thread.join()


class Peer:
    """Stable-Baselines3's SAC, block by block.

    Args:
        random_steps: Steps before the first update.
        seed: Of the training.
    """

    name = PEER

    def __init__(self, random_steps: int, seed: int = 0) -> None:
        self._model = peer_model(seed, random_steps)

    def turn(self, steps: int) -> float:
        """Seconds that so many steps take."""
        began = time.perf_counter()
        self._model.learn(steps, reset_num_timesteps=False)
        return time.perf_counter() - began

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return int(self._model._n_updates)

    def close(self) -> None:
        """Ends the training."""
        self._model.get_env().close()


def rates(
    precisions: Sequence[str], *, warm_up: int, block: int, rounds: int
) -> dict[str, list[float]]:
    """Steps per second, for each of them one number per round.

    Args:
        precisions: Of ours.
        warm_up: Steps before the clock runs; half of them with random actions.
        block: Steps of a turn.
        rounds: Turns of each.

    Raises:
        AssertionError: If one made another number of updates than steps.
    """
    random_steps = warm_up // 2
    everyone: list[Ours | Peer] = [*(Ours(precision, random_steps) for precision in precisions)]
    everyone.append(Peer(random_steps))
    found: dict[str, list[float]] = {one.name: [] for one in everyone}
    try:
        for one in everyone:
            one.turn(warm_up)
        before = [one.updates for one in everyone]
        for _ in range(rounds):
            for one in everyone:
                found[one.name].append(block / one.turn(block))
        for one, done in zip(everyone, before, strict=True):
            assert one.updates - done == rounds * block, f"{one.name}: {one.updates - done} updates"
    finally:
        for one in everyone:
            one.close()
    return found


def report_speed(found: Mapping[str, list[float]]) -> bool:
    """Prints a line for each and whether it meets the bar; gives whether all do."""
    theirs = found[PEER]
    print(f"      {PEER}: {_spread(theirs)} steps per second")
    held = True
    for name, ours in found.items():
        if name == PEER:
            continue
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        median = statistics.median(ratios)
        held &= median >= SPEED_UP
        print(
            f"{'ok  ' if median >= SPEED_UP else 'MISS'}  {name}: {_spread(ours)} steps per "
            f"second, {median:.2f} times as fast, {min(ratios):.2f} to {max(ratios):.2f} over "
            f"{len(ratios)} rounds (at least {SPEED_UP:g})"
        )
    return held


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


class PeerPolicy(Policy):
    """The peer's policy as ours are evaluated.

    Args:
        model: Trained.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def act(self, observations: Any, state: Any = None, **how: Any) -> tuple[Any, Any]:
        """See `Policy.act`."""
        return self._model.predict(observations, deterministic=how["deterministic"])[0], None


def trained(who: str, seed: int, steps: int, random_steps: int, out: Path) -> Policy:
    """A policy after so many steps.

    Args:
        who: `PEER`, or "sac" and one of `PRECISIONS`.
        seed: Of the training.
        steps: Of the environment.
        random_steps: Steps before the first update.
        out: Where ours keep checkpoints.
    """
    if who == PEER:
        return PeerPolicy(peer_model(seed, random_steps).learn(steps))
    wanted = settings(who.removeprefix("sac-"), steps, random_steps)
    recipe = {"solver": "sac", "settings": wanted, "budget": {"steps": steps}, "seed": seed}
    folder = out / "unfinished" / f"{who}-seed{seed}-of-{steps}-{random_steps}"
    folder.mkdir(parents=True, exist_ok=True)
    policy = train_expert(registry().task(TASK), home(), recipe, folder=folder)
    shutil.rmtree(folder)
    return policy


def learned(who: str, seed: int, steps: int, random_steps: int, out: Path) -> float:
    """The mean return of a training that is finished, or is trained and kept now.

    Args:
        who: See `trained`, as for all that follows.
        seed: Of the training.
        steps: Of the environment.
        random_steps: Steps before the first update.
        out: Keeps a file for each.

    Raises:
        SystemExit: If the file there is of other settings.
    """
    path = out / f"{who}-seed{seed}.json"
    asked = {"who": who, "seed": seed, "steps": steps, "random_steps": random_steps}
    if path.exists():
        kept = read_json(path)
        if {name: kept[name] for name in asked} != asked:
            raise SystemExit(f"{path} is of other settings: name another --out")
        return statistics.fmean(kept["returns"])
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    policy = trained(who, seed, steps, random_steps, out)
    seconds = time.perf_counter() - began
    task = registry().task(TASK)
    first = task.info.protocol["seeds"]["test"]
    done = run_episodes(
        ENVIRONMENT,
        policy,
        range(first, first + EPISODES),
        deterministic=True,
        horizon=task.info.horizon,
    )
    kept = {
        **asked,
        "returns": done.returns.tolist(),
        "seconds": seconds,  # of this sitting
        "irlbench": provenance.code(),
        "versions": provenance.versions(),
        "processor": provenance.processor(),
    }
    write_text_atomic(path, json.dumps(kept, indent=1) + "\n")
    return float(done.returns.mean())


def verdict(difference: Interval) -> bool:
    """Whether ours are equal or better: in the mean, or as far as the seeds can tell."""
    return difference.estimate >= 0 or difference.high is None or difference.high >= 0


def report_learning(
    precisions: Sequence[str], seeds: int, steps: int, random_steps: int, out: Path
) -> bool:
    """Trains whatever is not finished, seed by seed, and prints a line for each and a verdict."""
    everyone = [PEER, *(f"sac-{precision}" for precision in precisions)]
    found: dict[str, list[float]] = {who: [] for who in everyone}
    for seed in range(seeds):
        for who in everyone:
            found[who].append(learned(who, seed, steps, random_steps, out))
            print(f"      {who} seed {seed}: return {found[who][-1]:.0f}", flush=True)
    held = True
    for who in everyone[1:]:
        over = range(seeds)
        difference = paired_difference(found[who], over, found[PEER], over)
        held &= verdict(difference)
        ends = ""
        if difference.low is not None and difference.high is not None:
            ends = f", 95% interval {difference.low:.0f} to {difference.high:.0f}"
        print(
            f"{'ok  ' if verdict(difference) else 'MISS'}  {who} after {steps:,} steps: mean "
            f"return {statistics.fmean(found[who]):.0f}, {PEER} "
            f"{statistics.fmean(found[PEER]):.0f}; difference {difference.estimate:.0f}{ends}, "
            f"{seeds} seeds (equal or better)"
        )
    return held


def main() -> int:
    """Measures, prints a line per bar, and returns 1 if one is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = registry().solver("sac").configure("control").config.precision
    parser.add_argument("--precision", choices=(*PRECISIONS, "both"), default=usual)
    parser.add_argument("--warm-up", type=int, default=1000, help="steps before the clock runs")
    parser.add_argument("--block", type=int, default=250, help="steps of a turn")
    parser.add_argument("--rounds", type=int, default=12, help="turns; the median counts")
    parser.add_argument("--learn", action="store_true", help="returns in place of speed")
    parser.add_argument("--steps", type=int, default=100_000, help="of a training")
    parser.add_argument("--random-steps", type=int, default=10_000, help="of a training, at first")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each")
    parser.add_argument("--out", type=Path, default=Path("runs/sac"), help="keeps finished ones")
    arguments = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: both are measured on one core")
    precisions = PRECISIONS if arguments.precision == "both" else (arguments.precision,)
    print(provenance.told("torch", "numpy", "gymnasium", "mujoco", "stable-baselines3"))
    if arguments.learn:
        held = report_learning(
            precisions, arguments.seeds, arguments.steps, arguments.random_steps, arguments.out
        )
    else:
        held = report_speed(
            rates(
                precisions,
                warm_up=arguments.warm_up,
                block=arguments.block,
                rounds=arguments.rounds,
            )
        )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
