// A table of text: the first column to the left, the others to the right.
#pragma once

#include <string>
#include <vector>

namespace wdelta::bench {

// Columns are as wide as their widest cell, counted in bytes: keep cells to ASCII.
class Table {
 public:
  explicit Table(std::vector<std::string> headings);

  // Missing cells at the end are empty.
  void AddRow(std::vector<std::string> cells);
  // Sets off the rows that follow.
  void AddRule();
  // Every line indented by two spaces and ended.
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // an empty row: a rule
};

// `value` with `digits` decimals; "0" decimals give no point.
std::string Fixed(double value, int digits);
// Three significant digits in scientific notation, "0" for zero.
std::string Scientific(double value);

}  // namespace wdelta::bench
