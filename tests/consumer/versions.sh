#!/usr/bin/env bash
# One version: header = pkg-config = file name and soname = what the running library says.
. "$SOURCE_DIR/tests/consumer/consumer.sh"
minor=${VERSION%.*}
header=$(sed -n 's/^#define NANOCHAT_VERSION_STRING "\(.*\)"$/\1/p' "$PREFIX/include/nanochat.h")
number=$(sed -n 's/^#define NANOCHAT_VERSION_NUMBER \([0-9]*\).*/\1/p' "$PREFIX/include/nanochat.h")
soname=$(readelf -d "$library_dir/libnanochat.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$header" = "$VERSION" ] || fail "header $header, project $VERSION"
[ "$(pkg-config --modversion nanochat)" = "$VERSION" ] || fail "pkg-config $(pkg-config --modversion nanochat)"
[ "$soname" = "libnanochat.so.$minor" ] || fail "soname $soname"
cat > "$work/version.c" <<'END'
#include <nanochat.h>
#include <stdio.h>
int main(void) {
  printf("%s %u\n", nanochat_version_string(), (unsigned)nanochat_version_number());
  return nanochat_check_version(NANOCHAT_VERSION_NUMBER, NULL);
}
END
$CC "$work/version.c" -o "$work/version" $(pkg-config --cflags --libs nanochat) -Wl,-rpath,"$library_dir"
running=$("$work/version")
[ "$running" = "$VERSION $number" ] || fail "running $running, header $VERSION $number"
IFS=. read -r major middle patch <<< "$VERSION"
[ "$number" = $((major * 10000 + middle * 100 + patch)) ] || fail "number $number for $VERSION"
