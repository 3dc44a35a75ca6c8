"""LeNet5 (LeCun et al. 1998) as Kunstner et al. (2023) train it on MNIST.

It has tanh and average pooling, and no sparse connections or radial basis functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact

_SIZE = 32  # the third convolution leaves one pixel


class LeNet5(nn.Module):
    """Three convolutions of 5x5 with tanh, two of them average-pooled, and two linear layers.

    Args:
        channels: Channels of the images.
        convolutions: Output channels of the three convolutions.
        hidden: Width of the hidden linear layer.
        classes: Number of outputs.
    """

    def __init__(
        self, channels: int, convolutions: Sequence[int], hidden: int, classes: int
    ) -> None:
        super().__init__()
        first, second, third = convolutions
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(second, third, 5),
            nn.Tanh(),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(third, hidden), nn.Tanh(), nn.Linear(hidden, classes)
        )

    def forward(
        self, images: Float[Tensor, "batch channels 32 32"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the classes."""
        return self.classifier(self.features(images))


def make_lenet5(
    facts: Mapping[str, int], *, convolutions: Sequence[int] = (6, 16, 120), hidden: int = 84
) -> LeNet5:
    """LeNet5 with PyTorch's default initial weights; 61,706 parameters for 10 digits.

    Args:
        facts: Facts of the data: `channels`, `size` (32) and `classes`.
        convolutions: Output channels of the three convolutions.
        hidden: Width of the hidden linear layer.

    Raises:
        UsageError: If the images are not 32x32, or there are not three convolutions.
    """
    channels, size, classes = (
        fact(facts, name, "LeNet5") for name in ("channels", "size", "classes")
    )
    if size != _SIZE:
        raise UsageError(
            f"The images are {size}x{size}; LeNet5 takes {_SIZE}x{_SIZE}, so pad or crop them."
        )
    if len(convolutions) != 3:
        raise UsageError(
            f"There are {len(convolutions)} numbers of channels; give one for each of LeNet5's "
            "three convolutions."
        )
    return LeNet5(channels, convolutions, hidden, classes)
