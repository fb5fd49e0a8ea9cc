# Sourced by quickstart, check and .ci/run: `need_packages PACKAGE...` installs what is missing of Debian's
# packages when it may, and otherwise prints the exact line to run.

BUILD_PACKAGES="build-essential cmake ninja-build pkg-config libdnnl-dev libprotobuf-c-dev protobuf-c-compiler \
libonnx-dev libsqlite3-dev libyaml-dev libjansson-dev libjpeg-dev libpng-dev libexif-dev libarchive-dev \
zlib1g-dev libssl-dev libflatbuffers-dev flatbuffers-compiler"
TEST_PACKAGES="libcmocka-dev libonnx-testdata python3-minimal"
CI_PACKAGES="python3-onnx clang libomp-dev clang-format clang-tidy libclang-rt-14-dev cppcheck valgrind git ca-certificates \
libopenmpi-dev openmpi-bin"

missing_packages() {
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      echo "$package"
    fi
  done
}

need_packages() {
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -z "${missing% }" ] && return 0
  as_root=""
  if [ "$(id -u)" != 0 ]; then
    as_root="sudo"
    if ! sudo -n true 2>/dev/null; then
      echo "Packages are missing. Install them and run this again:" >&2
      echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing" >&2
      return 4
    fi
  fi
  echo "Installing: $missing"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >/dev/null || true
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing \
    >/dev/null || {
    echo "apt-get could not install: $missing" >&2
    return 4
  }
}
