"""Small networks that the tests of models share, each with a loss and a batch."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from attnscape.networks import models  # noqa: E402

F64 = torch.float64
TEXT = {"vocabulary": 5, "length": 6}
IMAGES = {"channels": 1, "size": 32, "classes": 3}
TINY_ENCODER = {"width": 4, "heads": 2, "inner": 3, "layers": 2}
TINY_XL = {"width": 4, "heads": 2, "head": 3, "inner": 3, "layers": 2}
TINY_LSTM = {"embedding": 3, "hidden": 4, "layers": 2}


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers."""
    torch.manual_seed(0)


def parameters_of(network):
    return sum(p.numel() for p in network.parameters())


def draw(network, std=0.5):
    """Random values for every parameter: initial ones hide errors, as biases are 0 and gains 1."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, std)
    return network.double().eval()


def tokens(batch=3, length=6, vocabulary=5):
    return torch.randint(vocabulary, (batch, length))


def close(got, wanted, tolerance=1e-12):
    """Equal up to some hundred roundings in double precision."""
    assert got.dtype == wanted.dtype == F64
    assert torch.allclose(got, wanted, rtol=tolerance, atol=tolerance)


LANGUAGE_MODELS = {
    "encoder": lambda: models.make_encoder_lm(TEXT, **TINY_ENCODER),
    "transformer-xl": lambda: models.make_transformer_xl(TEXT, **TINY_XL),
    "lstm": lambda: models.make_lstm_lm(TEXT, **TINY_LSTM),
}


def images(facts=IMAGES, batch=4):
    inputs = torch.randn(batch, facts["channels"], facts["size"], facts["size"], dtype=F64)
    return inputs, torch.randint(facts["classes"], (batch,))


def lenet_case():
    network = models.make_lenet5(IMAGES, convolutions=(1, 2, 2), hidden=3)
    return network, models.class_cross_entropy, images()


def softmax_case():
    batch = torch.randn(5, 4, dtype=F64), torch.randint(3, (5,))
    network = models.make_softmax_regression({"features": 4, "classes": 3})
    return network, models.class_cross_entropy, batch


def language_case(name):
    return LANGUAGE_MODELS[name](), models.token_cross_entropy, (tokens(), tokens())


def resnet_case():
    pytest.importorskip("transformers", reason="transformers is not installed")
    network = models.make_resnet(IMAGES, widths=(2, 3), depths=(1, 1), outputs=4)
    return network, models.class_cross_entropy, images()


def distilbert_case():
    pytest.importorskip("transformers", reason="transformers is not installed")
    facts = {"vocabulary": 7, "length": 6, "padding": 0}
    network = models.make_distilbert(facts, layers=2, width=4, heads=2, inner=5)
    ids = torch.randint(1, 7, (3, 6))
    lengths = torch.tensor([6, 4, 5])
    mask = (torch.arange(6) < lengths[:, None]).long()
    batch = ids * mask, mask, torch.tensor([1, 0, 2]), torch.tensor([3, 0, 4])
    return network, models.span_cross_entropy, batch


CASES = {
    "lenet5": lenet_case,
    "softmax regression": softmax_case,
    "encoder": lambda: language_case("encoder"),
    "transformer-xl": lambda: language_case("transformer-xl"),
    "lstm": lambda: language_case("lstm"),
    "resnet": resnet_case,
    "distilbert": distilbert_case,
}
