#include "core/chart.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/temporary_folder.h"

namespace weft::test {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Chart rising() {
  return {.title = "It's a \"test\" of a_b",
          .x_label = "learning rate",
          .y_label = "loss",
          .series = {{"seen", {{1e-3, 2}, {1e-2, std::nan("")}, {1e-1, 1}}}, {"", {{1e-2, 1.5}}, Mark::points}},
          .log_x = true};
}

TEST_CASE("chart: the script holds every finite point, quoted texts and the axes") {
  const std::string script = script_of(rising());
  for (const char* part :
       {"set title 'It''s a \"test\" of a_b' noenhanced", "set xlabel 'learning rate'", "set ylabel 'loss'",
        "set logscale x", "0.001 2\n0.1 1\nEOD", "title 'seen'", "with points", "notitle"})
    CHECK_MESSAGE(script.find(part) != std::string::npos, part);
  CHECK(script.find("nan") == std::string::npos);
  CHECK(script.find("logscale y") == std::string::npos);
  Chart below = rising();
  below.series[0].points.emplace_back(-1, 7);  // no place on a logarithmic axis
  CHECK(script_of(below) == script);
}

TEST_CASE("chart: bars say their categories and values; one that is not known is left out") {
  BarChart bars{.title = "bars",
                .x_label = "kind",
                .y_label = "GB/s",
                .categories = {"one", "two"},
                .series = {{"ours", {1, 2.5}}, {"theirs", {std::nan(""), 3}}}};
  const std::string script = script_of(bars);
  CHECK(script.find("\"one\" 1 NaN\n\"two\" 2.5 3\nEOD") != std::string::npos);
  CHECK(script.find("title 'theirs'") != std::string::npos);
  CHECK(script.find("set xlabel 'kind'") != std::string::npos);
  CHECK(script.find("hypertext") == std::string::npos);
  // Where they hover, each says its value from its foot to its top: the two of a cluster stand a third apart.
  bars.hover = true;
  bars.series[0].name = "it's \"ours\"";
  const std::string hovering = script_of(bars);
  CHECK(hovering.find("\n-0.166666667 1 \"one, it s  ours : 1 GB/s\"\n") != std::string::npos);
  CHECK(hovering.find("\n0.833333333 1.25 \"two, it s  ours : 2.5 GB/s\"\n") != std::string::npos);
  CHECK(hovering.find("\n1.16666667 3 \"two, theirs: 3 GB/s\"\n") != std::string::npos);
  CHECK(hovering.find("one, theirs") == std::string::npos);
  if (!can_draw()) return;
  const std::string svg = svg_of(bars);
  for (const char* part :
       {"showHypertext(evt,'one, it s  ours : 1 GB/s')", "showHypertext(evt,'two, theirs: 3 GB/s')", ">kind<", "GB/s"})
    CHECK_MESSAGE(svg.find(part) != std::string::npos, part);
}

TEST_CASE("chart: nothing to draw is an error that names the chart") {
  Chart chart = rising();
  chart.series = {{"empty", {{0, std::nan("")}}}};
  CHECK(error_of([&] { script_of(chart); }) == "chart: \"It's a \"test\" of a_b\" has no point to draw");
  CHECK(error_of([] {
          script_of(BarChart{.title = "none", .x_label = "", .y_label = "", .categories = {}, .series = {}});
        }) == "chart: \"none\" has no bar to draw");
}

TEST_CASE("chart: PNG and SVG files of the size that was asked for") {
  if (!can_draw()) {
    MESSAGE("skipped: no gnuplot");
    return;
  }
  const TemporaryFolder folder;
  draw(rising(), folder / "it's.png", {.width = 320, .height = 200});
  const std::string png = text_of(folder / "it's.png");
  REQUIRE(png.size() > 24);
  CHECK(png.substr(1, 3) == "PNG");
  CHECK(png.substr(16, 8) == std::string("\0\0\1\x40\0\0\0\xC8", 8));  // 320 x 200
  draw(rising(), folder / "a.svg");
  const std::string svg = text_of(folder / "a.svg");
  for (const char* part : {"<svg", "learning rate", "loss", "seen", "It's a"})
    CHECK_MESSAGE(svg.find(part) != std::string::npos, part);
  CHECK(folder.names().size() == 2);
}

TEST_CASE("chart: a hovering one says each point's values in words, also where they hold quotes") {
  Chart chart = rising();
  chart.hover = true;
  chart.series[0].name = "the 'true' loss";
  const std::string script = script_of(chart);
  CHECK(script.find("0.001 2 \"the  true  loss 2 at learning rate 0.001\"\n") != std::string::npos);
  CHECK(script.find("with labels hypertext") != std::string::npos);
  CHECK(script_of(rising()).find("hypertext") == std::string::npos);
  if (!can_draw()) return;
  const std::string svg = svg_of(chart);
  CHECK(svg.starts_with("<svg"));
  CHECK(svg.find("gnuplot_svg.showHypertext(evt,'the  true  loss 2 at learning rate 0.001')") != std::string::npos);
  CHECK(svg.find("gnuplot_svg.hideHypertext()") != std::string::npos);
}

TEST_CASE("chart: another ending, a folder that is not there and a missing gnuplot are one line each") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { draw(rising(), folder / "a.pdf"); }).find("ends neither in .png nor in .svg") !=
        std::string::npos);
  if (can_draw()) {
    const std::string unwritable = error_of([&] { draw(rising(), folder / "none/a.png"); });
    CHECK(unwritable.find("none/a.png") != std::string::npos);
    CHECK(folder.names().empty());
  }
  const char* const before = std::getenv("PATH");
  const std::string path = before == nullptr ? "" : before;
  setenv("PATH", folder.path().c_str(), 1);
  CHECK(!can_draw());
  CHECK(error_of([&] { draw(rising(), folder / "a.png"); }).find("apt-get install gnuplot-nox") != std::string::npos);
  setenv("PATH", path.c_str(), 1);
}

}  // namespace
}  // namespace weft::test
