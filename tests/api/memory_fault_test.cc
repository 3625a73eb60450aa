// Every allocation of every public operation fails once, in turn: a status comes back, outputs stay
// untouched, nothing leaks, and the handles go on working.
#include <nanochat.h>

#include <cstdio>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "failing_allocations.h"

namespace {

constexpr const char* kStories = NANOCHAT_TEST_DATA "/models/stories260K";
constexpr const char* kBert = NANOCHAT_TEST_DATA "/models/encoder_bert_mean";
constexpr const char* kFusion = NANOCHAT_TEST_DATA "/models/fuse_moe_small";

void* allocate(size_t bytes, size_t alignment, void*) { return take(bytes, alignment); }
void release(void* pointer, size_t, size_t, void*) { give_back(pointer); }

nanochat_runtime* make_runtime() {
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  options.n_threads = 3;
  options.allocate = allocate;
  options.free = release;
  nanochat_runtime* runtime = nullptr;
  nanochat_runtime_create(&options, &runtime, nullptr);
  return runtime;
}

// Fails allocation 0, 1, 2, ... of `operation` until it succeeds. The operation must undo what it made.
// Returns how many allocations it makes.
int64_t fail_each_allocation(const std::function<nanochat_status(nanochat_error**)>& operation) {
  // One warm call: caches that stay filled for the life of a handle are no leak.
  EXPECT_EQ(operation(nullptr), NANOCHAT_OK);
  for (int64_t n = 0; n < 200000; ++n) {
    const int64_t live_before = live_blocks.load();
    nanochat_error* error = nullptr;
    countdown.store(n);
    const nanochat_status status = operation(&error);
    const bool reached = countdown.exchange(-1) < 0;
    if (status == NANOCHAT_OK) {
      EXPECT_EQ(error, nullptr);
    } else {
      EXPECT_TRUE(status == NANOCHAT_STATUS_OUT_OF_MEMORY ||
                  status == NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED)
          << "allocation " << n << ": " << nanochat_status_name(status) << ": "
          << nanochat_error_message(error);
      EXPECT_NE(error, nullptr);
      nanochat_error_free(error);
    }
    EXPECT_LE(live_blocks.load(), live_before) << "allocation " << n << " leaks";
    if (!reached) return n;
    if (testing::Test::HasFailure()) return n;
  }
  ADD_FAILURE() << "never ran to the end";
  return -1;
}

TEST(EveryAllocationFailsOnce, CreatingARuntime) {
  EXPECT_GT(fail_each_allocation([](nanochat_error** error) {
              nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
              options.n_threads = 4;
              options.allocate = allocate;
              options.free = release;
              nanochat_runtime* runtime = nullptr;
              const nanochat_status status = nanochat_runtime_create(&options, &runtime, error);
              EXPECT_EQ(runtime != nullptr, status == NANOCHAT_OK);
              nanochat_runtime_free(runtime);
              return status;
            }),
            3);
}

TEST(EveryAllocationFailsOnce, LoadingATokenizer) {
  nanochat_runtime* runtime = make_runtime();
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_tokenizer* tokenizer = nullptr;
              const nanochat_status status =
                  nanochat_tokenizer_load(runtime, kStories, nullptr, &tokenizer, error);
              EXPECT_EQ(tokenizer != nullptr, status == NANOCHAT_OK);
              nanochat_tokenizer_free(tokenizer);
              return status;
            }),
            100);
  nanochat_runtime_free(runtime);
}

std::string training_corpus() {
  const std::string path = testing::TempDir() + "nanochat-training-" + std::to_string(getpid()) + ".jsonl";
  FILE* file = std::fopen(path.c_str(), "wb");
  for (int i = 0; i < 300 && file != nullptr; ++i) {
    std::fprintf(file, "{\"n\":[%d],\"text\":\"piece %c%c%c of\\ttext\"}\n", i, 'a' + i % 26, 'a' + i / 26,
                 'a' + i * 7 % 26);
  }
  if (file != nullptr) std::fclose(file);
  return path;
}

nanochat_status train_on(nanochat_runtime* runtime, const std::string& path, nanochat_tokenizer** tokenizer,
                         nanochat_error** error) {
  const char* const paths[] = {path.c_str()};
  nanochat_tokenizer_train_options options = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
  options.vocab_size = 256 + 9 + 4;
  options.memory_limit = uint64_t{1} << 20;
  return nanochat_tokenizer_train_files(runtime, &options, paths, 1, tokenizer, error);
}

TEST(EveryAllocationFailsOnce, TrainingATokenizer) {
  nanochat_runtime* runtime = make_runtime();
  const std::string path = training_corpus();
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_tokenizer* tokenizer = nullptr;
              const nanochat_status status = train_on(runtime, path, &tokenizer, error);
              EXPECT_EQ(tokenizer != nullptr, status == NANOCHAT_OK);
              nanochat_tokenizer_free(tokenizer);
              return status;
            }),
            100);
  std::remove(path.c_str());
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, SavingATokenizerInOtherForms) {
  nanochat_runtime* runtime = make_runtime();
  const std::string path = training_corpus();
  nanochat_tokenizer* tokenizer = nullptr;
  ASSERT_EQ(train_on(runtime, path, &tokenizer, nullptr), NANOCHAT_OK);
  for (const int32_t form : {NANOCHAT_TOKENIZER_TIKTOKEN, NANOCHAT_TOKENIZER_TOKEN_BYTES}) {
    EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
                return nanochat_tokenizer_save_as(tokenizer, path.c_str(), form, error);
              }),
              10);
  }
  std::remove(path.c_str());
  nanochat_tokenizer_free(tokenizer);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, LoadingAModel) {
  nanochat_runtime* runtime = make_runtime();
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_model* model = nullptr;
              const nanochat_status status = nanochat_model_load(runtime, kStories, nullptr, &model, error);
              EXPECT_EQ(model != nullptr, status == NANOCHAT_OK);
              nanochat_model_free(model);
              return status;
            }),
            100);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, LoadingAnEncoder) {
  nanochat_runtime* runtime = make_runtime();
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_model* model = nullptr;
              const nanochat_status status = nanochat_model_load(runtime, kBert, nullptr, &model, error);
              EXPECT_EQ(model != nullptr, status == NANOCHAT_OK);
              nanochat_model_free(model);
              return status;
            }),
            100);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, EmbeddingTexts) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  nanochat_tokenizer* tokenizer = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kBert, nullptr, &model, nullptr), NANOCHAT_OK);
  ASSERT_EQ(nanochat_tokenizer_load(runtime, kBert, nullptr, &tokenizer, nullptr), NANOCHAT_OK);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              const char* texts[] = {"one text", "another, longer one"};
              nanochat_embeddings* embeddings = nullptr;
              const nanochat_status status =
                  nanochat_embed_text(model, tokenizer, texts, nullptr, 2, nullptr, &embeddings, error);
              EXPECT_EQ(embeddings != nullptr, status == NANOCHAT_OK);
              nanochat_embeddings_free(embeddings);
              nanochat_runtime_reclaim(runtime, nullptr);  // what the pool keeps is no leak
              return status;
            }),
            20);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, Fusing) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_fusion* fusion = nullptr;
  ASSERT_EQ(nanochat_fusion_load(runtime, kFusion, nullptr, &fusion, nullptr), NANOCHAT_OK);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              const float row[83] = {1.0F};
              nanochat_embeddings* fused = nullptr;
              const nanochat_status status = nanochat_fuse(fusion, row, 1, 83, nullptr, &fused, error);
              EXPECT_EQ(fused != nullptr, status == NANOCHAT_OK);
              nanochat_embeddings_free(fused);
              nanochat_runtime_reclaim(runtime, nullptr);
              return status;
            }),
            5);
  nanochat_fusion_free(fusion);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, DescribingAModel) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_text* text = nullptr;
              const nanochat_status status = nanochat_model_to_json(model, &text, error);
              EXPECT_EQ(text != nullptr, status == NANOCHAT_OK);
              nanochat_text_free(text);
              return status;
            }),
            10);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, ExportingAModel) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  nanochat_tokenizer* tokenizer = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  ASSERT_EQ(nanochat_tokenizer_load(runtime, kStories, nullptr, &tokenizer, nullptr), NANOCHAT_OK);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              return nanochat_model_export(model, tokenizer, "memory_fault.gguf", nullptr, error);
            }),
            100);
  std::remove("memory_fault.gguf");
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, QuantizingAModel) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_model* quantized = nullptr;
              const nanochat_status status = nanochat_model_quantize(model, nullptr, &quantized, error);
              EXPECT_EQ(quantized != nullptr, status == NANOCHAT_OK);
              nanochat_model_free(quantized);
              return status;
            }),
            100);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, EvaluatingTokensLeavesTheSessionUsable) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  nanochat_session* session = nullptr;
  ASSERT_EQ(nanochat_session_create(model, nullptr, &session, nullptr), NANOCHAT_OK);
  fail_each_allocation([&](nanochat_error** error) {
    const int32_t tokens[] = {1, 403, 407};
    float logits[512];
    const nanochat_status status =
        nanochat_session_eval(session, tokens, 3, NANOCHAT_LOGITS_LAST, logits, 512, nullptr, error);
    EXPECT_EQ(nanochat_session_length(session), status == NANOCHAT_OK ? 3 : 0);
    EXPECT_EQ(nanochat_session_truncate(session, 0, nullptr), NANOCHAT_OK);
    return status;
  });
  nanochat_session_free(session);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

TEST(EveryAllocationFailsOnce, GeneratingGoesOnWithTheSameTokens) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  nanochat_tokenizer* tokenizer = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  ASSERT_EQ(nanochat_tokenizer_load(runtime, kStories, nullptr, &tokenizer, nullptr), NANOCHAT_OK);
  const int32_t expected[] = {403, 407, 261, 378};
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              nanochat_session* session = nullptr;
              nanochat_generation* generation = nullptr;
              nanochat_status status = nanochat_session_create(model, nullptr, &session, error);
              if (status == NANOCHAT_OK) {
                status =
                    nanochat_generation_start_text(session, tokenizer, "", 0, nullptr, &generation, error);
              }
              nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
              for (int i = 0; i < 4 && status == NANOCHAT_OK; ++i) {
                status = nanochat_generation_next(generation, &event, error);
                if (status != NANOCHAT_OK) {  // the same call once more gives what it would have given
                  countdown.store(-1);
                  EXPECT_EQ(nanochat_generation_next(generation, &event, nullptr), NANOCHAT_OK);
                }
                EXPECT_EQ(event.token, expected[i]);
              }
              nanochat_generation_free(generation);
              nanochat_session_free(session);
              return status;
            }),
            20);
  nanochat_tokenizer_free(tokenizer);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

// Two requests with one beginning, guesses and log probabilities, taken to their ends.
class TwoRequests {
 public:
  explicit TwoRequests(const nanochat_model* model) {
    generation_.max_tokens = 12;
    generation_.top_logprobs = 2;
    generation_.ignore_end = 1;
    for (std::string& tokens : got_) tokens.reserve(1000);  // the test's own memory does not fail
    for (int32_t i = 0; i < kPrompt; ++i) prompt_[i] = 1 + i % 7;
    EXPECT_EQ(run(model, nullptr), NANOCHAT_OK);
    for (size_t i = 0; i < 2; ++i) expected_[i] = got_[i];
  }

  // The first failure, of a call or of a request; after one all goes on.
  nanochat_status run(const nanochat_model* model, nanochat_error** error) {
    nanochat_scheduler_options options = NANOCHAT_SCHEDULER_OPTIONS_INIT;
    options.draft_tokens = 3;
    nanochat_scheduler* scheduler = nullptr;
    nanochat_status status = nanochat_scheduler_create(model, nullptr, &options, &scheduler, error);
    if (status != NANOCHAT_OK) return status;
    nanochat_request* requests[2] = {};
    for (size_t i = 0; i < 2; ++i) {
      got_[i].clear();
      const auto submit = [&] {
        return nanochat_scheduler_submit(scheduler, prompt_, kPrompt - static_cast<size_t>(i), &generation_,
                                         nullptr, &requests[i], status == NANOCHAT_OK ? error : nullptr);
      };
      if (const nanochat_status refused = submit(); refused != NANOCHAT_OK) {
        EXPECT_EQ(requests[i], nullptr);
        status = refused;
        EXPECT_EQ(submit(), NANOCHAT_OK);
      }
    }
    for (size_t i = 0; i < 2; ++i) finish(requests[i], got_[i], status, error);
    for (nanochat_request* request : requests) nanochat_request_free(request);
    nanochat_scheduler_free(scheduler);
    return status;
  }
  const std::string& got(size_t i) const { return got_[i]; }
  const std::string& expected(size_t i) const { return expected_[i]; }

 private:
  static void finish(nanochat_request* request, std::string& tokens, nanochat_status& status,
                     nanochat_error** error) {
    nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
    while (event.finish == NANOCHAT_FINISH_NONE) {
      nanochat_error** const first = status == NANOCHAT_OK ? error : nullptr;
      if (const nanochat_status next = nanochat_request_next(request, &event, first); next != NANOCHAT_OK) {
        EXPECT_EQ(status, NANOCHAT_OK) << "only one allocation fails";
        if (status != NANOCHAT_OK) return;
        status = next;
        continue;
      }
      if (event.token >= 0) tokens += std::to_string(event.token) + " ";
    }
    if (event.finish != NANOCHAT_FINISH_ERROR) return;
    EXPECT_EQ(status, NANOCHAT_OK) << "only one allocation fails";
    status = nanochat_request_result(request, error);
    tokens = "failed";
  }

  static constexpr int32_t kPrompt = 70;
  int32_t prompt_[kPrompt];
  nanochat_generation_options generation_ = NANOCHAT_GENERATION_OPTIONS_INIT;
  std::string got_[2], expected_[2];
};

TEST(EveryAllocationFailsOnce, ASchedulerLosesOneRequestAtMost) {
  nanochat_runtime* runtime = make_runtime();
  nanochat_model* model = nullptr;
  ASSERT_EQ(nanochat_model_load(runtime, kStories, nullptr, &model, nullptr), NANOCHAT_OK);
  TwoRequests two(model);
  EXPECT_GT(fail_each_allocation([&](nanochat_error** error) {
              const nanochat_status status = two.run(model, error);
              nanochat_runtime_reclaim(runtime, nullptr);  // what the pool keeps is no leak
              for (size_t i = 0; i < 2; ++i) {
                if (two.got(i) != "failed" && !two.got(i).empty()) {
                  EXPECT_EQ(two.got(i), two.expected(i));
                }
              }
              return status;
            }),
            100);
  nanochat_model_free(model);
  nanochat_runtime_free(runtime);
}

}  // namespace
