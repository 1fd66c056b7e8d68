// Reads TESSERA_FAULTS and carries out what happens at the fault points.
#include "engine/fault.h"

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/check.h"

namespace tessera::fault {
namespace {

struct Name {
  std::string_view text;
  Action action;
};
constexpr Name kActions[] = {
    {"kill", Action::kill},     {"term", Action::term}, {"hang", Action::hang},
    {"enospc", Action::enospc}, {"eio", Action::eio},   {"short", Action::short_write},
    {"fail", Action::fail},     {"nan", Action::nan},   {"inf", Action::inf}};
constexpr std::string_view kEverywhere = "kill term hang";

// The table of fault.h: which actions a point's place carries out, beside those of kEverywhere.
struct Point {
  std::string_view name, actions;
};
constexpr Point kPoints[] = {{"startup", ""},
                             {"step", ""},
                             {"micro", ""},
                             {"picture", ""},
                             {"loader.sample", "fail"},
                             {"alloc", "fail"},
                             {"create", "enospc eio"},
                             {"write", "enospc eio short"},
                             {"sync", "enospc eio"},
                             {"rename", "enospc eio"},
                             {"save.begin", ""},
                             {"save.after_write", ""},
                             {"save.before_rename", ""},
                             {"save.after_rename", ""},
                             {"save.before_delete", ""},
                             {"save.end", ""},
                             {"op.*", "nan inf"},  // of any name: ops are not listed anywhere
                             {"gradient.*", "nan inf"},
                             {"input", "nan inf"},
                             {"loss", "nan inf"}};
constexpr Point kTestPoint{"test.*", "enospc eio short fail nan inf"};

const Point* find_point(std::string_view name) {
  for (const Point& p : kPoints) {
    if (p.name == name) return &p;
    const std::string_view stem = p.name.substr(0, p.name.size() - 1);
    if (p.name.ends_with(".*") && name.size() > stem.size() && name.starts_with(stem)) return &p;
  }
  return name.starts_with("test.") ? &kTestPoint : nullptr;
}

bool lists(std::string_view words, std::string_view word) {
  for (size_t at = 0; at < words.size();) {
    const size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

struct Fault {
  std::string point;
  int64_t number = 0;
  Action action = Action::none;
};

[[noreturn]] void refuse(std::string_view faults, std::string_view one, const std::string& why) {
  std::string known;
  for (const Point& p : kPoints)
    known += fmt::format("{}{}{}{}", known.empty() ? "" : ", ", p.name, p.actions.empty() ? "" : " ",
                         p.actions);
  fail(
      ErrorKind::config,
      "TESSERA_FAULTS={}: \"{}\" {}; wanted POINT:N=ACTION,... with N from 1, the actions {} at every point, "
      "and these points with their own actions: {}",
      faults, one, why, kEverywhere, known);
}

// "write:3=enospc"
Fault parse_one(std::string_view faults, std::string_view one) {
  const size_t colon = one.find(':'), equals = one.find('=');
  if (colon == std::string_view::npos || equals == std::string_view::npos || equals < colon)
    refuse(faults, one, "is no fault");
  Fault f{std::string(one.substr(0, colon)), 0, Action::none};
  const std::string_view number = one.substr(colon + 1, equals - colon - 1), action = one.substr(equals + 1);
  const Point* point = find_point(f.point);
  if (point == nullptr) refuse(faults, one, fmt::format("names no point: \"{}\"", f.point));
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), f.number);
  if (error != std::errc() || end != number.data() + number.size() || f.number < 1)
    refuse(faults, one, fmt::format("has \"{}\" for a number", number));
  for (const Name& a : kActions) {
    if (a.text == action) f.action = a.action;
  }
  if (f.action == Action::none) refuse(faults, one, fmt::format("names no action: \"{}\"", action));
  if (!lists(kEverywhere, action) && !lists(point->actions, action))
    refuse(faults, one, fmt::format("asks for an action that {} cannot carry out", f.point));
  return f;
}

std::vector<Fault> parse(std::string_view faults) {
  std::vector<Fault> list;
  if (faults.empty()) return list;
  for (size_t begin = 0;;) {
    const size_t end = std::min(faults.find(',', begin), faults.size());
    list.push_back(parse_one(faults, faults.substr(begin, end - begin)));
    if (end == faults.size()) return list;
    begin = end + 1;
  }
}

Action carry_out(Action action) {
  switch (action) {
    case Action::kill: std::raise(SIGKILL); break;
    case Action::term: std::raise(SIGTERM); break;
    case Action::hang:
      for (;;) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    default: return action;
  }
  return Action::none;
}

std::mutex mutex;  // of the plan in force and all it holds

}  // namespace

// The faults in force, and what was passed so far.
struct Scope::Plan {
  std::vector<Fault> faults;
  std::map<std::string, int64_t, std::less<>> visits;
  int64_t fired = 0;

  // `mutex` is held.
  Action find(std::string_view point, int64_t number) {
    for (const Fault& f : faults) {
      if (f.point == point && f.number == number) return ++fired, f.action;
    }
    return Action::none;
  }
};

std::shared_ptr<Scope::Plan>& Scope::current() {
  static std::shared_ptr<Plan> plan;  // null until TESSERA_FAULTS has been read
  return plan;
}

void read_environment() {
  const std::lock_guard lock(mutex);
  if (Scope::current() != nullptr) return;
  const char* text = std::getenv("TESSERA_FAULTS");
  Scope::Plan plan{parse(text ? text : ""), {}, 0};
  detail::armed = !plan.faults.empty();
  Scope::current() = std::make_shared<Scope::Plan>(std::move(plan));
}

namespace detail {

Action visit(std::string_view point) {
  read_environment();
  Action action = Action::none;
  {
    const std::lock_guard lock(mutex);
    Scope::Plan& plan = *Scope::current();
    auto it = plan.visits.find(point);
    if (it == plan.visits.end()) it = plan.visits.emplace(point, 0).first;
    action = plan.find(point, ++it->second);
  }
  return carry_out(action);
}

Action visit(std::string_view point, int64_t number) {
  read_environment();
  Action action = Action::none;
  {
    const std::lock_guard lock(mutex);
    action = Scope::current()->find(point, number);
  }
  return carry_out(action);
}

}  // namespace detail

Scope::Scope(std::string_view faults)
    : plan_(std::make_shared<Plan>(Plan{parse(faults), {}, 0})), armed_outside_(true) {
  read_environment();
  const std::lock_guard lock(mutex);
  outer_ = current();
  current() = plan_;
  armed_outside_ = detail::armed.exchange(true);
}

Scope::~Scope() {
  const std::lock_guard lock(mutex);
  current() = outer_;
  detail::armed = armed_outside_;
}

int64_t Scope::fired() const {
  const std::lock_guard lock(mutex);
  return plan_->fired;
}

int64_t Scope::visits(std::string_view point) const {
  const std::lock_guard lock(mutex);
  const auto it = plan_->visits.find(point);
  return it == plan_->visits.end() ? 0 : it->second;
}

}  // namespace tessera::fault
