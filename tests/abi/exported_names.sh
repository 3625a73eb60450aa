#!/usr/bin/env bash
# What the library exports = what the version script lists = what the header declares; and our own objects call
# nothing that speaks or stops the process.
set -eu
source_dir=$1 build_dir=$2 library=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^    \(nanochat_[a-z0-9_]*\);$/\1/p' "$source_dir/pkgconfig/nanochat.map" | sort >"$work/map"
# Declarations without comments: the last word before "(" of each NANOCHAT_API line.
gcc -fpreprocessed -dD -E -P "$source_dir/include/nanochat.h" 2>/dev/null | tr '\n' ' ' | tr ';' '\n' |
  sed -n 's/.*NANOCHAT_API [^(]*[ *]\(nanochat_[a-z0-9_]*\) *(.*/\1/p' | sort >"$work/header"
diff "$work/map" "$work/header" || { echo "nanochat.map and nanochat.h differ" >&2; exit 1; }

case $library in
*.so*)
  "${NM:-nm}" -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | sort >"$work/so"
  diff "$work/map" "$work/so" || { echo "nanochat.map and the library differ" >&2; exit 1; }
  if "${READELF:-readelf}" -d "$library" | grep -E 'TEXTREL|NEEDED.*(libcuda|libcublas|libcurand|libgomp)'; then
    echo "TEXTREL, CUDA or OpenMP in the base library" >&2
    exit 1
  fi
  "${READELF:-readelf}" -lW "$library" | awk '/GNU_STACK/ {if ($7 ~ /E/) exit 1}' || { echo "executable stack" >&2; exit 1; }
  "${READELF:-readelf}" -d "$library" | grep -q 'SONAME.*libnanochat\.so\.0\.1' || { echo "wrong soname" >&2; exit 1; }
  ;;
esac

# Sanitizers insert calls of their own.
grep -q 'NANOCHAT_SANITIZE:STRING=..*' "$build_dir/CMakeCache.txt" && exit 0
find "$build_dir"/CMakeFiles/nanochat_{device,engine,capi}.dir -name '*.o' >"$work/objects"
[ -s "$work/objects" ] || { echo "no objects found below $build_dir" >&2; exit 1; }
if xargs "${NM:-nm}" -A --undefined-only <"$work/objects" |
  grep -E ' U (abort|exit|_exit|_Exit|quick_exit|printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|stdout|stderr|__printf_chk|__fprintf_chk|__assert_fail|_ZSt4cout|_ZSt4cerr|_ZSt4clog)$'; then
  echo "the library's own objects speak or stop the process" >&2
  exit 1
fi
echo "$(wc -l <"$work/map") names, $(wc -l <"$work/objects") objects"
