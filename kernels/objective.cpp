#include "objective.hpp"

ATTNSCAPE_DEFINE_OBJECTIVE(float, float32);
ATTNSCAPE_DEFINE_OBJECTIVE(double, float64);
