"""The networks of the workloads, their losses and their metrics.

Each `make_...(facts, **arguments)` gives a network with random weights from PyTorch's generator;
defaults are the published sizes. Batches have examples first. Every operation has a second
derivative, in single and double precision. transformers is imported only when a network of it is
made.
"""

from attnscape.networks.models.distilbert import AnswerSpans as AnswerSpans
from attnscape.networks.models.distilbert import make_distilbert as make_distilbert
from attnscape.networks.models.encoder_lm import EncoderLM as EncoderLM
from attnscape.networks.models.encoder_lm import make_encoder_lm as make_encoder_lm
from attnscape.networks.models.lenet import LeNet5 as LeNet5
from attnscape.networks.models.lenet import make_lenet5 as make_lenet5
from attnscape.networks.models.losses import accuracy as accuracy
from attnscape.networks.models.losses import best_spans as best_spans
from attnscape.networks.models.losses import class_cross_entropy as class_cross_entropy
from attnscape.networks.models.losses import perplexity as perplexity
from attnscape.networks.models.losses import span_cross_entropy as span_cross_entropy
from attnscape.networks.models.losses import span_exact_match as span_exact_match
from attnscape.networks.models.losses import span_f1 as span_f1
from attnscape.networks.models.losses import token_accuracy as token_accuracy
from attnscape.networks.models.losses import token_cross_entropy as token_cross_entropy
from attnscape.networks.models.lstm import LSTMLM as LSTMLM
from attnscape.networks.models.lstm import make_lstm_lm as make_lstm_lm
from attnscape.networks.models.resnet import ImageClassifier as ImageClassifier
from attnscape.networks.models.resnet import make_resnet as make_resnet
from attnscape.networks.models.softmax_regression import (
    make_softmax_regression as make_softmax_regression,
)
from attnscape.networks.models.transformer_xl import TransformerXL as TransformerXL
from attnscape.networks.models.transformer_xl import make_transformer_xl as make_transformer_xl
