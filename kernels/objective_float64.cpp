#include "objective.hpp"

ATTNSCAPE_DEFINE_OBJECTIVE(double, float64);
