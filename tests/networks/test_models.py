"""The networks of the workloads equal independent constructions, and are causal."""

import math
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from attnscape.errors import UsageError  # noqa: E402
from attnscape.networks import models  # noqa: E402
from attnscape.networks.models.transformer_xl import RelativeAttention  # noqa: E402
from networks.model_cases import (  # noqa: E402
    F64,
    IMAGES,
    LANGUAGE_MODELS,
    TEXT,
    TINY_XL,
    close,
    draw,
    seeded,  # noqa: F401, a fixture for every test here
    tokens,
)


def test_lenet5_is_the_stack_of_layers_of_its_definition():
    network = models.make_lenet5(IMAGES).double()
    first, second, third = (p for p in network.features if isinstance(p, nn.Conv2d))
    hidden, readout = (p for p in network.classifier if isinstance(p, nn.Linear))
    images = torch.randn(2, 1, 32, 32, dtype=F64)
    x = torch.tanh(nn.functional.conv2d(images, first.weight, first.bias))
    x = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    x = torch.tanh(nn.functional.conv2d(x, second.weight, second.bias))
    x = x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    # The third convolution covers its whole input: it is a matrix.
    x = torch.tanh(torch.einsum("bchw,ochw->bo", x, third.weight) + third.bias)
    x = torch.tanh(x @ hidden.weight.T + hidden.bias)
    close(network(images), x @ readout.weight.T + readout.bias)


def with_torch_layers(network, width, heads, inner):
    """The encoder language model as torch.nn builds it, sequence first, with the same weights."""
    layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, len(network.layers), enable_nested_tensor=False)
    encoder = encoder.double().eval()
    for theirs, ours in zip(encoder.layers, network.layers, strict=True):
        theirs.self_attn.in_proj_weight.data = ours.attention.projection.weight.data
        theirs.self_attn.in_proj_bias.data = ours.attention.projection.bias.data
        theirs.self_attn.out_proj.load_state_dict(ours.attention.output.state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward[3].state_dict())
        theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())

    def forward(ids):
        length = ids.shape[1]
        positions = torch.zeros(length, width, dtype=F64)
        for row in range(length):
            for pair in range(width // 2):
                angle = row / 10_000 ** (2 * pair / width)
                positions[row, 2 * pair] = math.sin(angle)
                positions[row, 2 * pair + 1] = math.cos(angle)
        embedded = network.embedding.weight[ids.T] * math.sqrt(width) + positions[:, None]
        mask = torch.triu(torch.full((length, length), -math.inf, dtype=F64), 1)
        hidden = encoder(embedded, mask).transpose(0, 1)
        return hidden @ network.readout.weight.T + network.readout.bias

    return forward


def test_encoder_lm_is_the_one_of_torch_nn():
    network = draw(models.make_encoder_lm(TEXT, width=6, heads=3, inner=5, layers=2))
    ids = tokens()
    close(network(ids), with_torch_layers(network, 6, 3, 5)(ids))


def test_relative_attention_is_a_loop_over_positions():
    width, heads, head, length = 6, 2, 3, 5
    attention = draw(RelativeAttention(width, heads, head, dropout=0.0))
    inputs = torch.randn(2, length, width, dtype=F64)
    distances = torch.randn(length, width, dtype=F64)  # rows of the distances length-1, ..., 0
    u, v = torch.randn(2, heads, head, dtype=F64)
    queries, keys, values = (
        (inputs @ matrix.T).reshape(2, length, heads, head)
        for matrix in attention.projection.weight.chunk(3)
    )
    projected = (distances @ attention.distance_projection.weight.T).reshape(length, heads, head)
    wanted = torch.zeros(2, length, heads, head, dtype=F64)
    for example in range(2):
        for h in range(heads):
            for i in range(length):
                query = queries[example, i, h]
                scores = [
                    (query + u[h]) @ keys[example, j, h]
                    + (query + v[h]) @ projected[length - 1 - (i - j), h]
                    for j in range(i + 1)
                ]
                weights = (torch.stack(scores) / math.sqrt(head)).softmax(0)
                wanted[example, i, h] = weights @ values[example, : i + 1, h]
    wanted = wanted.flatten(2) @ attention.output.weight.T
    close(attention(inputs, distances, u, v), wanted)


def test_transformer_xl_reads_sinusoids_of_distances():
    network = draw(models.make_transformer_xl(TEXT, **TINY_XL | {"layers": 1}))
    ids, width, (layer,) = tokens(), 4, network.layers
    embedded = network.embedding(ids) * math.sqrt(width)
    rows = [
        [math.sin(d / 10_000 ** (2 * pair / width)) for pair in range(2)]
        + [math.cos(d / 10_000 ** (2 * pair / width)) for pair in range(2)]
        for d in range(5, -1, -1)
    ]
    distances = torch.tensor(rows, dtype=F64)
    attended = layer.attention(embedded, distances, network.u, network.v)
    x = layer.attention_norm(embedded + attended)
    inner = (x @ layer.feed_forward[0].weight.T + layer.feed_forward[0].bias).clamp(min=0)
    x = layer.feed_forward_norm(
        x + inner @ layer.feed_forward[3].weight.T + layer.feed_forward[3].bias
    )
    close(network(ids), x @ network.readout.weight.T + network.readout.bias)


def test_lstm_lm_is_the_one_of_torch_nn():
    network = draw(models.make_lstm_lm(TEXT, embedding=3, hidden=4, layers=3))
    ids = tokens()
    hidden = network.embedding(ids)
    for cell in network.cells:
        layer = nn.LSTM(cell.input_size, cell.hidden_size, batch_first=True).double()
        layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
        hidden, _ = layer(hidden)
    close(network(ids), hidden @ network.embedding.weight.T + network.bias)


def test_softmax_regression_is_linear():
    network = models.make_softmax_regression({"features": 4, "classes": 3}).double()
    inputs = torch.randn(5, 4, dtype=F64)
    close(network(inputs), inputs @ network.weight.T + network.bias)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_token_changes_no_earlier_output(name):
    network, ids = draw(LANGUAGE_MODELS[name]()), tokens()
    for place in range(ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % TEXT["vocabulary"]
        before, after = network(ids), network(changed)
        close(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place], before[:, place])


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_outputs_of_a_prefix_are_those_of_the_whole(name):
    network, ids = draw(LANGUAGE_MODELS[name]()), tokens()
    close(network(ids[:, :4]), network(ids)[:, :4])


def test_examples_do_not_affect_each_other():
    for make in LANGUAGE_MODELS.values():
        network, ids = draw(make()), tokens()
        close(network(ids[1:2]), network(ids)[1:2])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: models.make_lenet5({"channels": 1, "size": 28, "classes": 10}), "28x28"),
        (lambda: models.make_lenet5(IMAGES, convolutions=(6, 16)), "2 numbers of channels"),
        (lambda: models.make_lenet5(TEXT), "vocabulary, length"),
        (lambda: models.make_encoder_lm(TEXT, width=6, heads=4), "multiple"),
        (lambda: models.make_encoder_lm(TEXT, width=3, heads=3), "even"),
        (lambda: models.make_transformer_xl(TEXT, width=3), "even"),
        (lambda: models.make_transformer_xl({}), "no facts"),
        (lambda: models.make_lstm_lm(TEXT, layers=0), "0 LSTM layers"),
        (lambda: models.make_resnet(IMAGES, outputs=2), "3 classes"),
        (lambda: models.make_resnet(IMAGES, widths=(2, 3)), "2 widths and 4 depths"),
        (lambda: models.make_distilbert(TEXT, width=6, heads=4), "multiple"),
        (lambda: models.make_distilbert(TEXT, weights="packaged", width=6), "remove the sizes"),
        (lambda: models.make_distilbert(TEXT, weights="./no/such"), "cannot be read"),
    ],
)
def test_mistakes_are_sentences(make, said):
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(UsageError, match=said) as caught:
        make()
    assert str(caught.value).endswith(".")


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'attnscape\[networks\]'"):
        models.make_resnet(IMAGES)
    with pytest.raises(UsageError, match=r"pip install 'attnscape\[networks\]'"):
        models.make_distilbert(TEXT)


def test_importing_the_models_does_not_import_transformers():
    code = "import sys, attnscape.networks.models; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
