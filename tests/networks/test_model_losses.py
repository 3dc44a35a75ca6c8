"""Losses and metrics of the networks: closed forms, and those of transformers."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from attnscape.networks import models  # noqa: E402
from networks.model_cases import (  # noqa: E402
    F64,
    close,
    distilbert_case,
    draw,
    seeded,  # noqa: F401, a fixture for every test here
    tokens,
)


class Fixed(nn.Module):
    """A module that gives the same output for every input."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, *inputs):
        return self.output


def test_cross_entropies_of_equal_logits_are_logarithms():
    labels, next_tokens = torch.tensor([0, 2]), torch.zeros(2, 3, dtype=torch.long)
    inputs = torch.zeros(2, 3, dtype=torch.long)
    of_classes = models.class_cross_entropy(Fixed(torch.zeros(2, 7)), (inputs, labels))
    batch = inputs, next_tokens
    of_tokens = models.token_cross_entropy(Fixed(torch.zeros(2, 3, 7)), batch)
    spans = Fixed((torch.zeros(2, 7), torch.zeros(2, 7)))
    of_spans = models.span_cross_entropy(spans, (inputs, inputs, labels, labels))
    for loss in (of_classes, of_tokens, of_spans):
        assert float(loss) == pytest.approx(math.log(7))
    assert float(models.perplexity(Fixed(torch.zeros(2, 3, 7)), batch)) == pytest.approx(7)


def test_token_cross_entropy_is_the_mean_over_all_positions():
    logits, targets = torch.randn(2, 3, 5, dtype=F64), tokens(2, 3)
    wanted = (
        -sum(logits[b, t].log_softmax(0)[targets[b, t]] for b in range(2) for t in range(3)) / 6
    )
    close(models.token_cross_entropy(Fixed(logits), (tokens(2, 3), targets)), wanted)


def test_the_losses_of_distilbert_are_those_of_transformers():
    network, loss_fn, (ids, mask, first, last) = distilbert_case()
    draw(network)
    wanted = network.network(
        input_ids=ids, attention_mask=mask, start_positions=first, end_positions=last
    ).loss
    close(loss_fn(network, (ids, mask, first, last)), wanted)


def test_accuracies_count_the_largest_logits():
    logits = torch.eye(3)[[0, 1, 2, 0]]
    assert float(models.accuracy(Fixed(logits), (logits, torch.tensor([0, 1, 1, 1])))) == 0.5
    batch = tokens(2, 2), torch.tensor([[0, 1], [2, 2]])
    assert float(models.token_accuracy(Fixed(logits.reshape(2, 2, 3)), batch)) == 0.75


def spans(length, *pairs):
    """Logits whose largest sum is at the given (first, last) of each example."""
    starts, ends = torch.zeros(2, len(pairs), length)
    for row, (first, last) in enumerate(pairs):
        starts[row, first] = ends[row, last] = 5
    return starts, ends


def test_spans_match_exactly_or_overlap():
    found = Fixed(spans(8, (1, 4), (2, 2), (5, 6)))
    first, last = torch.tensor([1, 2, 0]), torch.tensor([4, 3, 1])
    batch = torch.zeros(3, 8), torch.ones(3, 8, dtype=torch.long), first, last
    assert float(models.span_exact_match(found, batch)) == pytest.approx(1 / 3)
    # Precision and recall of the second: 1 of 1 found tokens and 1 of 2 right ones.
    assert float(models.span_f1(found, batch)) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_found_span_is_in_order_short_and_free_of_padding():
    starts, ends = spans(50, (40, 3), (2, 45), (4, 48))
    starts[0, 1], ends[1, 20], ends[2, 6] = 4, 3, 2
    mask = torch.ones(3, 50, dtype=torch.long)
    mask[2, 47:] = 0
    first, last = models.best_spans(starts, ends, mask)
    for row, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        allowed = [
            (float(starts[row, i] + ends[row, j]), i, j)
            for i in range(50)
            for j in range(i, min(50, i + 30))
            if mask[row, i] and mask[row, j]
        ]
        assert float(starts[row, a] + ends[row, b]) == max(allowed)[0]
        assert (a, b) in {(i, j) for _, i, j in allowed}
