// Policies of one strategy for all tensors, as tests ask for them.
#pragma once

#include "store/v1/records.pb.h"

namespace wdelta::testing {

// `figure`: the sparsity of SPARSE, else the bits a weight if `is_bits`, else the relative
// error; 0 sets none.
inline store::v1::FidelityPolicy Policy(store::v1::Strategy strategy, double figure = 0,
                                        bool is_bits = false) {
  store::v1::FidelityPolicy policy;
  policy.mutable_all()->set_strategy(strategy);
  if (strategy == store::v1::SPARSE) {
    policy.mutable_all()->set_sparsity(figure);
  } else if (is_bits) {
    policy.mutable_all()->set_bits_per_weight(figure);
  } else if (figure > 0) {
    policy.mutable_all()->set_relative_error(figure);
  }
  return policy;
}

}  // namespace wdelta::testing
