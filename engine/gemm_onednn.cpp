// The gemm door over oneDNN 2.6 (its v2 interface): the only place in the engine that sees dnnl.hpp.
// oneDNN runs single-threaded here. We split the work ourselves, by size, because its own split follows the
// number of threads and sometimes the order of sums with it (seen: dw of 12544 x 16 x 48 in bf16).
#include <omp.h>

#include <algorithm>
#include <bit>
#include <compare>
#include <dnnl.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "engine/check.h"
#include "engine/gemm.h"
#include "engine/gemm_pack.h"
#include "engine/parallel.h"
#include "engine/profile.h"

namespace tessera::gemm {
namespace {

using dnnl::memory;

constexpr int64_t kLeastFlops = 1 << 20;  // a task below this costs less than waking a thread for it

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t power_below(int64_t n) {
  return n < 1 ? 1 : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
}
int64_t power_above(int64_t n) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))); }

memory::data_type onednn_type(DType d) {
  return d == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// While alive, oneDNN sees one thread: some primitives keep the number they were made under, others ask when
// they run.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

struct Matrix {
  int64_t rows = 0, columns = 0;
  int64_t row_stride = 0, column_stride = 0;  // elements; both 0: panels of gemm_pack.h
  DType dtype = DType::f32;
  auto operator<=>(const Matrix&) const = default;
};

// c = a b + bias, or c += a b.
struct Product {
  Matrix a, b, c;
  bool bias = false;
  bool accumulate = false;
  auto operator<=>(const Product&) const = default;
};

// True if `d` describes a [k,n] matrix laid out as gemm_pack.h writes it.
bool is_panels(const memory::desc& d, int64_t k, int64_t n, DType dtype) {
  const dnnl_memory_desc_t& m = d.data;
  const dnnl_blocking_desc_t& b = m.format_desc.blocking;
  const bool pairs = dtype == DType::bf16;
  const int64_t rows = padded_rows(k, dtype), block = pairs ? 32 : 16;
  return m.format_kind == dnnl_blocked && m.ndims == 2 && m.offset0 == 0 && m.extra.flags == 0 &&
         m.padded_dims[0] == rows && m.padded_dims[1] == divide_up(n, kPanel) * kPanel &&
         b.strides[0] == block * kPanel && b.strides[1] == rows * kPanel &&
         b.inner_nblks == (pairs ? 3 : 2) && b.inner_idxs[0] == 0 && b.inner_blks[0] == 16 &&
         b.inner_idxs[1] == 1 && b.inner_blks[1] == kPanel &&
         (!pairs || (b.inner_idxs[2] == 0 && b.inner_blks[2] == 2));
}

memory::desc panels_desc(const Matrix& m) {
  using tag = memory::format_tag;
  return {
      {m.rows, m.columns}, onednn_type(m.dtype), m.dtype == DType::bf16 ? tag::BA16a64b2a : tag::BA16a64b};
}

memory::desc describe(const Matrix& m) {
  if (m.row_stride == 0) return panels_desc(m);
  return {{m.rows, m.columns}, onednn_type(m.dtype), memory::dims{m.row_stride, m.column_stride}};
}

dnnl::matmul::primitive_desc plan(const Product& p, const memory::desc& b) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const memory::desc bias({1, p.c.columns}, memory::data_type::f32, memory::format_tag::ab);
  try {
    if (p.bias) return {dnnl::matmul::desc(describe(p.a), b, bias, describe(p.c)), attributes, cpu()};
    return {dnnl::matmul::desc(describe(p.a), b, describe(p.c)), attributes, cpu()};
  } catch (const dnnl::error& e) {
    fail(ErrorKind::config,
         "gemm: oneDNN has no {} product [{},{}] x [{},{}] on this CPU ({}); compute in f32", name(p.a.dtype),
         p.a.rows, p.a.columns, p.b.rows, p.b.columns, e.what());
  }
}

// A primitive with its arguments at hand. Belongs to one thread.
class Multiplier {
 public:
  explicit Multiplier(const Product& p) {
    const dnnl::matmul::primitive_desc pd = plan(p, describe(p.b));
    primitive_ = dnnl::matmul(pd);
    scratch_bytes_ = static_cast<int64_t>(pd.scratchpad_desc().get_size());
    const auto add = [&](int argument, const memory::desc& d) {
      arguments_.emplace(argument, memory(d, cpu(), DNNL_MEMORY_NONE));
    };
    add(DNNL_ARG_SRC, pd.src_desc());
    add(DNNL_ARG_WEIGHTS, pd.weights_desc());
    add(DNNL_ARG_DST, pd.dst_desc());
    if (p.bias) add(DNNL_ARG_BIAS, pd.bias_desc());
    if (scratch_bytes_ > 0) add(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
  }

  // `panels`: b as a oneDNN memory (its padding must not be touched again); null: b is at `b`.
  void run(const void* a, const void* b, const memory* panels, const void* bias, void* c) {
    thread_local dnnl::stream stream(cpu());
    const auto point = [&](int argument, const void* p) {
      arguments_.at(argument).set_data_handle(const_cast<void*>(p));
    };
    point(DNNL_ARG_SRC, a);
    if (panels != nullptr) {
      arguments_.at(DNNL_ARG_WEIGHTS) = *panels;
    } else {
      point(DNNL_ARG_WEIGHTS, b);
    }
    if (bias != nullptr) point(DNNL_ARG_BIAS, bias);
    point(DNNL_ARG_DST, c);
    Tensor scratch;
    if (scratch_bytes_ > 0) {
      scratch = Tensor({scratch_bytes_}, DType::u8, Device::cpu(), "workspace");
      point(DNNL_ARG_SCRATCHPAD, scratch.raw());
    }
    primitive_.execute(stream, arguments_);
  }

 private:
  dnnl::matmul primitive_;
  int64_t scratch_bytes_ = 0;
  std::unordered_map<int, memory> arguments_;
};

void multiply(const Product& p, const void* a, const void* b, const memory* panels, const void* bias,
              void* c) {
  constexpr size_t kMany = 1024;  // shapes; only token counts that never repeat get there
  thread_local std::map<Product, Multiplier> known;
  const OneThread one;
  auto it = known.find(p);
  if (it == known.end()) {
    if (known.size() >= kMany) known.clear();
    it = known.try_emplace(p, p).first;
  }
  it->second.run(a, b, panels, bias, c);
}

// ---- packing weights

// Packing costs as much as multiplying by 5 (bf16) to 20 rows and saves a tenth of the product. It is decided
// by the weights alone, so that what a step holds stays affine in its rows (recipes/trainer/memory_plan.h).
bool worth_packing(int64_t k, int64_t n) { return k >= kPanel && n >= kPanel; }

// True if oneDNN's favourite layout of a [k,n] right-hand side is the one that gemm_pack.h writes. It does
// not depend on the number of rows.
bool takes_panels(int64_t k, int64_t n, DType dtype) {
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, DType>, bool> known;
  const std::lock_guard lock(mutex);
  const auto [it, is_new] = known.try_emplace({k, n, dtype}, false);
  if (is_new) {
    const OneThread one;
    const Product probe{{64, k, k, 1, dtype}, {k, n, 0, 0, dtype}, {64, n, n, 1, dtype}};
    const memory::desc any({k, n}, onednn_type(dtype), memory::format_tag::any);
    it->second = is_panels(plan(probe, any).weights_desc(), k, n, dtype);
  }
  return it->second;
}

// w, or its transpose, as the right-hand side of one product.
struct Panels {
  Tensor bytes;
  memory as_memory;
};

// Weights are packed anew for every product: they change with every step, each copy is read once in it, and
// copies that are kept would take 850 MB for a ViT-B.
Panels pack(const Tensor& w, bool transposed) {
  const int64_t k = w.dim(transposed ? 1 : 0), n = w.dim(transposed ? 0 : 1);
  const ProfileScope scope("pack weights", 2 * w.bytes());
  const Tensor bytes({panel_bytes(k, n, w.dtype())}, DType::u8, Device::cpu(), "packed weights");
  pack_panels(static_cast<std::byte*>(bytes.raw()), w, transposed);
  return {bytes, memory(panels_desc({k, n, 0, 0, w.dtype()}), cpu(), bytes.raw())};
}

// ---- how work is split

// Rows of one task of an m-row product. About 50 rows suffice for full speed while tasks are few, 100 beyond;
// a power of two of equal tasks keeps 2, 4 or 8 threads evenly busy.
int64_t rows_per_task(int64_t m, int64_t n, int64_t k) {
  if (2 * m * n * k < 2 * kLeastFlops) return m;
  const int64_t tasks = std::max(std::min<int64_t>(8, power_below(m / 48)),
                                 std::min<int64_t>(64, power_below(m / 96)));
  return divide_up(m, tasks);
}

// Rows and columns of one tile of dw [n,k]. Every tile packs its operands anew, so large ones are cheaper.
std::pair<int64_t, int64_t> gradient_tile(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kLargest = 768, kLeast = 192, kTasks = 4, kAlign = 16;
  int64_t down = power_above(divide_up(n, kLargest)), across = power_above(divide_up(k, kLargest));
  while (down * across < kTasks && 2 * m * n * k / (down * across) >= 2 * kLeastFlops) {
    if (n / down >= 2 * kLeast) {
      down *= 2;
    } else if (k / across >= 2 * kLeast) {
      across *= 2;
    } else {
      break;
    }
  }
  const auto size = [](int64_t whole, int64_t parts) {
    return divide_up(divide_up(whole, parts), kAlign) * kAlign;
  };
  return {size(n, down), size(k, across)};
}

void check_matrices(const char* who, const Tensor& out, const Tensor& a, const Tensor& b) {
  for (const Tensor* t : {&out, &a, &b}) {
    TS_CHECK(t->rank() == 2 && t->numel() > 0,
             "gemm: {}: an operand is {}, wanted two dimensions of at least 1", who, t->shape().str());
  }
  TS_CHECK(a.dtype() == b.dtype() && is_float(a.dtype()),
           "gemm: {}: operands are {} and {}, wanted both f32 or both bf16", who, name(a.dtype()),
           name(b.dtype()));
  TS_CHECK(out.dtype() == DType::f32 || (out.dtype() == DType::bf16 && a.dtype() == DType::bf16),
           "gemm: {}: the result is {}, the operands are {}", who, name(out.dtype()), name(a.dtype()));
}

void check_shapes(const char* who, bool fit, const Tensor& out, const Tensor& a, const Tensor& b) {
  TS_CHECK(fit, "gemm: {}: {} and {} do not give {}", who, a.shape().str(), b.shape().str(),
           out.shape().str());
}

const std::byte* at(const Tensor& t, int64_t element) {
  return static_cast<const std::byte*>(t.raw()) + element * size_of(t.dtype());
}

// y [m,n] = x [m,k] b + bias, b [k,n] being w or its transpose.
void multiply_by_weights(const Tensor& y, const Tensor& x, const Tensor& w, bool transposed,
                         const Tensor& bias) {
  const int64_t m = x.dim(0), k = x.dim(1), n = y.dim(1);
  const bool packed = worth_packing(k, n) && takes_panels(k, n, w.dtype());
  const Panels panels = packed ? pack(w, transposed) : Panels();
  Product p{{0, k, k, 1, x.dtype()}, {k, n, 0, 0, w.dtype()}, {0, n, n, 1, y.dtype()}, bias.defined(), false};
  if (!packed) {
    p.b.row_stride = transposed ? 1 : n;
    p.b.column_stride = transposed ? k : 1;
  }
  parallel_for(m, rows_per_task(m, n, k), [&](int64_t begin, int64_t end) {
    Product part = p;
    part.a.rows = part.c.rows = end - begin;
    multiply(part, at(x, begin * k), w.raw(), packed ? &panels.as_memory : nullptr, bias.raw(),
             const_cast<std::byte*>(at(y, begin * n)));
  });
}

}  // namespace

void forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias) {
  check_matrices("forward", y, x, w);
  check_shapes("forward", x.dim(1) == w.dim(1) && y.shape() == Shape({x.dim(0), w.dim(0)}), y, x, w);
  TS_CHECK(!bias.defined() || (bias.numel() == y.dim(1) && bias.dtype() == DType::f32),
           "gemm: forward: bias is {} {}, wanted [{}] f32", bias.shape().str(), name(bias.dtype()), y.dim(1));
  multiply_by_weights(y, x, w, true, bias);
}

void input_gradient(const Tensor& dx, const Tensor& dy, const Tensor& w) {
  check_matrices("input_gradient", dx, dy, w);
  check_shapes("input_gradient", dy.dim(1) == w.dim(0) && dx.shape() == Shape({dy.dim(0), w.dim(1)}), dx, dy,
               w);
  multiply_by_weights(dx, dy, w, false, Tensor());
}

void weight_gradient(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate) {
  check_matrices("weight_gradient", dw, dy, x);
  check_shapes("weight_gradient", dy.dim(0) == x.dim(0) && dw.shape() == Shape({dy.dim(1), x.dim(1)}), dw, dy,
               x);
  TS_CHECK(dw.dtype() == DType::f32, "gemm: weight_gradient: dw is {}, wanted f32", name(dw.dtype()));
  const int64_t m = dy.dim(0), n = dy.dim(1), k = x.dim(1);
  const std::pair<int64_t, int64_t> tile = gradient_tile(m, n, k);
  const int64_t rows = tile.first, columns = tile.second;  // clang cannot capture a structured binding
  const int64_t across = divide_up(k, columns);
  parallel_for(divide_up(n, rows) * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t row = t / across * rows, column = t % across * columns;
      const int64_t height = std::min(rows, n - row), width = std::min(columns, k - column);
      const Product p{{height, m, 1, n, dy.dtype()},
                      {m, width, k, 1, x.dtype()},
                      {height, width, k, 1, DType::f32},
                      false,
                      accumulate};
      multiply(p, at(dy, row), at(x, column), nullptr, nullptr,
               const_cast<std::byte*>(at(dw, row * k + column)));
    }
  });
}

std::string forward_implementation(int64_t m, int64_t n, int64_t k, DType d) {
  const OneThread one;
  const int64_t rows = rows_per_task(m, n, k);
  const Product p{{rows, k, k, 1, d}, {k, n, 0, 0, d}, {rows, n, n, 1, d}};
  return plan(p, describe(p.b)).impl_info_str();
}

}  // namespace tessera::gemm
