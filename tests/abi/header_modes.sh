#!/usr/bin/env bash
# The header alone, included twice, in every language mode, by both compilers, without a warning or a padding byte.
set -eu
source_dir=$1
compilers_c=$(command -v gcc clang || true)
compilers_cxx=$(command -v g++ clang++ || true)
warnings="-Wall -Wextra -pedantic -Werror -Wconversion -Wcast-qual -Wundef -Wpadded"
text='#include "nanochat.h"
#include "nanochat.h"
nanochat_runtime_options a = NANOCHAT_RUNTIME_OPTIONS_INIT;
nanochat_tokenizer_options b = NANOCHAT_TOKENIZER_OPTIONS_INIT;
nanochat_tokenizer_train_options c = NANOCHAT_TOKENIZER_TRAIN_OPTIONS_INIT;
nanochat_model_options d = NANOCHAT_MODEL_OPTIONS_INIT;
nanochat_session_options e = NANOCHAT_SESSION_OPTIONS_INIT;
nanochat_generation_options f = NANOCHAT_GENERATION_OPTIONS_INIT;
nanochat_generation_event g = NANOCHAT_GENERATION_EVENT_INIT;
nanochat_embed_options h = NANOCHAT_EMBED_OPTIONS_INIT;
nanochat_warm_options i = NANOCHAT_WARM_OPTIONS_INIT;
nanochat_replace_options j = NANOCHAT_REPLACE_OPTIONS_INIT;'
count=0
for compiler in $compilers_c; do
  for mode in c99 c11 c17 c2x; do
    printf '%s\n' "$text" | $compiler -x c -std=$mode $warnings -Wstrict-prototypes -I"$source_dir/include" -fsyntax-only -
    count=$((count + 1))
  done
done
for compiler in $compilers_cxx; do
  for mode in c++11 c++17 c++20; do
    printf '%s\n' "$text" | $compiler -x c++ -std=$mode $warnings -I"$source_dir/include" -fsyntax-only -
    count=$((count + 1))
  done
done
echo "$count modes"
[ "$count" -ge 7 ]

# The self-test: a header with a hole must not pass.
if printf '#include "nanochat.h"\nstruct hole { char a; double b; };\n' |
  gcc -x c -std=c99 $warnings -I"$source_dir/include" -fsyntax-only - 2>/dev/null; then
  echo "a struct with padding passed: the warnings are not on" >&2
  exit 1
fi
