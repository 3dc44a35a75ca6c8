"""Names and titles of the artifacts: plain text, so that the command line can list them at once."""

from types import MappingProxyType

ARTIFACTS = MappingProxyType(
    {
        "fig2": "Adam and SGD with momentum on shallow linear Transformers (Fig. 2, right half)",
    }
)
