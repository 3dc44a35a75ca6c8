"""Models: parameters that map prompts to predictions, as JAX pytrees."""

from attnscape.models.linear import Form as Form
from attnscape.models.linear import LinearTransformer as LinearTransformer
from attnscape.models.linear import check_dim as check_dim
