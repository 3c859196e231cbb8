#include "nn/run.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "core/files.h"
#include "core/safetensors.h"
#include "core/version.h"
#include "kernels/error.h"
#include "nn/checkpoint.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const char* const kConfig = "config.json";
const char* const kModel = "model.safetensors";

/// Floats as they are written by hand: 0.485, not 0.48500001430511475.
Json short_numbers(const std::vector<float>& values) {
  Json result = Json::array();
  for (float value : values) result.push_back(std::stod(fmt::format("{}", value)));
  return result;
}

}  // namespace

void prepare_run(const fs::path& run) {
  std::error_code error;
  fs::create_directories(run, error);
  if (error || !fs::is_directory(run))
    fail(fmt::format("{}: cannot make this folder for the run: {}", run.string(),
                     error ? error.message() : "a file of that name is in the way"));
  const fs::path probe = run / "writable.tmp";
  write_file_atomically(probe, "");
  fs::remove(probe, error);
  // What a killed training had half written (core/files.h) is nothing to anyone.
  for (fs::directory_iterator entry(run, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    for (const char* const file : {kConfig, kModel, kCheckpointFile, kLogFile})
      if (name.starts_with(std::string(file) + ".tmp.")) fs::remove(entry->path(), ignored);
  }
}

std::string to_json(const RunConfig& config) {
  Json json;
  json["format"] = RunConfig::kFormat;
  json["weft"] = config.version.empty() ? version() : config.version;
  json["arch"] = config.arch;
  json["classes"] = config.classes;
  json["size"] = config.size;
  json["mean"] = short_numbers(config.mean);
  json["std"] = short_numbers(config.std);
  json["command"] = config.command;
  json["options"] = config.options;
  json["fits"] = config.fits;
  json["steps"] = config.steps;
  if (!config.carried.empty()) json["carried"] = config.carried;
  if (config.multi_label) {
    json["multi_label"] = true;
    json["threshold"] = config.threshold;
  }
  json["plan"] = config.plan;
  // A path need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

RunConfig run_config_from_json(const std::string& text, const std::string& where) {
  RunConfig config;
  try {
    const Json json = Json::parse(text);
    const int format = json.at("format").get<int>();
    if (format > RunConfig::kFormat)
      fail(fmt::format("{} has format {}, and this Weft ({}) knows up to {}: use a newer one", where, format, version(),
                       RunConfig::kFormat));
    config.version = json.at("weft").get<std::string>();
    config.arch = json.at("arch").get<std::string>();
    config.classes = json.at("classes").get<Classes>();
    config.size = json.at("size").get<int>();
    config.mean = json.at("mean").get<std::vector<float>>();
    config.std = json.at("std").get<std::vector<float>>();
    config.command = json.value("command", "");
    config.plan = json.value("plan", "");
    config.options = json.value("options", std::map<std::string, std::string>{});
    config.fits = json.value("fits", std::vector<int>{});
    config.multi_label = json.value("multi_label", false);
    config.threshold = json.value("threshold", 0.5);
    config.steps = json.value("steps", std::int64_t{0});
    config.carried = json.value("carried", decltype(config.carried){});
  } catch (const Json::exception& problem) {
    fail(fmt::format("{}: not a run's settings: {}", where, problem.what()));
  }
  if (config.size < 1 || config.mean.empty() || config.mean.size() != config.std.size() || config.classes.size() < 2)
    fail(fmt::format("{}: size {}, {} means, {} deviations and {} classes make no sense", where, config.size,
                     config.mean.size(), config.std.size(), config.classes.size()));
  return config;
}

RunConfig load_run_config(const fs::path& run) {
  const fs::path path = run / kConfig;
  if (!fs::exists(path)) {
    const bool stopped = fs::exists(run / kCheckpointFile);
    fail(fmt::format("{}: {}", run.string(),
                     stopped           ? "its training is not finished: go on with `train --out RUN --resume`"
                     : fs::exists(run) ? "no config.json here: give the folder that `train --out RUN` wrote"
                                       : "no such folder: give the one that `train --out RUN` wrote"));
  }
  return run_config_from_json(read_file(path), path.string());
}

RunConfig load_run_config_to_resume(const fs::path& run) {
  const fs::path path = run / kCheckpointFile;
  if (!fs::exists(path)) {
    if (!fs::exists(run / kConfig))
      fail(fmt::format("{}: nothing to resume here: no checkpoint was written yet; train without --resume",
                       run.string()));
    return load_run_config(run);
  }
  return load_checkpoint(run).config;
}

Model load_run_model(const fs::path& run, const RunConfig& config) {
  const fs::path path = run / kModel;
  if (!fs::exists(path))
    fail(fmt::format("{}: no {} here: bring it back, or train again with `train --out RUN`", run.string(), kModel));
  Model model = make_model(config.arch, config.classes, static_cast<std::int64_t>(config.mean.size()));
  model.set_size(config.size, config.size).load(path);
  if (!model.notes().empty()) fail(fmt::format("{}: {}", path.string(), model.notes().front()));
  return model;
}

void save_run(const fs::path& run, const RunConfig& config, const Model& model) {
  const fs::path path = run / kConfig;
  std::optional<std::string> former;
  if (fs::exists(path)) former = read_file(path);
  write_file_atomically(path, to_json(config));
  try {
    model.save(run / kModel);
  } catch (...) {
    // The former model goes with the former settings. Where they cannot be written back, the error at hand says more.
    try {
      if (former) {
        write_file_atomically(path, *former);
      } else {
        fs::remove(path);
      }
    } catch (const std::exception&) {
    }
    throw;
  }
}

}  // namespace weft
