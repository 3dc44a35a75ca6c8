"""How sparse the attention of the query is: entropy and participation of its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import entr
from jaxtyping import Array, PyTree

from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.tasks import Prompts


@dataclasses.dataclass(frozen=True)
class AttentionScores(Measure):
    """How sparse the attention scores of the query token are, in each layer.

    A prompt has the weights s_1, ..., s_n that the query token gives the context tokens (see
    `AttentionTransformer`; they may be negative if attention is linear). With the distribution
    p_i = |s_i| / sum_j |s_j| over them, and means over the prompts of the evaluation batch,

        attention_entropy            = mean of H, where H = -sum_i p_i log(p_i), in nats
        attention_effective_share    = mean of exp(H) / n
        attention_participation      = mean of (1 / sum_i p_i^2) / n

    The last is the inverse participation ratio. Both shares are 1 if all scores have one size, and
    1 / n if only one token has a score; smaller means sparser. Scores that are all zero count as
    equal, the limit of small ones under softmax.

    The model must have the method `query_attention` and get whole prompts, as
    `AttentionTransformer` does. A `LinearTransformer` is trained from moments of prompts; with the
    activation `linear`, `AttentionTransformer` is the same model and gets prompts.

    Attributes:
        schedule: The steps at which they are measured.
        evaluations: The number of evaluation batches; None for all.

    Raises:
        UsageError: When it is called, if the model has no such method or gets moments.

    Examples:
        >>> import jax
        >>> from attnscape import AttentionTransformer, RegressionTask
        >>> from attnscape.measures import AttentionScores, Iterate
        >>> model = AttentionTransformer.init(jax.random.key(0), scale=0.0)  # all scores are equal
        >>> shares = AttentionScores()(Iterate.of(model, RegressionTask()))
        >>> shares["attention_effective_share"].round(3).tolist()
        [1.0, 1.0, 1.0]
    """

    schedule: Schedule = every(50)
    evaluations: int | None = None

    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        prompts, model = iterate.evaluation, iterate.model
        attention: Any = getattr(model, "query_attention", None)
        if attention is None:
            raise UsageError(
                f"{type(model).__name__} has no attention scores of one head; give a model with "
                "the method query_attention, such as AttentionTransformer."
            )
        if not isinstance(prompts, Prompts):
            raise UsageError(
                f"{type(model).__name__} is trained from moments of prompts, which have no "
                "attention scores; give AttentionTransformer with the activation linear, which "
                "is the same model."
            )
        sizes = abs(attention(prompts))
        total, n = sizes.sum(axis=-1, keepdims=True), sizes.shape[-1]
        p = jnp.where(total == 0, 1 / n, sizes / jnp.where(total == 0, 1, total))
        entropy = entr(p).sum(axis=-1)
        return {
            "attention_entropy": entropy.mean(axis=-1),
            "attention_effective_share": jnp.exp(entropy).mean(axis=-1) / n,
            "attention_participation": (1 / (p**2).sum(axis=-1)).mean(axis=-1) / n,
        }

    def variables(self) -> Mapping[str, Variable]:
        words = {
            "attention_entropy": "entropy of the query's attention scores in nats",
            "attention_effective_share": "effective share of tokens with attention, from entropy",
            "attention_participation": "effective share of tokens with attention, from squares",
        }
        return {
            name: Variable(long_name, ("layer",), on_evaluation=True)
            for name, long_name in words.items()
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        matrices: Any = getattr(model, "Q", ())
        return {"layer": list(range(1, len(matrices) + 1))}
