#include "tools/dogs_vs_cats/watch_server.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/error.h"

#ifdef WEFT_WITH_HTTPLIB
#include <httplib.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#endif

namespace weft::cli {

#ifdef WEFT_WITH_HTTPLIB

namespace {

constexpr const char* kHost = "127.0.0.1";
constexpr int kLargestPort = 65535;
// A person's tabs; none of them takes a core.
constexpr std::size_t kThreads = 4;
constexpr std::chrono::seconds kPatience{2};

/// "localhost" or "127.0.0.1", with a port of any number: a tunnel (ssh -L) may have another than ours.
bool names_this_machine(const std::string& host) {
  const std::size_t colon = host.find(':');
  const std::string name = host.substr(0, colon);
  if (name != "localhost" && name != kHost) return false;
  if (colon == std::string::npos) return true;
  const std::string port = host.substr(colon + 1);
  return !port.empty() && std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
}

/// A counter of the query, 0 where it is not there; none where it is no number.
std::optional<std::size_t> counter(const httplib::Request& request, const char* name) {
  if (!request.has_param(name)) return 0;
  const std::string text = request.get_param_value(name);
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

void refuse(httplib::Response& response, int status, const std::string& why) {
  response.status = status;
  response.set_content(why + "\n", "text/plain; charset=utf-8");
}

/// Signals are for the thread that trains.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &former_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t former_;
};

/// httplib's server has SIGPIPE ignored in the whole program, which would change how `train | head` ends. Its threads
/// take no signals, so they need none of it.
std::unique_ptr<httplib::Server> make_server() {
  struct sigaction former {};
  sigaction(SIGPIPE, nullptr, &former);
  auto server = std::make_unique<httplib::Server>();
  sigaction(SIGPIPE, &former, nullptr);
  return server;
}

}  // namespace

struct WatchServer::Service {
  std::unique_ptr<httplib::Server> server = make_server();
  WatchAnswers answers;
  int port = 0;

  void set_rules();
  void set_routes();
  void bind(int wanted);
};

void WatchServer::Service::set_rules() {
  server->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };  // httplib deletes it
  // One request a connection: one that idles would be waited for at the end.
  server->set_keep_alive_max_count(1);
  server->set_keep_alive_timeout(1);
  server->set_read_timeout(1);
  server->set_write_timeout(1);
  server->set_payload_max_length(0);
  // Not httplib's own choice, SO_REUSEPORT: two programs could have the same port then, and nobody would be told.
  server->set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server->set_default_headers({
      {"Cache-Control", "no-store"},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      {"Content-Security-Policy",
       "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
  });
}

void WatchServer::Service::set_routes() {
  using Handled = httplib::Server::HandlerResponse;
  server->set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    if (request.get_header_value_count("Host") != 1 || !names_this_machine(request.get_header_value("Host"))) {
      refuse(response, 403, "this page is for localhost and 127.0.0.1 alone");
      return Handled::Handled;
    }
    if (request.method != "GET" && request.method != "HEAD") {
      refuse(response, 405, "there is nothing to write here");
      return Handled::Handled;
    }
    return Handled::Unhandled;
  });
  server->Get("/", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(answers.page, "text/html; charset=utf-8");
  });
  server->Get("/points", [this](const httplib::Request& request, httplib::Response& response) {
    const auto step = counter(request, "from"), epoch = counter(request, "epoch");
    if (!step || !epoch) return refuse(response, 400, "from and epoch are counters: /points?from=100&epoch=2");
    response.set_content(answers.points(*step, *epoch), "application/json");
  });
  server->set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty()) refuse(response, response.status, "nothing here; the page is at /");
  });
}

void WatchServer::Service::bind(int wanted) {
  if (wanted < 0 || wanted > kLargestPort)
    throw UsageError(
        fmt::format("--watch {}: a port is a number from 1 to {}, or 0 for any free one", wanted, kLargestPort));
  errno = 0;
  if (wanted == 0) {
    port = server->bind_to_any_port(kHost);
    if (port > 0) return;
  } else if (server->bind_to_port(kHost, wanted)) {
    port = wanted;
    return;
  }
  const int why = errno;
  if (why == EACCES)
    throw UsageError(fmt::format("--watch {}: {}:{} is for root alone; take a port from 1024 on, or 0 for any free one",
                                 wanted, kHost, wanted));
  if (why == EADDRINUSE)
    fail(fmt::format("--watch {}: another program listens at {}:{}; take another port, or 0 for any free one", wanted,
                     kHost, wanted));
  fail(fmt::format("--watch {}: cannot listen at {}:{}: {}; take another port, or 0 for any free one", wanted, kHost,
                   wanted, why != 0 ? std::strerror(why) : "no reason given"));
}

WatchServer::WatchServer(int port, WatchAnswers answers) : service_(std::make_shared<Service>()) {
  service_->answers = std::move(answers);
  service_->set_rules();
  service_->set_routes();
  service_->bind(port);
  std::packaged_task<void()> serve([service = service_] { service->server->listen_after_bind(); });
  done_ = serve.get_future();
  const SignalsBlocked blocked;
  std::thread(std::move(serve)).detach();
}

WatchServer::~WatchServer() {
  // Again and again: what has not begun to listen cannot be stopped yet. A thread that still waits for a slow reader is
  // left to the end of the program.
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    service_->server->stop();
  } while (done_.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready &&
           std::chrono::steady_clock::now() < end);
}

int WatchServer::port() const {
  return service_->port;
}

#else  // without httplib

struct WatchServer::Service {};

WatchServer::WatchServer(int port, WatchAnswers) {
  fail(fmt::format(
      "--watch {}: this build has no web server; install libcpp-httplib-dev and pkgconf, then configure and "
      "build again",
      port));
}
WatchServer::~WatchServer() = default;
int WatchServer::port() const {
  return 0;
}

#endif

}  // namespace weft::cli
