#include "nn/callbacks/step_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>

#include "core/files.h"

namespace weft {
namespace {

constexpr const char* kFile = "steps.csv";
constexpr const char* kHead = "step,epoch,loss,lr,momentum\n";
constexpr std::int64_t kColumns = 5;

}  // namespace

void StepLog::begin_fit(Training& training) {
  run_ = training.run();
  rows_.clear();
  before_ = run_.empty() ? std::vector<LoggedStep>() : load_steps(run_);
}

void StepLog::on_step(const StepResult& step) {
  // Which rows are former fits' is known by the first epoch of this one: a RUN may hold another training's.
  if (rows_.empty()) {
    const auto epoch = static_cast<float>(step.epoch);
    std::erase_if(before_, [epoch](const LoggedStep& row) { return row.epoch >= epoch; });
  }
  rows_.push_back({static_cast<float>(before_.size() + rows_.size()), static_cast<float>(step.epoch),
                   static_cast<float>(step.loss), static_cast<float>(step.lr), static_cast<float>(step.momentum)});
}

void StepLog::on_epoch(const EpochResult&) {
  if (run_.empty()) return;
  std::string text = kHead;
  for (const auto* part : {&before_, &rows_})
    for (const LoggedStep& row : *part)
      text += fmt::format("{:.0f},{:.0f},{:.6g},{:.6g},{:.6g}\n", row.step, row.epoch, row.loss, row.lr, row.momentum);
  write_file_atomically(run_ / kFile, text);
}

CallbackState StepLog::save(Training&) const {
  Tensor rows({static_cast<std::int64_t>(rows_.size()), kColumns});
  float* to = rows.values<float>().data();
  for (const LoggedStep& row : rows_)
    for (const float value : {row.step, row.epoch, row.loss, row.lr, row.momentum}) *to++ = value;
  CallbackState state;
  state.numbers = {{"steps", static_cast<double>(rows_.size())}};
  if (!rows_.empty()) state.tensors = {{"rows", std::move(rows)}};
  return state;
}

void StepLog::load(Training&, const CallbackState& state) {
  rows_.clear();
  if (state.number("steps") == 0) return;
  const Tensor& rows = state.tensors.at("rows");
  const std::span<const float> values = rows.values<float>();
  for (std::size_t i = 0; i + kColumns <= values.size(); i += kColumns)
    rows_.push_back({values[i], values[i + 1], values[i + 2], values[i + 3], values[i + 4]});
  std::erase_if(before_, [this](const LoggedStep& row) { return row.epoch >= rows_.front().epoch; });
}

std::vector<LoggedStep> StepLog::steps() const {
  std::vector<LoggedStep> all = before_;
  all.insert(all.end(), rows_.begin(), rows_.end());
  return all;
}

std::vector<LoggedStep> load_steps(const std::filesystem::path& run) {
  std::vector<LoggedStep> rows;
  if (!std::filesystem::exists(run / kFile)) return rows;
  std::istringstream text(read_file(run / kFile));
  std::string line;
  std::getline(text, line);
  while (std::getline(text, line)) {
    std::vector<float> numbers;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, ',');) numbers.push_back(std::strtof(field.c_str(), nullptr));
    numbers.resize(kColumns);
    rows.push_back({numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]});
  }
  return rows;
}

}  // namespace weft
