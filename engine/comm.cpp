#include "engine/comm.h"

namespace tessera {
namespace {

class SingleRank final : public Comm {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(const Tensor&, Reduce) override {}
  void broadcast(const Tensor&, int) override {}
  void barrier() override {}
};

}  // namespace

std::unique_ptr<Comm> single_rank() { return std::make_unique<SingleRank>(); }

}  // namespace tessera
