# Sourced by tests/run.sh and examples/c/demo.sh.

# install_packages NAME...: installs what is missing of these Debian packages, and nothing if none is.
install_packages() {
  local package missing=() as_root=()
  for package in "$@"; do
    # Two names stand for whatever program the machine has in their place.
    case $package in
      g++) command -v g++ > /dev/null && continue ;;
      pkg-config) command -v pkg-config > /dev/null && continue ;;
    esac
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get > /dev/null; then
    echo "please install: ${missing[*]}" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "please install, as root: apt-get install ${missing[*]}" >&2; return 1; }
    as_root=(sudo)
  fi
  echo "Installing ${missing[*]} ..." >&2
  "${as_root[@]}" apt-get update -qq >&2 &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}" > /dev/null
}
