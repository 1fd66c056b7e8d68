// Comm: what ranks say to each other. One rank needs no transport; MPI and NCCL arrive behind this interface.
#pragma once

#include <memory>

#include "engine/tensor.h"

namespace tessera {

enum class Reduce { sum, max };

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // In place, f32; the sum is formed in rank order, so it repeats bit for bit.
  virtual void all_reduce(const Tensor& t, Reduce op) = 0;
  virtual void broadcast(const Tensor& t, int root) = 0;
  virtual void barrier() = 0;
};

// The single-rank case: every collective is the identity.
std::unique_ptr<Comm> single_rank();

}  // namespace tessera
