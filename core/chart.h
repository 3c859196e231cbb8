#pragma once
// Charts as PNG or SVG files, drawn by gnuplot: the one header between Weft and whatever draws. It stands in core/, the
// lowest floor that has files and processes, so that nn/ (learning-rate curves), tools/ and bench/ can all use it.

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft {

enum class Mark { line, points, steps };

/// Points of one colour. A NaN or infinite point is left out.
struct Series {
  std::string name;  ///< in the key; empty: not in it
  std::vector<std::pair<double, double>> points;
  Mark mark = Mark::line;
};

/// Curves or points over a numeric axis. A logarithmic axis leaves out what is not above 0.
struct Chart {
  std::string title, x_label, y_label;  ///< labels with their unit: "learning rate", "GB/s"
  std::vector<Series> series;
  bool log_x = false, log_y = false;
  /// Where the vertical axis ends, so that a few values far above do not press the others flat: what lies above is cut
  /// off there. None: above the largest value.
  std::optional<double> y_max = std::nullopt;
  /// In an SVG each point says its values where the mouse is over it, through the page's function
  /// gnuplot_svg.showHypertext(event, text) and its counterpart hideHypertext().
  bool hover = false;
};

/// A group of bars for each category, one bar a series. A NaN value has no bar.
struct BarChart {
  std::string title, x_label, y_label;  ///< what the categories are ("class"), and the values' unit
  std::vector<std::string> categories;
  struct Bars {
    std::string name;
    std::vector<double> values;  ///< by category
  };
  std::vector<Bars> series;
  bool hover = false;  ///< as a Chart's: each bar says its value, along its whole height
};

struct ChartSize {
  int width = 960, height = 600;  ///< pixels
};

/// True where gnuplot is on the PATH.
bool can_draw();

/// Draws to `file`, whose ending says how: .png or .svg. The file appears whole or not at all. Throws Error where
/// gnuplot is missing (it says which package brings it) or fails, there is nothing to draw, or the ending is another
/// one.
void draw(const Chart& chart, const std::filesystem::path& file, ChartSize size = {});
void draw(const BarChart& chart, const std::filesystem::path& file, ChartSize size = {});

/// The chart as the text of an <svg> element, to stand in a page. Throws Error as draw() does.
std::string svg_of(const Chart& chart, ChartSize size = {});
std::string svg_of(const BarChart& chart, ChartSize size = {});

/// The gnuplot script that draw() runs, without the lines that name the output. For tests.
std::string script_of(const Chart& chart);
std::string script_of(const BarChart& chart);

}  // namespace weft
