#include "nn/checkpoint.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/hash.h"
#include "core/safetensors.h"
#include "kernels/error.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr LogColumn kLogColumns[] = {{"train_loss", &EpochResult::train_loss, "{:.6g}"},
                                     {"valid_loss", &EpochResult::valid_loss, "{:.6g}"},
                                     {"accuracy", &EpochResult::accuracy, "{:.6g}"},
                                     {"seconds", &EpochResult::seconds, "{:.3f}"},
                                     {"images_per_second", &EpochResult::images_per_second, "{:.2f}"},
                                     {"lr", &EpochResult::lr, "{:.6g}"},
                                     {"data_share", &EpochResult::data_share, "{:.4f}"},
                                     {"macro_f1", &EpochResult::macro_f1, "{:.6g}"}};
const std::string kState = "state.", kVelocity = "velocity.", kCallback = "callback.";

/// JSON has no NaN: it is written as null.
double number(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

Json to_json(const EpochResult& row) {
  Json fields = Json::array({row.epoch});
  for (const LogColumn& column : kLogColumns) fields.push_back(row.*column.value);
  return fields;
}

/// `fields`: epoch and the columns; an older Weft knew fewer.
EpochResult row_of(const std::vector<double>& fields) {
  EpochResult row;
  row.epoch = fields.empty() ? 0 : static_cast<int>(fields[0]);
  std::size_t at = 1;
  for (const LogColumn& column : kLogColumns) {
    row.*column.value = at < fields.size() ? fields[at] : std::numeric_limits<double>::quiet_NaN();
    ++at;
  }
  return row;
}

EpochResult row_from(const Json& json) {
  std::vector<double> fields;
  for (const Json& field : json) fields.push_back(number(field));
  return row_of(fields);
}

Json to_json(const Position& position) {
  Json rows = Json::array();
  for (const EpochResult& row : position.rows) rows.push_back(to_json(row));
  return {{"fits", position.fits},
          {"rows", rows},
          {"epoch", position.epoch},
          {"step", position.step},
          {"total_step", position.total_step},
          {"loss_sum", position.loss_sum},
          {"pictures", position.pictures},
          {"seconds", position.seconds},
          {"training_seconds", position.training_seconds},
          {"data_seconds", position.data_seconds},
          {"lr", position.lr}};
}

Position position_from(const Json& json) {
  Position position;
  position.fits = json.at("fits").get<std::vector<int>>();
  for (const Json& row : json.at("rows")) position.rows.push_back(row_from(row));
  position.epoch = json.at("epoch").get<int>();
  position.step = json.at("step").get<std::int64_t>();
  position.total_step = json.at("total_step").get<std::int64_t>();
  position.loss_sum = number(json.at("loss_sum"));
  position.pictures = json.at("pictures").get<std::int64_t>();
  position.seconds = number(json.at("seconds"));
  position.training_seconds = number(json.at("training_seconds"));
  position.data_seconds = number(json.at("data_seconds"));
  position.lr = number(json.at("lr"));
  return position;
}

}  // namespace

double CallbackState::number(const std::string& name) const {
  const auto found = numbers.find(name);
  if (found == numbers.end()) fail(fmt::format("a callback's state lacks '{}'", name));
  return found->second;
}

void save_checkpoint(const fs::path& run, const Checkpoint& checkpoint) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : checkpoint.state) tensors[kState + name] = tensor;
  for (const auto& [name, tensor] : checkpoint.velocity) tensors[kVelocity + name] = tensor;
  // A callback's tensors are numbered by its place among the names, which may hold any character.
  Json callbacks = Json::array();
  for (const auto& [callback, state] : checkpoint.callbacks) {
    for (const auto& [name, tensor] : state.tensors)
      tensors[fmt::format("{}{}.{}", kCallback, callbacks.size(), name)] = tensor;
    callbacks.push_back({{"name", callback}, {"numbers", state.numbers}});
  }
  save_safetensors(run / kCheckpointFile, tensors,
                   {{"config", to_json(checkpoint.config)},
                    {"callbacks", callbacks.dump()},
                    {"position", to_json(checkpoint.position).dump()},
                    {"settings", Json(checkpoint.settings).dump(-1, ' ', false, Json::error_handler_t::replace)}});
}

Checkpoint load_checkpoint(const fs::path& run) {
  const fs::path path = run / kCheckpointFile;
  Metadata metadata;
  Checkpoint checkpoint;
  std::map<std::string, StateDict> of_callbacks;  // by number
  for (auto& [name, tensor] : load_safetensors(path, &metadata)) {
    if (name.starts_with(kCallback)) {
      const std::size_t dot = name.find('.', kCallback.size());
      of_callbacks[name.substr(kCallback.size(), dot - kCallback.size())][name.substr(dot + 1)] = tensor;
    }
    if (name.starts_with(kState)) checkpoint.state[name.substr(kState.size())] = tensor;
    if (name.starts_with(kVelocity)) checkpoint.velocity[name.substr(kVelocity.size())] = tensor;
  }
  for (const char* key : {"config", "callbacks", "position", "settings"})
    if (!metadata.contains(key)) fail(fmt::format("{}: not a checkpoint: it has no '{}'", path.string(), key));
  checkpoint.config = run_config_from_json(metadata["config"], path.string());
  try {
    checkpoint.position = position_from(Json::parse(metadata["position"]));
    int index = 0;
    for (const Json& callback : Json::parse(metadata["callbacks"]))
      checkpoint.callbacks[callback.at("name").get<std::string>()] = {
          callback.at("numbers").get<std::map<std::string, double>>(), of_callbacks[std::to_string(index++)]};
    checkpoint.settings = Json::parse(metadata["settings"]).get<std::map<std::string, std::string>>();
  } catch (const Json::exception& problem) {
    fail(fmt::format("{}: not a checkpoint: {}", path.string(), problem.what()));
  }
  return checkpoint;
}

std::span<const LogColumn> log_columns() {
  return kLogColumns;
}

void save_log(const fs::path& run, const std::vector<EpochResult>& rows) {
  std::string text = "epoch";
  for (const LogColumn& column : kLogColumns) text += fmt::format(",{}", column.name);
  for (const EpochResult& row : rows) {
    text += fmt::format("\n{}", row.epoch);
    for (const LogColumn& column : kLogColumns) {
      text += ',';
      text += fmt::format(fmt::runtime(column.format), row.*column.value);
    }
  }
  write_file_atomically(run / kLogFile, text + "\n");
}

std::vector<EpochResult> load_log(const fs::path& run) {
  std::vector<EpochResult> rows;
  if (!fs::exists(run / kLogFile)) return rows;
  std::istringstream text(read_file(run / kLogFile));
  std::string line;
  std::getline(text, line);
  while (std::getline(text, line)) {
    std::vector<double> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, ',');) fields.push_back(std::strtod(field.c_str(), nullptr));
    rows.push_back(row_of(fields));
  }
  return rows;
}

std::string fingerprint(const StateDict& state) {
  std::uint64_t hash = kHashStart;
  const auto mix = [&hash](const void* data, std::size_t bytes) { hash = hash_bytes(data, bytes, hash); };
  for (const auto& [name, tensor] : state) {
    const std::string head = name + to_string(tensor.shape());
    mix(head.data(), head.size());
    mix(tensor.data(), tensor.bytes());
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace weft
