#include "nn/executors.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace weft {
namespace {

/// Of a plan: what it was made for.
std::string first_line(const std::string& plan) {
  return plan.substr(0, plan.find('\n'));
}

}  // namespace

std::string Plans::text() const {
  return nlohmann::json(used).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Plans::want(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return;
  for (const auto& [key, plan] : json.items())
    if (plan.is_string()) wanted[key] = plan.get<std::string>();
}

Executors::Executors(std::shared_ptr<Device> device, Setup setup, Plans& plans, std::int64_t batch,
                     std::shared_ptr<ParameterStore> store)
    : device_(std::move(device)), setup_(std::move(setup)), plans_(plans), store_(std::move(store)) {
  at(batch);
}

Executor& Executors::at(std::int64_t batch) {
  std::unique_ptr<Executor>& executor = executors_[batch];
  if (!executor) {
    const std::string key = fmt::format("{} {}", setup_.purpose, batch);
    ExecutorOptions options;
    options.compile = setup_.compile;
    options.compile.plan = plans_.wanted[key];
    executor = std::make_unique<Executor>(device_, setup_.graph(batch), options, store_, setup_.group_of);
    if (!store_) store_ = executor->store();
    plans_.used[key] = executor->program().plan;
    const std::string then = first_line(plans_.wanted[key]), now = first_line(plans_.used[key]);
    if (!then.empty() && then != now)
      plans_.difference =
          fmt::format("the former run computed with {}, this one computes with {}: its bits will differ", then, now);
  }
  return *executor;
}

}  // namespace weft
