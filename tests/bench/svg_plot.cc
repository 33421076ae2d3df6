#include "tests/bench/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace wdelta::bench {
namespace {

constexpr double kPanelWidth = 460;
constexpr double kPanelHeight = 360;
constexpr double kLeft = 72;  // of the axes within a panel
constexpr double kTop = 64;
constexpr double kRight = 18;
constexpr double kBottom = 52;

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

std::string Text(double x, double y, const std::string& text, const std::string& style) {
  return absl::StrFormat("<text x='%.1f' y='%.1f' %s>%s</text>\n", x, y, style, Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& style) {
  return absl::StrFormat("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' %s/>\n", x1, y1, x2, y2,
                         style);
}

// A range of values, or of their logarithms, and where its ticks are.
struct Axis {
  double low = 0;
  double high = 1;
  bool is_log = false;

  double Share(double value) const {
    return ((is_log ? std::log10(value) : value) - low) / (high - low);
  }

  std::vector<double> Ticks() const {
    std::vector<double> ticks;
    if (is_log) {
      const bool is_short = high - low <= 2;  // ticks between the decades, too
      for (int decade = static_cast<int>(std::floor(low)); decade <= high; ++decade) {
        for (const int digit : {1, 2, 5}) {
          if (digit > 1 && !is_short) continue;
          const double tick = digit * std::pow(10.0, decade);
          const double share = Share(tick);
          if (share > -1e-9 && share < 1 + 1e-9) ticks.push_back(tick);
        }
      }
      return ticks;
    }
    const double rough = (high - low) / 5;
    const double magnitude = std::pow(10.0, std::floor(std::log10(rough)));
    const double ratio = rough / magnitude;
    const double step = magnitude * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
    for (double tick = std::ceil(low / step) * step; tick <= high + step / 100; tick += step) {
      ticks.push_back(tick);
    }
    return ticks;
  }

  std::string Label(double tick) const {
    return is_log && high - low > 2 ? absl::StrFormat("%.0e", tick) : absl::StrFormat("%g", tick);
  }
};

bool IsDrawn(const PlotPanel& panel, const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second) &&
         (!panel.log_y || point.second > 0);
}

std::pair<Axis, Axis> AxesOf(const PlotPanel& panel) {
  const double infinity = std::numeric_limits<double>::infinity();
  Axis x{infinity, -infinity, false};
  Axis y{infinity, -infinity, panel.log_y};
  for (const PlotSeries& series : panel.series) {
    for (const auto& point : series.points) {
      if (!IsDrawn(panel, point)) continue;
      const double y_value = panel.log_y ? std::log10(point.second) : point.second;
      x = {std::min(x.low, point.first), std::max(x.high, point.first), false};
      y = {std::min(y.low, y_value), std::max(y.high, y_value), panel.log_y};
    }
  }
  if (!(x.low < x.high)) x = {x.low - 1, x.low + 1, false};
  if (!(y.low < y.high)) y = {y.low - 1, y.low + 1, panel.log_y};
  x.low = std::min(0.0, x.low);
  x.high *= 1.04;
  if (panel.log_y) {
    const bool is_short = y.high - y.low <= 2;
    y.low = is_short ? y.low - 0.1 : std::floor(y.low);
    y.high = is_short ? y.high + 0.1 : std::ceil(y.high);
  } else {
    y.low = std::min(0.0, y.low);
    y.high *= 1.05;
  }
  return {x, y};
}

class PanelDrawing {
 public:
  PanelDrawing(const PlotPanel& panel, double left) : panel_(panel), left_(left) {
    std::tie(x_, y_) = AxesOf(panel);
  }

  std::string Draw() const {
    std::string svg = Frame();
    for (const PlotSeries& series : panel_.series) svg += Curve(series);
    return svg + Legend();
  }

 private:
  double PixelX(double share) const {
    return left_ + kLeft + share * (kPanelWidth - kLeft - kRight);
  }
  double PixelY(double share) const {
    return kPanelHeight - kBottom - share * (kPanelHeight - kTop - kBottom);
  }

  std::string Frame() const {
    std::string svg;
    for (const double tick : x_.Ticks()) {
      const double x = PixelX(x_.Share(tick));
      svg += Line(x, PixelY(0), x, PixelY(1), "class='grid'");
      svg += Text(x, PixelY(0) + 17, x_.Label(tick), "text-anchor='middle'");
    }
    for (const double tick : y_.Ticks()) {
      const double y = PixelY(y_.Share(tick));
      svg += Line(PixelX(0), y, PixelX(1), y, "class='grid'");
      svg += Text(PixelX(0) - 7, y + 4, y_.Label(tick), "text-anchor='end'");
    }
    svg += Line(PixelX(0), PixelY(0), PixelX(1), PixelY(0), "class='axis'");
    svg += Line(PixelX(0), PixelY(0), PixelX(0), PixelY(1), "class='axis'");
    svg += Text(PixelX(0.5), kPanelHeight - 14, panel_.x_label, "text-anchor='middle'");
    const double middle = PixelY(0.5);
    svg += Text(left_ + 16, middle, panel_.y_label,
                absl::StrFormat("text-anchor='middle' transform='rotate(-90 %.1f %.1f)'",
                                left_ + 16, middle));
    return svg + Text(PixelX(0), kTop - 12, panel_.title, "class='panel'");
  }

  std::string Curve(const PlotSeries& series) const {
    std::string path;
    std::string marks;
    for (const auto& point : series.points) {
      if (!IsDrawn(panel_, point)) continue;
      const double x = PixelX(x_.Share(point.first));
      const double y = PixelY(y_.Share(point.second));
      absl::StrAppendFormat(&path, "%s%.1f %.1f", path.empty() ? "M" : " L", x, y);
      marks += Mark(series, x, y);
    }
    if (path.empty()) return "";
    const std::string line =
        absl::StrFormat("<path d='%s' fill='none' stroke='%s' stroke-width='2'%s/>\n", path,
                        series.color, series.dashed ? " stroke-dasharray='5 4'" : "");
    return (series.joined ? line : "") + marks;
  }

  static std::string Mark(const PlotSeries& series, double x, double y) {
    if (series.dashed) return "";
    if (series.hollow) {
      return absl::StrFormat(
          "<circle cx='%.1f' cy='%.1f' r='7' fill='none' stroke='%s' stroke-width='2'/>\n", x, y,
          series.color);
    }
    return absl::StrFormat(
        "<circle cx='%.1f' cy='%.1f' r='%d' fill='%s' stroke='white' stroke-width='1'/>\n", x, y,
        series.joined ? 4 : 5, series.color);
  }

  // In the upper right corner, where curves that fall leave room.
  std::string Legend() const {
    std::string svg;
    double y = PixelY(1) + 14;
    for (const PlotSeries& series : panel_.series) {
      const double x = PixelX(1) - 12;
      svg += Text(x - 14, y + 4, series.label, "text-anchor='end'");
      svg += series.dashed ? Line(x - 8, y, x + 8, y,
                                  absl::StrFormat("stroke='%s' stroke-width='2' "
                                                  "stroke-dasharray='5 4'",
                                                  series.color))
                           : Mark(series, x, y);
      y += 18;
    }
    return svg;
  }

  const PlotPanel& panel_;
  const double left_;
  Axis x_;
  Axis y_;
};

}  // namespace

std::string SvgPlot(const std::string& title, const std::vector<PlotPanel>& panels) {
  const double width = kPanelWidth * static_cast<double>(panels.size());
  std::string svg = absl::StrFormat(
      "<svg xmlns='http://www.w3.org/2000/svg' width='%.0f' height='%.0f' viewBox='0 0 %.0f %.0f' "
      "font-family='sans-serif' font-size='12' fill='#222'>\n"
      "<style>.grid{stroke:#e4e4e4}.axis{stroke:#444}.panel{font-weight:bold}"
      ".title{font-size:16px;font-weight:bold}</style>\n"
      "<rect width='100%%' height='100%%' fill='white'/>\n",
      width, kPanelHeight, width, kPanelHeight);
  svg += Text(kLeft, 24, title, "class='title'");
  for (size_t i = 0; i < panels.size(); ++i) {
    svg += PanelDrawing(panels[i], kPanelWidth * static_cast<double>(i)).Draw();
  }
  return svg + "</svg>\n";
}

}  // namespace wdelta::bench
