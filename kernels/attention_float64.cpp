#include "attention_objective.hpp"

ATTNSCAPE_DEFINE_ATTENTION(double, float64);
