// Columns of text. One thread at a time.
#pragma once

#include <string>
#include <vector>

namespace wdelta {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns; control characters are replaced.
  void AddRow(const std::vector<std::string>& cells);
  // With a line of titles; every line ends with a newline, none with a space.
  std::string Render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace wdelta
