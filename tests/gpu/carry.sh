#!/usr/bin/env bash
# For a GPU machine without a network: downloads the Debian packages that the build needs and unpacks them into a folder
# (default: tests/gpu/packages, which git ignores), to travel with the source. Run it on Debian 12, x86-64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
target=$(realpath -m "${1:-packages}")
packages=(libzstd-dev libzstd1 libutf8proc-dev libutf8proc2 libpcre2-dev libpcre2-8-0 libpcre2-16-0 libpcre2-32-0
  libpcre2-posix3 nlohmann-json3-dev libxxhash-dev libcli11-dev libpng-dev libpng16-16 zlib1g-dev zlib1g
  libturbojpeg0-dev libturbojpeg0 libgtest-dev libgmock-dev googletest libbenchmark-dev libbenchmark1debian pkgconf pkgconf-bin
  libpkgconf3)
rm -rf "$target"
mkdir -p "$target"
downloads=$(mktemp -d)
trap 'rm -rf "$downloads"' EXIT
(cd "$downloads" && apt-get download -qq "${packages[@]}")
for package in "$downloads"/*.deb; do dpkg -x "$package" "$target"; done
rm -rf "$target"/usr/share/doc "$target"/usr/share/man "$target"/usr/share/lintian "$target"/usr/src
du -sh "$target"
