"""What a control task supplies that was recorded: made once, into the cache folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.envs.control.behaviours import NoisyPolicy
from irlbench.envs.control.mixtures import Mixture, record_in_turns
from irlbench.envs.control.preferences import PreferencePool
from irlbench.errors import DataError
from irlbench.randomness import EVALUATION_SEEDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from irlbench.data.building import BuildRequest
    from irlbench.data.demonstrations import Episode
    from irlbench.data.minari_store import DatasetSummary, Recording
    from irlbench.data.named import Summary
    from irlbench.data.preference_store import PreferenceSummary
    from irlbench.data.preferences import Preferences
    from irlbench.envs.control.reward_evaluation import HeldOut
    from irlbench.policy import Policy
    from irlbench.task import TaskInfo

#: Whole episodes of each behaviour, of seeds that nothing else has.
_HELD_OUT, _HELD_OUT_SEED = Mixture(steps=8000), EVALUATION_SEEDS + 5 * 10**6
#: Where the seeds of sets that users ask for begin, and how many each has.
_ASKED, _EACH = EVALUATION_SEEDS + 10**8, 10**6


@dataclass(frozen=True)
class FrozenDemonstrations:
    """The expert's demonstrations as a file that ships, the same on every kind of processor.

    Attributes:
        path: An archive of NumPy's, in the form that `irlbench data import` reads too.
        content_hash: Of its episodes, as of any data set.
    """

    path: Path
    content_hash: str

    def recording(self, environment: str) -> Recording:
        """The episodes, checked against the hash.

        Args:
            environment: Gymnasium id.

        Raises:
            DataError: If the file is missing, damaged, or holds others.
        """
        from irlbench.data.demonstrations import Episode
        from irlbench.data.minari_store import Recording, content_hash
        from irlbench.data.npz import NpzFile
        from irlbench.data.sources import npz_episodes
        from irlbench.envs.control.environments import make_one

        file = f"{self.path.parent.name}/{self.path.name}"
        found = [dict(raw.arrays) for raw in npz_episodes(NpzFile(self.path), file)]
        rewards = [arrays.pop("rewards") for arrays in found]
        env = make_one(environment)
        env.close()
        episodes = [Episode(**arrays) for arrays in found]
        recording = Recording(episodes, rewards, env.observation_space, env.action_space)
        digest = content_hash(recording)
        if digest != self.content_hash:
            raise DataError(
                f"holds demonstrations of content {digest[:12]}, but {self.content_hash[:12]} is "
                "frozen: restore the file that ships",
                file=file,
            )
        return recording


class RecordedData:
    """Demonstrations of the expert, a set of mixed quality, and preferences over its segments.

    Learners are given what is read of them; what makes them takes the true reward. None is given the
    episodes that recovered rewards are judged on.

    Args:
        info: Of the task; its recipe says how each is made.
        expert: Gives the task's expert.
        mixture: How the set of mixed quality is made.
        preferences: How preferences are made.
        frozen: The demonstrations where they ship; None: they are recorded.
    """

    def __init__(
        self,
        info: TaskInfo,
        expert: Callable[[], Policy],
        mixture: Mixture,
        preferences: PreferencePool,
        frozen: FrozenDemonstrations | None = None,
    ) -> None:
        self._info, self._expert, self._frozen = info, expert, frozen
        self._mixture, self._preferences = mixture, preferences

    def _set(self, name: str, demonstrator: str, *parts: str) -> tuple[str, dict[str, Any]]:
        """Id and recipe of a set: it hangs on some parts of the task's recipe."""
        mine = {part: self._info.recipe[part] for part in parts}
        return f"{self._info.id}/{name}", {**self._recipe(demonstrator), **mine}

    @property
    def demonstrations(self) -> tuple[str, dict[str, Any]]:
        """Id and recipe of the expert's demonstrations."""
        id, recipe = self._set("expert", "expert", "demonstrations")
        # A set that was recorded here before, on whatever processor, is another one.
        return id, recipe | ({"content_hash": self._frozen.content_hash} if self._frozen else {})

    @property
    def mixed(self) -> tuple[str, dict[str, Any]]:
        """Id and recipe of the set of mixed quality."""
        return self._set("mixed", "mixture", "mixture")

    @property
    def preferences(self) -> tuple[str, dict[str, Any]]:
        """Id and recipe of the preferences."""
        return self._set("preferences", "mixture", "mixture", "preferences")

    @property
    def held_out(self) -> tuple[str, dict[str, Any]]:
        """Id and recipe of the episodes that recovered rewards are judged on."""
        id, recipe = self._set("held-out", "mixture")
        return id, {**recipe, "mixture": _HELD_OUT.recipe(_HELD_OUT_SEED)}

    def ensure_demonstrations(self, home: Path) -> DatasetSummary:
        """Builds the demonstrations unless they are there."""
        from irlbench.data.minari_store import ensure_dataset

        return ensure_dataset(home, *self.demonstrations, self._demonstrate)[1]

    def ensure_mixed(self, home: Path) -> DatasetSummary:
        """Builds the set of mixed quality unless it is there."""
        from irlbench.data.minari_store import ensure_dataset

        return ensure_dataset(home, *self.mixed, self._mix)[1]

    def ensure_preferences(self, home: Path) -> PreferenceSummary:
        """Builds the preferences unless they are there, and what they are made of."""
        from irlbench.data.preference_store import ensure_preferences

        return ensure_preferences(home, *self.preferences, lambda: self._compare(home))

    def ensure_held_out(self, home: Path) -> HeldOut:
        """Builds the episodes that recovered rewards are judged on unless they are there."""
        from irlbench.data.minari_store import ensure_dataset, read_dataset, read_rewards
        from irlbench.envs.control.reward_evaluation import HeldOut

        info = self._info
        folder, _ = ensure_dataset(
            home,
            *self.held_out,
            lambda: _HELD_OUT.record(
                info.environment, self._expert(), info.horizon, _HELD_OUT_SEED
            ),
        )
        episodes = list(read_dataset(folder))
        groups = _HELD_OUT.grouped([len(episode) for episode in episodes])
        return HeldOut(episodes, read_rewards(folder), groups)

    def _demonstrate(self) -> Recording:
        if self._frozen is not None:
            return self._frozen.recording(self._info.environment)
        how = self._info.recipe["demonstrations"]
        return record_in_turns(
            self._info.environment,
            [self._expert()],
            how["count"],
            self._info.horizon,
            how["seed"],
            deterministic=how["deterministic"],
        )

    def _mix(self) -> Recording:
        return self._mixture.record(
            self._info.environment,
            self._expert(),
            self._info.horizon,
            self._info.recipe["mixture"]["seed"],
        )

    def _compare(self, home: Path) -> Preferences:
        """Segments of the set of mixed quality, judged by their true rewards."""
        from irlbench.data.minari_store import built_folder, read_dataset, read_rewards

        self.ensure_mixed(home)
        folder = built_folder(home, *self.mixed)
        return _judge(
            self._preferences,
            self._mixture,
            read_dataset(folder).episodes,
            read_rewards(folder),
            self._info.recipe["preferences"]["seed"],
        )

    def build(self, request: BuildRequest, home: Path) -> Summary:
        """Makes a set that a user asks for; see `Task.build`."""
        seed = _ASKED + request.seed * _EACH
        if request.preferences is not None:
            return self._build_preferences(request, request.preferences, seed, home)
        assert request.demonstrations is not None
        return self._build_demonstrations(request, request.demonstrations, seed, home)

    def _recipe(self, demonstrator: str) -> dict[str, Any]:
        return {
            "demonstrator": demonstrator,
            "environment": self._info.environment,
            "horizon": self._info.horizon,
            "expert": self._info.recipe["expert"],
        }

    def _build_demonstrations(
        self, request: BuildRequest, episodes: int, seed: int, home: Path
    ) -> Summary:
        from irlbench.data.building import build_demonstrations
        from irlbench.envs.control.environments import make_one

        how = {**self._info.recipe["demonstrations"], "count": episodes, "seed": seed}
        if request.mixed:
            how["random_actions"] = list(self._mixture.random_actions)

        def record() -> Recording:
            expert = self._expert()
            policies: list[Policy] = [expert]
            if request.mixed:
                env = make_one(self._info.environment)
                env.close()
                shares = self._mixture.random_actions
                policies = [NoisyPolicy(expert, env.action_space, share) for share in shares]
            return record_in_turns(
                self._info.environment,
                policies,
                episodes,
                self._info.horizon,
                seed,
                deterministic=how["deterministic"],
            )

        recipe = self._recipe("mixture" if request.mixed else "expert")
        return build_demonstrations(
            self._info.id, request, {**recipe, "demonstrations": how}, record, home
        )

    def _build_preferences(
        self, request: BuildRequest, pairs: int, seed: int, home: Path
    ) -> Summary:
        from irlbench.data.building import build_preferences

        own, horizon = self._preferences, self._info.horizon
        pool = replace(own, pairs=pairs, given=pairs, segment=request.segment or own.segment)
        kinds = len(self._mixture.random_actions)
        # So many steps that no behaviour has too few segments: in kinds^2 pairs each has 2 kinds.
        items = 2 * kinds * math.ceil(pairs / kinds**2)
        mixture = replace(self._mixture, steps=items * min(pool.segment, horizon))

        def compare() -> Preferences:
            done = mixture.record(self._info.environment, self._expert(), horizon, seed)
            return _judge(pool, mixture, done.episodes, done.rewards, seed)

        recipe = {
            **self._recipe("mixture"),
            "mixture": mixture.recipe(seed),
            "preferences": pool.recipe(seed),
        }
        return build_preferences(self._info.id, request, recipe, compare, home)


def _judge(
    pool: PreferencePool,
    mixture: Mixture,
    episodes: Sequence[Episode],
    rewards: Sequence[NDArray[np.float64]],
    seed: int,
) -> Preferences:
    """Preferences over segments of a recorded mixture."""
    groups = mixture.grouped([len(episode) for episode in episodes])
    behaviours = [[(episodes[place], rewards[place]) for place in group] for group in groups]
    return pool.compare(behaviours, seed)
