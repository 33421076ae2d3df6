#include "storage/engine/compare/square_sum.h"

#include <cmath>

namespace wdelta {
namespace {

// Squares of what lies between are between 2^-960 and 2^960: 2^60 of them do not overflow.
constexpr double kLeastMiddle = 0x1p-480;
constexpr double kMostMiddle = 0x1p480;
constexpr int kScaleBits = 600;
constexpr double kUp = 0x1p600;
constexpr double kDown = 0x1p-600;

double Square(double number) { return number * number; }

}  // namespace

void SquareSum::Add(double number) {
  const double size = std::fabs(number);
  if (size > kMostMiddle) {
    large_ += Square(size * kDown);
  } else if (size >= kLeastMiddle) {
    middle_ += Square(size);
  } else {
    small_ += Square(size * kUp);
  }
}

void SquareSum::AddDouble(double half) {
  if (std::fabs(half) > kMostMiddle / 2) {
    large_ += Square(std::fabs(half) * (2 * kDown));
  } else {
    Add(2 * half);
  }
}

void SquareSum::Add(const SquareSum& other) {
  small_ += other.small_;
  middle_ += other.middle_;
  large_ += other.large_;
}

SquareSum::Scaled SquareSum::ScaledNorm() const {
  // What is lost to the next greater range is far below its last digit.
  if (large_ > 0) return {std::sqrt(large_ + std::ldexp(middle_, -2 * kScaleBits)), kScaleBits};
  if (middle_ > 0) return {std::sqrt(middle_ + std::ldexp(small_, -2 * kScaleBits)), 0};
  return {std::sqrt(small_), -kScaleBits};
}

double SquareSum::Norm() const {
  const Scaled norm = ScaledNorm();
  return std::ldexp(norm.mantissa, norm.exponent);
}

double SquareSum::NormOver(const SquareSum& other) const {
  const Scaled norm = ScaledNorm();
  const Scaled divisor = other.ScaledNorm();
  return std::ldexp(norm.mantissa / divisor.mantissa, norm.exponent - divisor.exponent);
}

}  // namespace wdelta
