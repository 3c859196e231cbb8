#include "data/label_list.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/files.h"
#include "data/folder_parts.h"
#include "data/parallel.h"
#include "kernels/error.h"

namespace weft {

namespace fs = std::filesystem;

namespace {

// The fields of a line. `where` begins an error's text.
std::vector<std::string> fields_of(const std::string& line, const std::string& where) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        fields.back() += line[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (quoted) fail(fmt::format("{}: a double quote is opened and not closed", where));
  return fields;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// The folder's part that a path begins with, or "".
std::string part_of(const std::string& path) {
  std::string first = fs::path(path).begin() == fs::path(path).end() ? "" : fs::path(path).begin()->string();
  return first == "train" ? "train" : first == "valid" || first == "val" ? "valid" : "";
}

struct Listed {
  Sample sample;
  std::vector<int> labels;
  std::string as_written;
};

}  // namespace

std::vector<LabelledPath> read_label_list(const fs::path& file) {
  std::istringstream text(read_file(file));
  std::vector<LabelledPath> result;
  std::map<std::string, int> seen;
  std::string line;
  bool head = true;
  for (int number = 1; std::getline(text, line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // a byte order mark
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::string where = fmt::format("{}:{}", file.string(), number);
    std::vector<std::string> fields = fields_of(line, where);
    if (head) {
      if (fields != std::vector<std::string>{"path", "labels"})
        fail(fmt::format("{}: the first line is \"{}\"; \"path,labels\" is wanted", where, line));
      head = false;
      continue;
    }
    if (fields.size() != 2)
      fail(
          fmt::format("{}: {} fields; a path and its labels are wanted, with one comma between (a path with a comma "
                      "goes into double quotes, labels are apart by spaces)",
                      where, fields.size()));
    if (fields[0].empty()) fail(fmt::format("{}: no path before the comma", where));
    auto [before, is_new] = seen.emplace(fields[0], number);
    if (!is_new) fail(fmt::format("{}: {} is listed in line {} already", where, fields[0], before->second));
    std::vector<std::string> labels = words_of(fields[1]);
    for (size_t i = 0; i < labels.size(); ++i) {
      if (std::find(labels.begin(), labels.begin() + std::ptrdiff_t(i), labels[i]) !=
          labels.begin() + std::ptrdiff_t(i))
        fail(fmt::format("{}: the label {} stands there twice", where, labels[i]));
    }
    result.push_back({fields[0], std::move(labels), number});
  }
  if (result.empty()) fail(fmt::format("{}: lists no pictures", file.string()));
  return result;
}

MultiLabelPictures::MultiLabelPictures(std::vector<Sample> samples, std::vector<std::vector<int>> labels, int size,
                                       Transforms transform, Normalization normalization, bool augmented,
                                       bool fast_decode)
    : PictureList(std::move(samples), size, std::move(transform), std::move(normalization), augmented, fast_decode),
      labels_(std::move(labels)) {
  WEFT_CHECK(int64_t(labels_.size()) == PictureList::size(), "a set of labels for each picture");
}

bool has_label_list(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / kLabelsFile, ignored);
}

LabelledPictures::LabelledPictures(const fs::path& folder, ImageFolderOptions options) {
  check_options(options);
  const fs::path file = folder / kLabelsFile;
  const std::vector<LabelledPath> list = read_label_list(file);
  std::set<std::string> names(options.classes.begin(), options.classes.end());
  for (const LabelledPath& one : list) {
    for (const std::string& label : one.labels) {
      if (!names.contains(label) && !options.classes.empty())
        fail(fmt::format("{}:{}: \"{}\" is not one of the labels {}", file.string(), one.line, label,
                         fmt::join(options.classes, ", ")));
      names.insert(label);
    }
  }
  classes_ = options.classes.empty() ? std::vector<std::string>(names.begin(), names.end()) : options.classes;
  if (classes_.size() < 2)
    fail(fmt::format("{}: at least two labels are needed, and {} occur{}", file.string(), classes_.size(),
                     classes_.empty() ? "" : fmt::format(" ({})", fmt::join(classes_, ", "))));

  std::vector<Listed> all;
  std::map<std::vector<int>, int> combinations;
  for (const LabelledPath& one : list) {
    Listed listed;
    listed.sample.path = (folder / one.path).string();
    listed.as_written = one.path;
    std::error_code ignored;
    if (!fs::is_regular_file(listed.sample.path, ignored))
      fail(fmt::format("{}:{}: {} is not there", file.string(), one.line, listed.sample.path));
    for (const std::string& label : one.labels)
      listed.labels.push_back(int(std::find(classes_.begin(), classes_.end(), label) - classes_.begin()));
    std::sort(listed.labels.begin(), listed.labels.end());
    listed.sample.label = combinations.emplace(listed.labels, int(combinations.size())).first->second;
    all.push_back(std::move(listed));
  }
  std::sort(all.begin(), all.end(), [](const Listed& a, const Listed& b) { return a.sample.path < b.sample.path; });
  std::vector<std::string> reasons(all.size());
  for_each_in_parallel(int64_t(all.size()),
                       [&](int64_t i) { reasons[size_t(i)] = why_unusable(all[size_t(i)].sample.path); });
  std::vector<Listed> usable;
  std::vector<std::string> unusable;
  for (size_t i = 0; i < all.size(); ++i) {
    if (reasons[i].empty()) {
      usable.push_back(std::move(all[i]));
    } else {
      unusable.push_back(reasons[i]);
    }
  }
  warn_of_unusable(options, folder, unusable);
  unusable_ = int64_t(unusable.size());

  bool parted = std::all_of(usable.begin(), usable.end(), [](auto& one) { return !part_of(one.as_written).empty(); });
  std::vector<bool> to_valid(usable.size());
  if (parted && options.valid_fraction < 1) {
    for (size_t i = 0; i < usable.size(); ++i) to_valid[i] = part_of(usable[i].as_written) == "valid";
  } else if (parted) {  // evaluated whole unless there is a valid/
    bool has_valid =
        std::any_of(usable.begin(), usable.end(), [](auto& one) { return part_of(one.as_written) == "valid"; });
    for (size_t i = 0; i < usable.size(); ++i) to_valid[i] = !has_valid || part_of(usable[i].as_written) == "valid";
  } else {
    std::vector<std::string> paths;
    for (const Listed& one : usable) paths.push_back(one.sample.path);
    for (size_t i : chosen_for_validation(paths, folder, options)) to_valid[i] = true;
  }
  std::vector<Sample> samples[2];
  std::vector<std::vector<int>> labels[2];
  for (size_t i = 0; i < usable.size(); ++i) {
    samples[to_valid[i]].push_back(std::move(usable[i].sample));
    labels[to_valid[i]].push_back(std::move(usable[i].labels));
  }
  if (samples[1].empty() || (samples[0].empty() && options.valid_fraction < 1))
    fail(fmt::format("{}: no usable picture is left for {}", file.string(),
                     samples[1].empty() ? "validation" : "training"));
  Transforms training = options.train_transform.value_or(training_transform(options.size));
  Transforms validation = options.valid_transform.value_or(validation_transform(options.size));
  normalization_ = options.normalization;
  train_ = std::make_shared<MultiLabelPictures>(samples[0], labels[0], options.size, training, normalization_, true,
                                                options.fast_decode);
  train_plain_ = std::make_shared<MultiLabelPictures>(samples[0], labels[0], options.size, validation, normalization_);
  valid_ = std::make_shared<MultiLabelPictures>(samples[1], labels[1], options.size, validation, normalization_);
}

}  // namespace weft
