#include "objective.hpp"

ATTNSCAPE_DEFINE_OBJECTIVE(float, float32);
