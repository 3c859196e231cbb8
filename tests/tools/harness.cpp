#include "tests/tools/harness.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace weft::tests {

namespace fs = std::filesystem;

ProcessResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProcessOptions& options) {
  const TemporaryFolder streams;
  const std::string path = program.starts_with('/') ? program : std::string(WEFT_PROGRAMS) + "/" + program;
  std::vector<std::string> words = {path};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // By name, so that each is there once: of two, a program takes the first and bash the last.
  std::map<std::string, std::string> settings;
  const auto set = [&](const std::string& setting) { settings[setting.substr(0, setting.find('='))] = setting; };
  for (char** e = environ; *e != nullptr; ++e) set(*e);
  // What one program keeps of features must not spare another one's work, nor lie in a person's home.
  set("XDG_CACHE_HOME=" + (streams / "cache").string());
  for (const std::string& setting : options.environment) set(setting);
  std::vector<char*> envp;
  for (auto& [name, setting] : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const std::string out = options.out.empty() ? streams / "out" : options.out, err = streams / "err";
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!options.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.folder.c_str());
  pid_t child = 0;
  const auto start = std::chrono::steady_clock::now();
  const int failed = posix_spawn(&child, path.c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " + path);

  ProcessResult result;
  int status = 0;
  bool interrupted = options.interrupt_after < 0 && !options.interrupt_when;
  const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  while (waitpid(child, &status, interrupted ? 0 : WNOHANG) == 0) {
    if ((options.interrupt_after >= 0 && elapsed() >= options.interrupt_after) ||
        (options.interrupt_when && options.interrupt_when())) {
      kill(child, SIGINT);
      interrupted = true;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  result.seconds = elapsed();
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (!fs::is_character_file(out)) result.out = read_all(out);  // of a terminal there is nothing to read again
  result.err = read_all(err);
  return result;
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_all(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

int lines(const std::string& text) {
  int count = 0;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) count += line.empty() ? 0 : 1;
  return count;
}

ActivationBytes activation_bytes(const std::string& text) {
  static const std::regex words(
      R"(activations ([0-9.]+) (B|KiB|MiB|GiB) \(([0-9.]+) (B|KiB|MiB|GiB) without sharing\))");
  static const std::map<std::string, double> units = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  std::smatch found;
  if (!std::regex_search(text, found, words)) throw std::runtime_error("nothing on activations in: " + text);
  return {.shared = std::stod(found[1]) * units.at(found[2]), .unshared = std::stod(found[3]) * units.at(found[4])};
}

const fs::path& drawn_sample() {
  static const TemporaryFolder folder;
  static const fs::path path = [] {
    const auto made = dogs_vs_cats({"sample", (folder / "sample").string(), "--count", "40", "--size", "48"});
    if (made.status != 0) throw std::runtime_error("sample failed: " + made.err);
    return folder / "sample";
  }();
  return path;
}

}  // namespace weft::tests
