#include "tools/dogs_vs_cats/report_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/metrics.h"
#include "tools/dogs_vs_cats/html.h"
#include "tools/dogs_vs_cats/progress.h"
#include "tools/dogs_vs_cats/report_words.h"

namespace weft::cli {
namespace {

using html::escaped;

std::string option(const ReportData& data, const std::string& name) {
  const auto found = data.config.options.find(name);
  return found == data.config.options.end() ? std::string() : found->second;
}

std::string cards(const ReportData& data) {
  double seconds = 0;
  for (const EpochResult& epoch : data.epochs) seconds += epoch.seconds;
  const auto card = [](const std::string& number, const std::string& what) {
    return fmt::format("<div><b>{}</b><span>{}</span></div>", number, escaped(what));
  };
  const auto& predictions = data.evaluation.predictions;
  const double all_right =
      data.config.multi_label ? exact_match(predictions, data.threshold) : data.evaluation.accuracy;
  const auto pictures = static_cast<double>(predictions.size());
  return "<div class=\"cards\">" + card(fmt::format("{:.2f}%", data.evaluation.accuracy * 100), "validation accuracy") +
         card(fmt::format("{:.0f}", (1 - all_right) * pictures),
              fmt::format("of {} pictures wrong", predictions.size())) +
         card(fmt::format("{:.4f}", data.evaluation.loss), "validation loss") +
         card(seconds < 10 ? fmt::format("{:.1f} s", seconds) : duration(seconds), "training time") + "</div>\n";
}

/// A chart, or a sentence where it cannot be drawn.
template <class AnyChart>
std::string drawn(const AnyChart& chart) {
  if (!can_draw()) return "<p>(This chart needs gnuplot where the report is made.)</p>";
  // A phone shows it almost as large as it is drawn: gnuplot's 12 pixels a letter stay above 10.
  return "<div class=\"chart\">" + svg_of(chart, {.width = 420, .height = 320}) + "</div>";
}

std::string curves(const ReportData& data) {
  if (data.epochs.empty()) return "<p>The run has no log of its epochs.</p>";
  Series train{.name = "training loss", .points = {}}, valid{.name = "validation loss", .points = {}},
      accuracy{.name = "validation accuracy", .points = {}}, f1{.name = "macro F1", .points = {}};
  for (const EpochResult& row : data.epochs) {
    const double epoch = row.epoch + 1;
    train.points.emplace_back(epoch, row.train_loss);
    valid.points.emplace_back(epoch, row.valid_loss);
    accuracy.points.emplace_back(epoch, row.accuracy * 100);
    f1.points.emplace_back(epoch, row.macro_f1 * 100);
  }
  std::string text = "<div class=\"charts\">";
  text += drawn(
      Chart{.title = "Loss", .x_label = "epoch", .y_label = "loss (nats)", .series = {train, valid}, .hover = true});
  text += drawn(
      Chart{.title = "Accuracy and F1", .x_label = "epoch", .y_label = "%", .series = {accuracy, f1}, .hover = true});
  if (data.steps.empty()) return text + "</div>";
  // A few hundred points are what a curve of this size can show, and what a page should carry.
  constexpr std::size_t kMostPoints = 300;
  const std::size_t every = (data.steps.size() + kMostPoints - 1) / kMostPoints;
  Series rate{.name = "", .points = {}}, loss{.name = "", .points = {}};
  double smooth = data.steps.front().loss;
  for (std::size_t i = 0; i < data.steps.size(); ++i) {
    smooth += html::kSmoothing * (data.steps[i].loss - smooth);
    if (i % every != 0 && i + 1 != data.steps.size()) continue;
    rate.points.emplace_back(i, data.steps[i].lr);
    loss.points.emplace_back(i, smooth);
  }
  text += drawn(
      Chart{.title = "Learning rate", .x_label = "step", .y_label = "learning rate", .series = {rate}, .hover = true});
  text += drawn(Chart{.title = "Training loss, smoothed",
                      .x_label = "step",
                      .y_label = "loss (nats)",
                      .series = {loss},
                      .hover = true});
  return text + "</div>";
}

/// What lr-find saw, and what it makes of it.
std::string rates(const ReportData& data) {
  if (data.tried.empty()) return "";
  std::string text = "<h3>The rate, looked for beforehand</h3>\n";
  const std::string given = option(data, "stages").empty() ? option(data, "lr") : "";
  text += fmt::format(
      "<p class=\"lead\">lr-find tried {} rates, a mini-batch each, on a copy. A good one lies where the loss falls, "
      "well before it soars.{}</p>\n",
      data.tried.size(), given.empty() ? "" : fmt::format(" The run itself was given {}.", escaped(given)));
  Chart chart = lr_find_chart(data.tried);
  chart.hover = true;
  text += "<div class=\"charts\">" + drawn(chart) + "<div>";
  const std::vector<NamedRate> suggested = listed(suggest(data.tried));
  if (suggested.empty()) return text + "<p>They are too few to suggest one.</p></div></div>\n";
  std::vector<std::vector<std::string>> rows = {{"suggestion", "rate", "what it is"}};
  for (const NamedRate& rate : suggested)
    rows.push_back({escaped(rate.name), fmt::format("{:.2g}", rate.lr), escaped(rate.what)});
  return text + html::table(rows) + "</div></div>\n";
}

std::string confusion(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {{"it is \\ taken for"}};
  for (const std::string& name : data.config.classes) rows[0].push_back(escaped(name));
  for (std::size_t truth = 0; truth < data.config.classes.size(); ++truth) {
    std::vector<std::string> row = {escaped(data.config.classes[truth])};
    for (std::size_t predicted = 0; predicted < data.config.classes.size(); ++predicted) {
      const std::int64_t count = data.evaluation.confusion[truth][predicted];
      const char* kind = truth == predicted ? "right" : count > 0 ? "wrong" : "";
      row.push_back(fmt::format("<td class=\"{}\">{}</td>", kind, count));
    }
    rows.push_back(std::move(row));
  }
  std::string text = html::table(rows, "confusion by-class");
  const auto pairs = most_confused(data.evaluation.confusion);
  if (pairs.empty()) return text + "<p>No picture was taken for something else.</p>";
  text += "<p>Most confused: ";
  for (std::size_t i = 0; i < std::min<std::size_t>(pairs.size(), 3); ++i)
    text += fmt::format("{}{} taken for {} ({})", i > 0 ? "; " : "",
                        escaped(data.config.classes[static_cast<std::size_t>(pairs[i].truth)]),
                        escaped(data.config.classes[static_cast<std::size_t>(pairs[i].predicted)]), pairs[i].pictures);
  return text + ".</p>";
}

std::string by_class(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {
      {"", "pictures", "found", "missed", "wrongly said", "precision", "recall", "F1"}};
  for (std::size_t i = 0; i < data.config.classes.size(); ++i) {
    const ClassCounts& counts = data.evaluation.counts[i];
    rows.push_back({escaped(data.config.classes[i]), fmt::format("{}", counts.tp + counts.fn),
                    fmt::format("{}", counts.tp), fmt::format("{}", counts.fn), fmt::format("{}", counts.fp),
                    fmt::format("{:.4f}", precision(counts)), fmt::format("{:.4f}", recall(counts)),
                    fmt::format("{:.4f}", f_beta(counts))});
  }
  const auto& counts = data.evaluation.counts;
  rows.push_back({"(mean)", "", "", "", "", fmt::format("{:.4f}", macro_precision(counts)),
                  fmt::format("{:.4f}", macro_recall(counts)), fmt::format("{:.4f}", macro_f_beta(counts))});
  return html::table(rows, "by-class");
}

std::string figure(const ShownPicture& shown) {
  const bool heat = shown.heat.width > 0;
  std::string images =
      fmt::format("<img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\">", html::jpeg_uri(shown.picture),
                  shown.picture.width, shown.picture.height, escaped(shown.verdict));
  if (heat)
    images += fmt::format("<img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"where the network looked\">",
                          html::jpeg_uri(shown.heat), shown.heat.width, shown.heat.height);
  return fmt::format(
      "<figure data-path=\"{}\"><figcaption><b>{} {:.4f}</b> ({})</figcaption><div class=\"pair{}\">{}</div>"
      "<figcaption><small>{}</small></figcaption></figure>\n",
      escaped(shown.path), escaped(shown.said), shown.probability, escaped(shown.verdict), heat ? "" : " alone", images,
      escaped(shown.path.substr(shown.path.find_last_of('/') + 1)));
}

std::string pictures(const ReportData& data) {
  std::string text;
  for (std::size_t label = 0; label < data.classes.size(); ++label) {
    const ShownClass& shown = data.classes[label];
    const auto group = [&](const char* what, const std::vector<ShownPicture>& list) {
      text += fmt::format("<h3>{}: {}</h3>\n", escaped(data.config.classes[label]), what);
      if (list.empty()) text += "<p>None.</p>\n";
      text += fmt::format("<div class=\"pictures\" data-class=\"{}\" data-group=\"{}\">\n",
                          escaped(data.config.classes[label]), what);
      for (const ShownPicture& picture : list) text += figure(picture);
      text += "</div>\n";
    };
    group("most correct", shown.most_correct);
    group("most incorrect", shown.most_incorrect);
    group("most uncertain", shown.most_uncertain);
  }
  return text;
}

std::string inside(const ReportData& data) {
  std::string text;
  if (data.first_filters.width > 0)
    text += fmt::format(
        "<h3>The filters of {}</h3>\n<p class=\"lead\">Each square is a filter as a picture: what it is lightest and "
        "most "
        "colourful for, it answers to most.</p>\n<img class=\"crisp\" alt=\"first filters\" src=\"{}\" width=\"{}\" "
        "height=\"{}\">\n",
        escaped(data.first_layer), html::png_uri(data.first_filters), data.first_filters.width,
        data.first_filters.height);
  if (!data.patches.empty())
    text += fmt::format(
        "<h3>What excites its channels</h3>\n<p class=\"lead\">{} Rows are the channels that tell pictures apart most, "
        "with what excites them most, looked for in {} of {} validation pictures{}.</p>\n",
        data.every_layer
            ? "Each convolution of the network, with the batch norm, the add of a block and the ReLU that follow it, "
              "in "
              "its order. Of those of the same size the last is open; tap another to open it."
            : "Of the convolutions (with the batch norm, the add of a block and the ReLU that follow them) whose "
              "activations are of the same size, the last; `report --layers all` shows each.",
        data.patch_pictures, data.evaluation.predictions.size(),
        data.patch_pictures < std::ssize(data.evaluation.predictions) ? ", spread evenly over the classes" : "");
  for (const ShownPatches& layer : data.patches) {
    std::string channels;
    for (const std::int64_t channel : layer.chosen)
      channels += fmt::format("{}{}", channels.empty() ? "" : ", ", channel);
    text += fmt::format(
        "<details data-layer=\"{0}\"{1}><summary>{0} ({2} x {3} places, {4} channels)</summary>\n<p class=\"lead\">A "
        "place "
        "of this layer sees {5} x {5} pixels. Rows: channels {6}.</p>\n<div class=\"wide\"><img alt=\"patches\" "
        "src=\"{7}\" width=\"{8}\" height=\"{9}\"></div></details>\n",
        escaped(layer.layer), layer.last_of_size ? " open" : "", layer.height, layer.width, layer.channels, layer.field,
        channels, html::jpeg_uri(layer.sheet), layer.sheet.width, layer.sheet.height);
  }
  return text;
}

std::string data_set(const ReportData& data) {
  BarChart balance{.title = "Pictures of each class",
                   .x_label = data.config.multi_label ? "label" : "class",
                   .y_label = "pictures",
                   .categories = data.config.classes,
                   .series = {},
                   .hover = true};
  std::vector<std::vector<std::string>> rows = {{"class", "training", "validation"}};
  BarChart::Bars training{"training", {}}, validation{"validation", {}};
  for (std::size_t i = 0; i < data.config.classes.size(); ++i) {
    training.values.push_back(static_cast<double>(data.training_pictures[i]));
    validation.values.push_back(static_cast<double>(data.validation_pictures[i]));
    rows.push_back({escaped(data.config.classes[i]), fmt::format("{}", data.training_pictures[i]),
                    fmt::format("{}", data.validation_pictures[i])});
  }
  balance.series = {training, validation};
  std::string text = "<div class=\"charts\">" + drawn(balance) + "<div>" + html::table(rows) + "</div></div>\n";
  if (!data.audited) return text;
  constexpr std::size_t kMostFiles = 50;
  if (data.odd_files.empty()) return text + "<p>No file is odd or cannot be used.</p>\n";
  std::vector<std::vector<std::string>> files = {{"file", "used", "why it is here"}};
  for (std::size_t i = 0; i < std::min(data.odd_files.size(), kMostFiles); ++i)
    files.push_back(
        {escaped(data.odd_files[i].path), data.odd_files[i].usable ? "yes" : "no", escaped(data.odd_files[i].reason)});
  text += fmt::format("<h3>{} odd {}</h3>\n", data.odd_files.size(), data.odd_files.size() == 1 ? "file" : "files");
  text += html::table(files);
  if (data.odd_files.size() > kMostFiles)
    text += fmt::format("<p>The first {}; <code>dogs_vs_cats audit</code> lists them all.</p>\n", kMostFiles);
  return text;
}

std::string settings(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {{"option", "value"}};
  for (const auto& [name, value] : data.config.options) rows.push_back({escaped(name), escaped(value)});
  rows.push_back({"written by", escaped("weft " + data.config.version)});
  rows.push_back({"report computed on", escaped(data.computed_on)});
  return "<pre>" + escaped(data.config.command) + "</pre>\n" + html::table(rows);
}

}  // namespace

std::string report_page(const ReportData& data) {
  const std::string title = fmt::format("{}: {}", data.config.arch, joined(data.config.classes));
  std::string body = fmt::format("<h1>{}</h1>\n<p>{}</p>\n", escaped(title), escaped(in_words(data))) + cards(data);
  body +=
      "<nav><a href=\"#training\">Training</a><a href=\"#confusion\">Confusion</a><a href=\"#pictures\">Pictures</a>"
      "<a href=\"#inside\">Inside</a><a href=\"#data\">Data</a><a href=\"#layers\">Layers</a>"
      "<a href=\"#settings\">Settings</a></nav>\n";
  body += html::section("training", "How it learned", "Point at a curve, or tap it, for its values.",
                        curves(data) + rates(data));
  body += data.config.multi_label
              ? html::section("confusion", "What it says and what it misses",
                              fmt::format("A label is said where its probability is above {:.2f}.", data.threshold),
                              by_class(data))
              : html::section("confusion", "What it takes for what",
                              "Rows say what a picture is, columns what the network took it for.",
                              confusion(data) + by_class(data));
  const std::string heat =
      data.heat_layer.empty()
          ? std::string()
          : fmt::format(" The second picture shows where it looked for that class (Grad-CAM over {}).",
                        data.heat_layer);
  body += html::section("pictures", "What it is sure of, and what it gets wrong",
                        "Above each picture: what the network took it for, and how probable it held that." + heat,
                        pictures(data));
  if (data.first_filters.width > 0 || !data.patches.empty())
    body += html::section(
        "inside", "What its layers answer to",
        "Its first filters, and for some channels of its layers the parts of validation pictures that excite them "
        "most.",
        inside(data));
  body += html::section("data", "The data set", "How many pictures there are, and which files deserve a look.",
                        data_set(data));
  body += html::section("layers", "The network", "Layer by layer: output, parameters, operations for one picture.",
                        "<pre>" + escaped(data.layers) + "</pre>");
  body += html::section("settings", "How to get this again", "The command as it was typed, and every setting.",
                        settings(data));
  return html::page(title, body);
}

}  // namespace weft::cli
