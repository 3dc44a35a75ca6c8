"""Models: callable JAX pytrees of parameters that map prompts to predictions."""

from attnscape.models._transformer import Form as Form
from attnscape.models._transformer import check_dim as check_dim
from attnscape.models.attention import ACTIVATIONS as ACTIVATIONS
from attnscape.models.attention import Activation as Activation
from attnscape.models.attention import AttentionTransformer as AttentionTransformer
from attnscape.models.descent import gradient_descent as gradient_descent
from attnscape.models.descent import optimal_preconditioner as optimal_preconditioner
from attnscape.models.descent import optimal_rates as optimal_rates
from attnscape.models.factored import FactoredLinearTransformer as FactoredLinearTransformer
from attnscape.models.function import FunctionModel as FunctionModel
from attnscape.models.function import ModelFactory as ModelFactory
from attnscape.models.function import as_model as as_model
from attnscape.models.function import from_function as from_function
from attnscape.models.linear import LinearTransformer as LinearTransformer
from attnscape.models.linear import ReducesToLinear as ReducesToLinear
from attnscape.models.mlp_attention import WithMLP as WithMLP
from attnscape.models.multi_head import MultiHeadTransformer as MultiHeadTransformer
from attnscape.models.rotated import RotatedLinearTransformer as RotatedLinearTransformer
