// Fault points: the grammar, visits and addresses, what dies and what goes on.
#include "engine/fault.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/tensor.h"

namespace tessera {
namespace {

using fault::Action;

std::string complaint(const std::string& faults) {
  try {
    const fault::Scope scope(faults);
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::config);
    return e.what();
  }
  return "accepted";
}

volatile std::sig_atomic_t terms = 0;

}  // namespace

TEST_CASE("engine/fault: a fault comes at its visit, once; unset, nothing comes") {
  CHECK(fault::at("test.a") == Action::none);
  const fault::Scope scope("test.a:2=enospc,test.a:4=short,test.b:1=nan");
  CHECK(fault::at("test.a") == Action::none);
  CHECK(fault::at("test.a") == Action::enospc);
  CHECK(fault::at("test.a") == Action::none);
  CHECK(fault::at("test.b") == Action::nan);
  CHECK(fault::at("test.a") == Action::short_write);
  CHECK(fault::at("test.a") == Action::none);
  CHECK(scope.fired() == 3);
  CHECK(scope.visits("test.a") == 5);
  {
    const fault::Scope inner("");
    CHECK(fault::at("test.b") == Action::none);
    CHECK(inner.visits("test.b") == 1);
  }
  CHECK(scope.visits("test.b") == 1);
}

TEST_CASE("engine/fault: an address fires whenever it is passed") {
  const fault::Scope scope("test.step:7=inf");
  for (int pass = 0; pass < 3; ++pass) {
    for (int64_t step = 1; step < 10; ++step)
      CHECK(fault::at("test.step", step) == (step == 7 ? Action::inf : Action::none));
  }
  CHECK(scope.visits("test.step") == 0);
}

TEST_CASE("engine/fault: of many threads exactly one meets the fault") {
  const fault::Scope scope("test.a:1234=fail");
  std::atomic<int> met{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) met += fault::at("test.a") == Action::fail;
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(met == 1);
  CHECK(scope.visits("test.a") == 4000);
}

TEST_CASE("engine/fault: text that is not the grammar is refused with what is known") {
  for (const char* bad : {"write",
                          "write:",
                          "write:3",
                          "write:=eio",
                          "write:3=",
                          "write=eio:3",
                          ":3=eio",
                          "write:0=eio",
                          "write:-1=eio",
                          "write:3x=eio",
                          "write: 3=eio",
                          "write:3=EIO",
                          "write:3=explode",
                          "wrote:3=eio",
                          "write:3=eio,",
                          ",",
                          "write:3=eio,,sync:1=eio",
                          "write:99999999999999999999=eio",
                          "write:3=eio ",
                          "write:3=nan",
                          "step:3=fail"}) {
    CAPTURE(bad);
    const std::string text = complaint(bad);
    CHECK(text.find("TESSERA_FAULTS=" + std::string(bad)) != std::string::npos);
    CHECK(text.find("POINT:N=ACTION") != std::string::npos);
    CHECK(text.find("save.after_write") != std::string::npos);
  }
  CHECK(complaint("write:3=short,save.end:1=kill,step:99=term,alloc:5000=fail") == "accepted");
}

TEST_CASE("engine/fault: kill ends the process; term asks it to end, and goes on") {
  const pid_t child = fork();
  if (child == 0) {
    const fault::Scope scope("test.a:2=kill");
    fault::at("test.a");
    fault::at("test.a");
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);

  const auto before = std::signal(SIGTERM, [](int) { terms = terms + 1; });
  const fault::Scope scope("test.a:1=term");
  CHECK(fault::at("test.a") == Action::none);
  CHECK(terms == 1);
  std::signal(SIGTERM, before);
}

TEST_CASE("engine/fault: a refused allocation is an out-of-memory error, and the pool goes on") {
  const int64_t before = memory::usage().now;
  {
    const fault::Scope scope("alloc:2=fail");
    const Tensor first({10}, DType::f32);
    CHECK_THROWS_WITH_AS(Tensor({10}, DType::f32), doctest::Contains("out of memory"), Error);
    const Tensor third({10}, DType::f32);
    CHECK(scope.visits("alloc") == 3);
  }
  CHECK(memory::usage().now == before);
}

}  // namespace tessera
