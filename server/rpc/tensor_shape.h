// Dtype and shape of a tensor in the public API. Pure; any thread.
#pragma once

#include <string>

#include "storage/tensor/tensor_info.h"
#include "wdelta/v1/compare.pb.h"

namespace wdelta {

inline v1::TensorShape ShapeToProto(const TensorInfo& tensor) {
  v1::TensorShape out;
  out.set_dtype(std::string(DTypeName(tensor.dtype)));
  out.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  return out;
}

}  // namespace wdelta
