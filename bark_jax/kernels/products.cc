// Products of few rows with a large matrix, y[M, O] = x[M, I] · W[O, I]ᵀ · scales[O]: what a decoding step consists of.
//
// Such a product is as fast as its weights are read, so they are stored in few bytes (int8, bfloat16) and widened in
// registers. Each weight is read from memory once for all M rows. Every y[m, o] is summed in one order, which depends on
// I and on the width of the vectors alone: rows of a batch equal single ones bit for bit.
//
// Vectors are the compilers' own (GCC, Clang): one source serves every width, and the processor chooses at run time.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

// GCC 12 widens vectors of small integers one by one, though the processor has an instruction for it.
#if defined(__x86_64__) && !defined(__clang__)
#define WIDENS_BY_HAND 1
#endif

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

namespace {

namespace ffi = xla::ffi;

struct BFloat16 {
  uint16_t bits;
};

template <typename T, int N>
struct Vector {
  typedef T Type __attribute__((vector_size(sizeof(T) * N)));
};

template <int N>
using Floats = typename Vector<float, N>::Type;

template <typename To, typename From>
INLINE To load(const From* from) {  // of any alignment
  To to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

template <typename T>
struct __attribute__((packed, may_alias)) Unaligned {
  T value;
};

// N weights as float32, which holds them exactly.
template <int N>
INLINE Floats<N> widen(const float* w) {
  return load<Floats<N>>(w);
}

template <int N>
INLINE Floats<N> widen(const BFloat16* w) {
  using Narrow = typename Vector<uint16_t, N>::Type;
  using Wide = typename Vector<uint32_t, N>::Type;
  Wide bits;
#if WIDENS_BY_HAND
  if constexpr (N > 4) {
    asm("vpmovzxwd %1, %0" : "=v"(bits) : "m"(*reinterpret_cast<const Unaligned<Narrow>*>(w)));
  } else
#endif
    bits = __builtin_convertvector(load<Narrow>(w), Wide);
  bits <<= 16;
  return load<Floats<N>>(&bits);
}

template <int N>
INLINE Floats<N> widen(const int8_t* w) {
  using Narrow = typename Vector<int8_t, N>::Type;
  using Wide = typename Vector<int32_t, N>::Type;
  Wide integers;
#if WIDENS_BY_HAND
  if constexpr (N > 4) {
    asm("vpmovsxbd %1, %0" : "=v"(integers) : "m"(*reinterpret_cast<const Unaligned<Narrow>*>(w)));
  } else
#endif
    integers = __builtin_convertvector(load<Narrow>(w), Wide);
  return __builtin_convertvector(integers, Floats<N>);
}

INLINE float widen_one(const float* w) { return *w; }
INLINE float widen_one(const int8_t* w) { return *w; }
INLINE float widen_one(const BFloat16* w) {
  const uint32_t bits = uint32_t{w->bits} << 16;
  return load<float>(&bits);
}

// The sum of a vector, half added to half.
template <int N>
INLINE float sum(Floats<N> v) {
  if constexpr (N == 2) {
    return v[0] + v[1];
  } else {
    Floats<N / 2> low, high;
    for (int i = 0; i < N / 2; ++i) low[i] = v[i], high[i] = v[i + N / 2];
    return sum<N / 2>(low + high);
  }
}

template <typename W>
struct Product {
  const float* x;       // [rows, inputs]
  const W* weights;     // [outputs, inputs]
  const float* scales;  // [outputs], or null
  float* y;             // [rows, outputs]
  int64_t rows, inputs, outputs;
};

// A tile of y: rows m … m + M − 1, outputs o … o + O − 1.
template <int N, int M, int O, typename W>
INLINE void tile(const Product<W>& p, int64_t m, int64_t o) {
  const float* x = p.x + m * p.inputs;
  const W* w = p.weights + o * p.inputs;
  Floats<N> sums[O][M] = {};
  int64_t i = 0;
  for (; i + N <= p.inputs; i += N) {
    Floats<N> rows[M];
    UNROLL for (int a = 0; a < M; ++a) rows[a] = load<Floats<N>>(x + a * p.inputs + i);
    UNROLL for (int b = 0; b < O; ++b) {
      const Floats<N> wide = widen<N>(w + b * p.inputs + i);
      UNROLL for (int a = 0; a < M; ++a) sums[b][a] += rows[a] * wide;
    }
  }
  UNROLL for (int b = 0; b < O; ++b) {
    UNROLL for (int a = 0; a < M; ++a) {
      float total = sum<N>(sums[b][a]);
      for (int64_t j = i; j < p.inputs; ++j) total += x[a * p.inputs + j] * widen_one(w + b * p.inputs + j);
      p.y[(m + a) * p.outputs + o + b] = p.scales ? total * p.scales[o + b] : total;
    }
  }
}

// Outputs first … last − 1 of M rows, O at once: M · O sums fill the registers and hide the latency of additions.
template <int N, int M, int O, typename W>
INLINE void strip(const Product<W>& p, int64_t m, int64_t first, int64_t last) {
  int64_t o = first;
  for (; o + O <= last; o += O) tile<N, M, O>(p, m, o);
  for (; o < last; ++o) tile<N, M, 1>(p, m, o);
}

constexpr int64_t kBlock = 24;  // outputs whose weights stay in the cache while all rows pass; whole tiles

template <int N, typename W>
INLINE void outputs(const Product<W>& p, int64_t first, int64_t last) {
  for (int64_t o = first; o < last; o += kBlock) {
    const int64_t end = std::min(last, o + kBlock);
    int64_t m = 0;
    for (; m + 4 <= p.rows; m += 4) strip<N, 4, 3>(p, m, o, end);
    if (p.rows - m == 3) strip<N, 3, 4>(p, m, o, end);
    if (p.rows - m == 2) strip<N, 2, 4>(p, m, o, end);
    if (p.rows - m == 1) strip<N, 1, 8>(p, m, o, end);
  }
}

template <typename W>
using Outputs = void (*)(const Product<W>&, int64_t, int64_t);

template <typename W>
void outputs_plain(const Product<W>& p, int64_t first, int64_t last) {
  outputs<4>(p, first, last);
}

#if defined(__x86_64__)
template <typename W>
__attribute__((target("avx2,fma"))) void outputs_avx2(const Product<W>& p, int64_t first, int64_t last) {
  outputs<8>(p, first, last);
}

template <typename W>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"))) void outputs_avx512(
    const Product<W>& p, int64_t first, int64_t last) {
  outputs<16>(p, first, last);
}
#endif

// What this processor runs best: 2 AVX-512, 1 AVX2, 0 anything.
int width() {
#if defined(__x86_64__)
  static const int found = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                               ? 2
                           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1
                                                                                              : 0;
  return found;
#else
  return 0;
#endif
}

template <typename W>
Outputs<W> best() {
#if defined(__x86_64__)
  if (width() == 2) return outputs_avx512<W>;
  if (width() == 1) return outputs_avx2<W>;
#endif
  return outputs_plain<W>;
}

// run(0) … run(count − 1), on the threads that are free. The caller takes part, so that it never waits for a thread
// that has not begun; a task that begins late finds nothing to do, and touches only what it shares.
template <typename Run>
void parallel(ffi::ThreadPool& pool, int64_t count, const Run& run) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto shared = std::make_shared<Shared>();
  auto work = [shared, count, &run] {
    for (int64_t i; (i = shared->next.fetch_add(1)) < count;) {
      run(i);
      shared->done.fetch_add(1, std::memory_order_release);
    }
  };
  const int64_t helpers = std::min(count, pool.num_threads()) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(decltype(work)(work));
  work();
  while (shared->done.load(std::memory_order_acquire) < count) std::this_thread::yield();
}

constexpr int64_t kPiece = 1 << 16;  // weights that a thread takes at once

template <typename W>
void multiply(ffi::ThreadPool& pool, const Product<W>& p) {
  const int64_t fitting = kPiece / std::max<int64_t>(p.inputs, 1) / kBlock * kBlock;
  const int64_t step = std::max(kBlock, fitting);
  const Outputs<W> run = best<W>();
  parallel(pool, (p.outputs + step - 1) / step,
           [&](int64_t i) { run(p, i * step, std::min(p.outputs, (i + 1) * step)); });
}

ffi::Error project(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::AnyBuffer weights, ffi::Buffer<ffi::F32> scales,
                   ffi::Result<ffi::Buffer<ffi::F32>> y) {
  const auto of = x.dimensions(), matrix = weights.dimensions(), to = y->dimensions();
  if (of.size() != 2 || matrix.size() != 2 || to.size() != 2 || of[1] != matrix[1] || to[0] != of[0] ||
      to[1] != matrix[0] || (scales.element_count() != 0 && int64_t(scales.element_count()) != matrix[0]))
    return ffi::Error::InvalidArgument("shapes do not fit");
  const float* factors = scales.element_count() ? scales.typed_data() : nullptr;
  const auto with = [&](const auto* w) {
    multiply(pool, Product<std::decay_t<decltype(*w)>>{x.typed_data(), w, factors, y->typed_data(), of[0], of[1], to[1]});
    return ffi::Error::Success();
  };
  if (weights.element_type() == ffi::F32) return with(static_cast<const float*>(weights.untyped_data()));
  if (weights.element_type() == ffi::S8) return with(static_cast<const int8_t*>(weights.untyped_data()));
  if (weights.element_type() == ffi::BF16) return with(static_cast<const BFloat16*>(weights.untyped_data()));
  return ffi::Error::InvalidArgument("weights are float32, bfloat16 or int8");
}

// Attention of one query over the slots that it sees, all others of the cache unread.
struct Attention {
  const float* queries;  // [rows, width]
  const float* keys;     // [rows, slots, width]
  const float* values;   // [rows, slots, width]
  const bool* visible;   // [rows, slots]
  float* y;              // [rows, width]
  int64_t rows, slots, width;
};

// y[d … d + K · N) = Σ weights[s] · values[s, d …), from slot first on.
template <int N, int K>
INLINE void average(const float* weights, const float* values, int64_t count, int64_t width, float total, float* y) {
  Floats<N> sums[K] = {};
  for (int64_t s = 0; s < count; ++s)
    UNROLL for (int k = 0; k < K; ++k) sums[k] += load<Floats<N>>(values + s * width + k * N) * weights[s];
  UNROLL for (int k = 0; k < K; ++k) {
    const Floats<N> mean = sums[k] / total;
    std::memcpy(y + k * N, &mean, sizeof mean);
  }
}

template <int N>
INLINE void attend(const Attention& a, int64_t row) {
  const bool* visible = a.visible + row * a.slots;
  const bool* end = visible + a.slots;
  const int64_t first = std::find(visible, end, true) - visible;
  if (first == a.slots) {  // no slot at all: nothing that is read by anyone
    std::fill_n(a.y + row * a.width, a.width, 0.0f);
    return;
  }
  int64_t last = a.slots;
  while (!visible[last - 1]) --last;
  const int64_t count = last - first, begin = (row * a.slots + first) * a.width;
  static thread_local std::vector<float> weights;
  weights.resize(count);
  best<float>()({a.queries + row * a.width, a.keys + begin, nullptr, weights.data(), 1, a.width, count}, 0, count);
  const float scale = 1 / std::sqrt(float(a.width));
  float largest = -INFINITY, total = 0;
  for (int64_t s = 0; s < count; ++s)
    if (visible[first + s]) largest = std::max(largest, weights[s] * scale);
  for (int64_t s = 0; s < count; ++s)
    total += weights[s] = visible[first + s] ? std::exp(weights[s] * scale - largest) : 0;
  const float* values = a.values + begin;
  float* y = a.y + row * a.width;
  int64_t d = 0;
  for (; d + 4 * N <= a.width; d += 4 * N) average<N, 4>(weights.data(), values + d, count, a.width, total, y + d);
  for (; d + N <= a.width; d += N) average<N, 1>(weights.data(), values + d, count, a.width, total, y + d);
  for (; d < a.width; ++d) {
    float sum = 0;
    for (int64_t s = 0; s < count; ++s) sum += values[s * a.width + d] * weights[s];
    y[d] = sum / total;
  }
}

void attend_plain(const Attention& a, int64_t row) { attend<4>(a, row); }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void attend_avx2(const Attention& a, int64_t row) { attend<8>(a, row); }
#endif

ffi::Error attend_all(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> q, ffi::Buffer<ffi::F32> keys,
                      ffi::Buffer<ffi::F32> values, ffi::Buffer<ffi::PRED> visible,
                      ffi::Result<ffi::Buffer<ffi::F32>> y) {
  const auto of = keys.dimensions(), seen = visible.dimensions();
  if (of.size() != 3 || seen.size() != 2 || seen[0] != of[0] || seen[1] != of[1] ||
      values.element_count() != keys.element_count() || int64_t(q.element_count()) != of[0] * of[2] ||
      y->element_count() != q.element_count())
    return ffi::Error::InvalidArgument("shapes do not fit");
  const Attention a{q.typed_data(), keys.typed_data(), values.typed_data(), visible.typed_data(), y->typed_data(),
                    of[0], of[1], of[2]};
  auto run = attend_plain;
#if defined(__x86_64__)
  if (width() >= 1) run = attend_avx2;
#endif
  parallel(pool, a.rows, [&](int64_t row) { run(a, row); });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(bark_jax_attend, attend_all,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::PRED>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(bark_jax_project, project,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());

extern "C" int bark_jax_width() { return width(); }
