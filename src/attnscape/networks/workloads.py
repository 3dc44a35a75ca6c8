"""The built-in workloads: the networks that the paper compares with, and softmax regression.

`published` is the size of the source, `small` trains in some seconds on one core (DistilBERT: in a
minute), `tiny` in a second (for tests). Sizes and definitions: `docs/PAPER.md`, section 6. Where
these differ from the public codes: MNIST is padded to 32x32 (there: resized); the LSTM starts every
batch from a zero state and has no penalty on its activations; answers are looked for in windows of
384 tokens that hold them.

References: Kunstner et al. (2023), "Noise is not the main factor behind the gap between SGD and
Adam"; Kunstner et al. (2024), "Heavy-tailed class imbalance and why Adam outperforms gradient
descent on language models"; Zhang et al. (2020a), "Why gradient clipping accelerates training".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attnscape.networks import data, models
from attnscape.networks.workload import Metric, Size, Workload

_KUNSTNER = "Kunstner et al. (2023)"
_ACCURACY = Metric("accuracy", models.accuracy)
_PERPLEXITY = Metric("perplexity", models.perplexity, higher_is_better=False)
_SMALL_TEXT = {"length": 35, "vocabulary": 1_000, "tokens": 100_000}
_TINY_TEXT = {"length": 8, "vocabulary": 50, "tokens": 2_000}

MNIST_LENET5 = Workload(
    name="mnist-lenet5",
    title="LeNet5",
    reference=f"{_KUNSTNER}; LeCun et al. (1998)",
    packaged="MNIST (5,000 images)",
    data=data.mnist,
    model=models.make_lenet5,
    loss=models.class_cross_entropy,
    metric=_ACCURACY,
    sizes={
        "published": Size(batch=256, steps=23_400),
        "small": Size(batch=64, steps=400),
        "tiny": Size(
            batch=16,
            steps=20,
            model={"convolutions": (2, 3, 8), "hidden": 8},
            data={"examples": 200},
            evaluations=2,
        ),
    },
)
CIFAR10_RESNET18 = Workload(
    name="cifar10-resnet18",
    title="ResNet-18",
    reference=f"{_KUNSTNER}; He et al. (2016)",
    packaged="Fashion-MNIST, padded",
    data=data.cifar10,
    model=models.make_resnet,
    loss=models.class_cross_entropy,
    metric=_ACCURACY,
    sizes={
        "published": Size(batch=64, steps=78_100),
        "small": Size(
            batch=64, steps=400, model={"widths": (16, 32, 64, 128)}, data={"examples": 10_000}
        ),
        "tiny": Size(
            batch=8,
            steps=10,
            model={"widths": (4, 8), "depths": (1, 1), "outputs": 10},
            data={"examples": 100},
            evaluations=2,
        ),
    },
)
PTB_TRANSFORMER = Workload(
    name="ptb-transformer",
    title="Transformer",
    reference=f"{_KUNSTNER}; Vaswani et al. (2017)",
    packaged="State of the Union speeches",
    data=data.ptb,
    model=models.make_encoder_lm,
    loss=models.token_cross_entropy,
    metric=_PERPLEXITY,
    sizes={
        "published": Size(
            batch=16, steps=165_000, data={"length": 35, "vocabulary": 10_000, "tokens": None}
        ),
        "small": Size(
            batch=16,
            steps=400,
            model={"width": 64, "heads": 2, "inner": 64, "layers": 2},
            data=_SMALL_TEXT,
        ),
        "tiny": Size(
            batch=8,
            steps=20,
            model={"width": 8, "heads": 2, "inner": 8, "layers": 1},
            data=_TINY_TEXT,
            evaluations=2,
        ),
    },
)
WIKITEXT2_TRANSFORMERXL = Workload(
    name="wikitext2-transformerxl",
    title="Transformer-XL",
    reference=f"{_KUNSTNER}; Dai et al. (2019)",
    packaged="BoolQ passages",
    data=data.wikitext2,
    model=models.make_transformer_xl,
    loss=models.token_cross_entropy,
    metric=_PERPLEXITY,
    sizes={
        "published": Size(
            batch=20, steps=32_480, data={"length": 128, "vocabulary": 33_278, "tokens": None}
        ),
        "small": Size(
            batch=8,
            steps=400,
            model={"width": 64, "heads": 4, "head": 16, "inner": 128, "layers": 2},
            data={**_SMALL_TEXT, "length": 64},
        ),
        "tiny": Size(
            batch=4,
            steps=20,
            model={"width": 8, "heads": 2, "head": 4, "inner": 8, "layers": 1},
            data=_TINY_TEXT,
            evaluations=2,
        ),
    },
)
SQUAD_DISTILBERT = Workload(
    name="squad-distilbert",
    title="DistilBERT",
    reference=f"{_KUNSTNER}; Sanh et al. (2019)",
    packaged="Disfl-QA",
    data=data.squad,
    model=models.make_distilbert,
    loss=models.span_cross_entropy,
    metric=Metric("F1 of spans", models.span_f1),
    sizes={
        "published": Size(
            batch=32,
            steps=13_700,
            model={"weights": "distilbert/distilbert-base-uncased"},
            data={"length": 384, "stride": 128},
        ),
        "small": Size(
            batch=8,
            steps=60,
            model={"weights": "packaged"},
            data={"length": 64, "stride": 16},
            evaluations=2,
        ),
        "tiny": Size(
            batch=4,
            steps=5,
            model={"width": 8, "heads": 2, "inner": 16, "layers": 1},
            data={"length": 64, "stride": 16, "examples": 40},
            evaluations=2,
        ),
    },
)
PTB_LSTM = Workload(
    name="ptb-lstm",
    title="LSTM",
    reference="Zhang et al. (2020a)",
    packaged="State of the Union speeches",
    data=data.ptb,
    model=models.make_lstm_lm,
    loss=models.token_cross_entropy,
    metric=_PERPLEXITY,
    sizes={
        "published": Size(
            batch=256, steps=10_000, data={"length": 70, "vocabulary": 10_000, "tokens": None}
        ),
        "small": Size(
            batch=16,
            steps=400,
            model={"embedding": 64, "hidden": 64, "layers": 2},
            data=_SMALL_TEXT,
        ),
        "tiny": Size(
            batch=8,
            steps=20,
            model={"embedding": 8, "hidden": 8, "layers": 1},
            data=_TINY_TEXT,
            evaluations=2,
        ),
    },
)
SOFTMAX_REGRESSION = Workload(
    name="softmax-regression",
    title="Softmax regression",
    reference="Kunstner et al. (2024)",
    packaged="imbalanced classes, drawn",
    data=data.imbalanced_classes,
    model=models.make_softmax_regression,
    loss=models.class_cross_entropy,
    metric=_ACCURACY,
    sizes={
        "published": Size(
            batch=22_528,
            steps=1_000,
            data={"groups": 11, "distribution": "uniform"},
            evaluations=1,
        ),
        "small": Size(
            batch=384,
            steps=300,
            # Fewer features than examples: otherwise a few huge steps tell all classes apart.
            data={"groups": 6, "features": 32, "distribution": "uniform"},
            evaluations=1,
        ),
        "tiny": Size(batch=24, steps=50, data={"groups": 3}, evaluations=1),
    },
)

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        workload.name: workload
        for workload in (
            MNIST_LENET5,
            CIFAR10_RESNET18,
            PTB_TRANSFORMER,
            WIKITEXT2_TRANSFORMERXL,
            SQUAD_DISTILBERT,
            PTB_LSTM,
            SOFTMAX_REGRESSION,
        )
    }
)
