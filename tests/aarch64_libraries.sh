#!/usr/bin/env bash
# Unpacks the Debian libraries for aarch64 that the cross build links with into build/aarch64-root. Touches
# nothing else: no foreign architecture is added to this machine, and no root is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(libzstd-dev libzstd1 libutf8proc-dev libutf8proc2 libpcre2-dev libpcre2-8-0 libxxhash-dev
  nlohmann-json3-dev libcli11-dev libpng-dev libpng16-16 zlib1g-dev zlib1g libturbojpeg0-dev libturbojpeg0
  libgtest-dev libbenchmark-dev libbenchmark1debian)

root=$PWD/build/aarch64-root
done_file=$root/packages.list
[ "$(cat "$done_file" 2> /dev/null)" = "${packages[*]}" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
touch "$work/status"
apt_arm64=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Languages=none
  -o Dir::State::status="$work/status" -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache"
  -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)")
"${apt_arm64[@]}" update
(cd "$work/debs" && "${apt_arm64[@]}" download "${packages[@]}")
rm -rf "$root"
mkdir -p "$root"
for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$root"; done
echo "${packages[*]}" > "$done_file"
