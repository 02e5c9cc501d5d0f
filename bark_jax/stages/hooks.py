"""What a researcher may put into a stage: processors of its logits, a sampler, and outputs of every step.

All of it is compiled into the stage's programs, as static arguments: functions that are equal share a program, and a
stage without hooks runs the program that it would have if there were none. So hand over functions that live on, or
frozen dataclasses with `__call__`, which are equal when their fields are; a new lambda compiles a new program.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.policy import PLAIN, Policy
from bark_jax.settings import SettingsError
from bark_jax.sharding import fetch
from bark_jax.stages.sampling import Sampling, draw, filter_logits

OUTPUTS = ("log_probabilities", "hidden", "attention")
DECODING = ("semantic", "coarse")  # the stages that decode token by token


class LogitsState(NamedTuple):
    """Where a stage is when it calls a processor. Axes: B batch, N room for tokens, K codebooks, W frames, V ids."""

    stage: str  # "semantic", "coarse" or "fine"
    step: Array  # int32 scalar: steps before this one; of the fine stage the window
    tokens: (
        Array  # int32 [B, N]: ids made so far in the order of their steps, then −1; fine: codes of the window [B, K, W]
    )
    codebook: Array | int  # whose codes the logits are for; 0 in the semantic stage
    codebooks: int  # that take turns in the order of the tokens; 1 in the semantic stage


Processor: TypeAlias = Callable[[Array, LogitsState], Array]
"""Float32 logits → float32 logits of the same shape, before temperature, top-k and top-p.

Semantic: [B, V + 1], the end of the sequence last (−∞ where a row may not end). Coarse: [B, V], the codes of
`state.codebook`. Fine: [B, W, V].
"""

Sampler: TypeAlias = Callable[[Array, Array], Array]
"""A typed key for each row [B] and filtered logits [B, V], −∞ where excluded → int32 [B]; by default
`bark_jax.stages.sampling.draw`. The fine stage calls it for every frame."""

Recorded: TypeAlias = dict[str, list[np.ndarray]]
"""Names of outputs → an array for each item of the batch, its first axis the item's tokens."""

ForStages: TypeAlias = Processor | Sequence[Processor] | Mapping[str, Processor | Sequence[Processor]]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Those of one stage. Raises SettingsError for outputs that do not exist."""

    processors: tuple[Processor, ...] = ()  # applied in this order
    sampler: Sampler | None = None
    outputs: frozenset[str] = frozenset()  # of OUTPUTS

    def __post_init__(self) -> None:
        unknown = sorted(self.outputs - set(OUTPUTS))
        if unknown:
            raise SettingsError(f"unknown outputs {', '.join(unknown)}: choose from {', '.join(OUTPUTS)}")
        for function in (*self.processors, *([self.sampler] if self.sampler else [])):
            if not callable(function):
                raise SettingsError(f"a logits processor or sampler must be a function, not {function!r}")
            try:
                hash(function)
            except TypeError as error:
                raise SettingsError(f"{function!r} must be hashable: a function or a frozen dataclass") from error


NO_HOOKS = Hooks()


def hooks_by_stage(
    logits_processors: ForStages | None, sampler: Sampler | Mapping[str, Sampler] | None, outputs: Collection[str]
) -> dict[str, Hooks]:
    """What `Bark.generate` is given, for each stage: a mapping names them, anything else is for those of DECODING.

    The outputs are for all stages that have them. Raises SettingsError for names of stages that do not exist.
    """
    stages = (*DECODING, "fine")
    processors = _by_stage("logits_processors", logits_processors)
    samplers = _by_stage("sampler", sampler)
    outputs = [outputs] if isinstance(outputs, str) else outputs
    made = {}
    for stage in stages:
        own = processors.get(stage, ())
        own = (own,) if callable(own) else tuple(own)
        made[stage] = Hooks(processors=own, sampler=samplers.get(stage), outputs=frozenset(outputs))
    return made


def _by_stage(name: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(DECODING, given)
    unknown = sorted(given.keys() - {*DECODING, "fine"})
    if unknown:
        raise SettingsError(f"{name} has no stage {', '.join(map(str, unknown))}: they are semantic, coarse and fine")
    return dict(given)


class Choice(NamedTuple):
    """What was drawn from logits."""

    token: Array  # int32 [B]
    filtered: Array  # float32 [B, V]: the logits it was drawn from


def choose(
    keys: Array, logits: Array, sampling: Sampling, hooks: Hooks, state: Callable[[], LogitsState],
    policy: Policy = PLAIN,
) -> Choice:  # fmt: skip
    """Logits [B, V] → a token per row, by the hooks and the rules of sampling. state: for processors, if there are."""
    if hooks.processors:
        logits = process(logits, hooks, state())
    filtered = filter_logits(logits, sampling, policy)
    return Choice((hooks.sampler or draw)(keys, filtered), filtered)


def process(logits: Array, hooks: Hooks, state: LogitsState) -> Array:
    """The logits after all processors. Raises SettingsError for one that returns another shape or type."""
    for processor in hooks.processors:
        changed = processor(logits, state)
        if jnp.shape(changed) != logits.shape or jnp.result_type(changed) != logits.dtype:
            made = f"{jnp.result_type(changed)} {list(jnp.shape(changed))}"
            raise SettingsError(
                f"the logits processor {processor!r} returns {made} for {logits.dtype} {list(logits.shape)}"
            )
        logits = changed
    return logits


def log_probability(logits: Array, token: Array) -> Array:
    """The log-probability of each token [...] under logits [..., V] as the model gave them, float32 [...]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), token[..., None], axis=-1)[..., 0]


def record(
    recorded: Recorded | None, outputs: Mapping[str, Array], cut: Callable[[np.ndarray, int], np.ndarray]
) -> None:
    """Add a stage's outputs, [B, …] each, to what is recorded: one array for each row, cut to what belongs to it."""
    if recorded is not None:
        for name, rows in outputs.items():
            recorded[name] = [np.array(cut(row, index)) for index, row in enumerate(fetch(rows))]
