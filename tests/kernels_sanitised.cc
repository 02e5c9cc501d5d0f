// Every width that this processor has, over arrays of exactly their size: for tests/test_kernels.py, under sanitizers.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "products.cc"

namespace {

int64_t products = 0;

template <typename W>
void run(Outputs<W> outputs, int64_t rows, int64_t inputs, int64_t count) {
  // One by one on the heap: a byte past any of them is seen.
  std::vector<float> x(rows * inputs, 2.0f), scales(count, 0.5f), y(rows * count, -1.0f);
  std::vector<W> weights(inputs * count);
  std::memset(weights.data(), 0, weights.size() * sizeof(W));
  const Product<W> product{x.data(), weights.data(), scales.data(), y.data(), rows, inputs, count};
  outputs(product, 0, count);
  for (float value : y)
    if (value != 0) std::abort();
  ++products;
}

template <typename W>
void run_all(Outputs<W> outputs) {
  for (int64_t rows = 1; rows <= 16; ++rows)
    for (int64_t inputs : {0, 1, 3, 4, 7, 8, 15, 16, 17, 33})
      for (int64_t count : {1, 2, 3, 7, 8, 23, 24, 25, 50}) run(outputs, rows, inputs, count);
}

template <typename W>
void run_widths() {
  run_all<W>(outputs_plain<W>);
#if defined(__x86_64__)
  if (width() >= 1) run_all<W>(outputs_avx2<W>);
  if (width() >= 2) run_all<W>(outputs_avx512<W>);
#endif
}

using Attend = void (*)(const Attention&, int64_t);

// One row, whose slots first … last − 1 are visible but for every third: the mean of ones is one.
void attend_to(Attend attend, int64_t slots, int64_t first, int64_t last, int64_t width) {
  std::vector<float> q(width, 1.0f), keys(slots * width, 0.5f), values(slots * width, 1.0f), y(width, -1.0f);
  std::unique_ptr<bool[]> visible(new bool[slots]);
  bool any = false;
  for (int64_t s = 0; s < slots; ++s) any |= visible[s] = s >= first && s < last && (s - first) % 3 != 2;
  attend({q.data(), keys.data(), values.data(), visible.get(), y.data(), 1, slots, width}, 0);
  for (float value : y)
    if (std::abs(value - (any ? 1.0f : 0.0f)) > 1e-5f) std::abort();
  ++products;
}

void attend_all_shapes(Attend attend) {
  for (int64_t width : {1, 3, 4, 7, 8, 31, 32, 33, 64})
    for (int64_t slots : {1, 2, 5, 17})
      for (int64_t first = 0; first < slots; ++first)
        for (int64_t last = first; last <= slots; ++last) attend_to(attend, slots, first, last, width);
}

}  // namespace

int main() {
  run_widths<float>();
  run_widths<BFloat16>();
  run_widths<int8_t>();
  attend_all_shapes(attend_plain);
#if defined(__x86_64__)
  if (width() >= 1) attend_all_shapes(attend_avx2);
#endif
  std::printf("products: %lld\n", static_cast<long long>(products));
}
