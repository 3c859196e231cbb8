#include "core/chart.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kernels/error.h"

extern char** environ;

namespace weft {
namespace {

namespace fs = std::filesystem;

/// A text as gnuplot quotes it: nothing in it is special but the quote, which is doubled, and the end of the line.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out + "'";
}

/// Okabe and Ito's colours, which the colour-blind tell apart.
constexpr std::size_t kStyles = 7;
constexpr const char* kColors[kStyles] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};

/// Titles, labels and the look that every chart has.
std::string head(const std::string& title, const std::string& x_label, const std::string& y_label) {
  std::string styles;
  for (std::size_t i = 0; i < kStyles; ++i)
    styles += fmt::format("set style line {} lc rgb '{}' lw 2\n", i + 1, kColors[i]);
  return fmt::format(
      "set encoding utf8\nset title {} noenhanced\nset xlabel {} noenhanced\nset ylabel {} noenhanced\nset grid ytics "
      "lc rgb '#d0d0d0'\n"
      "set border 3\nset tics nomirror\nset key outside bottom center horizontal noenhanced\n{}set style increment "
      "user\n",
      quoted(title), quoted(x_label), quoted(y_label), styles);
}

/// True where x counts a few things (epochs): half of one would mean nothing.
bool counts(const Chart& chart) {
  constexpr double kFew = 20;
  double low = INFINITY, high = -INFINITY;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      if (x != std::floor(x)) return false;
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  return !chart.log_x && high - low <= kFew;
}

/// A text in double quotes for a data block. It comes out in a script's string, in single quotes.
std::string hover_text(std::string text) {
  for (char& c : text)
    if (c == '"' || c == '\'' || c == '\\' || c == '\n') c = ' ';
  return fmt::format("\"{}\"", text);
}

/// What a point says of itself: "validation loss 0.4213 at epoch 3".
std::string hover_text(const Chart& chart, const Series& series, double x, double y) {
  const std::string& what = series.name.empty() ? chart.y_label : series.name;
  return hover_text(fmt::format("{} {:.5g} at {} {:.6g}", what, y, chart.x_label, x));
}

/// Points that look like `mark` and say their third column where the mouse is over them.
std::string hovering(const std::string& block, const std::string& mark) {
  return fmt::format(", {} using 1:2:3 with labels hypertext point {} notitle", block, mark);
}

/// What the bars of one series say of themselves: "cats, training: 20 pictures". gnuplot lets points alone say
/// something, so each bar holds a column of them. A cluster of n bars is n + 1 bars wide ("gap 1") and its middle
/// stands at its row's number.
std::string hover_points(const BarChart& chart, std::size_t number) {
  constexpr int kPoints = 16;
  const BarChart::Bars& bars = chart.series[number];
  const auto count = static_cast<double>(chart.series.size());
  std::string data;
  for (std::size_t row = 0; row < std::min(bars.values.size(), chart.categories.size()); ++row) {
    if (!std::isfinite(bars.values[row])) continue;
    const double x = static_cast<double>(row) + (static_cast<double>(number) - (count - 1) / 2) / (count + 1);
    const std::string text =
        hover_text(fmt::format("{}, {}: {:.6g} {}", chart.categories[row], bars.name, bars.values[row], chart.y_label));
    for (int i = 1; i <= kPoints; ++i)
      data += fmt::format("{:.9g} {:.9g} {}\n", x, bars.values[row] * i / kPoints, text);
  }
  return data;
}

/// "lines ls 2": the mark in the style of this number.
std::string style_of(Mark mark, std::size_t number) {
  switch (mark) {
    case Mark::points:
      return fmt::format("points ls {} pt 7 ps 0.8", number);
    case Mark::steps:
      return fmt::format("steps ls {}", number);
    case Mark::line:
      break;
  }
  return fmt::format("lines ls {}", number);
}

std::string key_of(const std::string& name) {
  return name.empty() ? "notitle" : "title " + quoted(name) + " noenhanced";
}

/// A file of its own under the system's temporary folder, removed when it goes.
class ScriptFile {
 public:
  explicit ScriptFile(const std::string& text, const std::string& ending = "") {
    path_ = (fs::temp_directory_path() / "weft-chart-XXXXXX").string() + ending;
    const int file = mkstemps(path_.data(), static_cast<int>(ending.size()));
    if (file < 0) fail(fmt::format("chart: cannot write a script in {}", fs::temp_directory_path().string()));
    close(file);
    std::ofstream(path_) << text;
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  ~ScriptFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Runs gnuplot on a script. Returns its exit status; what it says on stderr goes to `complaint`.
int run_gnuplot(const std::string& script, const std::string& complaint) {
  std::vector<std::string> words = {"gnuplot", script};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, complaint.c_str(), O_WRONLY | O_TRUNC, 0600);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "gnuplot", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return 127;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void draw_script(const std::string& script, const fs::path& file, ChartSize size) {
  const std::string ending = file.extension().string();
  if (ending != ".png" && ending != ".svg")
    fail(fmt::format("chart: {} ends neither in .png nor in .svg", file.string()));
  if (!can_draw())
    fail(fmt::format("chart: {} needs gnuplot, which is not on the PATH: apt-get install gnuplot-nox", file.string()));
  const fs::path unfinished = file.string() + ".part";
  const ScriptFile run(
      fmt::format("set terminal {} size {},{} {}\nset output {}\n{}unset output\n",
                  ending == ".png" ? "pngcairo" : "svg", size.width, size.height,
                  ending == ".png" ? "background rgb 'white' font 'sans,11'" : "dynamic background rgb 'white'",
                  quoted(unfinished.string()), script));
  const ScriptFile complaint("");
  const int status = run_gnuplot(run.path(), complaint.path());
  std::error_code error;
  if (status != 0 || !fs::exists(unfinished) || fs::file_size(unfinished, error) == 0) {
    std::stringstream said;
    said << std::ifstream(complaint.path()).rdbuf();
    fs::remove(unfinished, error);
    fail(fmt::format("chart: gnuplot could not draw {}: {}", file.string(), said.str()));
  }
  fs::rename(unfinished, file, error);
  if (error) fail(fmt::format("chart: cannot write {}: {}", file.string(), error.message()));
}

std::string svg_of_script(const std::string& script, ChartSize size) {
  const ScriptFile drawn("", ".svg");
  draw_script(script, drawn.path(), size);
  std::stringstream text;
  text << std::ifstream(drawn.path()).rdbuf();
  const std::string whole = text.str();
  const std::size_t start = whole.find("<svg");  // behind the XML declaration and the document type
  if (start == std::string::npos) fail("chart: gnuplot drew no <svg> element");
  return whole.substr(start);
}

}  // namespace

bool can_draw() {
  const char* path = std::getenv("PATH");
  std::stringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((folder + "/gnuplot").c_str(), X_OK) == 0) return true;
  return false;
}

std::string script_of(const Chart& chart) {
  std::string script = head(chart.title, chart.x_label, chart.y_label);
  // 1e-07, not 0.0000001: a logarithmic axis has few digits to say and many zeros.
  if (chart.log_x) script += "set logscale x\nset format x '%g'\n";
  if (chart.log_y) script += "set logscale y\nset format y '%g'\n";
  if (chart.y_max) script += fmt::format("set yrange [*:{:.9g}]\n", *chart.y_max);
  if (counts(chart)) script += "set xtics 1\n";
  std::string plot;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    std::string data;
    for (const auto& [x, y] : series.points) {
      if (!std::isfinite(x) || !std::isfinite(y) || (chart.log_x && x <= 0) || (chart.log_y && y <= 0)) continue;
      data += fmt::format("{:.9g} {:.9g}", x, y);
      if (chart.hover) data.append(" ").append(hover_text(chart, series, x, y));
      data += "\n";
    }
    if (data.empty()) continue;
    script += fmt::format("$s{} << EOD\n{}EOD\n", i, data);
    plot += fmt::format("{}$s{} using 1:2 with {} {}", plot.empty() ? "plot " : ", ", i,
                        style_of(series.mark, i % kStyles + 1), key_of(series.name));
    if (chart.hover)
      plot += hovering(fmt::format("$s{}", i), fmt::format("pt 7 ps 0.5 lc rgb '{}'", kColors[i % kStyles]));
  }
  if (plot.empty()) fail(fmt::format("chart: \"{}\" has no point to draw", chart.title));
  return script + plot + "\n";
}

std::string script_of(const BarChart& chart) {
  if (chart.series.empty() || chart.categories.empty())
    fail(fmt::format("chart: \"{}\" has no bar to draw", chart.title));
  std::string script =
      head(chart.title, chart.x_label, chart.y_label) +
      "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.9\n"
      "set boxwidth 0.9 relative\nset yrange [0:*]\nset xtics rotate by -30 noenhanced\n$bars << EOD\n";
  for (std::size_t row = 0; row < chart.categories.size(); ++row) {
    std::string name = chart.categories[row];
    for (char& c : name)
      if (c == '"' || c == '\n') c = ' ';
    script += "\"" + name + "\"";
    for (const BarChart::Bars& bars : chart.series) {
      const double value = row < bars.values.size() ? bars.values[row] : std::nan("");
      script += std::isfinite(value) ? fmt::format(" {:.9g}", value) : " NaN";
    }
    script += "\n";
  }
  script += "EOD\n";
  std::string plot = "plot ", hover;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    plot += fmt::format("{}$bars using {}:xtic(1) ls {} {}", i == 0 ? "" : ", ", i + 2, i % kStyles + 1,
                        key_of(chart.series[i].name));
    const std::string points = chart.hover ? hover_points(chart, i) : "";
    if (points.empty()) continue;
    script += fmt::format("$h{} << EOD\n{}EOD\n", i, points);
    hover += hovering(fmt::format("$h{}", i), "pt 5 ps 1.5 lc rgb '#ff000000'");  // wholly transparent, and there
  }
  return script + plot + hover + "\n";
}

std::string svg_of(const Chart& chart, ChartSize size) {
  return svg_of_script(script_of(chart), size);
}

std::string svg_of(const BarChart& chart, ChartSize size) {
  return svg_of_script(script_of(chart), size);
}

void draw(const Chart& chart, const fs::path& file, ChartSize size) {
  draw_script(script_of(chart), file, size);
}

void draw(const BarChart& chart, const fs::path& file, ChartSize size) {
  draw_script(script_of(chart), file, size);
}

}  // namespace weft
