// check_indices: one vectorisable pass; the search for the culprit only when there is one.
#include "engine/indices.h"

#include "engine/check.h"

namespace tessera {
namespace {

// "[3, 17]": where element i lies in a tensor of this shape.
std::string place(const Shape& shape, int64_t i) {
  std::string text;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    text = std::to_string(i % shape[d]) + (text.empty() ? "" : ", ") + text;
    i /= shape[d];
  }
  return "[" + text + "]";
}

}  // namespace

void check_indices(const char* op, const char* what, const Tensor& ids, int64_t limit) {
  const int32_t* p = ids.data<int32_t>();
  const int64_t n = ids.numel();
  int32_t low = 0, high = 0;
  for (int64_t i = 0; i < n; ++i) {
    low = p[i] < low ? p[i] : low;
    high = p[i] > high ? p[i] : high;
  }
  if (n == 0 || (low >= 0 && high < limit)) return;
  for (int64_t i = 0; i < n; ++i) {
    TS_CHECK(p[i] >= 0 && p[i] < limit, "{}: {}{} is {}, wanted 0 to {}", op, what, place(ids.shape(), i),
             p[i], limit - 1);
  }
}

}  // namespace tessera
