// A headless Chromium over its DevTools protocol on a pipe: JSON messages that end with a zero byte, file 3 in, file 4 out.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace hymba {

// The browser's program on this machine, or "" where there is none.
inline std::string find_chromium() {
  if (const char* named = std::getenv("HYMBA_CHROMIUM")) return named;
  for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return "";
}

class Browser {
 public:
  using Json = nlohmann::json;

  explicit Browser(const std::string& program, const std::filesystem::path& profile) {
    int to[2], from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) throw std::runtime_error("pipe");
    child_ = ::fork();
    if (child_ == 0) start(program, profile.string(), to, from);
    ::close(to[0]);
    ::close(from[1]);
    in_ = to[1];
    out_ = from[0];
  }
  ~Browser() {
    ::close(in_);
    ::close(out_);
    ::kill(-child_, SIGKILL);  // its group: the browser's helpers too
    ::waitpid(child_, nullptr, 0);
  }
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  // Opens the page at a width, collects what it logs and asks for.
  void open(const std::string& url, int width, int height, bool dark = false) {
    logged.clear(), requested.clear();
    const auto target = call("Target.createTarget", {{"url", "about:blank"}})["targetId"];
    session_ = call("Target.attachToTarget", {{"targetId", target}, {"flatten", true}})["sessionId"].get<std::string>();
    for (const char* domain : {"Page", "Runtime", "Log", "Network"}) call(std::string(domain) + ".enable");
    call("Emulation.setDeviceMetricsOverride", {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", width < 500}});
    call("Emulation.setEmulatedMedia", {{"features", {{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}}}});
    loaded_ = false;
    call("Page.navigate", {{"url", url}});
    while (!loaded_) handle(receive());
  }

  // The value of a JavaScript expression in the page; what it throws becomes an exception here.
  Json evaluate(const std::string& script) {
    const auto answer = call("Runtime.evaluate", {{"expression", script}, {"returnByValue", true}, {"awaitPromise", true}});
    if (answer.contains("exceptionDetails")) throw std::runtime_error("page: " + answer["exceptionDetails"].dump());
    return answer["result"].value("value", Json());
  }

  void press(const std::string& key, int code) {
    for (const char* type : {"keyDown", "keyUp"}) call("Input.dispatchKeyEvent", {{"type", type}, {"key", key}, {"code", key}, {"windowsVirtualKeyCode", code}});
  }
  void move(double x, double y) { call("Input.dispatchMouseEvent", {{"type", "mouseMoved"}, {"x", x}, {"y", y}}); }

  // Base64 of a picture of the whole page, and of the pages that it prints to.
  std::string picture() { return call("Page.captureScreenshot", {{"format", "png"}, {"captureBeyondViewport", true}})["data"]; }
  std::string print() { return call("Page.printToPDF", {{"preferCSSPageSize", true}})["data"]; }

  std::vector<std::string> logged;     // console errors, warnings and uncaught exceptions
  std::vector<std::string> requested;  // addresses

 private:
  [[noreturn]] static void start(const std::string& program, const std::string& profile, int to[2], int from[2]) {
    ::setpgid(0, 0);
    // The pipes may lie on 3 and 4 themselves: move them away first.
    const int read = ::fcntl(to[0], F_DUPFD, 10), write = ::fcntl(from[1], F_DUPFD, 10);
    ::dup2(read, 3);
    ::dup2(write, 4);
    const int nowhere = ::open("/dev/null", O_RDWR);
    for (const int file : {0, 1, 2}) ::dup2(nowhere, file);
    const std::string folder = "--user-data-dir=" + profile;
    ::execl(program.c_str(), program.c_str(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe", folder.c_str(), "about:blank", nullptr);
    ::_exit(127);
  }

  Json call(const std::string& method, Json params = Json::object()) {
    Json message = {{"id", ++last_}, {"method", method}, {"params", std::move(params)}};
    if (!session_.empty() && method.rfind("Target.", 0) != 0) message["sessionId"] = session_;
    const std::string text = message.dump() + '\0';
    for (std::size_t at = 0; at < text.size();) {
      const auto n = ::write(in_, text.data() + at, text.size() - at);
      if (n <= 0) throw std::runtime_error("the browser has gone");
      at += static_cast<std::size_t>(n);
    }
    while (true) {
      auto answer = receive();
      if (answer.value("id", -1) != last_) {
        handle(answer);
        continue;
      }
      if (answer.contains("error")) throw std::runtime_error(method + ": " + answer["error"].dump());
      return answer["result"];
    }
  }

  Json receive() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(180);
    while (true) {
      const auto zero = buffer_.find('\0');
      if (zero != std::string::npos) {
        auto message = Json::parse(buffer_.substr(0, zero));
        buffer_.erase(0, zero + 1);
        return message;
      }
      pollfd ready{out_, POLLIN, 0};
      if (::poll(&ready, 1, 1000) > 0) {
        char bytes[65536];
        const auto n = ::read(out_, bytes, sizeof bytes);
        if (n <= 0) throw std::runtime_error("the browser ended");
        buffer_.append(bytes, static_cast<std::size_t>(n));
      }
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("the browser does not answer");
    }
  }

  void handle(const Json& event) {
    const std::string method = event.value("method", "");
    const auto& p = event.contains("params") ? event["params"] : Json::object();
    if (method == "Page.loadEventFired") loaded_ = true;
    if (method == "Network.requestWillBeSent") requested.push_back(p["request"]["url"]);
    if (method == "Runtime.exceptionThrown") logged.push_back(p["exceptionDetails"].dump());
    if (method == "Log.entryAdded" && p["entry"]["level"] != "info" && p["entry"]["level"] != "verbose") logged.push_back(p["entry"].dump());
    if (method == "Runtime.consoleAPICalled" && (p["type"] == "error" || p["type"] == "warning" || p["type"] == "assert")) logged.push_back(p["args"].dump());
  }

  pid_t child_ = 0;
  int in_ = -1, out_ = -1, last_ = 0;
  bool loaded_ = false;
  std::string session_, buffer_;
};

}  // namespace hymba
