// The profiler: what is counted, what is not, and the trace.
#include "engine/profile.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/require.h"

namespace tessera {
namespace {

const profile::Row* find(const std::vector<profile::Row>& rows, const std::string& name) {
  const auto it = std::find_if(rows.begin(), rows.end(),
                               [&](const profile::Row& r) { return r.name == name; });
  return it == rows.end() ? nullptr : &*it;
}

void spend(const char* name, int ms) {
  const ProfileScope scope(name, 1000, 7);
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

TEST_CASE("engine/profile: rows add up calls, time, bytes and FLOPs; off counts nothing") {
  profile::reset();
  spend("off", 1);
  profile::enable(true);
  spend("short", 1);
  spend("long", 10);
  spend("short", 1);
  std::thread([] { spend("other thread", 2); }).join();
  profile::enable(false);
  spend("off", 1);

  const std::vector<profile::Row> rows = profile::rows();
  CHECK(rows.size() == 3);
  CHECK(find(rows, "off") == nullptr);
  REQUIRE(find(rows, "short") != nullptr);
  REQUIRE(find(rows, "long") != nullptr);
  REQUIRE(find(rows, "other thread") != nullptr);
  CHECK(find(rows, "short")->calls == 2);
  CHECK(find(rows, "short")->bytes == 2000);
  CHECK(find(rows, "short")->flops == 14);
  CHECK(find(rows, "long")->ns >= 10'000'000);
  CHECK(std::is_sorted(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.ns > b.ns; }));
  CHECK(profile::table("", 1).find("other thread") != std::string::npos);
  profile::reset();
  CHECK(profile::rows().empty());
}

TEST_CASE("engine/profile: the time of an inner scope is not its outer one's own; shares of the roof") {
  profile::reset();
  profile::enable(true);
  for (int i = 0; i < 2; ++i) {
    const ProfileScope outer("whole");
    spend("inner", 5);
    const ProfileScope other("bf16", 1, 2000, DType::bf16);
  }
  profile::enable(false);
  const std::vector<profile::Row> rows = profile::rows();
  const profile::Row *outer = find(rows, "whole"), *inner = find(rows, "inner"), *bf16 = find(rows, "bf16");
  REQUIRE(outer != nullptr);
  REQUIRE(inner != nullptr);
  REQUIRE(bf16 != nullptr);
  CHECK(outer->own_ns == outer->ns - inner->ns - bf16->ns);
  CHECK(inner->own_ns == inner->ns);
  CHECK(inner->bf16_flops == 0);
  CHECK(bf16->bf16_flops == 4000);
  const std::string table = profile::table("whole", 1);
  CAPTURE(table);
  CHECK(table.find("(between scopes)") != std::string::npos);
  CHECK(table.find("of memory") != std::string::npos);   // 1000 bytes for 7 FLOPs
  CHECK(table.find("of compute") != std::string::npos);  // 2000 for one byte
  profile::reset();
}

TEST_CASE("engine/profile: the trace is JSON that nests in time") {
  profile::reset();
  profile::enable(true);
  {
    const ProfileScope outer("outer");
    spend("inner", 1);
  }
  profile::enable(false);
  const std::string path = "/tmp/tessera_trace_" + std::to_string(getpid()) + ".json";
  profile::write_trace(path);
  std::ifstream file(path);
  const nlohmann::json events = nlohmann::json::parse(file)["traceEvents"];
  std::remove(path.c_str());
  profile::reset();
  REQUIRE(events.size() == 2);
  const auto &inner = events[0], &outer = events[1];  // in order of their ends
  CHECK(inner["name"] == "inner");
  CHECK(outer["name"] == "outer");
  CHECK(outer["ts"].get<double>() <= inner["ts"].get<double>());
  CHECK(outer["ts"].get<double>() + outer["dur"].get<double>() >=
        inner["ts"].get<double>() + inner["dur"].get<double>());
  CHECK_THROWS_AS(profile::write_trace("/nowhere/trace.json"), Error);
}

}  // namespace tessera
