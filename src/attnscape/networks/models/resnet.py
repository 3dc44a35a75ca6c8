"""ResNet-18 (He et al. 2016), the implementation of Hugging Face transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact, not_installed


class ImageClassifier(nn.Module):
    """An image classifier of transformers, with logits as its output.

    Args:
        network: The classifier.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch outputs"]:
        """Logits of the classes."""
        return self.network(images).logits


def make_resnet(
    facts: Mapping[str, int],
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (2, 2, 2, 2),
    outputs: int = 1000,
) -> ImageClassifier:
    """A ResNet of basic blocks, by default ResNet-18, with the initial weights of torchvision.

    Kunstner et al. (2023) keep ImageNet's 1000 outputs for the 10 classes of CIFAR-10, so that the
    initial loss is about log 1000.

    Args:
        facts: Facts of the data: `channels` and `classes`.
        widths: Channels of the stages; the first is also that of the stem.
        depths: Blocks of the stages.
        outputs: Number of logits, at least the number of classes.

    Raises:
        UsageError: If there are fewer outputs than classes, another number of depths than of
            widths, or transformers is not installed.
    """
    channels, classes = (fact(facts, name, "ResNet") for name in ("channels", "classes"))
    if outputs < classes:
        raise UsageError(
            f"The data have {classes} classes and ResNet {outputs} outputs; give at least as many "
            "outputs as classes."
        )
    if not widths or len(widths) != len(depths):
        raise UsageError(
            f"There are {len(widths)} widths and {len(depths)} depths; give one of each for every "
            "stage."
        )
    try:
        from transformers import ResNetConfig, ResNetForImageClassification  # takes seconds
    except ImportError as error:
        raise not_installed("transformers") from error
    config = ResNetConfig(
        num_channels=channels,
        embedding_size=widths[0],
        hidden_sizes=list(widths),
        depths=list(depths),
        layer_type="basic",
        num_labels=outputs,
    )
    return ImageClassifier(ResNetForImageClassification(config))
