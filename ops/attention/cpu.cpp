// CPU half of attention. One task is one head of one image (forward: at most kQueriesPerTask of its queries);
// inside, blocks of query rows meet all keys at once, so scores, probabilities and their sums need no second
// visit.
#include <cmath>
#include <type_traits>

#include "engine/parallel.h"
#include "ops/attention/kernels.h"
#include "ops/attention/pack.h"

namespace tessera {
namespace {

using namespace tile;

// Queries per block. Forward: their scores stay near L1 up to some 250 keys; two groups of sixteen. Backward:
// the depth of the products that sum over queries, whose results are visited again by every block.
constexpr int64_t kForwardRows = 32, kBackwardRows = 64;
constexpr int64_t kQueriesPerTask = 512;  // packing the keys again costs 1 % at that many
constexpr double kFlopsPerTask = 4e6;
constexpr float kLog2e = 1.44269504088896341f;

template <class T> struct Qkv { Rows<T> q, k, v; };

// One head of one image. Queries and keys may differ in number, and every tensor has its own row stride.
template <class T> struct Head : Qkv<const T> {
  int64_t queries = 0, keys = 0, width = 0;
  float scale = 1;
};

// Hands out parts of one pooled tensor, each whole rows of 64 bytes.
class Scratch {
 public:
  explicit Scratch(int64_t words)
      : tensor_({words}, DType::f32, Device::cpu(), "workspace"), next_(tensor_.data<float>()) {}
  Words take(int64_t rows, int64_t columns) {
    const Words w{next_, padded(columns)};
    next_ += size(rows, columns);
    return w;
  }
  static int64_t size(int64_t rows, int64_t columns) { return rows * padded(columns); }

 private:
  Tensor tensor_;
  float* next_;
};

// How many blocks of at most `most` rows cover n; blocks are near-equal.
int64_t blocks(int64_t n, int64_t most) { return (n + most - 1) / most; }

template <class Op> struct ForwardScratch {
  Words k, v, q, scores, out;
  ForwardScratch(Scratch& s, int64_t rows, int64_t keys, int64_t d)
      : k(s.take(words<Op>(d), keys)),
        v(s.take(words<Op>(keys), d)),
        q(s.take(rows, d)),
        scores(s.take(rows, keys)),
        out(s.take(rows, d)) {}
  static int64_t size(int64_t rows, int64_t keys, int64_t d) {
    return Scratch::size(words<Op>(d), keys) + Scratch::size(words<Op>(keys), d) +
           2 * Scratch::size(rows, d) + Scratch::size(rows, keys);
  }
};

// Scores of at most 16 queries to 2^(c * score - largest of the row), in place. factor = 1 / their sum; lse
// (unless null) = log2 of the sum of 2^(c * score).
template <class Op>
void softmax_rows(Words scores, int64_t rows, int64_t n, float c, float* factor, float* lse) {
  f32x16 top[kLanes], total[kLanes];
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = scores.row(r);
    f32x16 t(-INFINITY);
    for_lanes(n,
              [&](int64_t i, int lanes) { t = max(t, keep_first(load(row + i), lanes, f32x16(-INFINITY))); });
    top[r] = t;
  }
  alignas(64) float largest[kLanes];
  store(largest, max_rows(top) * f32x16(c));
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores.row(r);
    f32x16 t;
    for_lanes(n, [&](int64_t i, int lanes) {
      const f32x16 p = keep_first(exp2(fma(load(row + i), f32x16(c), f32x16(-largest[r]))), lanes, f32x16());
      t = t + p;
      Op::store_numbers(row, i, p);
    });
    total[r] = t;
  }
  const f32x16 sums = sum_rows(total);
  store(factor, f32x16(1.0f) / sums, static_cast<int>(rows));
  if (lse) store(lse, load(largest) + log2(sums), static_cast<int>(rows));
}

// Queries [begin, end) of a head: y rows and, if wanted, lse.
template <class Op, class T>
void forward_head(const Head<T>& h, Rows<T> y, float* lse, int64_t begin, int64_t end,
                  ForwardScratch<Op>& s) {
  const int64_t d = h.width, count = blocks(end - begin, kForwardRows);
  prefetch(h.k, 0, h.keys, d);
  prefetch(h.v, 0, h.keys, d);
  prefetch(h.q, begin, std::min(end, begin + kForwardRows), d);
  pack_transposed<Op>(s.k, h.k, h.keys, d);
  pack_depth<Op>(s.v, h.v, h.keys, d);
  for (int64_t block = 0; block < count; ++block) {
    const int64_t i0 = begin + part(end - begin, count, block),
                  rows = begin + part(end - begin, count, block + 1) - i0;
    pack_rows<Op>(s.q, h.q.from(i0), rows, d);
    prefetch(h.q, i0 + rows, std::min(i0 + 2 * rows, end), d);
    prefetch(y, i0, i0 + rows, d);
    multiply<Op, false>(s.scores, s.q, s.k, rows, vectors(h.keys), words<Op>(d));
    float factor[kForwardRows];
    for (int64_t r = 0; r < rows; r += kLanes) {
      softmax_rows<Op>({s.scores.row(r), s.scores.stride}, std::min<int64_t>(kLanes, rows - r), h.keys,
                       h.scale * kLog2e, factor + r, lse ? lse + i0 + r : nullptr);
    }
    multiply<Op, false>(s.out, s.scores, s.v, rows, vectors(d), words<Op>(h.keys));
    for (int64_t r = 0; r < rows; ++r) write_row<Op>(y.row(i0 + r), s.out.row(r), factor[r], d);
  }
}

template <class Op> struct BackwardScratch {
  Words k, v, k_depth, q, dy, q_depth, dy_depth, p, ds, ds_rows, dq, dk, dv;
  static constexpr bool kPairs = Op::kPerWord == 2;
  BackwardScratch(Scratch& s, int64_t rows, int64_t keys, int64_t d) {
    k = s.take(words<Op>(d), keys);
    v = s.take(words<Op>(d), keys);
    k_depth = s.take(words<Op>(keys), d);
    q = s.take(rows, d);
    dy = s.take(rows, d);
    p = s.take(rows, keys);
    ds = s.take(rows, keys);
    dq = s.take(rows, d);
    dk = s.take(keys, d);
    dv = s.take(keys, d);
    q_depth = kPairs ? s.take(rows, d) : q;  // with one number per word, a row serves both ways
    dy_depth = kPairs ? s.take(rows, d) : dy;
    ds_rows = kPairs ? s.take(rows, keys) : ds;
  }
  static int64_t size(int64_t rows, int64_t keys, int64_t d) {
    return 2 * Scratch::size(words<Op>(d), keys) + Scratch::size(words<Op>(keys), d) +
           3 * Scratch::size(rows, d) + 2 * Scratch::size(rows, keys) + 2 * Scratch::size(keys, d) +
           (kPairs ? 2 * Scratch::size(rows, d) + Scratch::size(rows, keys) : 0);
  }
};

// delta[r] = a row r . b row r.
template <class T> void dot_rows(float* delta, Rows<const T> a, Rows<const T> b, int64_t rows, int64_t d) {
  for (int64_t r0 = 0; r0 < rows; r0 += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, rows - r0);
    f32x16 products[kLanes];
    for (int64_t r = 0; r < count; ++r) {
      f32x16 t;
      for_lanes(d, [&](int64_t i, int lanes) {
        t = fma(load(a.row(r0 + r) + i, lanes), load(b.row(r0 + r) + i, lanes), t);
      });
      products[r] = t;
    }
    store(delta + r0, sum_rows(products), static_cast<int>(count));
  }
}

// An lse of this size has lost digits that the probabilities miss: beyond it, a row is divided by its sum
// once more.
constexpr float kLargeLse = 16.0f;

// One query in backward: its scores and dP, its terms, and P and dS from them.
struct QueryRow {
  float *p, *ds;
  float c, lse, delta, factor = 1.0f;

  f32x16 raw(int64_t j) const { return exp2(fma(load(p + j), f32x16(c), f32x16(-lse))); }
  void normalize(int64_t n) {
    if (std::fabs(lse) <= kLargeLse) return;
    f32x16 total;
    for_lanes(n, [&](int64_t j, int lanes) { total = total + keep_first(raw(j), lanes, f32x16()); });
    factor = 1.0f / sum(total);
  }
  // P = 2^(c * score - lse); zero past the last key.
  f32x16 probability(int64_t j, int lanes) const {
    return keep_first(raw(j) * f32x16(factor), lanes, f32x16());
  }
  // dS / scale = P (dP - delta)
  f32x16 gradient(int64_t j, f32x16 probability) const {
    return probability * (load(ds + j) - f32x16(delta));
  }
};

// Scores to P and dP to dS. Single: in place. Pair: rounded, p and ds [query pairs][keys] in the place of
// their even rows, ds_rows [queries][key pairs].
template <class Op>
void gradient_rows(BackwardScratch<Op>& s, int64_t rows, int64_t n, float c, const float* lse,
                   const float* delta) {
  for (int64_t r = 0; r < rows; r += Op::kPerWord) {
    QueryRow a{s.p.row(r), s.ds.row(r), c, lse[r], delta[r]};
    a.normalize(n);
    if constexpr (Op::kPerWord == 1) {
      for_lanes(n, [&](int64_t j, int lanes) {
        const f32x16 p = a.probability(j, lanes);
        store(a.p + j, p);
        store(a.ds + j, a.gradient(j, p));
      });
    } else {
      const bool alone = r + 1 == rows;
      QueryRow b{s.p.row(r + 1), s.ds.row(r + 1), c, alone ? 0.0f : lse[r + 1], alone ? 0.0f : delta[r + 1]};
      if (!alone) b.normalize(n);
      for_lanes(n, [&](int64_t j, int lanes) {
        const f32x16 p0 = a.probability(j, lanes), p1 = alone ? f32x16() : b.probability(j, lanes);
        const f32x16 d0 = a.gradient(j, p0), d1 = alone ? f32x16() : b.gradient(j, p1);
        store(a.p + j, Op::join(p0, p1));
        store(a.ds + j, Op::join(d0, d1));
        Op::store_numbers(s.ds_rows.row(r), j, d0);
        if (!alone) Op::store_numbers(s.ds_rows.row(r + 1), j, d1);
      });
    }
  }
}

// One block of queries: dq rows are finished, dk and dv gain their share (`add`: it is not the first).
template <class Op, class T>
void backward_block(const Head<T>& h, Rows<const T> y, Rows<const T> dy, Rows<T> dq, const float* lse,
                    int64_t rows, bool add, BackwardScratch<Op>& s) {
  const int64_t d = h.width;
  pack_rows<Op>(s.q, h.q, rows, d);
  pack_rows<Op>(s.dy, dy, rows, d);
  multiply<Op, false>(s.p, s.q, s.k, rows, vectors(h.keys), words<Op>(d));
  multiply<Op, false>(s.ds, s.dy, s.v, rows, vectors(h.keys), words<Op>(d));
  float delta[kBackwardRows];
  dot_rows(delta, y, dy, rows, d);
  gradient_rows(s, rows, h.keys, h.scale * kLog2e, lse, delta);
  Words p = s.p, ds = s.ds;
  if constexpr (BackwardScratch<Op>::kPairs) {
    pack_depth<Op>(s.q_depth, h.q, rows, d);
    pack_depth<Op>(s.dy_depth, dy, rows, d);
    p.stride *= 2;
    ds.stride *= 2;
  }
  multiply<Op, false>(s.dq, s.ds_rows, s.k_depth, rows, vectors(d), words<Op>(h.keys));
  for (int64_t r = 0; r < rows; ++r) write_row<Op>(dq.row(r), s.dq.row(r), h.scale, d);
  multiply<Op, true>(s.dv, p, s.dy_depth, h.keys, vectors(d), words<Op>(rows), add);
  multiply<Op, true>(s.dk, ds, s.q_depth, h.keys, vectors(d), words<Op>(rows), add);
}

template <class Op, class T>
void backward_head(const Head<T>& h, Rows<const T> y, Rows<const T> dy, const Qkv<T>& grad, const float* lse,
                   BackwardScratch<Op>& s) {
  const int64_t d = h.width, count = blocks(h.queries, kBackwardRows);
  prefetch(h.k, 0, h.keys, d);
  prefetch(h.v, 0, h.keys, d);
  pack_transposed<Op>(s.k, h.k, h.keys, d);
  pack_transposed<Op>(s.v, h.v, h.keys, d);
  pack_depth<Op>(s.k_depth, h.k, h.keys, d);
  for (int64_t block = 0; block < count; ++block) {
    const int64_t i0 = part(h.queries, count, block), rows = part(h.queries, count, block + 1) - i0;
    prefetch(h.q, i0, i0 + rows, d);
    prefetch(dy, i0, i0 + rows, d);
    prefetch(y, i0, i0 + rows, d);
    prefetch(grad.q, i0, i0 + rows, d);
    Head<T> some = h;
    some.q = h.q.from(i0);
    backward_block<Op>(some, y.from(i0), dy.from(i0), grad.q.from(i0), lse + i0, rows, block > 0, s);
  }
  prefetch(grad.k, 0, h.keys, d);
  prefetch(grad.v, 0, h.keys, d);
  for (int64_t j = 0; j < h.keys; ++j) {
    write_row<Op>(grad.k.row(j), s.dk.row(j), h.scale, d);
    write_row<Op>(grad.v.row(j), s.dv.row(j), 1.0f, d);
  }
}

// What multiplies T: pairs of bf16 where the machine can, else floats.
#ifdef TESSERA_BF16_DOT
template <class T> using OpFor = std::conditional_t<std::is_same_v<T, bf16>, Pair, Single>;
#else
template <class T> using OpFor = Single;
#endif

// Where a head lies in the packed tensors: qkv [B,N,3*H*D] and y [B,N,H*D].
struct Packed {
  int64_t n, heads, width;
  float scale;
  Packed(const Tensor& qkv, int h, float s)
      : n(qkv.dim(1)), heads(h), width(qkv.dim(2) / (3 * h)), scale(s) {}

  template <class T> Qkv<T> qkv(T* p, int64_t b, int64_t h) const {
    const int64_t c = heads * width;
    T* first = p + b * n * 3 * c + h * width;
    return {{first, 3 * c}, {first + c, 3 * c}, {first + 2 * c, 3 * c}};
  }
  template <class T> Rows<T> y(T* p, int64_t b, int64_t h) const {
    return {p + b * n * heads * width + h * width, heads * width};
  }
  template <class T> Head<T> head(const T* p, int64_t b, int64_t h) const {
    return {qkv(p, b, h), n, n, width, scale};
  }
  // Heads (or parts of one) per task, by size: `products` N x N x D products each.
  int64_t grain(int64_t queries, int products) const {
    const double flops = 2.0 * products * static_cast<double>(queries) * static_cast<double>(n) *
                         static_cast<double>(width);
    return std::max<int64_t>(1, static_cast<int64_t>(kFlopsPerTask / flops));
  }
};

void forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, int heads, float scale) {
  const Packed at(qkv, heads, scale);
  if (qkv.numel() == 0) return;
  with_float_type(qkv.dtype(), "attention", [&]<class T>(T) {
    using Op = OpFor<T>;
    const T* px = qkv.data<T>();
    T* py = y.data<T>();
    float* pl = lse.defined() ? lse.data<float>() : nullptr;
    const int64_t parts = blocks(at.n, kQueriesPerTask), rows = std::min(at.n, kForwardRows);
    parallel_for(qkv.dim(0) * heads * parts, at.grain(at.n / parts, 2), [&](int64_t first, int64_t last) {
      Scratch scratch(ForwardScratch<Op>::size(rows, at.n, at.width));
      ForwardScratch<Op> s(scratch, rows, at.n, at.width);
      for (int64_t i = first; i < last; ++i) {
        const int64_t task = i % parts, head = i / parts % heads, b = i / parts / heads;
        forward_head<Op>(at.head(px, b, head), at.y(py, b, head), pl ? pl + i / parts * at.n : nullptr,
                         part(at.n, parts, task), part(at.n, parts, task + 1), s);
      }
    });
  });
}

void backward(const Tensor& dqkv, const Tensor& dy, const Tensor& qkv, const Tensor& y, const Tensor& lse,
              int heads, float scale) {
  const Packed at(qkv, heads, scale);
  if (qkv.numel() == 0) return;
  with_float_type(qkv.dtype(), "attention", [&]<class T>(T) {
    using Op = OpFor<T>;
    const T *px = qkv.data<T>(), *py = y.data<T>(), *pd = dy.data<T>();
    T* out = dqkv.data<T>();
    const float* pl = lse.data<float>();
    const int64_t rows = std::min(at.n, kBackwardRows);
    parallel_for(qkv.dim(0) * heads, at.grain(at.n, 5), [&](int64_t first, int64_t last) {
      Scratch scratch(BackwardScratch<Op>::size(rows, at.n, at.width));
      BackwardScratch<Op> s(scratch, rows, at.n, at.width);
      for (int64_t i = first; i < last; ++i) {
        const int64_t head = i % heads, b = i / heads;
        backward_head<Op>(at.head(px, b, head), at.y(py, b, head), at.y(pd, b, head), at.qkv(out, b, head),
                          pl + i * at.n, s);
      }
    });
  });
}

}  // namespace

const AttentionKernels attention_cpu{forward, backward};

}  // namespace tessera
