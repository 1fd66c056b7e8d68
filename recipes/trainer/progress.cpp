// Draws the progress line.
#include "recipes/trainer/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/check.h"
#include "engine/log.h"

namespace tessera {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);

std::string duration_text(double seconds) {
  const auto s = static_cast<int64_t>(std::clamp(seconds, 0.0, 1e9) + 0.5);
  const std::string clock = fmt::format("{}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60);
  return s < 86400 ? clock : fmt::format("{}d {}", s / 86400, clock);
}

std::string memory_text(int64_t bytes) {
  const auto b = static_cast<double>(bytes);
  return bytes < 1'000'000'000 ? fmt::format("{:.0f} MB", b / 1e6) : fmt::format("{:.1f} GB", b / 1e9);
}

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

std::string progress_line(const StepReport& r) {
  return fmt::format(
      "step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.3g}  grad-norm {:.3g}  {:.0f} img/s  eta {}  mem {}  "
      "data_wait {:.0f}%",
      r.step, r.steps, r.epoch, r.loss, r.lr, r.grad_norm, r.images_per_second, duration_text(r.eta_seconds),
      memory_text(r.memory_bytes), 100 * r.data_wait);
}

std::string progress_bar(const StepReport& r, size_t width, bool colour) {
  constexpr int64_t kCells = 20;
  const int64_t full = r.steps > 0 ? std::clamp<int64_t>(r.step * kCells / r.steps, 0, kCells) : 0;
  std::string line = progress_line(r).substr(0, width > kCells + 4 ? width - (kCells + 4) : 0);
  std::string bar = std::string(static_cast<size_t>(full), '#') +
                    std::string(static_cast<size_t>(kCells - full), '.');
  if (colour) bar = "\x1b[32m" + bar + "\x1b[0m";
  return fmt::format("[{}] {}", bar, line);
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {
  const char* no_colour = std::getenv("NO_COLOR");  // no-color.org: present and not empty
  colour_ = !no_colour || !*no_colour;
}

Progress::~Progress() {
  if (drawn_) print("\n");
}

void Progress::show(const StepReport& report, bool logged) {
  if (!terminal_) {
    if (logged) log::info(progress_line(report));
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < kRedraw && report.step < report.steps) return;
  last_ = now;
  drawn_ = true;
  // Back to the left edge: a line of the log then takes the bar's place.
  print("\r\x1b[K" + progress_bar(report, terminal_width(), colour_) + "\r");
}

}  // namespace tessera
