"""A probe on a Transformer
========================

The same definitions on a PyTorch network: a small Transformer that learns to copy a sequence
backwards, probed along its own training loop by three lines.
"""

import matplotlib.pyplot as plt
import torch

from attnscape.torch import Objective, Probe

torch.manual_seed(0)
LETTERS, LENGTH = 8, 6


class Backwards(torch.nn.Module):
    """Embedding with places, one encoder layer, logits."""

    def __init__(self):
        super().__init__()
        self.letters = torch.nn.Embedding(LETTERS, 16)
        self.places = torch.nn.Parameter(0.1 * torch.randn(LENGTH, 16))
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0, batch_first=True)
        self.out = torch.nn.Linear(16, LETTERS)

    def forward(self, words):
        return self.out(self.layer(self.letters(words) + self.places))


def loss_fn(model, words):
    """Cross-entropy of the sequence backwards."""
    return torch.nn.functional.cross_entropy(model(words).mT, words.flip(1))


draw = torch.Generator().manual_seed(1)
batches = [torch.randint(LETTERS, (64, LENGTH), generator=draw) for _ in range(150)]
figure, axes = plt.subplots(1, 2, layout="constrained", figsize=(8, 3.4))
for name, optimizer_of in (
    ("SGD, momentum 0.9", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    ("Adam", lambda p: torch.optim.Adam(p, 3e-3)),
):
    torch.manual_seed(2)
    model = Backwards()
    optimizer = optimizer_of(model.parameters())
    probe = Probe(Objective(model, loss_fn, batches[:2]), every=5)
    for batch in batches:
        loss_fn(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        probe.step()
    found = probe.dataset()
    axes[0].plot(found.step, found.loss, label=name)
    axes[1].plot(found.step, found.directional_smoothness, label=name)
axes[0].set(xlabel="step", ylabel="loss")
axes[1].set(xlabel="step", ylabel="directional smoothness")
axes[0].legend()
plt.show()
