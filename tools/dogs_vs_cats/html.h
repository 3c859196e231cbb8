#pragma once
// What a report is written with: HTML without any file or network beside it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/image.h"

namespace weft::cli::html {

/// A step's share of a smoothed curve: about the last 20 steps have a say.
inline constexpr double kSmoothing = 0.05;

/// A text as it stands between tags and in attributes.
std::string escaped(std::string_view text);
/// "data:image/jpeg;base64,...": a picture inside the page.
std::string data_uri(std::span<const std::uint8_t> bytes, std::string_view type);
std::string jpeg_uri(const Image& image, int quality = 85);
std::string png_uri(const Image& image);

/// <section> with a heading, and a sentence that says how to read it.
std::string section(std::string_view id, std::string_view heading, std::string_view lead, std::string_view body);
/// A table whose first row is its head. Cells are HTML, or a whole <td>. It scrolls where it is wider than the page;
/// its numbers stay in one line, and only long texts are wrapped. css_class: "by-class" keeps the first column in
/// sight.
std::string table(const std::vector<std::vector<std::string>>& rows, std::string_view css_class = "");
/// The page around its sections: title, style, and the function that shows a chart's values.
std::string page(std::string_view title, std::string_view body);

}  // namespace weft::cli::html
