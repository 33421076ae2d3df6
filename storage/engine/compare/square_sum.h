// Sums of squares of any finite doubles, without overflow or underflow. Pure; any thread.
//
// Numbers are summed in three ranges, those at the ends scaled by powers of two: the
// algorithm of J. Blue, "A portable Fortran program to find the Euclidean norm of a vector"
// (ACM TOMS 4, 1978). Sums of the same numbers in the same order are the same.
#pragma once

namespace wdelta {

class SquareSum {
 public:
  SquareSum() = default;
  // Of numbers whose squares add up to `sum`, which is exact enough: not near the ends of
  // what a double holds.
  static SquareSum Of(double sum) {
    SquareSum result;
    result.middle_ = sum;
    return result;
  }

  // Adds the square of a finite number.
  void Add(double number);
  // Likewise of twice the number.
  void AddDouble(double half);
  void Add(const SquareSum& other);

  // Of no number but zeros.
  bool IsZero() const { return small_ == 0 && middle_ == 0 && large_ == 0; }
  // The Euclidean norm; infinity beyond what a double holds.
  double Norm() const;
  // Norm over norm, without either overflowing. The other is not zero.
  double NormOver(const SquareSum& other) const;

 private:
  // mantissa * 2^exponent.
  struct Scaled {
    double mantissa = 0;
    int exponent = 0;
  };
  Scaled ScaledNorm() const;

  double small_ = 0;  // of numbers times 2^kScaleBits
  double middle_ = 0;
  double large_ = 0;  // of numbers times 2^-kScaleBits
};

}  // namespace wdelta
