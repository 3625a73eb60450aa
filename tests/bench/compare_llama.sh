#!/usr/bin/env bash
# Decoding and prefill of the same weights: ours and other engines', in rounds that take turns.
#   tests/bench/compare_llama.sh --model DIR|--synthetic SHAPE --gguf FILE --peer NAME=LLAMA_BENCH [--peer ...]
#     [--nanochat PROGRAM] [--dtype bf16] [--kv-dtype f32] [--threads 2] [--rounds 5] [--decode 64] [--prefill 512]
# Prints one JSON line with medians and ratios (ours / peer's; above 1: ours is faster). How to make FILE: compare_llama.md.
set -eu
nanochat=nanochat model=() gguf="" peers=() dtype=bf16 kv_dtype=f32 threads=2 rounds=5 decode=64 prefill=512
while [ $# -gt 0 ]; do
  case $1 in
  --model | --synthetic) model=("$1" "$2") ;;
  --gguf) gguf=$2 ;;
  --peer) peers+=("$2") ;;
  --nanochat) nanochat=$2 ;;
  --dtype) dtype=$2 ;;
  --kv-dtype) kv_dtype=$2 ;;
  --threads) threads=$2 ;;
  --rounds) rounds=$2 ;;
  --decode) decode=$2 ;;
  --prefill) prefill=$2 ;;
  *) echo "compare_llama.sh: unknown option $1" >&2; exit 1 ;;
  esac
  shift 2
done
[ ${#model[@]} -gt 0 ] && [ -n "$gguf" ] && [ ${#peers[@]} -gt 0 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 1; }
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

# "engine test tokens-per-second" for one short run of one engine.
ours() { # decode|prefill tokens
  local speed
  speed=$("$nanochat" bench "$1" "${model[@]}" --dtype "$dtype" --kv-dtype "$kv_dtype" --threads "$threads" --tokens "$2" --repeats 1 --json --no-progress |
    python3 -c 'import json, sys; print(json.loads(sys.stdin.readlines()[-1])["tokens_per_second"])')
  echo "nanochat $1 $speed" >>"$lines"
}
theirs() { # NAME=PROGRAM decode|prefill tokens
  local name=${1%%=*} program=${1#*=} args speed
  if [ "$2" = decode ]; then args=(-n "$3" -p 0); else args=(-n 0 -p "$3"); fi
  speed=$("$program" -m "$gguf" -t "$threads" -r 1 -ngl 0 "${args[@]}" -o json 2>/dev/null |
    python3 -c 'import json, sys; print(json.loads(sys.stdin.read())[-1]["avg_ts"])')
  echo "$name $2 $speed" >>"$lines"
}

for ((round = 0; round < rounds; ++round)); do
  for test in decode prefill; do
    n=$decode
    [ $test = prefill ] && n=$prefill
    ours $test "$n"
    for peer in "${peers[@]}"; do theirs "$peer" $test "$n"; done
  done
done

python3 - "$lines" "$dtype" "$threads" "$rounds" "${model[1]}" "$(basename "$gguf")" <<'PYTHON'
import json
import statistics
import sys

speeds = {}  # test, engine -> one speed for each round
for line in open(sys.argv[1]):
    engine, test, speed = line.split()
    speeds.setdefault(test, {}).setdefault(engine, []).append(float(speed))
result = {"schema": "nanochat-compare-1", "model": sys.argv[5], "gguf": sys.argv[6], "dtype": sys.argv[2],
          "threads": int(sys.argv[3]), "rounds": int(sys.argv[4])}
for test, engines in speeds.items():
    ours = engines["nanochat"]
    for engine, values in engines.items():
        entry = {"median": round(statistics.median(values), 3), "best": round(max(values), 3)}
        if engine != "nanochat":  # neighbours in time are compared: a slow minute hits both
            entry["ratio_median"] = round(statistics.median(a / b for a, b in zip(ours, values)), 3)
            entry["ratio_of_best"] = round(max(ours) / max(values), 3)
        result[f"{test}.{engine}"] = entry
print(json.dumps(result))
PYTHON
