// Fault points: places where a run can be killed, hung or refused on purpose, so that tests and users can
// rehearse what must never lose work (design: reliability rule 9). Compiled in; unset, each costs one load.
//   TESSERA_FAULTS=save.after_write:3=kill,step:120=hang,write:9=enospc    POINT:N=ACTION, comma between
// N counts from 1. At a point that counts visits it is the Nth visit in this process; at a point that has
// addresses, the address: such a fault comes again when a resumed or repeated run passes the address again.
//
//   point               N is           where                                         actions beside kill,
//                                                                                     term and hang
//   startup             visit          the trainer, before anything is written
//   step                step number    start of an optimiser step, as log.jsonl counts
//   micro               visit          before each micro-batch
//   picture             visit          before a picture for vis/ is made
//   loader.sample       sample number  before a sample is decoded; counted over        fail
//                                      epochs in the sampler's order
//   alloc               visit          the pool gives memory (engine/memory.h)         fail
//   create              visit          a file or folder is created or opened to append enospc eio
//   write               visit          bytes go to a file                              enospc eio short
//   sync                visit          fsync of a file or folder                       enospc eio
//   rename              visit          rename of a file or folder                      enospc eio
//   save.begin          visit          a checkpoint save begins
//   save.after_write    visit          one of its files is written and synced
//   save.before_rename  visit          all is written; the folder is not yet renamed
//   save.after_rename   visit          the checkpoint stands
//   save.before_delete  visit          older generations are about to go
//   save.end            visit          the save is done
//   op.NAME             step number    the first forward call of op NAME in that step nan inf
//                                      makes this of one element of its output
//   gradient.NAME       step number    likewise, of its first input's gradient         nan inf
//   input               step number    likewise, of the normalised pictures            nan inf
//   loss                step number    the loss of the step's first micro-batch        nan inf
//   test.*              both           tests' own                                      all
//
//   kill    SIGKILL                          enospc  the call fails: no space left on device
//   term    SIGTERM, and the run goes on     eio     the call fails: input/output error
//   hang    sleeps for ever                  short   half is written, then as enospc
//   fail    as the place itself can fail     nan, inf  the value becomes NaN, infinity
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tessera::fault {

// What a caller of at() must do; kill, term and hang happen inside.
enum class Action { none, kill, term, hang, enospc, eio, short_write, fail, nan, inf };

namespace detail {
// True until TESSERA_FAULTS has been read and found empty.
inline std::atomic<bool> armed{true};
Action visit(std::string_view point);
Action visit(std::string_view point, int64_t number);
}  // namespace detail

// Passes `point`, counting the visit. Any thread may call it. Throws Error(config) when TESSERA_FAULTS is
// not as above (an unknown point, an action the point does not know, malformed text).
inline Action at(std::string_view point) {
  return detail::armed.load(std::memory_order_relaxed) ? detail::visit(point) : Action::none;
}
// Passes address `number` (from 1) of `point`: fires whenever it is asked with that number.
inline Action at(std::string_view point, int64_t number) {
  return detail::armed.load(std::memory_order_relaxed) ? detail::visit(point, number) : Action::none;
}

// Reads TESSERA_FAULTS now, so that a mistake in it shows before any work. Throws Error(config).
void read_environment();

// For tests: `faults` (grammar as above, "" for none) instead of what was set, with visits counted from 0,
// until the scope ends. Throws Error(config).
class Scope {
 public:
  explicit Scope(std::string_view faults);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  int64_t fired() const;                         // faults that came so far
  int64_t visits(std::string_view point) const;  // of a point that counts them

 private:
  struct Plan;
  friend Action detail::visit(std::string_view);
  friend Action detail::visit(std::string_view, int64_t);
  friend void read_environment();
  static std::shared_ptr<Plan>& current();
  std::shared_ptr<Plan> plan_, outer_;
  bool armed_outside_;
};

}  // namespace tessera::fault
