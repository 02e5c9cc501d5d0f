// Every width that this processor has, over arrays of exactly their size: for tests/test_kernels.py, under sanitizers.

#include <cmath>
#include <cstdio>
#include <cstdlib>
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

}  // namespace

int main() {
  run_widths<float>();
  run_widths<BFloat16>();
  run_widths<int8_t>();
  std::printf("products: %lld\n", static_cast<long long>(products));
}
