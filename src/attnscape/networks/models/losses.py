"""Losses and metrics that several networks share, as functions of a module and a batch.

Batches are (inputs, labels) with logits (batch, classes), (tokens, next tokens) with logits (batch,
length, vocabulary), or (ids, mask, start, end) with two logits (batch, length) each.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from attnscape.networks.workload import Batch

LONGEST_ANSWER = 30  # tokens, as in the evaluation that Kunstner et al. (2023) use for SQuAD


def class_cross_entropy(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy of classes."""
    inputs, labels = batch
    return functional.cross_entropy(module(inputs), labels)


def token_cross_entropy(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy of next tokens, over all positions."""
    tokens, targets = batch
    return functional.cross_entropy(module(tokens).flatten(0, 1), targets.flatten())


def span_cross_entropy(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Mean cross-entropy of an answer's first and last token (Devlin et al. 2019, section 4.2).

    It is the mean of the two. Padding takes part in the softmax, as in transformers.
    """
    ids, mask, first, last = batch
    starts, ends = module(ids, mask)
    return (functional.cross_entropy(starts, first) + functional.cross_entropy(ends, last)) / 2


def accuracy(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Share of examples whose class has the largest logit."""
    inputs, labels = batch
    return _share(module(inputs).argmax(-1) == labels)


def token_accuracy(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Share of positions whose next token has the largest logit."""
    return accuracy(module, batch)


def perplexity(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Exponential of the cross-entropy of next tokens.

    A mean over batches is at least the perplexity of all of them together.
    """
    return token_cross_entropy(module, batch).exp()


def span_exact_match(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Share of examples whose answer is found from its first to its last token."""
    _, _, first, last = batch
    found_first, found_last = _found(module, batch)
    return _share((found_first == first) & (found_last == last))


def span_f1(module: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """F1 of the positions of found and right answers, mean over examples.

    The official F1 of SQuAD (Rajpurkar et al. 2016) compares words, here tokens.
    """
    _, _, first, last = batch
    found_first, found_last = _found(module, batch)
    common = (torch.minimum(last, found_last) - torch.maximum(first, found_first) + 1).clamp(min=0)
    return (2 * common / (last - first + found_last - found_first + 2)).mean()


def best_spans(
    starts: Float[Tensor, "batch length"],
    ends: Float[Tensor, "batch length"],
    mask: Int[Tensor, "batch length"],
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """First and last token of the span with the largest sum of logits.

    Spans have at most `LONGEST_ANSWER` tokens, none of them padding. The question's tokens are not
    excluded, because a batch does not tell them from the passage's.
    """
    length = starts.shape[1]
    scores = starts[:, :, None] + ends[:, None, :]
    band = torch.ones(length, length, dtype=torch.bool, device=scores.device)
    band = band.triu().tril(LONGEST_ANSWER - 1)
    attended = mask.bool()
    allowed = band & attended[:, :, None] & attended[:, None, :]
    best = scores.masked_fill(~allowed, -math.inf).flatten(1).argmax(1)
    return best // length, best % length


def _found(module: nn.Module, batch: Batch) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    ids, mask, _, _ = batch
    starts, ends = module(ids, mask)
    return best_spans(starts, ends, mask)


def _share(hits: Tensor) -> Float[Tensor, ""]:
    return hits.to(torch.get_default_dtype()).mean()
