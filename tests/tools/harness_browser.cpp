#include "tests/tools/harness_browser.h"

#include <cstdlib>
#include <regex>
#include <sstream>

#include "tests/tools/harness.h"

namespace weft::tests {

namespace fs = std::filesystem;

fs::path browser() {
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');)
    if (fs::exists(fs::path(folder) / "chromium")) return fs::path(folder) / "chromium";
  return {};
}

std::pair<std::string, std::string> looked_at(const std::string& page, int width, const std::string& expression) {
  const TemporaryFolder folder;
  const std::string report_back =
      "<script>window.onload = function () { var broken = 0;"
      "for (var i of document.images) if (!i.complete || i.naturalWidth == 0) ++broken;"
      "var fits = document.documentElement.scrollWidth <= window.innerWidth;"
      "parent.postMessage('pictures ' + document.images.length + ' broken ' + broken + ' at ' + window.innerWidth +"
      "(fits ? ' fits' : ' too wide') + (" +
      expression + "), '*'); };</script>";
  write_all(folder / "page.html", page + report_back);
  write_all(folder / "frame.html",
            "<!DOCTYPE html><title>nothing came</title><script>onmessage = function (e) { document.title = e.data; };"
            "</script><iframe src=\"page.html\" style=\"border:0;height:900px;width:" +
                std::to_string(width) + "px\"></iframe>");
  const auto result = run_program(
      browser(), {"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
                  "--virtual-time-budget=10000", "--dump-dom", "--user-data-dir=" + (folder / "profile").string(),
                  "file://" + (folder / "frame.html").string()});
  std::smatch title;
  std::string said = "no title";
  if (std::regex_search(result.out, title, std::regex("<title>([^<]*)</title>"))) said = title[1];
  std::string console;
  std::istringstream lines(result.err);
  for (std::string line; std::getline(lines, line);)
    if (line.find(":CONSOLE") != std::string::npos) console += line + "\n";
  return {said, console};
}

}  // namespace weft::tests
