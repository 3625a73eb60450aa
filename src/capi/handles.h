// What the opaque handles of the header hold. Children share ownership of what they need.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "base/cancel.h"
#include "base/log.h"
#include "encoder/encoder.h"
#include "encoder/fuse_moe.h"
#include "encoder/image_preprocess.h"
#include "encoder/projection.h"
#include "infer/batch_scheduler.h"
#include "infer/embeddings.h"
#include "infer/generation.h"
#include "infer/session.h"
#include "model/model.h"
#include "nanochat.h"
#include "tensor/device.h"
#include "tokenizer/batch_encoder.h"
#include "tokenizer/decoded_stream.h"
#include "tokenizer/growing_text.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

class Fleet;

struct RuntimeCore {
  std::shared_ptr<Log> log;
  std::shared_ptr<ThreadPool> threads;
  std::shared_ptr<Device> device;
  pid_t pid = getpid();

  // The threads of a parent process do not exist in a forked child.
  void require_same_process() const {
    if (getpid() != pid) {
      throw Error(Status::forked)
          .subject("runtime")
          .say("this runtime was made by process {} and cannot be used in its forked child {}", pid, getpid())
          .hint("create a runtime in the child, or exec");
    }
  }
};
using SharedCore = std::shared_ptr<const RuntimeCore>;

inline constexpr size_t kMostLogprobs = 20;

// Owns what the last public event points to. Room is there from the beginning: an event that is taken must
// not be lost for want of memory.
struct ShownEvent {
  ShownEvent() {
    top_tokens.reserve(kMostLogprobs);
    top_logprobs.reserve(kMostLogprobs);
  }
  GenerationEvent event;
  std::vector<int32_t> top_tokens;
  std::vector<float> top_logprobs;
};

}  // namespace nanochat

struct nanochat_runtime {
  nanochat::SharedCore core;
};

struct nanochat_tokenizer {
  nanochat::SharedCore core;
  std::shared_ptr<const nanochat::Tokenizer> tokenizer;
};

struct nanochat_encoding {
  std::vector<nanochat::EncodedText> texts;
};

struct nanochat_text_encoder {
  nanochat::SharedCore core;
  nanochat::GrowingText text;
};

struct nanochat_text_decoder {
  nanochat::SharedCore core;
  nanochat::DecodedStream fresh;  // before any token
  nanochat::DecodedStream stream;
  std::string shown;  // what the last call gave
};

// One of the two; see model_kind.h.
struct nanochat_model {
  nanochat::SharedCore core;
  std::shared_ptr<const nanochat::Model> model;
  std::shared_ptr<const nanochat::Encoder> encoder = nullptr;
  nanochat::ImagePreprocessConfig images = {};  // of an encoder that takes them
};

struct nanochat_session {
  nanochat::SharedCore core;
  std::shared_ptr<nanochat::Session> session;
};

struct nanochat_generation {
  nanochat::SharedCore core;
  std::unique_ptr<nanochat::Generation> generation;
  nanochat::Watch watch;
  nanochat::ShownEvent shown;
};

struct nanochat_scheduler {
  nanochat::SharedCore core;
  std::shared_ptr<nanochat::BatchScheduler> scheduler;
  std::shared_ptr<const nanochat::Tokenizer> tokenizer;
};

struct nanochat_request {
  nanochat::SharedCore core;
  std::shared_ptr<nanochat::BatchScheduler> scheduler;
  std::shared_ptr<nanochat::BatchRequest> request;
  uint64_t tag = 0;
  nanochat::ShownEvent shown;
};

struct nanochat_embeddings {
  nanochat::Embeddings embeddings;
};

struct nanochat_projection {
  nanochat::FusionProjection projection;
};

struct nanochat_fusion {
  nanochat::SharedCore core;
  std::shared_ptr<const nanochat::FuseMoe> fusion;
  std::unique_ptr<nanochat::ExpertStatistics> statistics;
};

struct nanochat_registry {
  nanochat::SharedCore core;
  std::shared_ptr<nanochat::Fleet> fleet;
};

struct nanochat_text {
  std::string data;
};

struct nanochat_cancel {
  nanochat::CancelToken token;
};
