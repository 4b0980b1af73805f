"""Builds a language model from a saved configuration: no code, and no more than its weights need.

A configuration is a small text that may ask for any amount of memory, for other files, or for
code. It is held against the weights that came with it before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

#: Keys that could name code or other files, at any depth; a saved policy needs none.
REFUSED_KEYS = frozenset(
    {
        "auto_map",
        "quantization_config",
        "custom_pipelines",
        "base_model",
        "backbone",
        "backbone_kwargs",
        "use_pretrained_backbone",
        "use_timm_backbone",
        "trust_remote_code",
        "code_revision",
        *(
            f"{before}{what}_implementation{after}"
            for what in ("attn", "experts")
            for before in ("", "_")
            for after in ("", "_internal")
        ),
    }
)
#: Keys that tell of the machine, not of the model; they are not saved.
LOCAL_KEYS = frozenset({"_name_or_path", "name_or_path", "transformers_version"})
#: What may be large though no weight is: ids of tokens, positions, bases of angles and hashes.
_MAY_BE_LARGE = re.compile(
    "token|vocab|offset|position|length|ctx|context|window|theta|base|chunk|floor"
)
_LARGE = 2**40
#: Any other number may be so large, or as large as an axis of a weight: some are lengths of lists.
_USUAL = 2**16
_DTYPES = ("float32", "bfloat16", "float16")


def without(value: Any, keys: frozenset[str]) -> Any:
    """A configuration without some keys, those of configurations within it too."""
    if isinstance(value, list):
        return [without(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: without(v, keys) for k, v in value.items() if k not in keys}


def build(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> PreTrainedModel:
    """The model that a configuration describes, with the given weights.

    Args:
        settings: "config", and "dtype" of the weights in memory.
        arrays: float32, by the names of the weights; tied ones once.

    Raises:
        KeyError: If a setting is missing.
        ValueError: If the configuration is none of a language model, asks for anything that its
            weights do not account for, or the weights are not exactly those that it asks for.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    described, dtype = settings["config"], settings["dtype"]
    if dtype not in _DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}")
    if not isinstance(described, dict):
        raise ValueError("its configuration is no object")
    described = without(described, LOCAL_KEYS)
    largest = max((n for a in arrays.values() if a.size for n in a.shape), default=0)
    _require_harmless(described, "config", max(_USUAL, largest))
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} is {array.dtype}; wanted is float32")
    model_type = described.pop("model_type")
    try:
        config = AutoConfig.for_model(model_type, **described)
        with torch.device("meta"), within(arrays):
            expected = weights(AutoModelForCausalLM.from_config(config))
    except Exception as error:  # whatever a hostile configuration provokes
        raise ValueError(f"not a configuration of a language model: {error}") from error
    wanted = {name: tuple(w.shape) for name, w in expected.items()}
    found = {name: a.shape for name, a in arrays.items()}
    if wanted != found:
        odd = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise ValueError(f"arrays do not fit the configuration: {', '.join(odd[:5])}")
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.load_state_dict(
        {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}, strict=False
    )
    return model


def weights(model: Any) -> dict[str, Tensor]:
    """Weights by name, each once."""
    kept: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=True):
        kept[name] = parameter.detach()
    every = dict(model.named_parameters(remove_duplicate=False))
    for name, buffer in model.state_dict().items():
        if name not in every:
            kept[name] = buffer.detach()
    return kept


def _require_harmless(value: Any, name: str, largest: int) -> None:
    """Refuses keys that name code or files, and numbers that no weight accounts for.

    Raises:
        ValueError: With the key.
    """
    if isinstance(value, dict):
        refused = sorted(value.keys() & REFUSED_KEYS)
        if refused:
            raise ValueError(f"a configuration with {', '.join(refused)} is refused")
        for key, item in value.items():
            _require_harmless(item, key, largest)
    elif isinstance(value, list):
        for item in value:
            _require_harmless(item, name, largest)
    elif isinstance(value, int):
        limit = _LARGE if _MAY_BE_LARGE.search(name) else largest
        if not -limit <= value <= limit:
            raise ValueError(f"{name!r} is larger than any of its weights: {value}")


class _Budget:
    """Counts what a model registers while it is built, and ends that where it is too much.

    Args:
        arrays: The weights that it is to have.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        size = sum(array.nbytes for array in arrays.values())
        # Tied weights are made twice before they are tied; tables of positions are not saved.
        self._left = {
            "parameters": 2 * len(arrays) + 64,
            "bytes of parameters": 2 * size + 2**20,
            "modules": 32 * len(arrays) + 1024,
            "bytes of buffers": size + 2**28,
        }

    def _spend(self, what: str, amount: int) -> None:
        self._left[what] -= amount
        if self._left[what] < 0:
            raise ValueError(f"it asks for more {what} than its weights account for")

    def parameter(self, module: Any, name: str, tensor: Tensor | None) -> None:
        """Called for each parameter; they are made without memory."""
        if tensor is not None:
            self._spend("parameters", 1)
            self._spend("bytes of parameters", 4 * tensor.numel())

    def buffer(self, module: Any, name: str, tensor: Tensor | None) -> None:
        """Called for each buffer."""
        if tensor is not None:
            self._spend("modules", 1)
            self._spend("bytes of buffers", tensor.element_size() * tensor.numel())

    def module(self, module: Any, name: str, submodule: Any) -> None:
        """Called for each module in another."""
        self._spend("modules", 1)


@contextmanager
def within(arrays: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """Limits what is built meanwhile by what the weights account for.

    Layers, experts and the like have many names in configurations; this asks none of them.
    """
    from torch.nn.modules import module

    budget = _Budget(arrays)
    with ExitStack() as hooks:
        for handle in (
            module.register_module_parameter_registration_hook(budget.parameter),
            module.register_module_buffer_registration_hook(budget.buffer),
            module.register_module_module_registration_hook(budget.module),
        ):
            hooks.callback(handle.remove)
        yield
