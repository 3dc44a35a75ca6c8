"""Names and titles of the artifacts: plain text, so that the command line can list them at once."""

from types import MappingProxyType

ARTIFACTS = MappingProxyType(
    {
        "fig2": "Adam and SGD with momentum on shallow linear Transformers (Fig. 2, right half)",
        "fig9": "Loss for covariates with light and heavy tails (Fig. 9)",
        "fig12": "Loss for different numbers of layers (Fig. 12)",
    }
)
