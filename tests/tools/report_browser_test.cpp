// report.html in a browser, as wide as a desk and as narrow as a phone: pictures load, numbers can be read, and a
// finger gets a chart's values.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

#include "core/chart.h"
#include "tests/tools/harness.h"
#include "tests/tools/harness_browser.h"
#include "tests/tools/harness_report.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

/// Ten classes with long names and two-digit counts: a table that no phone is wide enough for.
const std::string& ten_classes() {
  static const std::string page = [] {
    const TemporaryFolder folder;
    const fs::path picture = fs::directory_iterator(drawn_sample() / "valid/cats")->path();
    for (const char* name : {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"})
      for (int i = 0; i < 14; ++i) {
        const fs::path to = folder / (i < 2 ? "data/train" : "data/valid") / name;
        fs::create_directories(to);
        fs::copy_file(picture, to / fmt::format("{}{}", i, picture.extension().string()));
      }
    const std::string run = (folder / "run").string();
    const auto trained = dogs_vs_cats({"train", (folder / "data").string(), "--out", run, "--arch", "lenet", "--size",
                                       "32", "--batch", "10", "--epochs", "1", "--device", "cpu"});
    REQUIRE_MESSAGE(trained.status == 0, trained.err);
    const auto made = dogs_vs_cats({"report", run, "--device", "cpu", "--pictures", "1"});
    REQUIRE_MESSAGE(made.status == 0, made.err);
    return read_all(folder / "run/report.html");
  }();
  return page;
}

/// Counts cells that are a head or a number, and those of them that are on more than one line.
const char* const kCells = R"js((function () {
  let cells = 0, broken = [];
  for (const cell of document.querySelectorAll('th, td')) {
    const text = cell.textContent.trim();
    if (text === '' || (cell.tagName !== 'TH' && !/^[-+0-9.e%]+$/.test(text))) continue;
    const range = document.createRange();
    range.selectNodeContents(cell);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    ++cells;
    if (lines.size !== 1) broken.push(text);
  }
  return (cells > 30 ? ' many cells' : ' ' + cells + ' cells') + ', on two lines: [' + broken.join(' ') + ']';
})())js";

/// The size of the smallest letters in a chart, as they are on the screen.
const char* const kLetters = R"js((function () {
  let least = 1e9;
  for (const text of document.querySelectorAll('svg tspan')) {
    const seen = text.parentNode.getScreenCTM();
    least = Math.min(least, parseFloat(getComputedStyle(text).fontSize) * Math.hypot(seen.a, seen.b));
  }
  return least >= 10 && least < 20 ? ' letters fit' : ' letters ' + least;
})())js";

/// Points at marks of each chart with a mouse and with a finger that misses them by some pixels, and says what is
/// wrong.
const char* const kHover = R"js((function () {
  const values = document.getElementById('values');
  const shown = () => getComputedStyle(values).visibility === 'visible';
  const said = (mark) => mark.getAttribute('onmousemove').match(/evt,'(.*)'/)[1];
  const at = (mark) => { const b = mark.getBoundingClientRect(); return [(b.left + b.right) / 2, (b.top + b.bottom) / 2]; };
  const wrong = [];
  function act(type, x, y, kind) {
    const target = document.elementFromPoint(x, y);
    target.dispatchEvent(new PointerEvent(type, {bubbles: true, clientX: x, clientY: y, pointerType: kind}));
    return target.closest('svg');
  }
  const charts = document.querySelectorAll('.chart svg');
  for (const svg of charts) {
    const marks = [...svg.querySelectorAll('[onmousemove]')];
    svg.scrollIntoView({block: 'center'});
    for (const mark of [marks[0], marks[marks.length >> 1], marks[marks.length - 1]]) {
      const [x, y] = at(mark);
      const here = marks.filter((other) => Math.hypot(at(other)[0] - x, at(other)[1] - y) < 0.5).map(said);
      act('pointermove', x, y, 'mouse');
      if (!shown() || !here.includes(values.textContent)) wrong.push('mouse: ' + said(mark));
      const box = values.getBoundingClientRect();
      if (box.left < 0 || box.right > innerWidth || box.top < 0) wrong.push('outside: ' + said(mark));
      svg.dispatchEvent(new PointerEvent('pointerleave', {pointerType: 'mouse'}));
      if (shown()) wrong.push('stays: ' + said(mark));
      act('pointerdown', x, y + 12, 'touch');
      svg.dispatchEvent(new PointerEvent('pointerleave', {pointerType: 'touch'}));
      if (!shown() || !marks.map(said).includes(values.textContent)) wrong.push('finger: ' + said(mark));
      document.body.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true, pointerType: 'touch'}));
      if (shown()) wrong.push('stays after a tap elsewhere: ' + said(mark));
    }
  }
  return ' charts ' + charts.length + ', wrong: [' + wrong.join('; ') + ']';
})())js";

/// Whether the table that is wider than a phone scrolls on its own to its end, its first column in sight.
const char* const kScrolls = R"js((function () {
  const box = document.querySelector('table.confusion').parentNode;
  const scrolls = box.scrollWidth > box.clientWidth;
  box.scrollLeft = 1000;
  const first = box.querySelector('tr:last-child td').getBoundingClientRect();
  const last = box.querySelector('tr:last-child td:last-child').getBoundingClientRect();
  return (scrolls ? ' scrolls' : ' does not scroll') + (first.left >= 0 ? ', named' : ', nameless') +
      (last.right <= innerWidth ? ', to its end' : ', cut off');
})())js";

bool no_browser() {
  if (browser().empty()) MESSAGE("skipped: no chromium on the PATH");
  return browser().empty();
}

}  // namespace

TEST_CASE(
    "report: a browser shows it at 1280 and at 400 pixels: pictures, numbers, letters and values, without an error") {
  if (no_browser()) return;
  const bool charts = weft::can_draw();
  for (const std::string* page : {&reported().page, &ten_classes()}) {
    for (const int width : {1280, 400}) {
      CAPTURE(width);
      std::string expression = kCells, expected = " fits many cells, on two lines: []";
      if (charts) {
        expression.append(" + ").append(kLetters).append(" + ").append(kHover);
        expected += page == &reported().page ? " letters fit charts 6, wrong: []" : " letters fit charts 5, wrong: []";
      }
      const bool wide = page == &ten_classes() && width == 400;
      if (wide) expression.append(" + ").append(kScrolls);
      if (wide) expected += " scrolls, named, to its end";
      const auto [said, console] = looked_at(*page, width, expression);
      CHECK(said ==
            "pictures " + std::to_string(data_uris(*page).size()) + " broken 0 at " + std::to_string(width) + expected);
      CHECK(console == "");
    }
  }
  const auto [broken, console] = looked_at(
      "<img src=\"data:image/png;base64,AAAA\"><script>nothing.at_all</script><div style=\"width:500px\">x</div>", 400);
  CHECK(broken == "pictures 1 broken 1 at 400 too wide");
  CHECK(console.find("nothing is not defined") != std::string::npos);
}
