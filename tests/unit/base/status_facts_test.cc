#include "base/status_facts.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace nanochat {
namespace {

struct Variant {
  Status status;
  const char* code;
  const char* category;
  int32_t exit_code;
};

// The twenty variants of warm loading, as its exit-code table has them.
constexpr Variant kVariants[] = {
    {Status::model_file_missing, "ERR-WARM-MODEL-MISSING", "MODEL_FILE", 101},
    {Status::model_load_failed, "ERR-WARM-MODEL-LOAD", "MODEL_LOAD", 102},
    {Status::model_validation_failed, "ERR-WARM-MODEL-VALIDATION", "MODEL_VALIDATION", 103},
    {Status::vram_insufficient_total, "ERR-WARM-VRAM-INSUFFICIENT", "VRAM", 104},
    {Status::vram_insufficient_headroom, "ERR-WARM-VRAM-HEADROOM", "VRAM", 105},
    {Status::cuda_init_failed, "ERR-WARM-CUDA-INIT", "CUDA", 106},
    {Status::cuda_capability_insufficient, "ERR-WARM-CUDA-CAPABILITY", "CUDA", 107},
    {Status::cuda_alloc_failed, "ERR-WARM-CUDA-ALLOC", "CUDA", 108},
    {Status::cuda_context_lost, "ERR-WARM-CUDA-CONTEXT-LOST", "CUDA", 109},
    {Status::model_dimension_mismatch, "ERR-WARM-MODEL-DIMENSION-MISMATCH", "MODEL_VALIDATION", 110},
    {Status::model_already_registered, "ERR-WARM-REGISTRY-DUPLICATE", "REGISTRY", 1},
    {Status::model_not_registered, "ERR-WARM-REGISTRY-MISSING", "REGISTRY", 1},
    {Status::config_invalid, "ERR-WARM-CONFIG-INVALID", "CONFIG", 1},
    {Status::registry_lock_poisoned, "ERR-WARM-REGISTRY-POISON", "REGISTRY", 1},
    {Status::working_memory_exhausted, "ERR-WARM-MEMORY-WORKING", "MEMORY", 1},
    {Status::cuda_not_available, "ERR-WARM-CUDA-UNAVAILABLE", "CUDA", 1},
    {Status::cuda_query_failed, "ERR-WARM-CUDA-QUERY", "CUDA", 1},
    {Status::diagnostic_dump_failed, "ERR-WARM-DIAGNOSTIC-DUMP", "DIAGNOSTIC", 1},
    {Status::load_timeout, "ERR-WARM-LOAD-TIMEOUT", "TIMEOUT", 1},
    {Status::vram_allocation_failed, "ERR-WARM-VRAM-ALLOC", "MEMORY", 1},
};

TEST(StatusFacts, AreThoseOfTheTwentyVariantsOfWarmLoading) {
  for (const Variant& variant : kVariants) {
    const StatusFacts& facts = status_facts(variant.status);
    EXPECT_STREQ(facts.code, variant.code);
    EXPECT_STREQ(facts.category, variant.category) << variant.code;
    EXPECT_EQ(exit_code(variant.status), variant.exit_code) << variant.code;
    EXPECT_EQ(is_fatal(variant.status), variant.exit_code > 100) << variant.code;
  }
  EXPECT_EQ(std::size(kVariants), 20u);
}

TEST(StatusFacts, AreInOrderAndNoNameOrCodeIsUsedTwice) {
  std::set<std::string> names, codes;
  int32_t last = -1;
  for (const StatusFacts& facts : all_status_facts()) {
    EXPECT_GT(static_cast<int32_t>(facts.status), last);
    last = static_cast<int32_t>(facts.status);
    EXPECT_TRUE(names.insert(facts.name).second) << facts.name;
    EXPECT_TRUE(codes.insert(facts.code).second) << facts.code;
    EXPECT_STRNE(facts.category, "");
  }
  EXPECT_EQ(names.size(), 42u);
}

TEST(StatusFacts, OfANumberThatIsNoStatusAreUnknownAndTheProgramFails) {
  for (const int32_t number : {-5, 10, 63, 100, 111, 1 << 30}) {
    const auto status = static_cast<Status>(number);
    EXPECT_STREQ(status_facts(status).name, "UNKNOWN") << number;
    EXPECT_STREQ(status_facts(status).code, "ERR-UNKNOWN");
    EXPECT_FALSE(is_fatal(status)) << number;
    EXPECT_EQ(exit_code(status), 1) << number;
  }
  EXPECT_EQ(exit_code(Status::ok), 0);
}

}  // namespace
}  // namespace nanochat
