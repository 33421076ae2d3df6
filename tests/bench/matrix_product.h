// The one matrix product that a language model's forward pass needs.
#pragma once

#include <cstddef>

namespace wdelta::bench {

// out[r * columns + c] = sum over k of x[r * depth + k] * weights[c * depth + k], in F32:
// x is rows x depth, weights is columns x depth, out is rows x columns, all row-major and
// dense. Uses the best instruction set of the CPU. Any thread may call it.
void MultiplyByTransposed(const float* x, const float* weights, size_t rows, size_t columns,
                          size_t depth, float* out);

}  // namespace wdelta::bench
