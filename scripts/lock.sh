#!/usr/bin/env bash
# Makes the lock files anew from pyproject.toml: every package with its hashes, for Linux and macOS, Python 3.11 and up,
# and without the address of any index. `scripts/lock.sh --upgrade` takes newer versions; without it, what is locked stays.
set -euo pipefail
cd "$(dirname "$0")/.."

uv="${UV:-uv}"
command -v "$uv" >/dev/null 2>&1 || uv=.tools/uv/bin/uv
excludes="$(mktemp)"
trap 'rm -f "$excludes"' EXIT

compile() { # output, then more options
    local output="$1"
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command "make lock" --output-file "$output" "$@"
}

compile requirements.lock pyproject.toml --extra model --extra speech --extra capture --group build ${1+"$@"}
compile requirements-dev.lock pyproject.toml --extra model --extra speech --extra capture --group build --group dev --constraint requirements.lock ${1+"$@"}
# What mlx-vlm asks for and never imports when it answers questions about pictures stays out, see that file.
compile requirements-vision.lock pyproject.toml --extra model --extra speech --extra capture --extra vision --group build --group vision --constraint requirements.lock --excludes scripts/vision.excludes ${1+"$@"}
# The comparisons need what the others leave out; torch itself is chosen by `make bench`.
echo torch >"$excludes"
printf '%s\n' sentence-transformers faiss-cpu sqlite-vec | compile requirements-bench.lock requirements.lock - --no-config --excludes "$excludes" ${1+"$@"}

if grep -nE '^(torch|triton|nvidia-[a-z0-9-]+)==' requirements*.lock || grep -nE '^(sentence-transformers|hf-xet)==' requirements.lock requirements-dev.lock requirements-vision.lock; then
    echo "lock: the packages above must not be in a lock" >&2
    exit 1
fi
if grep -nE '://|^-' requirements*.lock; then
    echo "lock: an address or an option came into a lock" >&2
    exit 1
fi
wc -l requirements*.lock
