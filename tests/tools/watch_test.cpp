// train --watch: that the page says what log.csv and steps.csv say, to this machine alone, and changes nothing.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/tools/harness.h"
#include "tests/tools/harness_browser.h"

#ifdef WEFT_WITH_HTTPLIB
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;
using namespace weft::tests;
using Json = nlohmann::json;

namespace {

std::vector<std::string> train(const fs::path& run, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"train",    drawn_sample().string(),
                                        "--out",    run.string(),
                                        "--arch",   "lenet",
                                        "--device", "cpu",
                                        "--size",   "32",
                                        "--policy", "cosine",
                                        "--batch",  "8"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

void refused(const ProcessResult& result, int status, const std::string& what) {
  CAPTURE(result.err);
  CHECK(result.status == status);
  CHECK(lines(result.err) == 1);
  CHECK(result.err.find(what) != std::string::npos);
}

}  // namespace

#ifdef WEFT_WITH_HTTPLIB

namespace {

/// A training under watch.
struct Watched {
  ProcessResult process;
  int port = 0;
  std::string page;
  Json said;  ///< its last answer, with all steps and epochs that came
};

/// Starts it with --watch 0 and asks, as the page does, until it has ended. `look` gets all that was said so far, with
/// the port; where it returns true, Ctrl-C follows.
Watched watched(std::vector<std::string> arguments, const std::function<bool(const Watched&)>& look = nullptr) {
  const TemporaryFolder streams;
  std::atomic<bool> interrupt = false, over = false;
  arguments.insert(arguments.end(), {"--watch", "0"});
  auto process = std::async(std::launch::async, [&] {
    ProcessOptions options;
    options.interrupt_when = [&interrupt] { return interrupt.load(); };
    options.out = streams / "out";
    auto result = dogs_vs_cats(arguments, options);
    over = true;
    return result;
  });
  Watched watched;
  std::smatch address;
  while (watched.port == 0 && !over) {
    const std::string out = read_all(streams / "out");
    if (std::regex_search(out, address, std::regex("Watch it at http://127.0.0.1:([0-9]+)/\n")))
      watched.port = std::stoi(address[1]);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  std::size_t steps = 0, epochs = 0;
  Json columns = Json::object(), rows = Json::array();
  httplib::Client client("127.0.0.1", watched.port);
  for (bool end = watched.port == 0; !end;) {
    if (watched.page.empty())
      if (const auto page = client.Get("/")) watched.page = page->body;
    const auto answer = client.Get(fmt::format("/points?from={}&epoch={}", steps, epochs));
    if (!answer) break;
    CHECK(answer->status == 200);
    const Json said = Json::parse(answer->body);
    // What went before the first step of a resumed run comes with that step: never less than was asked for.
    for (const auto& [name, values] : said["steps"].items())
      for (const auto& value : values) columns[name].push_back(value);
    for (const auto& row : said["epochs"]) rows.push_back(row);
    steps += said["steps"]["step"].size();
    epochs += said["epochs"].size();
    watched.said = said;
    watched.said["steps"] = columns;
    watched.said["epochs"] = rows;
    const std::string state = said["now"]["state"];
    end = !said["more"].get<bool>() && (state == "finished" || state == "stopped" || state == "failed");
    if (look && !interrupt) interrupt = look(watched);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  watched.process = process.get();
  return watched;
}

/// Lines as in steps.csv, without momentum.
std::vector<std::string> steps_of(const Json& said) {
  std::vector<std::string> text;
  const Json& columns = said["steps"];
  for (std::size_t i = 0; columns.contains("step") && i < columns["step"].size(); ++i)
    text.push_back(fmt::format("{:.0f},{:.0f},{:.6g},{:.6g}", columns["step"][i].get<double>(),
                               columns["epoch"][i].get<double>(), columns["loss"][i].get<double>(),
                               columns["lr"][i].get<double>()));
  return text;
}

/// Lines as in log.csv.
std::vector<std::string> epochs_of(const Json& said) {
  std::vector<std::string> text;
  for (const Json& row : said["epochs"])
    text.push_back(fmt::format("{},{:.6g},{:.6g},{:.6g},{:.3f},{:.2f},{:.6g},{:.4f},{:.6g}", row["epoch"].get<int>(),
                               row["train_loss"].get<double>(), row["valid_loss"].get<double>(),
                               row["accuracy"].get<double>(), row["seconds"].get<double>(),
                               row["images_per_second"].get<double>(), row["lr"].get<double>(),
                               row["data_share"].get<double>(), row["macro_f1"].get<double>()));
  return text;
}

/// The file's lines but the first, and without their last `columns`.
std::vector<std::string> rows_of(const fs::path& csv, int columns = 0) {
  std::vector<std::string> rows;
  std::istringstream text(read_all(csv));
  std::string line;
  std::getline(text, line);
  while (std::getline(text, line)) {
    for (int i = 0; i < columns; ++i) line.resize(line.find_last_of(','));
    rows.push_back(line);
  }
  return rows;
}

/// Someone who begins to ask, says no more, and does not hang up.
class HalfRequest {
 public:
  explicit HalfRequest(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    const std::string text = "GET / HTTP/1.1\r\nHost: local";
    REQUIRE(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  ~HalfRequest() { ::close(socket_); }
  HalfRequest(const HalfRequest&) = delete;
  HalfRequest& operator=(const HalfRequest&) = delete;

 private:
  int socket_;
};

struct Finished {
  TemporaryFolder folder;
  Watched run = watched(train(folder / "watched", {"--epochs", "3"}));
};

const Finished& finished() {
  static const Finished once;
  return once;
}

}  // namespace

TEST_CASE("watch: what was said at the end is what log.csv and steps.csv say, and the model is the same bytes") {
  const auto& [folder, run] = finished();
  REQUIRE_MESSAGE(run.process.status == 0, run.process.err);
  CHECK(run.said["now"]["state"] == "finished");
  const std::string text = run.said["now"]["text"];
  const std::size_t accuracy = run.process.out.find("Accuracy ");
  REQUIRE(accuracy != std::string::npos);
  CHECK(text.find(run.process.out.substr(accuracy, 15)) != std::string::npos);
  CHECK(run.said["title"] == "lenet: cats, dogs");
  CHECK(run.said["run"] == (folder / "watched").string());
  CHECK(rows_of(folder / "watched/steps.csv").size() == 15);
  CHECK(steps_of(run.said) == rows_of(folder / "watched/steps.csv", 1));
  CHECK(rows_of(folder / "watched/log.csv").size() == 3);
  CHECK(epochs_of(run.said) == rows_of(folder / "watched/log.csv"));
  for (const auto& pictures : run.said["steps"]["pictures"]) CHECK(pictures == 8);
  for (const auto& seconds : run.said["steps"]["seconds"]) CHECK(seconds > 0);

  const auto alone = dogs_vs_cats(train(folder / "alone", {"--epochs", "3"}));
  REQUIRE_MESSAGE(alone.status == 0, alone.err);
  const std::string model = read_all(folder / "alone/model.safetensors");
  CHECK(model.size() > 1000);
  CHECK((read_all(folder / "watched/model.safetensors") == model));
  // It is no setting of the run.
  const auto config = Json::parse(read_all(folder / "watched/config.json"));
  CHECK(config["options"] == Json::parse(read_all(folder / "alone/config.json"))["options"]);
}

TEST_CASE("watch: for this machine alone, nothing to write, and one program a port") {
  const TemporaryFolder folder;
  bool asked = false;
  const auto run = watched(train(folder / "run", {"--epochs", "5000"}), [&](const Watched& now) {
    if (asked) return !steps_of(now.said).empty();
    asked = true;
    const int port = now.port;
    httplib::Client client("127.0.0.1", port);
    const auto status = [&](const std::string& path, const std::string& host) {
      const auto answer = client.Get(path, {{"Host", host}});
      return answer ? answer->status : -1;
    };
    for (const std::string path : {"/", "/points"}) {
      for (const std::string host : {"localhost", "127.0.0.1", "localhost:9", "127.0.0.1:65000"})
        CHECK_MESSAGE(status(path, host) == 200, host);
      for (const std::string host : {"example.com", "localhost.example.com", "127.0.0.1.example.com:80",
                                     "localhost:", "localhost:80@example.com", "192.168.0.1", "[::1]"})
        CHECK_MESSAGE(status(path, host) == 403, host);
    }
    CHECK(status("/points?from=x", "localhost") == 400);
    CHECK(status("/points?epoch=-1", "localhost") == 400);
    CHECK(status("/points?from=1000000000", "localhost") == 200);
    CHECK(status("/etc/passwd", "localhost") == 404);
    const auto page = client.Get("/");
    REQUIRE(page);
    CHECK(page->get_header_value("Content-Security-Policy").starts_with("default-src 'none'"));
    CHECK(page->get_header_value("Access-Control-Allow-Origin") == "");
    const auto posted = client.Post("/points", "from=0", "text/plain"), removed = client.Delete("/");
    CHECK((posted && posted->status == 405));
    CHECK((removed && removed->status == 405));
    refused(dogs_vs_cats(train(folder / "second", {"--watch", std::to_string(port)})), 1,
            fmt::format("--watch {}: another program listens at 127.0.0.1:{}; take another port", port, port));
    CHECK(!fs::exists(folder / "second"));
    return false;
  });
  CHECK(asked);
  CHECK(run.process.status == 1);
}

TEST_CASE("watch: Ctrl-C is said on the page, also past one who never listens; a resumed run shows what went before") {
  const TemporaryFolder folder;
  const auto since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::chrono::steady_clock::time_point stopped;
  const auto at_step = [&stopped](std::size_t step) {
    return [&stopped, step](const Watched& now) {
      const bool enough = steps_of(now.said).size() > step;
      if (enough) stopped = std::chrono::steady_clock::now();
      return enough;
    };
  };
  const auto first = watched(train(folder / "run", {"--epochs", "5000"}), at_step(12));
  CHECK(since(stopped) < 10);
  CHECK(first.process.status == 1);
  CHECK(first.said["now"]["state"] == "stopped");
  CHECK(first.said["now"]["text"].get<std::string>().find("--resume") != std::string::npos);
  const auto before = steps_of(first.said);
  REQUIRE(before.size() > 12);
  CHECK(epochs_of(first.said) == rows_of(folder / "run/log.csv"));

  // Without being asked for, a resumed run has no page.
  const auto unwatched =
      dogs_vs_cats({"train", "--out", (folder / "run").string(), "--resume"}, {.interrupt_after = 0.7});
  CHECK(unwatched.out.find("Watch it") == std::string::npos);

  std::optional<HalfRequest> silent;
  const auto enough = at_step(before.size() + 20);
  const auto second = watched({"train", "--out", (folder / "run").string(), "--resume"}, [&](const Watched& now) {
    if (!silent) silent.emplace(now.port);
    return enough(now);
  });
  CHECK(since(stopped) < 10);
  CHECK(second.said["now"]["state"] == "stopped");
  const auto after = steps_of(second.said);
  REQUIRE(after.size() > before.size() + 20);
  CHECK(std::vector<std::string>(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(before.size())) == before);
  const auto kept = rows_of(folder / "run/steps.csv", 1);
  REQUIRE(kept.size() <= after.size());
  CHECK(std::equal(kept.begin(), kept.end(), after.begin()));
  CHECK(epochs_of(second.said) == rows_of(folder / "run/log.csv"));
}

TEST_CASE("watch: a training that fails says why on the page too") {
  const TemporaryFolder folder;
  const auto run = watched(train(folder / "run", {"--epochs", "50", "--lr", "1e30"}));
  CHECK(run.process.status == 1);
  CHECK(run.said["now"]["state"] == "failed");
  const std::string text = run.said["now"]["text"];
  CHECK(text.size() > 20);
  CHECK(run.process.err.find(text) != std::string::npos);
}

TEST_CASE("watch: a port that is none is bad usage, before anything is written") {
  const TemporaryFolder folder;
  for (const char* port : {"65536", "-1"}) {
    refused(dogs_vs_cats(train(folder / "run", {std::string("--watch=") + port})), 2,
            fmt::format("--watch {}: a port is a number from 1 to 65535, or 0", port));
  }
  CHECK(dogs_vs_cats(train(folder / "run", {"--watch", "http"})).status == 2);
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("watch: a browser draws it at 1280 and at 400 pixels, without an error") {
  if (browser().empty()) {
    MESSAGE("skipped: no chromium on the PATH");
    return;
  }
  const Watched& run = finished().run;
  REQUIRE(run.page.find("<head>") != std::string::npos);
  for (const char* outside : {"http://", "https://", "src=\"", "url(\""}) {
    const std::string rest = std::regex_replace(run.page, std::regex("http://www.w3.org/2000/svg"), "");
    CHECK_MESSAGE(rest.find(outside) == std::string::npos, outside);
  }
  // The program is gone: its last answer in its place.
  std::string page = run.page;
  page.insert(page.find("<head>") + 6,
              "<script>const SAID = " + run.said.dump() +
                  "; window.fetch = async () => ({ok: true, json: async () => SAID});</script>");
  const std::string expression =
      "' ' + document.querySelectorAll('.charts svg path').length + ' curves; ' +"
      "document.getElementById('state').textContent.slice(0, 14) + '; ' +"
      "(document.querySelectorAll('.charts svg')[1].dispatchEvent(new PointerEvent('pointermove', {clientX: 9999})),"
      "document.getElementById('values').textContent)";
  const auto number = [](const Json& value) { return fmt::format("{:.4g}", value.get<double>()); };
  const Json& row = run.said["epochs"][2];
  for (const int width : {1280, 400}) {
    CAPTURE(width);
    const auto [title, console] = looked_at(page, width, expression);
    CHECK(title == fmt::format("pictures 0 broken 0 at {} fits 9 curves; Done. Accuracy; epoch 3: training {}, "
                               "validation {}",
                               width, number(row["train_loss"]), number(row["valid_loss"])));
    CHECK(console == "");
  }
}

#else

TEST_CASE("watch: a build without a web server says so") {
  const TemporaryFolder folder;
  refused(dogs_vs_cats(train(folder / "run", {"--watch", "0"})), 1, "libcpp-httplib-dev");
}

#endif
