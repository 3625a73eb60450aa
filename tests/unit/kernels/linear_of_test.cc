// A transform on the way into a product gives the bits of the two kernels one after the other.
#include "every_isa.h"

namespace nanochat::testing {
namespace {

class LinearOf : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(LinearOf);

constexpr int64_t kOutputs = 70;
constexpr float kEps = 1e-5F;

class Case {
 public:
  Case(Device& device, DType dtype, int64_t k, int64_t m)
      : device_(device),
        k_(k),
        m_(m),
        w_(device, dtype, kOutputs, k, random_floats(1, kOutputs * k)),
        x_(random_floats(2, m * ldx(), 3.0F)),
        weight_(random_floats(3, k)) {}

  // swiglu reads 2 k of a row.
  int64_t ldx() const { return 2 * k_ + 3; }

  std::vector<float> fused(InputTransform transform, const float* weight, LinearOutput output) {
    std::vector<float> y = before();
    const LinearInput input{transform, x_.data(), ldx(), weight, kEps};
    device_.kernels().linear_of(device_, w_.matrix(), input, m_, y.data(), kOutputs, output);
    return y;
  }

  std::vector<float> in_turn(InputTransform transform, const float* weight, LinearOutput output) {
    std::vector<float> rows, y = before();
    for (int64_t row = 0; row < m_; ++row) {
      rows.insert(rows.end(), x_.begin() + row * ldx(), x_.begin() + row * ldx() + k_);
    }
    const Kernels& kernels = device_.kernels();
    if (transform == InputTransform::rms_norm) {
      kernels.rms_norm(device_, rows.data(), k_, rows.data(), k_, m_, 1, k_, kEps, 1.0F, weight);
    } else if (transform == InputTransform::relu2) {
      kernels.relu2(device_, rows.data(), m_ * k_);
    } else {
      for (int64_t row = 0; row < m_; ++row)
        kernels.swiglu(device_, x_.data() + row * ldx(), rows.data() + row * k_, 1, k_);
    }
    kernels.linear(device_, w_.matrix(), rows.data(), k_, m_, y.data(), kOutputs, output);
    return y;
  }

  const float* weight() const { return weight_.data(); }

 private:
  std::vector<float> before() const { return random_floats(4, m_ * kOutputs); }

  Device& device_;
  int64_t k_, m_;
  Packed w_;
  std::vector<float> x_, weight_;
};

TEST_P(LinearOf, GivesTheBitsOfTheTransformAndTheProductInTurn) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::i8}) {
    for (const int64_t k : {1, 5, 16, 33, 256, 300, 1024, 1025, 2600}) {
      for (const int64_t m : {1, 2, 9, 130}) {
        if (m == 130 && k != 2600) continue;
        Case one(device(), dtype, k, m);
        const auto check = [&](InputTransform transform, const float* weight, LinearOutput output) {
          const std::vector<float> fused = one.fused(transform, weight, output);
          const std::vector<float> in_turn = one.in_turn(transform, weight, output);
          ASSERT_TRUE(same_bits(fused.data(), in_turn.data(), m * kOutputs))
              << dtype_name(dtype) << " k " << k << " m " << m << " transform "
              << static_cast<int>(transform);
        };
        check(InputTransform::rms_norm, nullptr, LinearOutput::store);
        check(InputTransform::rms_norm, one.weight(), LinearOutput::add);
        check(InputTransform::relu2, nullptr, LinearOutput::add);
        check(InputTransform::swiglu, nullptr, LinearOutput::store);
      }
    }
  }
}

TEST_P(LinearOf, NoRowsIsNoWork) {
  Case none(device(), DType::i8, 64, 0);
  EXPECT_TRUE(none.fused(InputTransform::relu2, nullptr, LinearOutput::store).empty());
}

}  // namespace
}  // namespace nanochat::testing
