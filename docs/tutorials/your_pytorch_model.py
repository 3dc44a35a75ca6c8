"""Probe a small torch.nn Transformer from its own training loop.

A causal Transformer learns to spell a short text with Adam. Along the way it is measured on fixed
batches: directional smoothness of Adam's steps, gradient noise, the robust condition number of its
Hessian, and at the end (L0, L1)-smoothness. Run it with a folder for the figure, or without.

    pip install "attnscape[torch]"
    python your_pytorch_model.py figures
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from attnscape.torch import Objective, Probe

TEXT = """The river ran low that summer, and the miller sat by the door and counted the stones.
When the rain came he counted the drops, and when the drops were too many he counted the days.
The wheel stood still, then turned, then stood still again; the flour was fine or there was none.
"So it goes," said the miller, "the water comes and the water goes, and the stones stay."
In autumn the river rose to the sill, and the wheel turned day and night, and nobody counted. """
CONTEXT, WIDTH, STEPS = 24, 16, 300

letters = sorted(set(TEXT))
text = torch.tensor([letters.index(letter) for letter in TEXT])


class Speller(nn.Module):
    """Predicts each next letter from the letters before it."""

    def __init__(self):
        super().__init__()
        self.letter = nn.Embedding(len(letters), WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, nhead=2, dim_feedforward=2 * WIDTH, dropout=0.1, batch_first=True
        )
        self.body = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(WIDTH, len(letters))

    def forward(self, tokens):
        """Scores of the next letter, (batch, CONTEXT, letters)."""
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
        states = self.letter(tokens) + self.place(torch.arange(CONTEXT))
        return self.head(self.body(states, mask=mask, is_causal=True))


def draw(batch):
    """Pieces of the text, (batch, CONTEXT + 1)."""
    starts = torch.randint(len(text) - CONTEXT, (batch, 1))
    return text[starts + torch.arange(CONTEXT + 1)]


def loss_fn(model, pieces):
    """Mean cross-entropy of the next letter, in nats."""
    scores = model(pieces[:, :-1])
    return nn.functional.cross_entropy(scores.flatten(0, 1), pieces[:, 1:].flatten())


torch.set_num_threads(1)  # so small a network gains nothing from more
torch.manual_seed(0)
model = Speller()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

# Dropout makes the loss random, and a random loss has no Hessian: it is measured in eval mode.
objective = Objective(model, loss_fn, [draw(32) for _ in range(8)], determinism="eval")
probe = Probe(objective, every=10, noise_every=50, curvature_every=100, probes=100)

for _ in range(STEPS + 1):
    loss_fn(model, draw(32)).backward()
    optimizer.step()
    optimizer.zero_grad()
    probe.step()

data = probe.dataset()
print(f"{objective.size:,} parameters; measured with {data.attrs['curvature']}")
print(f"{'step':>5} {'loss':>6} {'smoothness':>11} {'noise norm':>11}   condition number")
for step in data["step"].values[::5]:
    row = data.sel(step=step)
    interval = "not measured"
    if row["condition_number"].notnull():
        ends = (float(row[f"condition_number_{end}"]) for end in ("low", "high"))
        interval = "{:.0f} [{:.0f}, {:.0f}]".format(float(row["condition_number"]), *ends)
    smoothness, noise = float(row["directional_smoothness"]), float(row["noise_norm"].mean())
    print(f"{step:5} {float(row['loss']):6.3f} {smoothness:11.3g} {noise:11.3g}   {interval}")
print(probe.l0_l1())

try:
    import matplotlib.pyplot as plt
except ModuleNotFoundError:
    sys.exit()
folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
folder.mkdir(parents=True, exist_ok=True)
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
data["loss"].plot(ax=axes[0])
data.plot.scatter(x="evaluation_gradient_norm", y="directional_smoothness", hue="step", ax=axes[1])
figure.savefig(folder / "your_pytorch_model.png", dpi=150)
print("Figure:", folder / "your_pytorch_model.png")
