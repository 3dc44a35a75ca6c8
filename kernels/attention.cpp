#include "attention_objective.hpp"

ATTNSCAPE_DEFINE_ATTENTION(float, float32);
ATTNSCAPE_DEFINE_ATTENTION(double, float64);
