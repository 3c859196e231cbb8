#include "tools/dogs_vs_cats/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/transform_width.hpp>

namespace weft::cli::html {
namespace {

// Columns give way to rows on a phone; nothing is wider than the screen but what scrolls on its own. A table does, and
// none of its numbers and heads is broken; so does a chart where its letters would become smaller than 10 pixels.
constexpr std::string_view kStyle = R"css(
:root { color-scheme: light; --ink: #1d2433; --soft: #5c6780; --line: #d9dfe8; --paper: #ffffff; --tint: #f4f6fa; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p.lead { color: var(--soft); margin: 0 0 .75rem; max-width: 46rem; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.cards div { background: var(--tint); border-radius: .5rem; padding: .6rem 1rem; flex: 1 1 8rem; }
.cards b { display: block; font-size: 1.5rem; line-height: 1.2; }
.cards span { color: var(--soft); font-size: .85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
.charts > * { min-width: 0; }
.charts svg { width: 100%; height: auto; display: block; }
.chart { overflow-x: auto; }
.chart svg { min-width: 22.5rem; max-width: 34rem; }
.chart [onmousemove] { pointer-events: none; }
.chart .here use { color: var(--ink); stroke-width: 2px; stroke: var(--ink); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1rem; }
figure { margin: 0; }
figure .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
figure .pair.alone { grid-template-columns: 1fr; }
figure img { width: 100%; height: auto; display: block; border-radius: 3px; }
figcaption { font-size: .85rem; }
figcaption small { color: var(--soft); display: block; }
.wide { overflow-x: auto; }
.wide img { max-width: 100%; height: auto; image-rendering: auto; }
summary { font-weight: 600; margin: 1rem 0 .25rem; padding: .25rem 0; cursor: pointer; }
img.crisp { image-rendering: pixelated; width: min(100%, 34rem); height: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
@media (max-width: 30rem) { th, td { padding: .25rem .35rem; } }
td.prose { text-align: left; white-space: normal; overflow-wrap: normal; min-width: 14rem; }
table.by-class :first-child:is(th, td) { position: sticky; left: 0; background: var(--paper); }
table.confusion td.right { background: #d8efe3; font-weight: 600; }
table.confusion td.wrong { background: #fbe3d6; font-weight: 600; }
pre { background: var(--tint); padding: .75rem; overflow-x: auto; font-size: .75rem; line-height: 1.35; border-radius: .5rem; }
nav { font-size: .9rem; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
#values { position: fixed; pointer-events: none; background: var(--ink); color: #fff; padding: .2rem .5rem;
  border-radius: .25rem; font-size: .8rem; max-width: 80vw; visibility: hidden; z-index: 1; }
)css";

// What gnuplot's SVGs call: the values of a point, beside it, inside the window. The marks that call it are smaller
// than a finger and lie closer than a mouse is steered: the chart takes all movements and hands each to the nearest
// mark.
constexpr std::string_view kScript = R"js(
var gnuplot_svg = {
  showHypertext: function (event, text) {
    var box = document.getElementById('values');
    box.textContent = text;
    var left = Math.min(event.clientX + 12, window.innerWidth - box.offsetWidth - 4);
    box.style.left = Math.max(left, 4) + 'px';
    box.style.top = Math.max(event.clientY - box.offsetHeight - 8, 4) + 'px';
    box.style.visibility = 'visible';
  },
  hideHypertext: function () { document.getElementById('values').style.visibility = 'hidden'; }
};
function answerFromNearestMark(svg) {
  const REACH = 32;
  const marks = [...svg.querySelectorAll('[onmousemove]')];
  let here = null;
  function choose(mark) {
    if (here) here.classList.remove('here');
    here = mark;
    if (here) here.classList.add('here');
    else gnuplot_svg.hideHypertext();
  }
  function point(event) {
    let nearest = null, least = REACH;
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      const away = Math.hypot(event.clientX - (box.left + box.right) / 2, event.clientY - (box.top + box.bottom) / 2);
      if (away < least) [nearest, least] = [mark, away];
    }
    choose(nearest);
    if (nearest) nearest.dispatchEvent(new MouseEvent('mousemove', {clientX: event.clientX, clientY: event.clientY}));
  }
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointercancel', () => choose(null));
  // A finger leaves as it is lifted, and its tap asked for the values: they stay until it taps elsewhere.
  svg.addEventListener('pointerleave', (event) => { if (event.pointerType === 'mouse') choose(null); });
  document.addEventListener('pointerdown', (event) => { if (here && !svg.contains(event.target)) choose(null); }, true);
}
document.addEventListener('DOMContentLoaded', () => {
  for (const svg of document.querySelectorAll('.chart svg')) answerFromNearestMark(svg);
});
)js";

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string data_uri(std::span<const std::uint8_t> bytes, std::string_view type) {
  using namespace boost::archive::iterators;
  using Base64 = base64_from_binary<transform_width<std::vector<std::uint8_t>::const_iterator, 6, 8>>;
  // Whole groups of three bytes, so that the iterator reads nothing else.
  std::vector<std::uint8_t> whole((bytes.size() + 2) / 3 * 3);
  std::ranges::copy(bytes, whole.begin());
  const std::size_t missing = whole.size() - bytes.size();
  std::string text(Base64(whole.cbegin()), Base64(whole.cend()));
  text.replace(text.size() - missing, missing, missing, '=');
  return fmt::format("data:{};base64,{}", type, text);
}

std::string jpeg_uri(const Image& image, int quality) {
  return data_uri(encode_jpeg(image, quality), "image/jpeg");
}

std::string png_uri(const Image& image) {
  return data_uri(encode_png(image), "image/png");
}

std::string section(std::string_view id, std::string_view heading, std::string_view lead, std::string_view body) {
  return fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"lead\">{}</p>\n{}\n</section>\n", id,
                     escaped(heading), escaped(lead), body);
}

std::string table(const std::vector<std::vector<std::string>>& rows, std::string_view css_class) {
  std::string out = fmt::format("<div class=\"wide\"><table class=\"{}\">\n", css_class);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    out += "<tr>";
    for (const std::string& cell : rows[i]) {
      const bool whole = cell.starts_with("<td");
      // What is longer than a column's head or a rate is a sentence, and may go over several lines.
      constexpr std::size_t kLongestInOneLine = 30;
      const char* tag = i == 0 ? "th" : cell.size() > kLongestInOneLine ? "td class=\"prose\"" : "td";
      out += whole ? cell : fmt::format("<{}>{}</{:.2}>", tag, cell, tag);
    }
    out += "</tr>\n";
  }
  return out + "</table></div>";
}

std::string page(std::string_view title, std::string_view body) {
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += "<link rel=\"icon\" href=\"data:,\">\n";  // so that no browser asks for one
  out.append("<title>").append(escaped(title)).append("</title>\n<style>").append(kStyle).append("</style>\n");
  out.append("<script>").append(kScript).append("</script>\n</head>\n<body>\n<div id=\"values\"></div>\n");
  return out.append(body).append("</body>\n</html>\n");
}

}  // namespace weft::cli::html
