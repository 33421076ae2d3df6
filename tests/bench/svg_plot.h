// A plot of curves and single points as an SVG file's text.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace wdelta::bench {

struct PlotSeries {
  std::string label;
  std::string color;  // as in CSS
  std::vector<std::pair<double, double>> points;
  bool joined = true;   // by a line, in the order given
  bool dashed = false;  // a line without marks
  bool hollow = false;  // marks are rings, to be seen around others
};

struct PlotPanel {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_y = false;  // points that are not positive are left out
  std::vector<PlotSeries> series;
};

// Panels from left to right. Axes cover the points, with round numbers at the ticks.
std::string SvgPlot(const std::string& title, const std::vector<PlotPanel>& panels);

}  // namespace wdelta::bench
