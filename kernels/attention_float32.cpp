#include "attention_objective.hpp"

ATTNSCAPE_DEFINE_ATTENTION(float, float32);
