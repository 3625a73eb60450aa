# Runs PROGRAM on MODEL for as many tokens as MODEL/golden.json has, and compares the text.
file(READ ${MODEL}/golden.json golden)
string(JSON expected GET "${golden}" text)
# The file's text is its tokens side by side; a text that starts a sequence has no leading space.
string(SUBSTRING "${expected}" 1 -1 expected)
string(JSON n_tokens LENGTH "${golden}" greedy_ids)
execute_process(COMMAND ${PROGRAM} ${MODEL} "" ${n_tokens}
  OUTPUT_VARIABLE story ERROR_VARIABLE figures RESULT_VARIABLE exit_code)
if(NOT exit_code EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${exit_code}: ${figures}")
endif()
if(NOT "${story}" STREQUAL "${expected}\n")
  message(FATAL_ERROR "the story is\n[${story}]\ninstead of\n[${expected}\n]")
endif()
if(NOT figures MATCHES "${n_tokens} tokens: .* tokens/s; .* MB of memory on cpu")
  message(FATAL_ERROR "no figures on standard error: ${figures}")
endif()
