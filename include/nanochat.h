/* nanochat.h: load, run and train language models. The whole public interface of libnanochat.
 *
 * Read in order: version, status and error, text and cancel, runtime, tokenizer, model, session, generation,
 * scheduler, embeddings, similarity, fusion, warm loading, health, diagnostics.
 *
 * Rules that hold for every function
 *   - No output, no exit, no abort, no global state, no environment variable except NANOCHAT_CPU, which
 *     nanochat_runtime_create() reads (the name of an instruction set, see there), and WARM_*, which
 *     nanochat_warm_options_from_env() reads.
 *   - Status: NANOCHAT_OK (0) or a number that says what went wrong. The trailing `error` argument may be NULL; on
 *     failure it receives an owned object with the whole story, on success it is untouched. On failure every other
 *     output is untouched too.
 *   - Handles are created by *_create, *_load, *_open, *_start and released by *_free, which takes NULL. A child keeps
 *     what it needs of its parents alive: handles may be freed in any order.
 *   - A function that takes `const nanochat_x *` may run in several threads at once on the same handle. One that
 *     takes `nanochat_x *` needs that handle for itself during the call.
 *   - Options: NULL means defaults. A struct starts with struct_size = sizeof(struct); zero in a field means its
 *     default, for ever; reserved fields are zero. Use NANOCHAT_..._OPTIONS_INIT.
 *   - Text is UTF-8 with a length in bytes; NANOCHAT_NUL_TERMINATED as the length takes a C string.
 *   - Callbacks run on the thread that is inside the call and never after it has returned, except the log
 *     callback, which may come from any thread, one at a time. They must not call back with the same handle.
 *   - After fork() every call but the *_free functions fails in the child with NANOCHAT_STATUS_FORKED.
 *
 * SPDX-License-Identifier: MIT */
#ifndef NANOCHAT_H
#define NANOCHAT_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX < 0xffffffffffffffffU
#error "libnanochat supports 64-bit hosts only"
#endif

#if defined(__GNUC__)
#define NANOCHAT_API __attribute__((visibility("default")))
#else
#define NANOCHAT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ======================================================================================================== *
 * Version
 * ======================================================================================================== */

#define NANOCHAT_VERSION_MAJOR 0
#define NANOCHAT_VERSION_MINOR 1
#define NANOCHAT_VERSION_PATCH 0
#define NANOCHAT_VERSION_NUMBER 100 /* major * 10000 + minor * 100 + patch */
#define NANOCHAT_VERSION_STRING "0.1.0"

/* A length argument that says: the text ends at its NUL byte. */
#define NANOCHAT_NUL_TERMINATED SIZE_MAX

typedef int32_t nanochat_status;
typedef struct nanochat_error nanochat_error;
typedef struct nanochat_text nanochat_text;
typedef struct nanochat_cancel nanochat_cancel;
typedef struct nanochat_runtime nanochat_runtime;
typedef struct nanochat_tokenizer nanochat_tokenizer;
typedef struct nanochat_encoding nanochat_encoding;
typedef struct nanochat_text_encoder nanochat_text_encoder;
typedef struct nanochat_text_decoder nanochat_text_decoder;
typedef struct nanochat_model nanochat_model;
typedef struct nanochat_session nanochat_session;
typedef struct nanochat_generation nanochat_generation;
typedef struct nanochat_scheduler nanochat_scheduler;
typedef struct nanochat_request nanochat_request;
typedef struct nanochat_embeddings nanochat_embeddings;
typedef struct nanochat_projection nanochat_projection;
typedef struct nanochat_fusion nanochat_fusion;
typedef struct nanochat_registry nanochat_registry;
typedef struct nanochat_health_report nanochat_health_report;

/* The version of the library that is running, as NANOCHAT_VERSION_NUMBER and NANOCHAT_VERSION_STRING.
 * Thread-safe. Since 0.1. */
NANOCHAT_API uint32_t nanochat_version_number(void);
NANOCHAT_API const char *nanochat_version_string(void);

/* NANOCHAT_OK if a program compiled with this header (pass NANOCHAT_VERSION_NUMBER) can use the running library:
 * the same major version and, before 1.0, the same minor version; else NANOCHAT_STATUS_VERSION_MISMATCH.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_check_version(uint32_t header_version, nanochat_error **error);

/* How the library was built, as one JSON object with a "schema" key: version, commit, compiler, instruction sets.
 * The string lives as long as the library. Thread-safe. Since 0.1. */
NANOCHAT_API const char *nanochat_build_info(void);

/* ======================================================================================================== *
 * Status and error
 * ======================================================================================================== */

/* 1..19 the caller's fault, 20..39 files and formats, 40..59 resources, 60..79 control, 80..99 internal,
 * 101..110 the fatal errors of model loading (the numbers are also process exit codes). */
enum nanochat_status_values {
  NANOCHAT_OK = 0,
  NANOCHAT_STATUS_INVALID_ARGUMENT = 1,
  NANOCHAT_STATUS_INVALID_STATE = 2,
  NANOCHAT_STATUS_UNSUPPORTED = 3,
  NANOCHAT_STATUS_NOT_FOUND = 4,
  NANOCHAT_STATUS_OUT_OF_RANGE = 5,
  NANOCHAT_STATUS_FORKED = 6,
  NANOCHAT_STATUS_CONFIG_INVALID = 7,
  NANOCHAT_STATUS_MODEL_ALREADY_REGISTERED = 8,
  NANOCHAT_STATUS_MODEL_NOT_REGISTERED = 9,
  NANOCHAT_STATUS_FILE_NOT_FOUND = 20,
  NANOCHAT_STATUS_FILE_IO = 21,
  NANOCHAT_STATUS_FORMAT_INVALID = 22,
  NANOCHAT_STATUS_FORMAT_UNSUPPORTED = 23,
  NANOCHAT_STATUS_VERSION_MISMATCH = 24,
  NANOCHAT_STATUS_CHECKSUM_MISMATCH = 25,
  NANOCHAT_STATUS_DIAGNOSTIC_DUMP_FAILED = 26,
  NANOCHAT_STATUS_OUT_OF_MEMORY = 40,
  NANOCHAT_STATUS_BUDGET_EXCEEDED = 41,
  NANOCHAT_STATUS_WORKING_MEMORY_EXHAUSTED = 42,
  NANOCHAT_STATUS_BUFFER_TOO_SMALL = 43,
  NANOCHAT_STATUS_CONTEXT_FULL = 44,
  NANOCHAT_STATUS_CUDA_NOT_AVAILABLE = 45,
  NANOCHAT_STATUS_CUDA_QUERY_FAILED = 46,
  NANOCHAT_STATUS_VRAM_ALLOCATION_FAILED = 47,
  NANOCHAT_STATUS_THREAD_FAILED = 48,
  NANOCHAT_STATUS_QUEUE_FULL = 49,
  NANOCHAT_STATUS_CANCELLED = 60,
  NANOCHAT_STATUS_LOAD_TIMEOUT = 61,
  NANOCHAT_STATUS_DEADLINE_EXCEEDED = 62,
  NANOCHAT_STATUS_INTERNAL = 80,
  NANOCHAT_STATUS_REGISTRY_LOCK_POISONED = 81,
  NANOCHAT_STATUS_MODEL_FILE_MISSING = 101,
  NANOCHAT_STATUS_MODEL_LOAD_FAILED = 102,
  NANOCHAT_STATUS_MODEL_VALIDATION_FAILED = 103,
  NANOCHAT_STATUS_VRAM_INSUFFICIENT_TOTAL = 104,
  NANOCHAT_STATUS_VRAM_INSUFFICIENT_HEADROOM = 105,
  NANOCHAT_STATUS_CUDA_INIT_FAILED = 106,
  NANOCHAT_STATUS_CUDA_CAPABILITY_INSUFFICIENT = 107,
  NANOCHAT_STATUS_CUDA_ALLOC_FAILED = 108,
  NANOCHAT_STATUS_CUDA_CONTEXT_LOST = 109,
  NANOCHAT_STATUS_MODEL_DIMENSION_MISMATCH = 110
};

/* Facts about a status. Unknown numbers give "UNKNOWN", "ERR-UNKNOWN", "UNKNOWN", 0 and 1.
 *   name         "FORMAT_INVALID": the constant without its prefix
 *   code_string  "ERR-WARM-MODEL-MISSING": stable, for logs and alerts
 *   category     "MODEL_FILE", "VRAM", "CUDA", "FORMAT", ...
 *   is_fatal     1 for 101..110
 *   exit_code    a fatal status itself, 0 for NANOCHAT_OK, 1 for all others
 * Static strings. Thread-safe. Since 0.1. */
NANOCHAT_API const char *nanochat_status_name(nanochat_status status);
NANOCHAT_API const char *nanochat_status_code_string(nanochat_status status);
NANOCHAT_API const char *nanochat_status_category(nanochat_status status);
NANOCHAT_API int32_t nanochat_status_is_fatal(nanochat_status status);
NANOCHAT_API int32_t nanochat_status_exit_code(nanochat_status status);

/* An error is immutable, belongs to whoever received it and may be read in any thread. Strings live as long as the
 * error; they are empty, never NULL, where there is nothing to say. NULL as `error` gives 0, "" and NULL.
 *   message   one English sentence that names the object and both values
 *   subject   the object at fault: a path, a tensor, an option
 *   hint      what can be done about it
 *   os_code   errno, or a CUDA code; 0 if none
 *   cause     the error underneath, owned by this one; NULL if none
 *   field_*   named details (for the fatal statuses those of the exit-code table); index from 0
 *   to_json   all of it as one JSON object with a "schema" key
 * Thread-safe. Since 0.1. */
NANOCHAT_API void nanochat_error_free(nanochat_error *error);
NANOCHAT_API nanochat_status nanochat_error_status(const nanochat_error *error);
NANOCHAT_API const char *nanochat_error_message(const nanochat_error *error);
NANOCHAT_API const char *nanochat_error_subject(const nanochat_error *error);
NANOCHAT_API const char *nanochat_error_hint(const nanochat_error *error);
NANOCHAT_API int32_t nanochat_error_os_code(const nanochat_error *error);
NANOCHAT_API const nanochat_error *nanochat_error_cause(const nanochat_error *error);
NANOCHAT_API size_t nanochat_error_field_count(const nanochat_error *error);
NANOCHAT_API const char *nanochat_error_field_name(const nanochat_error *error, size_t index);
NANOCHAT_API const char *nanochat_error_field_value(const nanochat_error *error, size_t index);
NANOCHAT_API const char *nanochat_error_to_json(const nanochat_error *error);

/* ======================================================================================================== *
 * Text and cancel
 * ======================================================================================================== */

/* A text of any length that the library made. `data` ends with a NUL byte that `size` does not count; the bytes may
 * hold further NULs. Immutable. NULL gives "" and 0. Thread-safe. Since 0.1. */
NANOCHAT_API void nanochat_text_free(nanochat_text *text);
NANOCHAT_API const char *nanochat_text_data(const nanochat_text *text);
NANOCHAT_API size_t nanochat_text_size(const nanochat_text *text);

/* A switch that stops long calls. Pass it in their options; request it from any thread or from a signal handler (one
 * atomic store). The call then returns NANOCHAT_STATUS_CANCELLED within 100 ms or one layer, and its object stays
 * usable. One switch may serve many calls; reset makes it usable again. Free it after the calls that use it have
 * returned. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_cancel_create(nanochat_cancel **out_cancel, nanochat_error **error);
NANOCHAT_API void nanochat_cancel_free(nanochat_cancel *cancel);
NANOCHAT_API void nanochat_cancel_request(nanochat_cancel *cancel);
NANOCHAT_API void nanochat_cancel_reset(nanochat_cancel *cancel);
NANOCHAT_API int32_t nanochat_cancel_requested(const nanochat_cancel *cancel);

/* Where a long call stands: `done` of `total` (bytes or items, as `stage` says, a static string). Non-zero stops the
 * call with NANOCHAT_STATUS_CANCELLED. */
typedef int32_t (*nanochat_progress_callback)(const char *stage, uint64_t done, uint64_t total, void *user_data);

/* ======================================================================================================== *
 * Runtime: threads, memory, device, log
 * ======================================================================================================== */

enum nanochat_log_level_values {
  NANOCHAT_LOG_DEFAULT = 0, /* warning */
  NANOCHAT_LOG_ERROR = 1,
  NANOCHAT_LOG_WARNING = 2,
  NANOCHAT_LOG_INFO = 3,
  NANOCHAT_LOG_DEBUG = 4
};

/* How closely allocations are followed; see nanochat_runtime_memory_report(). */
enum nanochat_tracking_values {
  NANOCHAT_TRACKING_DEFAULT = 0, /* standard */
  NANOCHAT_TRACKING_OFF = 1,
  NANOCHAT_TRACKING_MINIMAL = 2,  /* counters */
  NANOCHAT_TRACKING_STANDARD = 3, /* counters, pressure, live allocations */
  NANOCHAT_TRACKING_DETAILED = 4, /* and size classes and ages */
  NANOCHAT_TRACKING_DEBUG = 5     /* and a call stack for each allocation */
};

enum nanochat_pressure_values {
  NANOCHAT_PRESSURE_NONE = 0,
  NANOCHAT_PRESSURE_LOW = 1,      /* 70 % of the budget */
  NANOCHAT_PRESSURE_MEDIUM = 2,   /* 80 % */
  NANOCHAT_PRESSURE_HIGH = 3,     /* 90 % */
  NANOCHAT_PRESSURE_CRITICAL = 4  /* 95 % */
};

/* The order of operations of a sum. */
enum nanochat_arithmetic_values {
  NANOCHAT_ARITHMETIC_DEFAULT = 0,      /* reproducible */
  NANOCHAT_ARITHMETIC_REPRODUCIBLE = 1, /* one for each output: the same bits alone, in a batch, in chunks of any size */
  NANOCHAT_ARITHMETIC_FAST = 2          /* on a GPU, products of 64 rows and more (prompts, batches of encoders) as cuBLASLt
                                           likes them: often faster, still within rounding, not always the same bits.
                                           Decoding stays reproducible. The CPU has one order alone */
};

/* One line without a line break; a NUL byte follows it. Called one at a time, from any thread. */
typedef void (*nanochat_log_callback)(int32_t level, const char *line, size_t size, void *user_data);
/* All large buffers of a runtime. `alignment` is a power of two. NULL: no memory. Called from any thread at once. */
typedef void *(*nanochat_allocate_callback)(size_t bytes, size_t alignment, void *user_data);
typedef void (*nanochat_free_callback)(void *pointer, size_t bytes, size_t alignment, void *user_data);
/* A change of memory pressure, at most every 30 seconds; from the thread that allocated or freed. */
typedef void (*nanochat_pressure_callback)(int32_t level, uint64_t used_bytes, uint64_t budget_bytes,
                                           void *user_data);

typedef struct nanochat_runtime_options {
  size_t struct_size;
  const char *device;          /* "cpu", or "cuda" or "cuda:N": a GPU through the CUDA module, never a silent fall-back.
                                  NULL: the default one of nanochat_device_describe() */
  int32_t n_threads;           /* workers, the caller included; 0: one per core available to the process */
  int32_t spin_microseconds;   /* how long an idle worker spins before it sleeps; 0: not at all between calls */
  const int32_t *cpu_affinity; /* thread i runs on cpu_affinity[i % n_cpu_affinity]; NULL: anywhere */
  size_t n_cpu_affinity;
  uint64_t memory_budget_bytes; /* of models, sessions and scratch together; 0: none */
  nanochat_allocate_callback allocate; /* both or neither; NULL: the system's memory. A GPU's memory is CUDA's: not asked */
  nanochat_free_callback free;
  void *allocator_user_data;
  nanochat_log_callback log; /* NULL: silent */
  void *log_user_data;
  nanochat_pressure_callback pressure; /* needs memory_budget_bytes */
  void *pressure_user_data;
  int32_t log_level;      /* enum nanochat_log_level_values */
  int32_t tracking_level; /* enum nanochat_tracking_values */
  int32_t arithmetic;     /* enum nanochat_arithmetic_values */
  int32_t reserved;
} nanochat_runtime_options;

#define NANOCHAT_RUNTIME_OPTIONS_INIT \
  { sizeof(nanochat_runtime_options), NULL, 0, 0, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0 }

/* Fills an options struct with defaults for a caller that cannot use the macro: zeroes `size` bytes and sets
 * struct_size. Does nothing if `options` is NULL or `size` is below sizeof(size_t). Thread-safe. Since 0.1. */
NANOCHAT_API void nanochat_runtime_options_init(nanochat_runtime_options *options, size_t size);

/* Creates a runtime: what other libraries keep global. Two runtimes share nothing.
 *
 * NANOCHAT_CPU in the environment forces an instruction set ("reference"; on x86-64 "avx2", "avx512", "avx512_bf16"; on
 * aarch64 "neon", "neon_dot", "neon_bf16"); an unknown one, or one that this machine lacks, is
 * NANOCHAT_STATUS_UNSUPPORTED.
 *
 * Statuses: INVALID_ARGUMENT, UNSUPPORTED, CUDA_INIT_FAILED (a CUDA device was asked for and the module, driver or GPU
 * is missing), THREAD_FAILED, OUT_OF_MEMORY.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_runtime_create(const nanochat_runtime_options *options,
                                                     nanochat_runtime **out_runtime, nanochat_error **error);
NANOCHAT_API void nanochat_runtime_free(nanochat_runtime *runtime);

typedef struct nanochat_device_info {
  size_t struct_size;
  char name[16];                /* "cpu", "cuda:1": what nanochat_runtime_options.device takes */
  char hardware[128];           /* "NVIDIA H200", "AMD EPYC 9R14"; "": not known */
  int32_t is_default;           /* 1: what a runtime is made on that names no device: the first GPU where the library
                                   was built with CUDA and finds one, else the CPU */
  int32_t capability;           /* of CUDA, major * 10 + minor; 0: the CPU */
  uint64_t total_bytes;         /* of its memory */
  uint64_t available_bytes;     /* of that, now */
} nanochat_device_info;

/* The devices that a runtime can be made on: the CPU first, then every GPU that the CUDA module finds. Without module,
 * driver or GPU there is the CPU alone, which is no error: nanochat_runtime_create() with "cuda" says what is missing.
 * _describe() fills `info` (struct_size set by the caller) for index 0.. below the count; OUT_OF_RANGE beyond. Both look
 * at the machine anew. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_device_count(size_t *out_count, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_device_describe(size_t index, nanochat_device_info *info, nanochat_error **error);

/* Facts. Strings live as long as the runtime. NULL gives "" and 0. Thread-safe. Since 0.1. */
NANOCHAT_API const char *nanochat_runtime_device(const nanochat_runtime *runtime); /* "cpu", "cuda:0" */
NANOCHAT_API const char *nanochat_runtime_isa(const nanochat_runtime *runtime);    /* "avx512_bf16", "sm_90" */
NANOCHAT_API int32_t nanochat_runtime_n_threads(const nanochat_runtime *runtime);

typedef struct nanochat_memory_info {
  size_t struct_size;
  uint64_t used_bytes;       /* held by models, sessions and running calls */
  uint64_t high_water_bytes; /* the most ever taken from the device at once */
  uint64_t budget_bytes;     /* 0: none */
  uint64_t model_bytes;      /* weights: never evicted */
  uint64_t working_bytes;    /* sessions and scratch */
  uint64_t reclaimable_bytes; /* freed working memory kept for reuse; nanochat_runtime_reclaim() gives it back */
  uint64_t device_total_bytes;
  uint64_t device_available_bytes;
} nanochat_memory_info;

/* Fills `info`; the caller sets info->struct_size first. Statuses: INVALID_ARGUMENT. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_runtime_memory(const nanochat_runtime *runtime, nanochat_memory_info *info,
                                                     nanochat_error **error);

/* Gives memory that is only kept for reuse back to the device. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_runtime_reclaim(const nanochat_runtime *runtime, nanochat_error **error);

/* What the allocation tracker knows, as JSON with a "schema" key: totals, peak, pressure, live allocations, those older
 * than an hour as possible leaks. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_runtime_memory_report(const nanochat_runtime *runtime,
                                                            nanochat_text **out_text, nanochat_error **error);

typedef struct nanochat_rates_info {
  size_t struct_size;
  double read_bytes_per_second; /* all threads reading memory far larger than the caches */
  double f32_flops_per_second;  /* multiply and add counted as two */
  double bf16_flops_per_second;
  double int8_ops_per_second; /* with the instruction that int8 weights are multiplied with */
} nanochat_rates_info;

/* Measures the machine for about a second with the runtime's threads: the ceilings that tokens per second can be held
 * against. Takes up to 1 GiB of working memory meanwhile. The caller sets info->struct_size.
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY, BUDGET_EXCEEDED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_runtime_measure_rates(const nanochat_runtime *runtime,
                                                            nanochat_rates_info *info, nanochat_error **error);

/* ======================================================================================================== *
 * Tokenizer
 * ======================================================================================================== */

enum nanochat_pattern_values {
  NANOCHAT_PATTERN_DEFAULT = 0, /* nanochat */
  NANOCHAT_PATTERN_NANOCHAT = 1,
  NANOCHAT_PATTERN_GPT2 = 2,
  NANOCHAT_PATTERN_CL100K = 3,
  NANOCHAT_PATTERN_O200K = 4,
  NANOCHAT_PATTERN_LLAMA3 = 5
};

typedef struct nanochat_tokenizer_options {
  size_t struct_size;
  const char *const *special_tokens; /* for tiktoken rank files: names, each with its id below; NULL: none */
  const int32_t *special_token_ids;
  size_t n_special_tokens;
  int32_t pattern; /* for tiktoken rank files: enum nanochat_pattern_values */
  int32_t reserved;
} nanochat_tokenizer_options;

#define NANOCHAT_TOKENIZER_OPTIONS_INIT { sizeof(nanochat_tokenizer_options), NULL, NULL, 0, 0, 0 }
NANOCHAT_API void nanochat_tokenizer_options_init(nanochat_tokenizer_options *options, size_t size);

/* Loads a tokenizer: a Hugging Face tokenizer.json (BPE, WordPiece, Unigram, WordLevel), a SentencePiece model
 * (Unigram, BPE), a BERT vocab.txt (with the tokenizer_config.json beside it, if there is one), a tiktoken rank file
 * (name ends in .tiktoken), or a directory that holds tokenizer.json, tokenizer.model, spiece.model,
 * sentencepiece.bpe.model or vocab.txt, looked for in this order.
 * A part of the file that would change ids and is not supported is refused by name.
 * Statuses: INVALID_ARGUMENT, FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, FORMAT_UNSUPPORTED, OUT_OF_MEMORY.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_load(const nanochat_runtime *runtime, const char *path,
                                                     const nanochat_tokenizer_options *options,
                                                     nanochat_tokenizer **out_tokenizer, nanochat_error **error);
NANOCHAT_API void nanochat_tokenizer_free(nanochat_tokenizer *tokenizer);

/* Facts. vocab_size is the largest id + 1. special_id gives -1 for a name that is not a special token; bos gives -1 if
 * there is none. NULL gives 0 and -1. Thread-safe. Since 0.1. */
NANOCHAT_API int32_t nanochat_tokenizer_vocab_size(const nanochat_tokenizer *tokenizer);
NANOCHAT_API int32_t nanochat_tokenizer_special_id(const nanochat_tokenizer *tokenizer, const char *name);
NANOCHAT_API int32_t nanochat_tokenizer_bos(const nanochat_tokenizer *tokenizer);

enum nanochat_encode_flags {
  NANOCHAT_ENCODE_PLAIN = 0,           /* text is only text: "<|bos|>" in it is seven characters */
  NANOCHAT_ENCODE_SPECIALS_IN_TEXT = 1, /* recognise special tokens in the text: for trusted text only */
  NANOCHAT_ENCODE_ADD_SPECIALS = 2      /* add what the file's post-processor adds, such as bos */
};

/* An upper bound of the ids that `text_size` bytes can give, special tokens included. Thread-safe. Since 0.1. */
NANOCHAT_API size_t nanochat_tokenizer_encode_bound(const nanochat_tokenizer *tokenizer, size_t text_size);

/* Encodes text. Any bytes are legal.
 *
 * flags     NANOCHAT_ENCODE_* joined with |
 * ids       receives the ids; may be NULL if capacity is 0
 * out_n     receives the number of ids, also when they do not fit
 *
 * Statuses: INVALID_ARGUMENT, BUFFER_TOO_SMALL (nothing written to ids, *out_n is what is needed), OUT_OF_MEMORY.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_encode(const nanochat_tokenizer *tokenizer, const char *text,
                                                       size_t text_size, uint32_t flags, int32_t *ids,
                                                       size_t capacity, size_t *out_n, nanochat_error **error);

/* How many ids nanochat_tokenizer_encode() would give, without storing them: with a byte-level BPE this takes no
 * memory that grows with the text.
 *
 * flags     NANOCHAT_ENCODE_* joined with |
 * out_n     receives the number
 *
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_count(const nanochat_tokenizer *tokenizer, const char *text,
                                                      size_t text_size, uint32_t flags, size_t *out_n,
                                                      nanochat_error **error);

/* Decodes ids to their exact bytes, which need not be valid UTF-8 at either end. Special tokens are spelled out, or
 * left out if skip_specials is not 0.
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE (an id outside the vocabulary), OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_decode(const nanochat_tokenizer *tokenizer, const int32_t *ids,
                                                       size_t n_ids, int32_t skip_specials,
                                                       nanochat_text **out_text, nanochat_error **error);

enum nanochat_truncation_values {
  NANOCHAT_TRUNCATION_NONE = 0, /* a text of more than max_tokens is an error */
  NANOCHAT_TRUNCATION_KEEP_START = 1,
  NANOCHAT_TRUNCATION_KEEP_END = 2,
  NANOCHAT_TRUNCATION_AS_FILE = 3 /* as the tokenizer.json says; max_tokens, if not 0, takes the place of its length */
};

enum nanochat_padding_values {
  NANOCHAT_PADDING_NONE = 0,
  NANOCHAT_PADDING_LONGEST = 1,       /* to the longest text of the batch */
  NANOCHAT_PADDING_TO_MAX_TOKENS = 2, /* to max_tokens, which is 1 to 16,777,216 then */
  NANOCHAT_PADDING_AS_FILE = 3        /* as the tokenizer.json says; none if it does not */
};

typedef struct nanochat_encode_options {
  size_t struct_size;
  size_t max_tokens; /* of one text, what is put around it included; 0: any number */
  const char *const *allowed_specials; /* recognise these special tokens in the texts and no others */
  size_t n_allowed_specials;
  nanochat_progress_callback progress; /* stage "encode", in texts */
  void *progress_user_data;
  const nanochat_cancel *cancel;
  uint32_t flags;       /* NANOCHAT_ENCODE_* joined with |; not SPECIALS_IN_TEXT with allowed_specials */
  int32_t truncation;   /* enum nanochat_truncation_values; what is put around a text is never cut off */
  int32_t padding;      /* enum nanochat_padding_values */
  int32_t want_offsets; /* not 0: nanochat_encoding_offsets() has something to give */
} nanochat_encode_options;

#define NANOCHAT_ENCODE_OPTIONS_INIT { sizeof(nanochat_encode_options), 0, NULL, 0, NULL, NULL, NULL, 0, 0, 0, 0 }
NANOCHAT_API void nanochat_encode_options_init(nanochat_encode_options *options, size_t size);

/* Encodes many texts at once, on the threads of the tokenizer's runtime. The result does not depend on how many there
 * are. Padding goes where the tokenizer.json says, else to the end; its token is the file's, else [PAD] or <pad>.
 *
 * texts         n_texts texts, any bytes
 * sizes         of each text; NULL: all end at their NUL byte
 * options       NULL for defaults
 * out_encoding  receives the result; the caller owns it, release with nanochat_encoding_free()
 *
 * Statuses: INVALID_ARGUMENT (also lengths that leave no room for what is put around a text, an allowed special token
 * that there is not, padding without a token for it), OUT_OF_RANGE (naming the text that is too long), CANCELLED,
 * OUT_OF_MEMORY. On failure *out_encoding is untouched. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_encode_batch(const nanochat_tokenizer *tokenizer,
                                                             const char *const *texts, const size_t *sizes,
                                                             size_t n_texts, const nanochat_encode_options *options,
                                                             nanochat_encoding **out_encoding, nanochat_error **error);
NANOCHAT_API void nanochat_encoding_free(nanochat_encoding *encoding);

/* What a batch gave, for the text of this number: the arrays live as long as the encoding, *out_n (may be NULL) is the
 * number of its ids, padding included. offsets has two numbers for each id: the text's bytes [begin, end) that it
 * stands for, 0 and 0 if it stands for none; NULL unless options.want_offsets was set. attention_mask is 1 for a token
 * and 0 for padding. A number that is none gives NULL and 0. size is the number of texts; NULL gives 0. Thread-safe.
 * Since 0.1. */
NANOCHAT_API size_t nanochat_encoding_size(const nanochat_encoding *encoding);
NANOCHAT_API const int32_t *nanochat_encoding_ids(const nanochat_encoding *encoding, size_t text, size_t *out_n);
NANOCHAT_API const size_t *nanochat_encoding_offsets(const nanochat_encoding *encoding, size_t text, size_t *out_n);
NANOCHAT_API const uint8_t *nanochat_encoding_attention_mask(const nanochat_encoding *encoding, size_t text,
                                                             size_t *out_n);

/* Encodes a text that grows at its end, such as one that is being typed or received.
 *
 * flags        NANOCHAT_ENCODE_* joined with |
 * out_encoder  receives the encoder; the caller owns it, release with nanochat_text_encoder_free()
 *
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe; the encoder is for one thread at a time. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_text_encoder_create(const nanochat_tokenizer *tokenizer, uint32_t flags,
                                                          nanochat_text_encoder **out_encoder, nanochat_error **error);
NANOCHAT_API void nanochat_text_encoder_free(nanochat_text_encoder *encoder);

/* Puts bytes at the end of the text; they may end inside a character. On failure the text is as it was.
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. One thread at a time. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_text_encoder_append(nanochat_text_encoder *encoder, const char *text, size_t size,
                                                          nanochat_error **error);

/* The ids of all text so far: what nanochat_tokenizer_encode() gives for it.
 *
 * out_ids      receives the ids, which live until the next call with this encoder
 * out_n        receives their number
 * out_n_final  NULL, or receives how many of them can never change, whatever text comes
 *
 * With a plain byte-level BPE (GPT-2, tiktoken, nanochat) and no special tokens looked for, the time taken is that of
 * the text which is not final; *out_n_final never shrinks. With any other tokenizer all text is encoded again, and
 * *out_n_final is 0.
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. One thread at a time. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_text_encoder_ids(nanochat_text_encoder *encoder, const int32_t **out_ids,
                                                       size_t *out_n, size_t *out_n_final, nanochat_error **error);

typedef struct nanochat_text_decoder_options {
  size_t struct_size;
  int32_t skip_specials; /* not 0: special tokens give nothing */
  int32_t exact_bytes;   /* not 0: each token's bytes at once; else whole characters, U+FFFD for what is none */
} nanochat_text_decoder_options;

#define NANOCHAT_TEXT_DECODER_OPTIONS_INIT { sizeof(nanochat_text_decoder_options), 0, 0 }
NANOCHAT_API void nanochat_text_decoder_options_init(nanochat_text_decoder_options *options, size_t size);

/* Decodes tokens as they come. All pieces together are what nanochat_tokenizer_decode() gives for all tokens.
 *
 * options      NULL for defaults
 * out_decoder  receives the decoder; the caller owns it, release with nanochat_text_decoder_free()
 *
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe; the decoder is for one thread at a time. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_text_decoder_create(const nanochat_tokenizer *tokenizer,
                                                          const nanochat_text_decoder_options *options,
                                                          nanochat_text_decoder **out_decoder, nanochat_error **error);
NANOCHAT_API void nanochat_text_decoder_free(nanochat_text_decoder *decoder);

/* The text that became certain with these tokens; *out_text ends with a NUL byte that *out_size does not count, and
 * lives until the next call with this decoder. finish gives what was held back, and makes the decoder ready for another
 * text. On failure no token was taken.
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE (an id without a token), OUT_OF_MEMORY. One thread at a time. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_text_decoder_push(nanochat_text_decoder *decoder, const int32_t *ids,
                                                        size_t n_ids, const char **out_text, size_t *out_size,
                                                        nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_text_decoder_finish(nanochat_text_decoder *decoder, const char **out_text,
                                                          size_t *out_size, nanochat_error **error);

/* Writes a tokenizer.json that Hugging Face tokenizers reads and encodes identically with. Crash-safe.
 * Statuses: INVALID_ARGUMENT, FILE_IO, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_save(const nanochat_tokenizer *tokenizer, const char *path,
                                                     nanochat_error **error);

enum nanochat_render_values {
  NANOCHAT_RENDER_TRAINING = 0,  /* the whole conversation; mask 1 on what the assistant is trained on */
  NANOCHAT_RENDER_COMPLETION = 1, /* drops the last message (the assistant's) and opens its turn */
  NANOCHAT_RENDER_REPLY = 2      /* the whole conversation (the user spoke last), then opens the assistant's turn */
};

/* Renders a conversation as nanochat models were trained on it.
 *
 * conversation  JSON: {"messages":[{"role":"user","content":"Hi"}, ...]}; roles user and assistant alternate after an
 *               optional system message; assistant content may be a list of {"type":"text"|"python"|"python_output",
 *               "text":...}. Text is never read as special tokens.
 * mode          enum nanochat_render_values
 * max_tokens    truncates from the end; 0: 2048, and no limit for NANOCHAT_RENDER_REPLY
 * ids, mask     [capacity] each; mask may be NULL
 * out_n         receives the number of ids, also when they do not fit
 *
 * Statuses: INVALID_ARGUMENT (naming the message), FORMAT_INVALID (not JSON), UNSUPPORTED (the tokenizer lacks the special
 * tokens), BUFFER_TOO_SMALL, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_render(const nanochat_tokenizer *tokenizer,
                                                       const char *conversation, size_t conversation_size,
                                                       int32_t mode, size_t max_tokens, int32_t *ids,
                                                       uint8_t *mask, size_t capacity, size_t *out_n,
                                                       nanochat_error **error);

enum nanochat_documents_values {
  NANOCHAT_DOCUMENTS_FILES = 0, /* a .txt file is one document */
  NANOCHAT_DOCUMENTS_LINES = 1  /* each of its lines is one */
};

typedef struct nanochat_tokenizer_train_options {
  size_t struct_size;
  const char *const *special_tokens; /* NULL: nanochat's nine */
  size_t n_special_tokens;
  nanochat_progress_callback progress;
  void *progress_user_data;
  const nanochat_cancel *cancel;
  int32_t vocab_size; /* special tokens included; 0: 32768 */
  int32_t pattern;    /* enum nanochat_pattern_values */
  uint64_t memory_limit;       /* bytes, at least 1 MiB; 0: none. See nanochat_tokenizer_train() */
  const char *spill_directory; /* for temporary files, with a memory_limit; NULL: /var/tmp, else /tmp */
  const char *text_field;      /* of .jsonl files: the member with the text; NULL: "text" */
  int32_t documents;           /* of .txt files: enum nanochat_documents_values */
  int32_t reserved;
} nanochat_tokenizer_train_options;

#define NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT \
  { sizeof(nanochat_tokenizer_train_options), NULL, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, 0, 0 }
NANOCHAT_API void nanochat_tokenizer_train_options_init(nanochat_tokenizer_train_options *options, size_t size);

/* Gives the next document: sets *text and *size (valid until the next call) and returns 1; returns 0 at the end and a
 * negative number to give up, which ends the training with NANOCHAT_STATUS_CANCELLED. */
typedef int32_t (*nanochat_document_callback)(const char **text, size_t *size, void *user_data);

/* Trains a byte-level BPE: the most frequent pair first, ties to the smallest (left id, right id), exact for any corpus and
 * any number of threads and order of the documents (the rule of github.com/karpathy/rustbpe). Counts have 64 bits. Documents
 * are counted by all threads of the runtime, some MiB at a time. Progress: "count" in different pieces, "merge" in merges.
 *
 * memory_limit covers the documents under way, the table of different pieces, what writing and reading it takes, and the
 * merging; not the runtime, the callback's own text, and the tokenizer that comes out. Pieces beyond it wait in temporary
 * files, which have no name and vanish with the call, also when the process is killed. The merges are the same. To merge,
 * all different pieces must be in memory: 5 bytes for each of their bytes, 12 for each piece, 60 for each token of the
 * vocabulary, and room for the places of the most frequent pair; if that is above the limit, the status is WORKING_MEMORY_EXHAUSTED and the message names what is
 * needed and what is allowed.
 *
 * Statuses: INVALID_ARGUMENT, CANCELLED, FILE_NOT_FOUND and FILE_IO (the spill directory, before any document is asked
 * for; a full disk), WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_train(const nanochat_runtime *runtime,
                                                      const nanochat_tokenizer_train_options *options,
                                                      nanochat_document_callback next_document, void *user_data,
                                                      nanochat_tokenizer **out_tokenizer, nanochat_error **error);

/* The same with documents from files, read in parts, so that a corpus may be larger than memory:
 *   .txt    any bytes; the file is one document, or each of its lines (options->documents)
 *   .jsonl  each line is a JSON object whose member options->text_field is the document; blank lines are skipped
 * each also compressed, with .zst behind the ending. A folder stands for its files with these endings, by name.
 *
 * paths    [n_paths] files and folders, UTF-8
 * options  NULL for defaults; progress has the stage "read" first, in bytes of the files as they are stored
 *
 * Nothing is skipped silently: an absent file, another ending, broken zstd, a line that is no JSON or lacks the member end the
 * training with a message that names the file and the line. A line, or a run of text without a place to split, longer than
 * an eighth of memory_limit is WORKING_MEMORY_EXHAUSTED.
 *
 * Statuses: those of nanochat_tokenizer_train(), FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, FORMAT_UNSUPPORTED.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_train_files(const nanochat_runtime *runtime,
                                                            const nanochat_tokenizer_train_options *options,
                                                            const char *const *paths, size_t n_paths,
                                                            nanochat_tokenizer **out_tokenizer,
                                                            nanochat_error **error);

enum nanochat_tokenizer_form_values {
  NANOCHAT_TOKENIZER_JSON = 0,       /* tokenizer.json, as nanochat_tokenizer_save() writes it */
  NANOCHAT_TOKENIZER_TIKTOKEN = 1,   /* a line for each token but the special ones: its bytes in base64, its rank */
  NANOCHAT_TOKENIZER_TOKEN_BYTES = 2 /* safetensors, one tensor "token_bytes", int32 [vocab_size]: the number of bytes of each
                                        token, 0 for special ones: what bits per byte are computed with */
};

/* Writes the tokenizer in another form. Crash-safe.
 *
 * form  enum nanochat_tokenizer_form_values. A rank file says neither how text is split nor which special tokens there are:
 *       give both to whoever loads it. It is written only where tiktoken then gives the same ids, so for byte-level
 *       BPE whose merges are those that the ranks imply: trained here, or loaded from a rank file or from what
 *       nanochat_tokenizer_save() made of either.
 *
 * Statuses: INVALID_ARGUMENT, UNSUPPORTED (naming what stands against the form), FILE_IO, OUT_OF_MEMORY. Thread-safe.
 * Since 0.1. */
NANOCHAT_API nanochat_status nanochat_tokenizer_save_as(const nanochat_tokenizer *tokenizer, const char *path,
                                                        int32_t form, nanochat_error **error);

/* ======================================================================================================== *
 * Model: plan, load, describe, quantise, save, export
 * ======================================================================================================== */

enum nanochat_weight_values {
  NANOCHAT_WEIGHTS_AS_STORED = 0, /* f32 and int8 stay; bf16 and f16 become bf16 */
  NANOCHAT_WEIGHTS_F32 = 1,
  NANOCHAT_WEIGHTS_BF16 = 2,
  NANOCHAT_WEIGHTS_INT8 = 3, /* matrices as int8 with one scale per output, embedding tables as bf16 */
  NANOCHAT_WEIGHTS_FP8 = 4   /* matrices as e4m3 with one scale per output, embedding tables as bf16; encoders and fusions */
};

/* What a model is, and so which calls it takes. A call that it does not take is UNSUPPORTED and names the kind. */
enum nanochat_model_kind_values {
  NANOCHAT_MODEL_DECODER = 1, /* sessions, generations, schedulers, nanochat_embed() */
  NANOCHAT_MODEL_ENCODER = 2  /* nanochat_embed() and its relatives; not saved, exported or quantised after the load */
};

typedef struct nanochat_model_options {
  size_t struct_size;
  nanochat_progress_callback progress; /* stage "load", in bytes */
  void *progress_user_data;
  const nanochat_cancel *cancel;
  int32_t weights; /* enum nanochat_weight_values */
  int32_t reserved;
  int32_t pooler; /* not 0: load BERT's pooler too, for NANOCHAT_POOLING_POOLER; INVALID_ARGUMENT for a model that has none */
  int32_t reserved2;
} nanochat_model_options;

#define NANOCHAT_MODEL_OPTIONS_INIT { sizeof(nanochat_model_options), NULL, NULL, NULL, 0, 0, 0, 0 }
NANOCHAT_API void nanochat_model_options_init(nanochat_model_options *options, size_t size);

typedef struct nanochat_model_plan_info {
  size_t struct_size;
  uint64_t file_bytes;         /* of all weights, as stored */
  uint64_t weight_bytes;       /* what a load takes, to the byte */
  uint64_t kv_bytes_per_token; /* what a session takes for each token of its capacity */
  uint64_t working_bytes;      /* activations of the largest forward pass; kernels borrow a few MiB besides */
  uint64_t parameters;
  uint64_t bytes_per_decoded_token; /* weights read for one token of one session */
  uint64_t flops_per_decoded_token;
} nanochat_model_plan_info;

/* What a load would take, from the headers of the files alone; refuses whatever the load would refuse before reading
 * weights. The caller sets info->struct_size. Statuses: as nanochat_model_load(). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_plan(const nanochat_runtime *runtime, const char *path,
                                                 const nanochat_model_options *options,
                                                 nanochat_model_plan_info *info, nanochat_error **error);

/* Loads a model directory and makes it ready to run.
 *
 * runtime    used concurrently by other threads without harm
 * path       directory with config.json and *.safetensors, UTF-8. Decoders: nanochat's own form, or Hugging Face `nanochat`,
 *            `llama`. Encoders: Hugging Face `bert`, `roberta`, `xlm-roberta`, `camembert`, `longformer`, `t5` (its encoder),
 *            `codet5p_embedding`, `clip`, also as a directory of sentence-transformers (modules.json: pooling, dense layers,
 *            normalisation). nanochat_model_info.kind says which it became
 * options    NULL for defaults
 * out_model  receives the model; the caller owns it, release with nanochat_model_free()
 * error      NULL, or receives an owned error on failure
 *
 * Every tensor is checked (name, type, shape, extent) before any weight is read; every weight is scanned for NaN and
 * infinity. On failure nothing stays allocated and *out_model is untouched. Other processes must not write the files
 * meanwhile.
 *
 * Statuses: INVALID_ARGUMENT, MODEL_FILE_MISSING, MODEL_LOAD_FAILED (nanochat_error_cause() says why),
 * MODEL_VALIDATION_FAILED, MODEL_DIMENSION_MISMATCH, BUDGET_EXCEEDED, OUT_OF_MEMORY, CANCELLED.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_load(const nanochat_runtime *runtime, const char *path,
                                                 const nanochat_model_options *options,
                                                 nanochat_model **out_model, nanochat_error **error);

/* Makes a model with seeded random weights, for benchmarks and tests.
 *
 * shape   "v0-d20" (generation V0, depth 20; v0, v1 or llama, depth 1..256), the name of an encoder's shape ("minilm-l6",
 *         "bert-base", "e5-large", "splade-base", "colbert-base", "longformer-base", "codet5p-110m", "clip-vit-l14"), or a
 *         config.json of either kind as text (starts with '{')
 *
 * Statuses: INVALID_ARGUMENT, CONFIG_INVALID, BUDGET_EXCEEDED, OUT_OF_MEMORY, CANCELLED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_create_random(const nanochat_runtime *runtime, const char *shape,
                                                          uint64_t seed, const nanochat_model_options *options,
                                                          nanochat_model **out_model, nanochat_error **error);
NANOCHAT_API void nanochat_model_free(nanochat_model *model);

typedef struct nanochat_model_info {
  size_t struct_size;
  uint64_t parameters;
  uint64_t weight_bytes;
  uint64_t kv_bytes_per_token;
  uint64_t bytes_per_decoded_token;
  uint64_t flops_per_decoded_token;
  int64_t sequence_len; /* the context the model was trained for */
  int64_t vocab_size;   /* logits per token */
  int64_t n_layer;
  int64_t n_head;
  int64_t n_kv_head;
  int64_t n_embd;
  double load_seconds;
  int32_t bos_token; /* -1: none stated */
  int32_t weights;   /* NANOCHAT_WEIGHTS_F32, _BF16, _INT8 or _FP8 */
  int32_t kind;      /* enum nanochat_model_kind_values; of an encoder, what is said of decoded tokens is 0 */
  int32_t pooling;   /* what NANOCHAT_POOLING_DEFAULT stands for; 0: something of the model's own, such as CLIP's end of text */
  int64_t embedding_width; /* floats of a row by default; of a sparse model its vocabulary */
  int64_t max_tokens;      /* of a text by default: at most sequence_len; 0: takes no texts */
  int64_t image_size;      /* images become squares of so many pixels a side; 0: takes no images */
  uint64_t flops_per_token;  /* of a text's tokens; of an image's patches if it takes no texts; attention comes on top */
  int32_t is_normalized;     /* vectors have length 1 by default */
  int32_t has_sparse;        /* nanochat_embed_sparse() */
  int32_t has_token_vectors; /* made for a row for each token: ColBERT */
  int32_t has_pooler;        /* loaded */
} nanochat_model_info;

/* Fills `info`; the caller sets info->struct_size. Statuses: INVALID_ARGUMENT. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_describe(const nanochat_model *model, nanochat_model_info *info,
                                                     nanochat_error **error);

/* Makes a model with int8 matrices of one with f32 or bf16: each output's weights are rounded to -127..127 times a scale of
 * its own, the embedding table to bf16; norms stay fp32. It is to the bit what nanochat_model_load() with
 * NANOCHAT_WEIGHTS_INT8 gives, and is saved, loaded and run like any other.
 *
 * model      stays as it is; both take memory until it is freed
 * options    weights: NANOCHAT_WEIGHTS_INT8, or 0 for the same; progress has stage "quantize", in bytes
 * out_model  receives the new model; the caller owns it
 *
 * Statuses: INVALID_ARGUMENT (int8 already), UNSUPPORTED (a matrix of more than 65,536 inputs), BUDGET_EXCEEDED,
 * OUT_OF_MEMORY, CANCELLED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_quantize(const nanochat_model *model,
                                                     const nanochat_model_options *options,
                                                     nanochat_model **out_model, nanochat_error **error);

/* The same and more as JSON with a "schema" key: architecture, configuration, checksum (XXH3-128) of the weights.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_to_json(const nanochat_model *model, nanochat_text **out_text,
                                                    nanochat_error **error);

/* Writes the model in its own form (config.json and weights) into a directory, which is created. Each file is replaced
 * atomically. options->progress has stage "save". Statuses: INVALID_ARGUMENT, FILE_IO, OUT_OF_MEMORY, CANCELLED.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_save(const nanochat_model *model, const char *path,
                                                 const nanochat_model_options *options, nanochat_error **error);

enum nanochat_export_format_values {
  NANOCHAT_EXPORT_GGUF = 0 /* GGUF version 3, for llama.cpp and its relatives */
};

/* Element types of the matrices and embeddings in an exported file; norms are always F32. */
enum nanochat_export_dtype_values {
  NANOCHAT_EXPORT_AS_HELD = 0, /* what each is in memory, int8 as F32: nothing is lost */
  NANOCHAT_EXPORT_F32 = 1,     /* exact */
  NANOCHAT_EXPORT_BF16 = 2,    /* rounded to nearest if the model is not bf16 */
  NANOCHAT_EXPORT_F16 = 3      /* rounded to nearest; a value that float16 cannot hold is UNSUPPORTED */
};

typedef struct nanochat_model_export_options {
  size_t struct_size;
  nanochat_progress_callback progress; /* stage "export", in bytes */
  void *progress_user_data;
  const nanochat_cancel *cancel;
  int32_t format; /* enum nanochat_export_format_values */
  int32_t dtype;  /* enum nanochat_export_dtype_values */
} nanochat_model_export_options;

#define NANOCHAT_MODEL_EXPORT_OPTIONS_INIT { sizeof(nanochat_model_export_options), NULL, NULL, NULL, 0, 0 }
NANOCHAT_API void nanochat_model_export_options_init(nanochat_model_export_options *options, size_t size);

/* Writes the model as one file for another engine, crash-safe and piece by piece.
 *
 * model      of the Llama architecture; others are refused by name
 * tokenizer  its vocabulary goes into the file: SentencePiece-like BPE with byte fallback, or byte-level BPE with a split
 *            rule that the other engine has; one that would encode differently there is refused. NULL: the file has no
 *            vocabulary and takes token ids alone
 * path       the file; its name without .gguf becomes the model's name in it
 *
 * Statuses: INVALID_ARGUMENT (also a tokenizer with more ids than the model), UNSUPPORTED (architecture; a value out of
 * range), FORMAT_UNSUPPORTED (the tokenizer), FILE_IO, OUT_OF_MEMORY, BUDGET_EXCEEDED, CANCELLED.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_model_export(const nanochat_model *model, const nanochat_tokenizer *tokenizer,
                                                   const char *path, const nanochat_model_export_options *options,
                                                   nanochat_error **error);

/* ======================================================================================================== *
 * Session: the state of one sequence
 * ======================================================================================================== */

/* How a session keeps keys and values. Each is rounded on its own: the bits still depend on nothing but the tokens. */
enum nanochat_kv_values {
  NANOCHAT_KV_DEFAULT = 0, /* f32; nanochat_session_load(): what the file has */
  NANOCHAT_KV_F32 = 1,
  NANOCHAT_KV_BF16 = 2, /* half the memory; long prompts take less time where the processor multiplies bf16 */
  NANOCHAT_KV_INT8 = 3  /* about a quarter: int8 and one fp32 scale per token and head, for keys and values each */
};

typedef struct nanochat_session_options {
  size_t struct_size;
  int64_t capacity; /* tokens it can hold; 0: the model's sequence_len */
  int32_t kv_dtype; /* enum nanochat_kv_values */
  int32_t reserved;
} nanochat_session_options;

#define NANOCHAT_SESSION_OPTIONS_INIT { sizeof(nanochat_session_options), 0, 0, 0 }
NANOCHAT_API void nanochat_session_options_init(nanochat_session_options *options, size_t size);

/* Makes an empty session. It takes pages of 64 tokens for its whole capacity at once, each 64 * kv_bytes_per_token (of f32;
 * the other types take about a half and a quarter), which the pool rounds up by a sixteenth at most, and no more later
 * unless it is copied: see nanochat_session_copy().
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE (a capacity beyond the model's rope table), BUDGET_EXCEEDED,
 * WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_session_create(const nanochat_model *model,
                                                     const nanochat_session_options *options,
                                                     nanochat_session **out_session, nanochat_error **error);
NANOCHAT_API void nanochat_session_free(nanochat_session *session);

/* An independent copy with the same tokens: several continuations of one prompt. Full pages are shared and cost nothing; a
 * copy takes its last, partial page and those for the rest of its capacity at once. Neither of the two writes into what both
 * hold: one that is truncated to a position inside a shared page takes a page of its own when it appends there, and that
 * call may fail for lack of memory. Statuses: as create. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_session_copy(const nanochat_session *session,
                                                   nanochat_session **out_session, nanochat_error **error);

/* Tokens held, and tokens that can be held. NULL gives 0. Since 0.1. */
NANOCHAT_API int64_t nanochat_session_length(const nanochat_session *session);
NANOCHAT_API int64_t nanochat_session_capacity(const nanochat_session *session);

/* Forgets the tokens from position `length` on. Statuses: INVALID_ARGUMENT, OUT_OF_RANGE. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_session_truncate(nanochat_session *session, int64_t length,
                                                       nanochat_error **error);

enum nanochat_logits_values {
  NANOCHAT_LOGITS_NONE = 0,
  NANOCHAT_LOGITS_LAST = 1, /* [vocab_size]: after the last token */
  NANOCHAT_LOGITS_ALL = 2   /* [n_tokens, vocab_size] */
};

/* Appends tokens and computes logits, fp32, after the softcap. The bits do not depend on how the tokens are cut into
 * calls, on the number of threads, or on what else runs.
 *
 * tokens, n_tokens  at least one
 * which             enum nanochat_logits_values
 * logits            receives the rows; capacity counts floats; may be NULL for NANOCHAT_LOGITS_NONE
 * cancel            NULL, or a switch; a cancelled call leaves the session as it was
 *
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE (a token outside the vocabulary), CONTEXT_FULL, BUFFER_TOO_SMALL,
 * BUDGET_EXCEEDED, WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY, CANCELLED; the session is unchanged after each. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_session_eval(nanochat_session *session, const int32_t *tokens,
                                                   size_t n_tokens, int32_t which, float *logits,
                                                   size_t capacity, const nanochat_cancel *cancel,
                                                   nanochat_error **error);

/* Writes the session to a file (format version, checksum of weights and contents), crash-safe; and brings it back for the
 * same model. load refuses another model's, another kv_dtype's or a damaged file.
 * Statuses: INVALID_ARGUMENT, FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, VERSION_MISMATCH, CHECKSUM_MISMATCH, and those of
 * create. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_session_save(const nanochat_session *session, const char *path,
                                                   nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_session_load(const nanochat_model *model, const char *path,
                                                   const nanochat_session_options *options,
                                                   nanochat_session **out_session, nanochat_error **error);

/* ======================================================================================================== *
 * Generation: tokens and text, by pull
 * ======================================================================================================== */

enum nanochat_overflow_values {
  NANOCHAT_OVERFLOW_STOP = 0, /* finish with NANOCHAT_FINISH_CONTEXT when the session is full */
  NANOCHAT_OVERFLOW_SLIDE = 1 /* keep the first n_keep tokens and the newer half of the rest, and go on */
};

enum nanochat_finish_values {
  NANOCHAT_FINISH_NONE = 0,    /* more to come */
  NANOCHAT_FINISH_STOP = 1,    /* the model's end token, or a stop token */
  NANOCHAT_FINISH_STRING = 2,  /* a stop string */
  NANOCHAT_FINISH_LENGTH = 3,  /* max_tokens */
  NANOCHAT_FINISH_CONTEXT = 4, /* the session is full */
  NANOCHAT_FINISH_ERROR = 5    /* a request of a scheduler failed: nanochat_request_result() says why */
};

enum nanochat_tool_flags {
  NANOCHAT_TOOL_NONE = 0,
  NANOCHAT_TOOL_CALCULATOR = 1 /* answers <|python_start|> ... <|python_end|> as nanochat does */
};

/* Order of sampling: logit_bias, penalties, temperature, top_k, top_p, min_p, draw. The draw depends on seed, stream and
 * the token's position alone. */
typedef struct nanochat_generation_options {
  size_t struct_size;
  uint64_t seed;
  uint64_t stream;            /* number of this sample among several of one prompt */
  int64_t max_tokens;         /* 0: until the session is full */
  const int32_t *stop_tokens; /* besides the model's own end tokens */
  size_t n_stop_tokens;
  const char *const *stop_strings; /* NUL-terminated; found across token boundaries, not part of the text */
  size_t n_stop_strings;
  const int32_t *logit_bias_tokens;
  const float *logit_bias_values;
  size_t n_logit_bias;
  const nanochat_cancel *cancel;
  int64_t n_keep;             /* NANOCHAT_OVERFLOW_SLIDE: tokens at the start that stay; 0: 1 */
  float temperature;          /* 0: greedy */
  float top_p;                /* 0: off */
  float min_p;                /* 0: off */
  float repetition_penalty;   /* 0: off (as 1): divides positive and multiplies negative logits of seen tokens */
  float presence_penalty;
  float frequency_penalty;
  int32_t top_k;              /* 0: off */
  int32_t top_logprobs;       /* alternatives to report for each token, at most 20 */
  int32_t overflow;           /* enum nanochat_overflow_values */
  int32_t ignore_end;         /* not 0: the model's end tokens do not stop */
  uint32_t tools;             /* NANOCHAT_TOOL_* joined with | */
  int32_t reserved;
} nanochat_generation_options;

#define NANOCHAT_GENERATION_OPTIONS_INIT                                                                        \
  {                                                                                                             \
    sizeof(nanochat_generation_options), 0, 0, 0, NULL, 0, NULL, 0, NULL, NULL, 0, NULL, 0, 0.0f, 0.0f, 0.0f,    \
        0.0f, 0.0f, 0.0f, 0, 0, 0, 0, 0, 0                                                                       \
  }
NANOCHAT_API void nanochat_generation_options_init(nanochat_generation_options *options, size_t size);

typedef struct nanochat_generation_event {
  size_t struct_size;
  const char *text; /* what became complete: whole UTF-8 characters, possibly none; NUL-terminated; valid until the
                       next call with this generation; "" without a tokenizer */
  size_t text_size;
  const int32_t *top_tokens; /* [n_top], most likely first; borrowed like text */
  const float *top_logprobs;
  size_t n_top;
  int64_t index;    /* of this token among the generated ones, from 0 */
  int32_t token;    /* -1 in a last event that brings no token */
  float logprob;    /* natural logarithm, after bias and penalties, before temperature and truncation */
  int32_t finish;   /* enum nanochat_finish_values */
  int32_t forced;   /* not 0: a tool put this token there, it was not sampled */
} nanochat_generation_event;

#define NANOCHAT_GENERATION_EVENT_INIT \
  { sizeof(nanochat_generation_event), NULL, 0, NULL, NULL, 0, 0, 0, 0.0f, 0, 0 }

/* Starts a generation. Nothing is computed before the first nanochat_generation_next().
 *
 * session    the generation uses it; leave it alone until the last event
 * tokenizer  for text, stop strings and tools; NULL: tokens only
 * prompt     ids to append first; n_prompt may be 0 if the session holds tokens already, or for a prompt of the bos
 *            token alone
 *
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE (a token), CONTEXT_FULL (the prompt does not fit and overflow is stop),
 * UNSUPPORTED (a tool whose special tokens the tokenizer lacks), OUT_OF_MEMORY. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_generation_start(nanochat_session *session,
                                                       const nanochat_tokenizer *tokenizer,
                                                       const int32_t *prompt, size_t n_prompt,
                                                       const nanochat_generation_options *options,
                                                       nanochat_generation **out_generation,
                                                       nanochat_error **error);

/* The same from text: encoded with NANOCHAT_ENCODE_ADD_SPECIALS if the session is empty, else as it is. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_generation_start_text(nanochat_session *session,
                                                            const nanochat_tokenizer *tokenizer,
                                                            const char *prompt, size_t prompt_size,
                                                            const nanochat_generation_options *options,
                                                            nanochat_generation **out_generation,
                                                            nanochat_error **error);
NANOCHAT_API void nanochat_generation_free(nanochat_generation *generation);

/* Produces one token. The caller sets event->struct_size once. event->finish is not 0 in the last event; further calls
 * repeat that alone, with token -1 and no text. After CANCELLED the call can be made again and goes on where it was.
 * Statuses: INVALID_ARGUMENT, INVALID_STATE (the session was changed meanwhile), CANCELLED, BUDGET_EXCEEDED,
 * WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_generation_next(nanochat_generation *generation,
                                                      nanochat_generation_event *event, nanochat_error **error);

/* Non-zero stops nanochat_generation_run() with NANOCHAT_STATUS_CANCELLED. */
typedef int32_t (*nanochat_event_callback)(const nanochat_generation_event *event, void *user_data);

/* Calls next until the last event and hands each to `callback`. Statuses: as next. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_generation_run(nanochat_generation *generation,
                                                     nanochat_event_callback callback, void *user_data,
                                                     nanochat_error **error);

typedef struct nanochat_generation_info {
  size_t struct_size;
  int64_t prompt_tokens;
  int64_t generated_tokens;
  double prompt_seconds; /* until the first token */
  double decode_seconds; /* all tokens after the first */
  int32_t finish;
  int32_t reserved;
} nanochat_generation_info;

/* What it took so far. The caller sets info->struct_size. Statuses: INVALID_ARGUMENT. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_generation_describe(const nanochat_generation *generation,
                                                          nanochat_generation_info *info,
                                                          nanochat_error **error);

/* ======================================================================================================== *
 * Scheduler: many generations at once
 * ======================================================================================================== */

/* A scheduler runs many generations of one model together: each forward pass has a row for every one that decodes and
 * some rows of prompts. Weights are read once for all, so that many cost little more than one. What a request
 * gives is, bit for bit, what nanochat_generation_next() would give with a session of its own: it depends neither on
 * the others nor on any option here.
 *
 * There are no hidden threads: a call that waits for an event runs the passes, unless another call does already; then
 * it sleeps until its event has come or the other leaves. Prompts that begin alike are computed once: pages of 64
 * positions are found by their tokens, shared, and kept for later requests as long as there is room. */

#define NANOCHAT_NO_PREFIX_CACHE UINT64_MAX

typedef struct nanochat_scheduler_options {
  size_t struct_size;
  uint64_t kv_budget_bytes;    /* keys and values of all requests and of the prefix cache; 0: max_running sequences of the
                                  model's sequence_len, but at most half of the memory that is available */
  uint64_t prefix_cache_bytes; /* of these, what may be kept for later requests; 0: all that requests do not need;
                                  NANOCHAT_NO_PREFIX_CACHE: nothing, and nothing is shared */
  int64_t prefill_rows;        /* tokens of prompts per pass, which bounds how long a pass takes; 0: 256 */
  int64_t max_unread_events;   /* a request with so many events that nobody has taken pauses; 0: 4096 */
  int32_t max_running;         /* requests in a pass; 0: 32 */
  int32_t max_waiting;         /* requests in the queue besides; 0: 1024 */
  int32_t kv_dtype;            /* enum nanochat_kv_values */
  int32_t draft_tokens;        /* tokens to guess per request and pass, from what it repeats, and to verify in the same
                                  pass; its results do not change; 0: none; at most 64 */
  int32_t draft_ngram;         /* tokens that must agree before a guess; 0: 3 */
  int32_t reserved;
} nanochat_scheduler_options;

#define NANOCHAT_SCHEDULER_OPTIONS_INIT { sizeof(nanochat_scheduler_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
NANOCHAT_API void nanochat_scheduler_options_init(nanochat_scheduler_options *options, size_t size);

/* Makes a scheduler. It takes memory as requests come to need it, never more than its budget, and keeps what it needs of
 * the model and the tokenizer (NULL: tokens only).
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_scheduler_create(const nanochat_model *model,
                                                       const nanochat_tokenizer *tokenizer,
                                                       const nanochat_scheduler_options *options,
                                                       nanochat_scheduler **out_scheduler,
                                                       nanochat_error **error);
/* Its requests live on: each ends when it is freed. */
NANOCHAT_API void nanochat_scheduler_free(nanochat_scheduler *scheduler);

typedef struct nanochat_request_options {
  size_t struct_size;
  uint64_t tag;            /* the caller's own number, given back by nanochat_request_tag() */
  double deadline_seconds; /* from the submit on; then the request fails with DEADLINE_EXCEEDED; 0: none */
  int64_t capacity;        /* tokens its session would hold; 0: the model's sequence_len */
} nanochat_request_options;

#define NANOCHAT_REQUEST_OPTIONS_INIT { sizeof(nanochat_request_options), 0, 0.0, 0 }
NANOCHAT_API void nanochat_request_options_init(nanochat_request_options *options, size_t size);

/* Puts a request into the queue; nothing is computed yet. Requests start in the order in which they came, each as soon
 * as all the memory that it can come to need (prompt and max_tokens, less what is shared) is free.
 *
 * prompt, n_prompt  as for nanochat_generation_start() with an empty session
 * generation        as there; NULL for defaults. Its cancel switch must live until the request's last event
 * options           NULL for defaults
 *
 * Statuses: those of nanochat_generation_start(); BUDGET_EXCEEDED (it could never run: the message has what it needs
 * and what there is); QUEUE_FULL. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_scheduler_submit(const nanochat_scheduler *scheduler,
                                                       const int32_t *prompt, size_t n_prompt,
                                                       const nanochat_generation_options *generation,
                                                       const nanochat_request_options *options,
                                                       nanochat_request **out_request, nanochat_error **error);

/* The same from text, encoded with NANOCHAT_ENCODE_ADD_SPECIALS. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_scheduler_submit_text(const nanochat_scheduler *scheduler,
                                                            const char *prompt, size_t prompt_size,
                                                            const nanochat_generation_options *generation,
                                                            const nanochat_request_options *options,
                                                            nanochat_request **out_request,
                                                            nanochat_error **error);

/* Ends the request if need be, gives its memory back and forgets its events. */
NANOCHAT_API void nanochat_request_free(nanochat_request *request);

/* The next event of this request, as nanochat_generation_next(). A request that fails does so alone: its last event
 * has NANOCHAT_FINISH_ERROR and no token, and the call returns NANOCHAT_OK. A status of the call itself is no request's
 * end: the pass could not run, and the call can be made again.
 * Statuses: INVALID_ARGUMENT, INVALID_STATE (the request waits in the queue while all that run are paused, see
 * max_unread_events), BUDGET_EXCEEDED, WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_request_next(nanochat_request *request,
                                                   nanochat_generation_event *event, nanochat_error **error);

/* The next event of whichever request has one; requests take turns.
 *
 * request       in: NULL, or the request that the last call gave, which the caller is done with (its event's text is valid
 *               until now); out: the request of the event, which no other caller of this function gets before it is
 *               given back so; NULL after a failure. Free it instead if it is of no more use, and set NULL
 * wait_seconds  how long to wait for a submit if there is nothing to do: 0: not at all; INFINITY: for ever. It does not
 *               bound the passes that an event takes. *request is NULL if the time is over
 *
 * Statuses: INVALID_ARGUMENT, BUDGET_EXCEEDED, WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_scheduler_next(const nanochat_scheduler *scheduler, double wait_seconds,
                                                     nanochat_request **request,
                                                     nanochat_generation_event *event, nanochat_error **error);

/* Makes the request fail with CANCELLED before the next pass. NULL is legal. Thread-safe. Since 0.1. */
NANOCHAT_API void nanochat_request_cancel(const nanochat_request *request);

/* The caller's number of a request; NULL gives 0. Thread-safe. Since 0.1. */
NANOCHAT_API uint64_t nanochat_request_tag(const nanochat_request *request);

/* NANOCHAT_OK, or the status and the error with which the request failed: INVALID_ARGUMENT (its logits were not
 * finite), CANCELLED, DEADLINE_EXCEEDED, WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_request_result(const nanochat_request *request, nanochat_error **error);

typedef struct nanochat_request_info {
  size_t struct_size;
  uint64_t tag;
  int64_t prompt_tokens;
  int64_t shared_tokens; /* of these, taken from the prefix cache or computed once for several requests */
  int64_t generated_tokens;
  int64_t drafted_tokens;  /* guessed */
  int64_t accepted_tokens; /* guessed right */
  double queue_seconds;
  double prompt_seconds; /* then, until the first token */
  double decode_seconds; /* all tokens after the first */
  int32_t finish;        /* enum nanochat_finish_values */
  nanochat_status status;
} nanochat_request_info;

/* What it took so far, which may be ahead of the events taken. The caller sets info->struct_size.
 * Statuses: INVALID_ARGUMENT. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_request_describe(const nanochat_request *request,
                                                       nanochat_request_info *info, nanochat_error **error);

typedef struct nanochat_scheduler_info {
  size_t struct_size;
  int64_t waiting_requests;
  int64_t running_requests;
  int64_t finished_requests; /* ended in whatever way */
  int64_t failed_requests;   /* of these, with an error */
  int64_t passes;
  int64_t rows;            /* of all passes: rows / passes is how full they were */
  int64_t prompt_tokens;   /* computed */
  int64_t shared_tokens;   /* of prompts, not computed */
  int64_t decoded_tokens;  /* generated */
  int64_t drafted_tokens;  /* guessed */
  int64_t accepted_tokens; /* guessed right */
  uint64_t kv_budget_bytes;
  uint64_t kv_promised_bytes;  /* what the running requests have or may come to need */
  uint64_t prefix_cache_bytes; /* kept for later requests besides */
  int64_t prefix_evictions;    /* pages of the prefix cache that made room */
} nanochat_scheduler_info;

/* Where the scheduler stands after its last pass. The caller sets info->struct_size. Statuses: INVALID_ARGUMENT.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_scheduler_describe(const nanochat_scheduler *scheduler,
                                                         nanochat_scheduler_info *info,
                                                         nanochat_error **error);

/* ======================================================================================================== *
 * Embeddings: texts, images, times to vectors
 * ======================================================================================================== */

enum nanochat_pooling_values {
  NANOCHAT_POOLING_DEFAULT = 0, /* as the model's files say; of a decoder, and where they say nothing: mean */
  NANOCHAT_POOLING_MEAN = 1,    /* one row for each input: the mean over its tokens */
  NANOCHAT_POOLING_LAST = 2,    /* one row for each input: its last token's */
  NANOCHAT_POOLING_NONE = 3,    /* a row for each token */
  NANOCHAT_POOLING_CLS = 4,     /* one row for each input: its first token's; from here on encoders only */
  NANOCHAT_POOLING_MAX = 5,     /* one row for each input: of each value the largest over its tokens */
  NANOCHAT_POOLING_POOLER = 6   /* BERT's: a matrix and tanh over the first token; see nanochat_model_options.pooler */
};

enum nanochat_normalization_values {
  NANOCHAT_NORMALIZATION_DEFAULT = 0, /* as the model's files say; of a decoder: L2 */
  NANOCHAT_NORMALIZATION_L2 = 1,      /* every row to length 1; a row of zeros stays */
  NANOCHAT_NORMALIZATION_NONE = 2
};

/* What a text is to a model of late interaction (ColBERT). Needs an encoder with a row for each token. */
enum nanochat_role_values {
  NANOCHAT_ROLE_NONE = 0,
  NANOCHAT_ROLE_QUERY = 1,   /* a marker behind the first token, filled up with masks to query_length rows */
  NANOCHAT_ROLE_DOCUMENT = 2 /* a marker behind the first token; tokens of punctuation give no row */
};

typedef struct nanochat_embed_options {
  size_t struct_size;
  nanochat_progress_callback progress; /* stage "embed", in inputs; of decoders also "forward" within long ones */
  void *progress_user_data;
  const nanochat_cancel *cancel;
  int32_t pooling;       /* enum nanochat_pooling_values */
  int32_t normalization; /* enum nanochat_normalization_values */
  int32_t truncate;      /* not 0: inputs that are too long lose their end, a text's closing tokens stay; 0: they are refused */
  int32_t reserved;
  const char *prefix;    /* put before each text as it is, such as "query: "; ends with a NUL byte; NULL: nothing. Not before
                            token lists */
  int64_t max_tokens;    /* of an input; 0: as the model's files say (nanochat_model_info.max_tokens) */
  int64_t global_tokens; /* Longformer: so many first tokens see and are seen by all; 0: as its files say; -1: none */
  int32_t role;          /* enum nanochat_role_values; what follows is for a role */
  int32_t query_length;  /* tokens of a query; 0: 32 */
  int32_t query_marker, document_marker; /* token ids; 0: 1 and 2, BERT's [unused0] and [unused1] */
  int32_t mask_token;    /* 0: the tokenizer's [MASK]; without a tokenizer, or one that has none: 103, BERT's */
  int32_t see_masks;     /* not 0: a query's tokens see its masks; 0: masks see the tokens, and nobody sees them */
  const int32_t *skipped_tokens; /* [n_skipped_tokens] of a document: these give no row; NULL: the 32 ASCII characters of
                                    punctuation, as the tokenizer has them; without a tokenizer none */
  size_t n_skipped_tokens;
  int32_t keep_punctuation; /* not 0: every token of a document gives a row */
  int32_t reserved2;
} nanochat_embed_options;

#define NANOCHAT_EMBED_OPTIONS_INIT \
  { sizeof(nanochat_embed_options), NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0 }
NANOCHAT_API void nanochat_embed_options_init(nanochat_embed_options *options, size_t size);

/* Computes vectors, fp32: of a decoder from its states after the final norm, of an encoder as its files say (pooling,
 * projection, dense layers, normalisation). The bits of one input's rows depend neither on the other inputs nor on the number of
 * threads. Inputs run together without padding.
 *
 * inputs       [n_inputs] lists of token ids; input_sizes: [n_inputs] their lengths, each at least 1
 * texts        [n_texts] UTF-8 texts, encoded with NANOCHAT_ENCODE_ADD_SPECIALS; text_sizes: [n_texts] bytes, or NULL if
 *              every text ends with a NUL byte
 * out_embeddings  receives the vectors; the caller owns them, release with nanochat_embeddings_free()
 *
 * Statuses: INVALID_ARGUMENT (an input without tokens, a pooling that the model has nothing for), OUT_OF_RANGE (a token,
 * max_tokens), CONTEXT_FULL (an input longer than max_tokens), UNSUPPORTED (a sparse model, see nanochat_embed_sparse(); a model of
 * images; an encoder's option with a decoder), BUDGET_EXCEEDED, WORKING_MEMORY_EXHAUSTED, OUT_OF_MEMORY, CANCELLED; each names the
 * input. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embed(const nanochat_model *model, const int32_t *const *inputs,
                                            const size_t *input_sizes, size_t n_inputs,
                                            const nanochat_embed_options *options,
                                            nanochat_embeddings **out_embeddings, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_embed_text(const nanochat_model *model, const nanochat_tokenizer *tokenizer,
                                                 const char *const *texts, const size_t *text_sizes,
                                                 size_t n_texts, const nanochat_embed_options *options,
                                                 nanochat_embeddings **out_embeddings, nanochat_error **error);

/* The same with a model of sparse vectors (SPLADE): for each input the words of the vocabulary with a weight above 0,
 * log(1 + relu) of the masked-language-model head, the largest over the input's tokens. Read them with
 * nanochat_embeddings_sparse(). Pooling, normalization and role must be 0.
 * Statuses: those of nanochat_embed(); UNSUPPORTED for another model. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embed_sparse(const nanochat_model *model, const int32_t *const *inputs,
                                                   const size_t *input_sizes, size_t n_inputs,
                                                   const nanochat_embed_options *options,
                                                   nanochat_embeddings **out_embeddings, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_embed_sparse_text(const nanochat_model *model,
                                                        const nanochat_tokenizer *tokenizer,
                                                        const char *const *texts, const size_t *text_sizes,
                                                        size_t n_texts, const nanochat_embed_options *options,
                                                        nanochat_embeddings **out_embeddings,
                                                        nanochat_error **error);

enum nanochat_image_format_values {
  NANOCHAT_IMAGE_RGB8 = 0,      /* rows of width pixels, each a byte of red, of green, of blue */
  NANOCHAT_IMAGE_NORMALIZED = 1 /* floats [3][height][width] that the caller normalised; width and height are the model's */
};

/* A picture that the caller owns, read during the call alone. This struct does not grow. */
typedef struct nanochat_image {
  const void *data;
  size_t size;       /* bytes at data */
  int64_t width;     /* pixels */
  int64_t height;
  int64_t row_bytes; /* from row to row of RGB8; 0: 3 * width */
  int32_t format;    /* enum nanochat_image_format_values */
  int32_t channels;  /* 0 or 3; others are refused */
} nanochat_image;

/* Computes one vector for each image (CLIP). RGB8 is resized (bicubic, the shorter side to the model's size), cut to its middle,
 * scaled and normalised as preprocessor_config.json says, to the same numbers as transformers' CLIPImageProcessor. PNG and JPEG
 * are the caller's to decode.
 *
 * images   [n_images]
 * options  pooling, truncate, prefix, max_tokens and role must be 0
 *
 * Statuses: INVALID_ARGUMENT (a side below 1, more than 100,000,000 pixels, sides further apart than 200 to 1, a buffer too short,
 * other channels, a value that is not finite; with the image's index and both values), UNSUPPORTED (the model takes no images), and
 * the resources of nanochat_embed(). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embed_images(const nanochat_model *model, const nanochat_image *images,
                                                   size_t n_images, const nanochat_embed_options *options,
                                                   nanochat_embeddings **out_embeddings, nanochat_error **error);

/* The embedders without weights; docs/embedders.md defines them to the bit. */
enum nanochat_time_embedder_values {
  NANOCHAT_TIME_RECENT = 0,    /* how long before the reference: exponential decay over 512 half-lives */
  NANOCHAT_TIME_PERIODIC = 1,  /* where in its minute, hour, day, ... decade: a Fourier basis */
  NANOCHAT_TIME_POSITIONAL = 2 /* where on the line: sinusoids */
};

/* Reads "2026-01-03T12:00:00Z" (RFC 3339, any offset and decimals, a space for the T) or a decimal number as seconds since
 * 1970-01-01T00:00:00Z. Statuses: INVALID_ARGUMENT (naming the text), OUT_OF_RANGE. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_time_parse(const char *text, size_t text_size, double *out_seconds,
                                                 nanochat_error **error);

/* A vector of 512 values and length 1 for each time.
 *
 * embedder   enum nanochat_time_embedder_values
 * times      [n_times] seconds since 1970-01-01T00:00:00Z; of POSITIONAL any position
 * reference  of RECENT: the present, in the same seconds; 0: 2100-01-01T00:00:00Z, so that nothing depends on a clock
 *
 * Statuses: INVALID_ARGUMENT (not finite), OUT_OF_RANGE (an age or time beyond 1e12 seconds, a position beyond 2^53), OUT_OF_MEMORY.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embed_times(int32_t embedder, const double *times, size_t n_times,
                                                  double reference, nanochat_embeddings **out_embeddings,
                                                  nanochat_error **error);

/* 10,000 bits for each text, of its trigrams of characters (hyperdimensional computing): compare them with
 * nanochat_similarity_hamming(). Read them with nanochat_embeddings_bits(). Any bytes are legal.
 * Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embed_hypervectors(const char *const *texts, const size_t *text_sizes,
                                                         size_t n_texts, nanochat_embeddings **out_embeddings,
                                                         nanochat_error **error);

NANOCHAT_API void nanochat_embeddings_free(nanochat_embeddings *embeddings);

/* What was computed. `values` is [rows(input), width], row-major, and lives as long as the embeddings. NULL, or an input
 * beyond the last, gives 0 and NULL.
 *   count   inputs
 *   width   floats in a row; of sparse vectors the vocabulary, of hypervectors the bits
 *   rows    rows of one input: 1; with a row for each token its tokens, of a document less those of punctuation; 0 of sparse
 *           vectors and hypervectors
 *   tokens  tokens of one input that were evaluated; of an image its patches and one; 0 of times, hypervectors and fused vectors
 * Thread-safe. Since 0.1. */
NANOCHAT_API size_t nanochat_embeddings_count(const nanochat_embeddings *embeddings);
NANOCHAT_API size_t nanochat_embeddings_width(const nanochat_embeddings *embeddings);
NANOCHAT_API size_t nanochat_embeddings_rows(const nanochat_embeddings *embeddings, size_t input);
NANOCHAT_API const float *nanochat_embeddings_values(const nanochat_embeddings *embeddings, size_t input);
NANOCHAT_API int64_t nanochat_embeddings_tokens(const nanochat_embeddings *embeddings, size_t input);

/* One input's sparse vector: returns how many words have a weight, and sets *tokens (ascending ids) and *weights (above 0) to
 * arrays of that length, which live as long as the embeddings; either may be NULL. Embeddings that are not sparse, and inputs
 * beyond the last, give 0 and NULL. Thread-safe. Since 0.1. */
NANOCHAT_API size_t nanochat_embeddings_sparse(const nanochat_embeddings *embeddings, size_t input,
                                               const int32_t **tokens, const float **weights);

/* One input's hypervector as 1250 bytes, bit j being bit j % 8 of byte j / 8; it lives as long as the embeddings. NULL where there
 * is none. Thread-safe. Since 0.1. */
NANOCHAT_API const uint8_t *nanochat_embeddings_bits(const nanochat_embeddings *embeddings, size_t input);

/* ======================================================================================================== *
 * Similarity
 * ======================================================================================================== */

/* How alike two vectors are. Sums are double in an order that docs/embedders.md gives: the same bits on every machine.
 *
 * dot      sum of a[i] * b[i]
 * cosine   dot / (|a| |b|), from -1 to 1; 0 where either is all zeros
 * maxsim   of late interaction: for each of the query's rows the largest dot with a row of the document, summed; rows [n, width]
 * hamming  1 - share of the n_bits bits that differ, counted from the first byte's lowest bit
 *
 * Statuses: INVALID_ARGUMENT (lengths that differ or are no multiple of width, naming both; a document without rows).
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_similarity_dot(const float *a, size_t a_size, const float *b, size_t b_size,
                                                     double *out_similarity, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_similarity_cosine(const float *a, size_t a_size, const float *b,
                                                        size_t b_size, double *out_similarity,
                                                        nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_similarity_maxsim(const float *query, size_t query_size,
                                                        const float *document, size_t document_size, size_t width,
                                                        double *out_similarity, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_similarity_hamming(const uint8_t *a, size_t a_size, const uint8_t *b,
                                                         size_t b_size, size_t n_bits, double *out_similarity,
                                                         nanochat_error **error);

/* ======================================================================================================== *
 * Fusion: the vectors of twelve embedders to one
 * ======================================================================================================== */

#define NANOCHAT_FUSION_INPUTS 12
#define NANOCHAT_FUSION_WIDTH 8320 /* floats of a row that is fused, by default */

enum nanochat_fusion_form_values {
  NANOCHAT_FORM_DENSE = 0,  /* one vector */
  NANOCHAT_FORM_SPARSE = 1, /* words and weights */
  NANOCHAT_FORM_BITS = 2,   /* a hypervector */
  NANOCHAT_FORM_TOKENS = 3  /* a row for each token */
};

typedef struct nanochat_fusion_input_info {
  size_t struct_size;
  const char *id;     /* "E7_Code"; strings live as long as the library */
  const char *name;   /* "code" */
  const char *source; /* the model's name, or how it is computed */
  int64_t native_width; /* of the embedder's own vector */
  int64_t fusion_width; /* of its part of the row */
  int64_t offset;       /* of its part in the row, in floats */
  int64_t max_tokens;   /* 0: takes no tokens */
  int32_t form;         /* enum nanochat_fusion_form_values */
  int32_t has_weights;
} nanochat_fusion_input_info;

/* The embedders of a row: number 1 (E1) to NANOCHAT_FUSION_INPUTS. The caller sets info->struct_size.
 * Statuses: INVALID_ARGUMENT, OUT_OF_RANGE. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_fusion_input_describe(int32_t number, nanochat_fusion_input_info *info,
                                                            nanochat_error **error);

/* How one embedder's vector becomes its part of the row: as it is where widths agree; else by fixed random signs that
 * docs/embedders.md defines, or by trained weights from a file. Rows for tokens are averaged, the average brought to length 1.
 *
 * input   id or name of the embedder: "E7_Code" or "code"
 * path    a safetensors file with "weight" [fusion_width, native_width] and perhaps "bias"; NULL: none
 *
 * Statuses: INVALID_ARGUMENT, NOT_FOUND (the embedder), FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, OUT_OF_MEMORY. Thread-safe.
 * Since 0.1. */
NANOCHAT_API nanochat_status nanochat_projection_create(const char *input, const char *path,
                                                        nanochat_projection **out_projection,
                                                        nanochat_error **error);
NANOCHAT_API void nanochat_projection_free(nanochat_projection *projection);

/* Writes one input's part of the row.
 *
 * embeddings  of the embedder that the projection is for: of its form and native width
 * target      receives fusion_width floats: pass row + info.offset; capacity: floats that there is room for
 *
 * Statuses: INVALID_ARGUMENT (another form or width, naming both; a value that is not finite), OUT_OF_RANGE (the input),
 * BUFFER_TOO_SMALL. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_projection_apply(const nanochat_projection *projection,
                                                       const nanochat_embeddings *embeddings, size_t input,
                                                       float *target, size_t capacity, nanochat_error **error);

/* The same for a vector, or rows of tokens one after another, that the caller has: n_values floats. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_projection_apply_values(const nanochat_projection *projection,
                                                              const float *values, size_t n_values, float *target,
                                                              size_t capacity, nanochat_error **error);

typedef struct nanochat_fusion_info {
  size_t struct_size;
  uint64_t parameters;
  uint64_t weight_bytes;
  int64_t n_experts;
  int64_t n_selected; /* experts of each row */
  int64_t input_width;
  int64_t hidden_width;
  int64_t output_width;
  double temperature;
  double laplace_alpha;
  double load_seconds;
  int32_t weights; /* of the experts' matrices: enum nanochat_weight_values */
  int32_t reserved;
} nanochat_fusion_info;

/* A mixture of experts (FuseMoE): a gate chooses 4 of 8 two-layer networks for each row, only those are computed, and their
 * outputs are added with the gate's weights. src/encoder/fuse_moe.h has the formula, docs/formats.md the directory.
 *
 * plan           as nanochat_model_plan(): what there is nothing to say about is 0
 * load           path: a directory with config.json and model.safetensors
 * create_random  config: a config.json as text; NULL: 8320 to 1536 with 8 experts of 4096
 * save           writes such a directory, which is created
 *
 * Statuses: those of nanochat_model_plan(), nanochat_model_load(), nanochat_model_create_random(), nanochat_model_save().
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_fusion_plan(const nanochat_runtime *runtime, const char *path,
                                                  const nanochat_model_options *options,
                                                  nanochat_model_plan_info *info, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_fusion_load(const nanochat_runtime *runtime, const char *path,
                                                  const nanochat_model_options *options,
                                                  nanochat_fusion **out_fusion, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_fusion_create_random(const nanochat_runtime *runtime, const char *config,
                                                           uint64_t seed, const nanochat_model_options *options,
                                                           nanochat_fusion **out_fusion, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_fusion_save(const nanochat_fusion *fusion, const char *path,
                                                  const nanochat_model_options *options, nanochat_error **error);
NANOCHAT_API void nanochat_fusion_free(nanochat_fusion *fusion);

/* The caller sets info->struct_size. Statuses: INVALID_ARGUMENT. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_fusion_describe(const nanochat_fusion *fusion, nanochat_fusion_info *info,
                                                      nanochat_error **error);

/* Fuses rows, fp32. The bits of one row's result do not depend on the others.
 *
 * rows      [n_rows, width] row-major; width: the fusion's input_width
 * cancel    NULL, or a switch
 * out_embeddings  receives [n_rows] vectors of output_width, with the routing of each; release with nanochat_embeddings_free()
 *
 * Adds to the utilisation. Statuses: INVALID_ARGUMENT (no rows, another width, a value that is not finite: row and index),
 * OUT_OF_RANGE (the gate's numbers overflow), WORKING_MEMORY_EXHAUSTED, BUDGET_EXCEEDED, OUT_OF_MEMORY, CANCELLED. Thread-safe.
 * Since 0.1. */
NANOCHAT_API nanochat_status nanochat_fuse(const nanochat_fusion *fusion, const float *rows, size_t n_rows,
                                           size_t width, const nanochat_cancel *cancel,
                                           nanochat_embeddings **out_embeddings, nanochat_error **error);

typedef struct nanochat_routing_info {
  size_t struct_size;
  const float *weights;          /* [n_experts] of every expert, their sum is 1; arrays live as long as the embeddings */
  const int32_t *selected;       /* [n_selected] experts that were computed, the largest weight first */
  const float *selected_weights; /* [n_selected] their sum is 1 */
  size_t n_experts;
  size_t n_selected;
  int32_t is_fallback; /* the gate gave no expert any weight, so all count the same */
  int32_t reserved;
} nanochat_routing_info;

/* Where a fused row went. The caller sets info->struct_size.
 * Statuses: INVALID_ARGUMENT, UNSUPPORTED (not fused), OUT_OF_RANGE (the input). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_embeddings_routing(const nanochat_embeddings *embeddings, size_t input,
                                                         nanochat_routing_info *info, nanochat_error **error);

typedef struct nanochat_utilisation_info {
  size_t struct_size;
  uint64_t n_rows;     /* fused since the fusion was made or reset */
  uint64_t n_fallback; /* of these, with a gate that gave no weight */
  int64_t n_experts;
  int64_t overloaded_expert; /* has more than 80 % of the weight, after 100 rows or more; -1: none. The log has a warning then */
} nanochat_utilisation_info;

/* How the rows so far were spread over the experts.
 *
 * n_selected  [capacity] receives for each expert how many rows chose it; may be NULL
 * loads       [capacity] receives its share of all weight; shares sum to 1; may be NULL
 * capacity    n_experts at least, unless both are NULL
 *
 * reset forgets all rows. Statuses: INVALID_ARGUMENT, BUFFER_TOO_SMALL. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_fusion_utilisation(const nanochat_fusion *fusion,
                                                         nanochat_utilisation_info *info, uint64_t *n_selected,
                                                         double *loads, size_t capacity, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_fusion_reset_utilisation(const nanochat_fusion *fusion,
                                                               nanochat_error **error);

/* ======================================================================================================== *
 * Warm loading: a fleet of models, all of it or nothing
 * ======================================================================================================== */

/* A registry is a fleet: the models, tokenizers, fusions and embedders without weights that one JSON file, the manifest,
 * lists (docs/warm.md has its format). It is opened (headers are read, nothing is loaded), warmed (everything is loaded,
 * checked and tested, or nothing of it is left), asked, and shut down. Once warm, its components stay where they are until
 * one is replaced or all are shut down; nothing is ever evicted to make room. There is no fall-back: what cannot be loaded
 * fails the whole start with one of the statuses 101 to 110. */

enum nanochat_component_kind_values {
  NANOCHAT_COMPONENT_DECODER = 0,
  NANOCHAT_COMPONENT_ENCODER = 1,
  NANOCHAT_COMPONENT_FUSION = 2,
  NANOCHAT_COMPONENT_TEMPORAL_RECENT = 3, /* from here on computed: no weights, so no address and no bytes */
  NANOCHAT_COMPONENT_TEMPORAL_PERIODIC = 4,
  NANOCHAT_COMPONENT_TEMPORAL_POSITIONAL = 5,
  NANOCHAT_COMPONENT_HYPERDIMENSIONAL = 6
};

/* What a component is doing. Pending, loading, validating, warm; or failed, from loading or validating. Warm and failed are
 * final: after a failure open the fleet again. */
enum nanochat_warm_state_values {
  NANOCHAT_WARM_STATE_PENDING = 0, /* also after a failed start or a shutdown has released it */
  NANOCHAT_WARM_STATE_LOADING = 1,
  NANOCHAT_WARM_STATE_VALIDATING = 2,
  NANOCHAT_WARM_STATE_WARM = 3,
  NANOCHAT_WARM_STATE_FAILED = 4
};

enum nanochat_warm_quantization_values {
  NANOCHAT_WARM_QUANTIZATION_DEFAULT = 0, /* as the manifest says; FP16 if it does not */
  NANOCHAT_WARM_QUANTIZATION_FP32 = 1,
  NANOCHAT_WARM_QUANTIZATION_FP16 = 2, /* kept as bf16: 2 bytes a weight as well */
  NANOCHAT_WARM_QUANTIZATION_FP8 = 3,
  NANOCHAT_WARM_QUANTIZATION_INT8 = 4
};

enum nanochat_switch_values {
  NANOCHAT_SWITCH_DEFAULT = 0, /* as the manifest says; on if it does not */
  NANOCHAT_SWITCH_ON = 1,
  NANOCHAT_SWITCH_OFF = 2
};

#define NANOCHAT_WARM_NO_HEADROOM UINT64_MAX /* of vram_headroom_bytes: none */
#define NANOCHAT_WARM_NO_MINIMUM (-1)        /* of min_capability: none */

/* Where one component stands while the fleet is loaded. */
typedef struct nanochat_warm_progress {
  size_t struct_size;
  const char *id; /* valid during the callback */
  uint64_t bytes_loaded; /* of this component's files */
  uint64_t total_bytes;
  uint64_t fleet_loaded; /* of all components' files */
  uint64_t fleet_total;
  int32_t state; /* enum nanochat_warm_state_values */
  int32_t reserved;
} nanochat_warm_progress;

/* About every 50 ms and at every change of a state, on the thread that is inside the call. Non-zero stops the load with
 * NANOCHAT_STATUS_CANCELLED. */
typedef int32_t (*nanochat_warm_progress_callback)(const nanochat_warm_progress *progress, void *user_data);

/* The diagnostic dump of a start that failed: one JSON object of `size` bytes, with a NUL byte behind it. path: the file that
 * it was written to, "" if there is none (it is not wanted, or could not be written, neither there nor in /tmp). On the
 * thread that is inside the call. */
typedef void (*nanochat_dump_callback)(const char *json, size_t size, const char *path, void *user_data);

/* What is said here wins over the manifest's "config", and that over the defaults. */
typedef struct nanochat_warm_options {
  size_t struct_size;
  uint64_t vram_budget_bytes;   /* of all weights together, on whichever device; 0: as the manifest says, else 24 GiB */
  uint64_t vram_headroom_bytes; /* of the device, to stay free beside the weights; 0: as the manifest says, else 8 GiB;
                                   NANOCHAT_WARM_NO_HEADROOM: none */
  const char *model_weights_path; /* what relative paths of models start from; NULL: as the manifest says; "": its folder */
  const char *diagnostic_dump_path; /* folder for dumps of failed starts; NULL: as the manifest says, else
                                       /var/log/context-graph; "": no dump */
  uint64_t max_load_time_per_model_ms; /* longer is LOAD_TIMEOUT; 0: as the manifest says, else 30,000 */
  int32_t device_id;      /* must be the runtime's: N of "cuda:N", 0 on a host; 0: as the manifest says; -1: 0, whatever it
                             says */
  int32_t test_inference; /* each component must give its known answer before it is warm: enum nanochat_switch_values */
  int32_t quantization;   /* of components that the manifest says nothing about: enum nanochat_warm_quantization_values */
  int32_t lock_memory;    /* keep weights of a host in memory, as far as its limits let: enum nanochat_switch_values */
  int32_t parallel_loads; /* components that are loaded at once; 0: as the manifest says, else 2 */
  int32_t min_capability; /* of a CUDA device, major * 10 + minor; NANOCHAT_WARM_NO_MINIMUM: none; 0: as the manifest says,
                             else none */
  uint64_t min_total_memory_bytes; /* of the device. This and min_capability go together: if either is given, the manifest's
                                      are not looked at */
  nanochat_warm_progress_callback progress;
  void *progress_user_data;
  const nanochat_cancel *cancel;
  nanochat_dump_callback on_dump; /* called when a start has failed */
  void *dump_user_data;
} nanochat_warm_options;

#define NANOCHAT_WARM_OPTIONS_INIT                                                                               \
  {                                                                                                              \
    sizeof(nanochat_warm_options), 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL \
  }
NANOCHAT_API void nanochat_warm_options_init(nanochat_warm_options *options, size_t size);

/* Sets what the environment says and leaves the rest: WARM_VRAM_BUDGET_BYTES, WARM_VRAM_HEADROOM_BYTES,
 * WARM_MODEL_WEIGHTS_PATH, WARM_DIAGNOSTIC_DUMP_PATH, WARM_ENABLE_TEST_INFERENCE (true, 1, yes, on, false, 0, no, off),
 * WARM_MAX_LOAD_TIME_MS, WARM_CUDA_DEVICE_ID, WARM_QUANTIZATION (FP32, FP16, FP8, INT8). The only function that reads these.
 *
 * options  initialised; its texts point into the environment afterwards, so use it before that changes
 *
 * Statuses: INVALID_ARGUMENT, CONFIG_INVALID (naming the variable and its text). On failure *options is untouched.
 * Thread-safe as far as getenv() is. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_warm_options_from_env(nanochat_warm_options *options, nanochat_error **error);

/* What a fleet would take, from the headers of its files alone: nothing is loaded.
 *
 * manifest  path of the JSON file
 * options   NULL for defaults
 * out_json  receives one JSON object with a "schema" key: each component's bytes in order of loading, their sums, budget,
 *           headroom, what the device has, "fits": true; or false with the "error" that a start would give
 *
 * Statuses: those of nanochat_registry_open(). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_warm_plan(const nanochat_runtime *runtime, const char *manifest,
                                                const nanochat_warm_options *options, nanochat_text **out_json,
                                                nanochat_error **error);

/* Reads a manifest and the headers of all its models. Every component is pending then.
 *
 * options       NULL for defaults; kept, but for what watches the call
 * out_registry  receives the registry; the caller owns it, release with nanochat_registry_free()
 *
 * If it fails on a model, a dump is written as nanochat_registry_warm() says; if it fails on the manifest itself, only where
 * options->diagnostic_dump_path says.
 *
 * Statuses: INVALID_ARGUMENT, FILE_NOT_FOUND, FORMAT_INVALID, CONFIG_INVALID (file, component, key, value, what was expected),
 * MODEL_ALREADY_REGISTERED (an id twice), MODEL_NOT_REGISTERED (a part or dependency that is no component),
 * MODEL_FILE_MISSING, MODEL_LOAD_FAILED, MODEL_DIMENSION_MISMATCH, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_open(const nanochat_runtime *runtime, const char *manifest,
                                                    const nanochat_warm_options *options,
                                                    nanochat_registry **out_registry, nanochat_error **error);

/* Makes every component warm: the device is asked for what the fleet needs before anything is read; then components are
 * loaded, largest first, each after those that it depends on, and each must give its known answer. Meanwhile other threads
 * may ask for health, and for nothing else.
 *
 * options  NULL, or: progress, cancel and on_dump are used, all else was settled by nanochat_registry_open()
 *
 * The first failure stops all; everything is released; a dump is written to diagnostic_dump_path (if that cannot be, to /tmp)
 * and given to on_dump. Open the fleet again to try again.
 *
 * Statuses: CUDA_CAPABILITY_INSUFFICIENT, VRAM_INSUFFICIENT_TOTAL (against the budget, and against what the device has),
 * VRAM_INSUFFICIENT_HEADROOM, MODEL_FILE_MISSING, MODEL_LOAD_FAILED, MODEL_VALIDATION_FAILED (not finite, another checksum,
 * another answer than the reference, an answer that took too long), MODEL_DIMENSION_MISMATCH, CUDA_ALLOC_FAILED,
 * CUDA_CONTEXT_LOST, LOAD_TIMEOUT, BUDGET_EXCEEDED, OUT_OF_MEMORY, CANCELLED, INVALID_STATE (a second call).
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_warm(const nanochat_registry *registry,
                                                    const nanochat_warm_options *options, nanochat_error **error);

/* Both in one call: on failure nothing is left but the dump. Statuses: those of both. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_warm_load(const nanochat_runtime *runtime, const char *manifest,
                                                const nanochat_warm_options *options,
                                                nanochat_registry **out_registry, nanochat_error **error);

/* What handles taken from it still use lives on until they are freed. See nanochat_registry_shutdown(). */
NANOCHAT_API void nanochat_registry_free(nanochat_registry *registry);

/* is_warm: every component is, and requests are served; count: components. NULL gives 0. Thread-safe, without a lock.
 * Since 0.1. */
NANOCHAT_API int32_t nanochat_registry_is_warm(const nanochat_registry *registry);
NANOCHAT_API size_t nanochat_registry_count(const nanochat_registry *registry);

/* The number of a component, in the manifest's order from 0. Statuses: INVALID_ARGUMENT, MODEL_NOT_REGISTERED.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_find(const nanochat_registry *registry, const char *id,
                                                    size_t *out_index, nanochat_error **error);

typedef struct nanochat_component_info {
  size_t struct_size;
  const char *id;         /* lives as long as the registry */
  uint64_t address;       /* of its weights on the device; 0: computed, or not warm */
  uint64_t bytes;         /* that its weights take there; 0 if not warm */
  uint64_t locked_bytes;  /* of these, kept in memory by the system */
  uint64_t planned_bytes; /* what a load takes, known from headers */
  uint64_t bytes_loaded;  /* of its files */
  uint64_t file_bytes;    /* of its weights, as stored */
  int64_t dimension;      /* of its output: a text's vector, a decoder's logits, an image's vector */
  int64_t load_ms;        /* until it was warm or failed, or until now; -1: not begun */
  int64_t last_latency_us; /* of its last test inference; -1: none */
  int32_t kind;            /* enum nanochat_component_kind_values */
  int32_t state;           /* enum nanochat_warm_state_values */
  int32_t progress_percent;
  int32_t test_passed;   /* its last test inference */
  nanochat_status error; /* of a failed one; why is in the health report */
  int32_t reserved;
  char checksum[40]; /* 32 hexadecimal digits (XXH3-128) of its stored weights; "": computed, or not warm */
} nanochat_component_info;

/* One component now. The caller sets info->struct_size. Statuses: INVALID_ARGUMENT, OUT_OF_RANGE. Thread-safe, without waiting
 * for a load. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_describe(const nanochat_registry *registry, size_t index,
                                                        nanochat_component_info *info, nanochat_error **error);

/* Handles to use a warm component with all other functions of this header. They, and what is made from them, keep the version
 * that they were taken from where it is: it goes when the last of them is freed, also if the component has been replaced or the
 * fleet shut down meanwhile. A fusion's handle counts what goes through it, not what others fuse.
 * Statuses: INVALID_ARGUMENT, MODEL_NOT_REGISTERED, INVALID_STATE (not warm), UNSUPPORTED (of another kind; without a
 * tokenizer). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_model(const nanochat_registry *registry, const char *id,
                                                     nanochat_model **out_model, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_registry_tokenizer(const nanochat_registry *registry, const char *id,
                                                         nanochat_tokenizer **out_tokenizer, nanochat_error **error);
NANOCHAT_API nanochat_status nanochat_registry_fusion(const nanochat_registry *registry, const char *id,
                                                      nanochat_fusion **out_fusion, nanochat_error **error);

/* Vectors of texts from one component, as its manifest entry says: dense, sparse, bits, or a row for each token. To a temporal
 * embedder texts are times or positions. Never waits for a replacement.
 *
 * texts, text_sizes, n_texts  as for nanochat_embed_text()
 * cancel                      NULL, or a switch
 *
 * Statuses: those of nanochat_embed_text(), MODEL_NOT_REGISTERED, INVALID_STATE (not warm), UNSUPPORTED (a fusion, a model
 * without a tokenizer, an image encoder). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_embed_text(const nanochat_registry *registry, const char *id,
                                                          const char *const *texts, const size_t *text_sizes,
                                                          size_t n_texts, const nanochat_cancel *cancel,
                                                          nanochat_embeddings **out_embeddings,
                                                          nanochat_error **error);

/* One fused vector for each text: all parts of the fusion are embedded, projected, put into one row and fused.
 *
 * fusion_id  NULL: the only fusion
 * times      [n_texts] seconds since 1970-01-01T00:00:00Z, for the parts that embed times; NULL if there are none
 * positions  [n_texts] for the part that embeds positions; NULL: 0, 1, 2 ...
 * out_embeddings  receives the vectors, with nanochat_embeddings_routing()
 *
 * Statuses: those of nanochat_registry_embed_text(), INVALID_ARGUMENT (times that are missing though a part needs them).
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_fuse_text(const nanochat_registry *registry, const char *fusion_id,
                                                         const char *const *texts, const size_t *text_sizes,
                                                         const double *times, const double *positions,
                                                         size_t n_texts, const nanochat_cancel *cancel,
                                                         nanochat_embeddings **out_embeddings,
                                                         nanochat_error **error);

typedef struct nanochat_replace_options {
  size_t struct_size;
  const char *path;      /* of the new model, relative as in the manifest; NULL: the component's own, loaded again */
  const char *reference; /* a new reference file; NULL: the one that it has */
  const char *checksum;  /* that the new weights must have, 32 hexadecimal digits; NULL: none is asked for */
  uint64_t drain_ms;     /* how long to wait for users of the old one; 0: 30,000 */
  nanochat_progress_callback progress; /* stage "load", in bytes */
  void *progress_user_data;
  const nanochat_cancel *cancel;
} nanochat_replace_options;

#define NANOCHAT_REPLACE_OPTIONS_INIT \
  { sizeof(nanochat_replace_options), NULL, NULL, NULL, 0, NULL, NULL, NULL }
NANOCHAT_API void nanochat_replace_options_init(nanochat_replace_options *options, size_t size);

/* Puts a new version in the place of a warm component while requests run: it is loaded beside the old one, validated, and
 * serves from one moment on; then the call waits for the last user of the old one. Both take memory meanwhile, so the budget
 * may be exceeded by this one model. On failure nothing has changed.
 *
 * options  NULL: the component's own files are loaded again
 *
 * Statuses: those of nanochat_registry_warm() for one component, MODEL_NOT_REGISTERED, INVALID_STATE (not warm; the version
 * before the present one still has users), DEADLINE_EXCEEDED (the new one serves, the old one still has users). Thread-safe.
 * Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_replace(const nanochat_registry *registry, const char *id,
                                                       const nanochat_replace_options *options,
                                                       nanochat_error **error);

/* Compares all weights in memory with what they were at the first call, which takes a pass over them.
 * Statuses: MODEL_VALIDATION_FAILED (naming the component), INVALID_STATE (not warm), CANCELLED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_verify(const nanochat_registry *registry,
                                                      const nanochat_cancel *cancel, nanochat_error **error);

/* Takes no more requests, waits for those that run and for handles, and releases first fusions, then the other components.
 * Later calls do nothing.
 *
 * drain_ms  how long to wait in all; 0: 30,000
 *
 * Statuses: DEADLINE_EXCEEDED (naming a component and its users: free the handles and call again). Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_shutdown(const nanochat_registry *registry, uint64_t drain_ms,
                                                        nanochat_error **error);

/* Writes what the components of a warm fleet answer to their test inputs as their reference files, and gives the manifest with
 * them in it, and with checksums, sizes and dimensions: for whoever has put a fleet together and trusts it as it is.
 *
 * folder        for the reference files; NULL: "reference" beside the manifest. It is created
 * cancel        NULL, or a switch
 * out_manifest  receives the manifest's new text; the file stays as it is
 *
 * Statuses: INVALID_STATE (not warm), FILE_IO, OUT_OF_MEMORY, CANCELLED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_record(const nanochat_registry *registry, const char *folder,
                                                      const nanochat_cancel *cancel, nanochat_text **out_manifest,
                                                      nanochat_error **error);

/* Makes a small complete fleet with seeded random weights (twelve embedders, E1_Semantic to E12_LateInteraction, and the
 * FuseMoE that takes their vectors; some MB), with tokenizers, reference answers and checksums: to try all of this with.
 *
 * path    folder, which is created; path/manifest.json is the manifest
 * cancel  NULL, or a switch
 *
 * Statuses: INVALID_ARGUMENT, FILE_IO, OUT_OF_MEMORY, CANCELLED. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_warm_create_sample(const nanochat_runtime *runtime, const char *path,
                                                         uint64_t seed, const nanochat_cancel *cancel,
                                                         nanochat_error **error);

/* ======================================================================================================== *
 * Health
 * ======================================================================================================== */

enum nanochat_health_values {
  NANOCHAT_HEALTH_NOT_INITIALIZED = 0, /* opened, or shut down */
  NANOCHAT_HEALTH_LOADING = 1,
  NANOCHAT_HEALTH_HEALTHY = 2,
  NANOCHAT_HEALTH_DEGRADED = 3, /* all are warm, but one fails its test inference, or its memory is not the device's */
  NANOCHAT_HEALTH_UNHEALTHY = 4 /* the start failed */
};

/* How a fleet is, as a report that does not change any more.
 *
 * full        0: what is known, in less than a millisecond, without waiting for anything, also during a load; 1: a test
 *             inference of every warm component first. One that fails is in the report; the call does not fail for it
 * cancel      NULL, or a switch
 * out_report  receives the report; the caller owns it, release with nanochat_health_report_free()
 *
 * Statuses: INVALID_ARGUMENT, CANCELLED, OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_health_check(const nanochat_registry *registry, int32_t full,
                                                   const nanochat_cancel *cancel,
                                                   nanochat_health_report **out_report, nanochat_error **error);
NANOCHAT_API void nanochat_health_report_free(nanochat_health_report *report);

/* Facts. overall: enum nanochat_health_values; count: components; line: "WARM: 13/13 models | 3.58GB/24.00GB VRAM | OK", which
 * lives as long as the report. NULL gives 0 and "". Thread-safe. Since 0.1. */
NANOCHAT_API int32_t nanochat_health_report_overall(const nanochat_health_report *report);
NANOCHAT_API size_t nanochat_health_report_count(const nanochat_health_report *report);
NANOCHAT_API const char *nanochat_health_report_line(const nanochat_health_report *report);

typedef struct nanochat_component_health {
  size_t struct_size;
  const char *id;       /* texts live as long as the report */
  const char *status;   /* "pending", "loading", "validating", "warm", "failed"; "warm_but_failing": degraded */
  const char *message;  /* why it failed, or why it is degraded; "" */
  const char *checksum; /* of its stored weights; "" */
  uint64_t address;     /* of its weights on the device; 0: computed, or not warm */
  uint64_t allocation_bytes;
  uint64_t locked_bytes;
  uint64_t expected_bytes;
  uint64_t bytes_loaded;
  int64_t dimension;
  int64_t load_ms;         /* -1: not begun */
  int64_t last_latency_us; /* of its last test inference; -1: none */
  int32_t kind;            /* enum nanochat_component_kind_values */
  int32_t state;           /* enum nanochat_warm_state_values */
  int32_t progress_percent;
  int32_t is_resident; /* the device says that the address is its own */
  int32_t test_passed; /* its last test inference */
  nanochat_status error; /* of a failed one */
} nanochat_component_health;

/* One component, in the manifest's order. The caller sets health->struct_size. Statuses: INVALID_ARGUMENT, OUT_OF_RANGE.
 * Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_health_report_entry(const nanochat_health_report *report, size_t index,
                                                          nanochat_component_health *health, nanochat_error **error);

/* All of it as one JSON object, for a health endpoint: "schema", "status", "timestamp", "gpu", "models", "fusemoe", "metrics"
 * and more; docs/warm.md has every key. Keys are only ever added. Statuses: INVALID_ARGUMENT, OUT_OF_MEMORY. Thread-safe.
 * Since 0.1. */
NANOCHAT_API nanochat_status nanochat_health_report_to_json(const nanochat_health_report *report,
                                                            nanochat_text **out_json, nanochat_error **error);

/* ======================================================================================================== *
 * Diagnostics
 * ======================================================================================================== */

/* What is written down when a start fails, of a registry as it is now: device, configuration, components, the last 100
 * allocations, system; docs/warm.md has every key. What looks like a secret is masked.
 *
 * folder    NULL: no file is written; else one is, named after the time; if that cannot be, one in /tmp
 * out_json  receives the dump, one JSON object
 * out_path  NULL, or receives where the file is; "" if folder is NULL
 *
 * Statuses: INVALID_ARGUMENT, DIAGNOSTIC_DUMP_FAILED (naming both places and reasons), OUT_OF_MEMORY. Thread-safe. Since 0.1. */
NANOCHAT_API nanochat_status nanochat_registry_dump(const nanochat_registry *registry, const char *folder,
                                                    nanochat_text **out_json, nanochat_text **out_path,
                                                    nanochat_error **error);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NANOCHAT_H */
