"""The text tasks: step-by-step sums, and GSM8K's word problems."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irlbench.envs.text.arithmetic import DIGITS, LONGER_DIGITS
from irlbench.envs.text.environments import ARITHMETIC_HORIZON, GSM8K_HORIZON
from irlbench.errors import DataError
from irlbench.problem import Problem, StepMeter
from irlbench.randomness import EVALUATION_SEEDS
from irlbench.serialisation import read_json, sha256_json, write_text_atomic
from irlbench.task import (
    Evaluator,
    Prepared,
    ProblemRequest,
    Score,
    Task,
    TaskInfo,
    TaskOptions,
    is_scores,
    read_references,
)

if TYPE_CHECKING:
    from irlbench.envs.text.models import LanguageModel
    from irlbench.envs.text.sources import Source

_ASSETS = Path(__file__).parent / "assets"
_SCORES = (
    Score("accuracy", "share of test prompts whose final answer is verified, sampled"),
    Score("nll", "negative log-likelihood of held-out demonstrations, nats per token", False),
    Score("stopped", "share of completions that end by themselves"),
    Score("length", "tokens per completion, the end of sequence included", False),
)
_LONGER = Score(
    "accuracy_longer",
    "accuracy on sums of four digits: they occur in pretraining, but not in demonstrations",
)
_GREEDY = Score("accuracy_greedy", "accuracy when the likeliest token is always taken")
#: First seed of the episodes of each split; episode i has the i-th from there on.
_SEEDS = {"test_seed": EVALUATION_SEEDS, "validation_seed": EVALUATION_SEEDS + 10**6}
_PRELOAD = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "irlbench.policies.causal_lm",
    "irlbench.policies.growing_cache",
)


class TextTask(Task):
    """A task of the text world.

    Args:
        info: What it declares.
        source: Opens its prompts and solutions for the user's choices.
        frozen_for: The hashes that the frozen references were measured with: "model" and the
            files of the data.
    """

    def __init__(
        self,
        info: TaskInfo,
        source: Callable[[TaskOptions, TaskInfo], Source],
        frozen_for: Mapping[str, str],
    ) -> None:
        self.info = info
        self._open, self._frozen_for = source, dict(frozen_for)

    def _source(self, options: TaskOptions) -> Source:
        return self._open(options, self.info)

    def prepare(self, options: TaskOptions, home: Path) -> Prepared:
        """See `Task.prepare`. Measures the base model where it is not the frozen one."""
        from irlbench.envs.text.models import language_model

        self.refuse(options, "model", *(["data"] if self.info.needs_data else []))
        source = self._source(options)
        model = language_model(options.model, fetch=True)
        items = [
            item for s in ("train", "validation", "test", "longer") for item in source.items(s)
        ]
        model.require_sound([text for item in items for text in (item.prompt, item.solution)])
        digest = model.hash
        given = source.hashes()
        if options.model is not None or given:
            model.require_context(source.mdp(items, model.tokenizer).width)
        demonstrations = self._demonstrations(source, model)
        built = {"demonstrations": _content_hash(demonstrations)}
        if model.revision is not None:
            built["model_revision"] = model.revision
        anchors = self._anchors(options, model, given, home)
        return Prepared(given, built, digest, anchors, available=len(demonstrations))

    def _anchors(
        self, options: TaskOptions, model: LanguageModel, given: Mapping[str, str], home: Path
    ) -> dict[str, dict[str, float]]:
        """The base model's scores, unless the frozen ones hold; measured once and kept."""
        from irlbench.home import locked

        key = {"model": model.hash, **given}
        if key == self._frozen_for:
            return {}
        place = home / "references" / f"{sha256_json({'task': self.hash, **key})}.json"
        with locked(home, f"references/{place.stem}"):
            if not place.exists():
                scores = self.measure_base(options, home)
                place.parent.mkdir(parents=True, exist_ok=True)
                write_text_atomic(place, json.dumps(scores, sort_keys=True) + "\n")
        scores = read_json(place)
        if not is_scores(scores):
            raise DataError("holds no scores: delete it", file=f"references/{place.name}")
        return {"base": scores}

    def measure_base(self, options: TaskOptions, home: Path) -> dict[str, float]:
        """Scores of the model before any learning, as a reference.

        Args:
            options: The user's choices.
            home: The cache folder.

        Returns:
            Scores by name, `accuracy_error` (its standard error) and `episodes`.
        """
        from irlbench.envs.text.model_folders import refused
        from irlbench.envs.text.models import language_model

        model = language_model(options.model)
        policy = model.policy(options.device)
        with refused(model.folder, "the model cannot be run"):
            policy.score(self._demonstrations(self._source(options), model)[:1])
        found = self.evaluator(options, home).evaluate(policy, "test")
        accuracy, count = found.scores["accuracy"], len(found.episodes["return"])
        error = (accuracy * (1 - accuracy) / count) ** 0.5
        return {**found.scores, "accuracy_error": error, "episodes": float(count)}

    def demonstrator_accuracy(self, options: TaskOptions) -> float:
        """Verified accuracy of the demonstrator's own solutions of the test prompts.

        Args:
            options: The user's choices.
        """
        from irlbench.envs.text.tokenizer import ByteTokenizer

        source = self._source(options)
        items = source.items("test")
        reward = source.mdp(items, ByteTokenizer()).reward
        return sum(reward(i, item.solution) for i, item in enumerate(items)) / len(items)

    def data_hashes(self, options: TaskOptions) -> dict[str, str]:
        """SHA-256 of every file that `--data` brought.

        Args:
            options: The user's choices.
        """
        return self._source(options).hashes()

    def _demonstrations(self, source: Source, model: LanguageModel) -> Any:
        from irlbench.envs.text.demonstrator import demonstrations

        return demonstrations(
            source.items("train"), model.tokenizer, self.info.horizon, f"{self.id} demonstrations"
        )

    def problem(self, request: ProblemRequest, home: Path) -> Problem:
        """See `Task.problem`."""
        from irlbench.envs.text.demonstrator import DemonstratorPolicy
        from irlbench.envs.text.models import language_model
        from irlbench.envs.text.token_mdp import TokenVectorEnv

        source, model = self._source(request.options), language_model(request.options.model)
        mdp = source.mdp(source.items("train"), model.tokenizer)
        suppliers: dict[str, Callable[..., Any]] = {
            "demonstrations": lambda: self._demonstrations(source, model).draw(
                request.demonstrations, request.seed
            ),
            "interaction": lambda num_envs: TokenVectorEnv(num_envs, mdp),
            "reference_model": lambda: model.policy(request.options.device),
        }
        solve = source.solve
        if solve is not None:
            suppliers["expert_policy"] = lambda: DemonstratorPolicy(solve, model.tokenizer)
        return Problem(
            task_id=self.id,
            world=self.world,
            observation_space=mdp.observation_space,
            action_space=mdp.action_space,
            horizon=self.info.horizon,
            discount=self.info.discount,
            track=request.track,
            seed=request.seed,
            needs=request.needs,
            suppliers=suppliers,
            safe_info=frozenset({"finish_reason"}),
            meter=StepMeter(request.budget.steps),
        )

    def hidden_files(self, options: TaskOptions, home: Path) -> tuple[Path, ...]:
        """See `Task.hidden_files`. The model that ships is no secret; what was measured is."""
        brought = () if options.data is None else (Path(options.data),)
        shipped = _ASSETS / self.id.split("/", 1)[1]
        return (*super().hidden_files(options, home), shipped, *brought)

    def evaluator(self, options: TaskOptions, home: Path) -> Evaluator:
        """See `Task.evaluator`."""
        from irlbench.envs.text.demonstrator import fitting
        from irlbench.envs.text.evaluation import TextEvaluator
        from irlbench.envs.text.models import language_model

        source, tokenizer = self._source(options), language_model(options.model).tokenizer
        items = {split: source.items(split) for split in ("test", "validation", "longer")}
        mdps = {split: source.mdp(found, tokenizer) for split, found in items.items() if found}
        count = self.info.protocol["held_out_demonstrations"]
        held_out = {
            split: list(islice(fitting(items[split], tokenizer, self.info.horizon), count))
            for split in ("test", "validation")
        }
        seeds = {split: self.info.protocol[f"{split}_seed"] for split in mdps}
        return TextEvaluator(mdps, held_out, seeds, greedy=_GREEDY in self.info.scores)


def _content_hash(demonstrations: Any) -> str:
    digest = hashlib.sha256(b"irlbench token demonstrations 1\n")
    for episode in demonstrations:
        digest.update(f"{len(episode.tokens)} {episode.prompt_length}\n".encode())
        digest.update(episode.tokens.astype("<i4").tobytes())
    return digest.hexdigest()


def _arithmetic() -> TextTask:
    frozen = read_references(_ASSETS / "arithmetic-v0" / "references.json", "measured_for")
    info = TaskInfo(
        id="text/arithmetic-v0",
        summary="sums of two- and three-digit numbers, step by step; the base model knows how, "
        "and is scored as sampled",
        environment="irlbench/Arithmetic-v0",
        actions="tokens",
        horizon=ARITHMETIC_HORIZON,
        discount=1.0,
        supplies=frozenset({"demonstrations", "interaction", "reference_model", "expert_policy"}),
        scores=(_SCORES[0], _LONGER, _GREEDY, *_SCORES[1:]),
        low="base",
        high="demonstrator",
        references=frozen["references"],
        protocol={
            **_SEEDS,
            "longer_seed": EVALUATION_SEEDS + 3 * 10**6,
            "test_prompts": 256,
            "validation_prompts": 128,
            "prompts_seed": 1,
            "digits": list(DIGITS),
            "longer_prompts": 128,
            "longer_prompts_seed": 0,
            "longer_digits": list(LONGER_DIGITS),
            "held_out_demonstrations": 64,
            "cut_reward": 0.0,
            "version": 1,
        },
        recipe={
            "demonstrations": {"pool": 1024, "seed": 1, "digits": list(DIGITS), "version": 1},
            "model": frozen["measured_for"]["model"],
        },
        demonstrations=16,
        preload=_PRELOAD,
        note="the base model knows the task: with the likeliest token always taken its accuracy is "
        "near 0.99. It is scored as sampled, so sharpening it alone would gain",
    )

    def source(options: TaskOptions, info: TaskInfo) -> Source:
        from irlbench.envs.text.sources import ArithmeticSource

        return ArithmeticSource(info)

    return TextTask(info, source, frozen["measured_for"])


def _gsm8k() -> TextTask:
    frozen = read_references(_ASSETS / "gsm8k-v0" / "references.json", "measured_for")
    info = TaskInfo(
        id="text/gsm8k-v0",
        summary="grade-school word problems (Cobbe et al., 2021), with a verified answer",
        environment="irlbench/GSM8K-v0",
        actions="tokens",
        horizon=GSM8K_HORIZON,
        discount=1.0,
        supplies=frozenset({"demonstrations", "interaction", "reference_model"}),
        scores=_SCORES,
        low="base",
        high="demonstrator",
        references=frozen["references"],
        protocol={
            **_SEEDS,
            "test_prompts": 128,
            "validation_prompts": 32,
            "held_out_demonstrations": 64,
            "cut_reward": 0.0,
            "version": 1,
        },
        recipe={"demonstrations": {"version": 1}},
        demonstrations=None,
        preload=_PRELOAD,
        needs_data="a folder with GSM8K's train.jsonl and test.jsonl (fields question and answer)",
        note="the model that ships reads bytes and has a million parameters: it scores near zero",
    )

    def source(options: TaskOptions, info: TaskInfo) -> Source:
        from irlbench.envs.text.sources import GSM8KSource

        return GSM8KSource(options.data, info)

    return TextTask(info, source, frozen["measured_for"])


ARITHMETIC = _arithmetic()
GSM8K = _gsm8k()
