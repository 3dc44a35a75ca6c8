#include "mlp_attention_objective.hpp"

ATTNSCAPE_DEFINE_MLP_ATTENTION(float, float32);
ATTNSCAPE_DEFINE_MLP_ATTENTION(double, float64);
