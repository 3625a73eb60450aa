#!/bin/bash
# An object compiled for a newer processor must not hold a symbol that the linker may choose for everybody: a
# weak or unique one (inline functions, templates) could replace the portable copy and crash an older machine.
set -u
build=$2
objects=$(find "$build/CMakeFiles/nanochat_device.dir/src/kernels/simd" -name 'isa_*.o' 2>/dev/null)
if [ -z "$objects" ]; then
  echo "no isa_*.o below $build"
  case $(uname -m) in x86_64 | aarch64) exit 1 ;; esac
  exit 77 # this processor family has no bodies of its own
fi
status=0
for object in $objects; do
  symbols=$("${NM:-nm}" -C "$object") || { status=1; continue; }
  # DW.ref.*: a pointer for the unwinder, the same for every processor; sanitizer builds have one.
  shared=$(grep -E '^[0-9a-f]* +[WVu] ' <<< "$symbols" | grep -v ' DW\.ref\.')
  if [ -n "$shared" ]; then
    echo "$object holds symbols that the linker may choose for other objects:"
    echo "$shared"
    status=1
  fi
done
exit $status
