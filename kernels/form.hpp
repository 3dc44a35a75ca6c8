// The two forms of a layer's matrices P and Q.
#pragma once

namespace attnscape {

// `full` trains the whole (d+1) x (d+1) matrices, `block` their top left d x d.
enum class Form { block = 0, full = 1 };

// What the form's matrices measure: d, or d + 1 with the response's row.
constexpr int matrix_size(Form form, int dim) { return form == Form::full ? dim + 1 : dim; }

}  // namespace attnscape
