#!/usr/bin/env bash
# Makes everything that Pomnit needs inside this folder: uv, OCR languages, .venv. Asks nothing, and is quick when done.
#
#   scripts/setup.sh run     what `pomnit` needs           (requirements.lock)
#   scripts/setup.sh dev     the same and the tools        (requirements-dev.lock)
#   scripts/setup.sh bench   .venv-bench, with torch       (requirements-bench.lock and $TORCH)
#   scripts/setup.sh vision  .venv-vision, with mlx-vlm    (requirements-vision.lock)
#
# PYTHON=… names the interpreter, UV=… the uv to use. Works with bash 3.2, which is what macOS has.
set -euo pipefail

mode="${1:-run}"
cd "$(dirname "$0")/.."
root="$PWD"
tools="$root/.tools"
uv_wanted=0.13.8 # fetched when there is none
uv_oldest=0.9.8  # the first that knows exclude-dependencies

case "$mode" in
    run) venv=.venv lock=requirements.lock ;;
    dev) venv=.venv lock=requirements-dev.lock ;;
    bench) venv=.venv-bench lock=requirements-bench.lock ;;
    vision) venv=.venv-vision lock=requirements-vision.lock ;;
    *) echo "usage: scripts/setup.sh [run|dev|bench|vision]" >&2; exit 2 ;;
esac

say() { printf '%s\n' "setup: $*"; }
die() { printf '%s\n' "setup: $*" >&2; exit 1; }
as_root() { [ "$(id -u)" = 0 ]; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------------------------------------------- what is done

# The folder is part of the stamp: an environment does not survive being moved.
stamp_of() {
    printf '%s %s' "$root" "$(cat "$1" pyproject.toml scripts/setup.sh | cksum)"
    [ "$1" != requirements-bench.lock ] || printf ' %s' "${TORCH:-}"
}

stamped() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp-$mode" 2>/dev/null)" = "$(stamp_of "$lock")" ]; }

tessdata_with_both() {
    local folder
    for folder in "${TESSDATA_PREFIX:-/nowhere}" "${TESSDATA_PREFIX:-/nowhere}/tessdata" "$@" \
        /usr/share/tesseract-ocr/*/tessdata /usr/share/tessdata /usr/local/share/tessdata /opt/homebrew/share/tessdata; do
        if [ -r "$folder/rus.traineddata" ] && [ -r "$folder/eng.traineddata" ]; then
            printf '%s' "$folder"
            return 0
        fi
    done
    return 1
}

if stamped && tessdata_with_both "$venv/share/tessdata" >/dev/null; then
    exit 0
fi

# -------------------------------------------------------------------------------------------------------- packages

export DEBIAN_FRONTEND=noninteractive
work="$tools/tmp.$$"
mkdir -p "$work" || die "cannot write in $root"
trap 'rm -rf "$work"' EXIT

apt_install() { # as root
    apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the package lists that are here"
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; return 1; }
}

apt_unpack() { # as anybody: packages into a folder, nothing installed
    local into="$1" debs="$work/debs" state="$work/apt" deb
    shift
    have apt-get && have dpkg || return 1
    mkdir -p "$debs" "$state/state/lists/partial" "$state/cache/archives/partial" "$into"
    # A container often has no package lists; then they are fetched into a folder of our own.
    local private=(-o "Dir::State=$state/state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$state/cache" -o "APT::Sandbox::User=$(id -un)")
    if ! (cd "$debs" && apt-get download -qq "$@") >"$work/apt.log" 2>&1; then
        { apt-get "${private[@]}" update -qq && (cd "$debs" && apt-get "${private[@]}" download -qq "$@"); } >"$work/apt.log" 2>&1 ||
            { tail -n 5 "$work/apt.log" >&2; return 1; }
    fi
    for deb in "$debs"/*.deb; do
        dpkg -x "$deb" "$into" || return 1
    done
    rm -rf "$debs"
}

# ---------------------------------------------------------------------------------------------------------- Python

python_at_least_311() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local name path
    if [ -n "${PYTHON:-}" ]; then
        python_at_least_311 "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer"
        command -v "$PYTHON"
        return 0
    fi
    # Every one on PATH, not only the first: a version manager's shim may be there and not work.
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        for path in $(type -aP "$name" || true) "/opt/homebrew/bin/$name"; do
            if python_at_least_311 "$path"; then
                printf '%s' "$path"
                return 0
            fi
        done
    done
    return 1
}

if ! python="$(find_python)"; then
    [ -z "${PYTHON:-}" ] || exit 1
    if have brew; then
        say "no Python 3.11 or newer: brew install python@3.13"
        brew install --quiet python@3.13
    elif as_root && have apt-get; then
        say "no Python 3.11 or newer: apt-get install python3"
        apt_install python3 || true
    fi
    python="$(find_python)" || die "Python 3.11 or newer is needed. Debian 12, Ubuntu 24.04: apt-get install python3; macOS: brew install python@3.13; then run make again (or name it: make PYTHON=/path/to/python3.12)"
fi

# -------------------------------------------------------------------------------------------------------------- uv

new_enough() { # uv -> 0 when it is at least $uv_oldest
    local version
    version="$("$1" --version 2>/dev/null | awk '{print $2}')"
    [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$uv_oldest" "$version" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$uv_oldest" ]
}

pip_gives_uv() { # a command that is pip -> uv in .tools/uv. PEP 668 locks the system's packages, not a --target
    rm -rf "$tools/uv"
    "$@" install --quiet --disable-pip-version-check --no-input --no-warn-script-location --target "$tools/uv" "uv==$uv_wanted" \
        >"$work/pip.log" 2>&1 && new_enough "$tools/uv/bin/uv"
}

pip_of_a_wheel() { # Debian's pip as a wheel, where there is neither pip nor venv; root needs install nothing either
    apt_unpack "$work/pip" python3-pip-whl || return 1
    local wheel
    wheel="$(ls "$work"/pip/usr/share/python-wheels/pip-*.whl)" || return 1
    pip_gives_uv env PYTHONPATH="$wheel" "$python" -m pip
}

get_uv() {
    local name
    for name in "${UV:-uv}" "$tools/uv/bin/uv"; do
        if new_enough "$name"; then
            uv="$(command -v "$name")"
            return 0
        fi
    done
    uv="$tools/uv/bin/uv"
    if pip_gives_uv "$python" -m pip; then
        say "uv $uv_wanted came through pip, into .tools/uv"
    elif "$python" -m venv "$work/venv" >/dev/null 2>&1 && pip_gives_uv "$work/venv/bin/python" -m pip; then
        say "uv $uv_wanted came through pip of a throw-away venv, into .tools/uv"
    elif pip_of_a_wheel; then
        say "uv $uv_wanted came through the pip of Debian's package python3-pip-whl, unpacked and not installed, into .tools/uv"
    elif have brew && brew install --quiet uv && new_enough uv; then
        uv=uv
        say "uv came through brew"
    else
        tail -n 5 "$work/pip.log" >&2 2>/dev/null || true
        die "no uv, and no pip to fetch it with. Install python3-pip or uv, then run make again"
    fi
}
get_uv

# uv keeps its downloads in the user's cache folder; where there is none, in ours.
cache="${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}"
if [ -z "${UV_CACHE_DIR:-}" ] && ! { mkdir -p "$cache/uv" && [ -w "$cache/uv" ]; } 2>/dev/null; then
    export UV_CACHE_DIR="$tools/cache"
fi
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1

# uv reads neither pip's settings nor, by default, the certificates that the system trusts: who gave pip a mirror or a
# company's certificate means uv too.
pip_setting() { "$python" -m pip config list 2>/dev/null | sed -n -e "s/^global\.$1='\(.*\)'\$/\1/p" -e "s/^:env:\.$1='\(.*\)'\$/\1/p" | tail -n 1 || true; }
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
    index="$(pip_setting index-url)"
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
fi
if [ -z "${SSL_CERT_FILE:-}" ]; then
    certificate="$(pip_setting cert)"
    [ -z "$certificate" ] || export SSL_CERT_FILE="$certificate"
fi
if [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ] || [ "$(uname)" = Darwin ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
fi

# ------------------------------------------------------------------------------------------- OCR: Russian and English

get_languages() {
    tessdata_with_both "$venv/share/tessdata" "$tools/tessdata" >/dev/null && return 0
    if [ "$(uname)" = Darwin ]; then
        have brew || die "the OCR languages are missing; install Homebrew, or put rus.traineddata and eng.traineddata into a folder and name it in TESSDATA_PREFIX"
        say "OCR languages: brew install tesseract tesseract-lang"
        brew install --quiet tesseract tesseract-lang
    elif as_root && have apt-get; then
        say "OCR languages: apt-get install tesseract-ocr-rus tesseract-ocr-eng"
        apt_install tesseract-ocr-rus tesseract-ocr-eng || true
    fi
    tessdata_with_both >/dev/null && return 0
    if have apt-get; then
        say "OCR languages: the packages tesseract-ocr-rus and tesseract-ocr-eng, unpacked into this folder and not installed"
        mkdir -p "$tools/tessdata"
        apt_unpack "$work/tesseract" tesseract-ocr-rus tesseract-ocr-eng &&
            cp "$work"/tesseract/usr/share/tesseract-ocr/*/tessdata/*.traineddata "$tools/tessdata/"
    fi
    tessdata_with_both "$tools/tessdata" >/dev/null ||
        die "no OCR languages. Install Tesseract's Russian and English data (Fedora: tesseract-langpack-rus; Arch: tesseract-data-rus tesseract-data-eng), or name the folder that has rus.traineddata and eng.traineddata in TESSDATA_PREFIX"
}
get_languages

# The tests of capture want an X server without a screen; without one they are skipped. It cannot be unpacked into this
# folder: it looks for the compiler of keyboard maps in /usr/bin.
get_xvfb() {
    [ "$mode" = dev ] && [ "$(uname)" = Linux ] && ! have Xvfb || return 0
    if as_root && have apt-get; then
        say "an X server for the tests of capture: apt-get install xvfb"
        apt_install xvfb || true
    fi
    have Xvfb || say "no Xvfb: the tests of capture will be skipped. To run them, as root: apt-get install xvfb"
}
get_xvfb

# tesserocr has no wheel for macOS 14: there it is compiled, against Homebrew's Tesseract.
if [ "$(uname)" = Darwin ] && [ "$(sw_vers -productVersion | cut -d. -f1)" -lt 15 ] && have brew; then
    brew list tesseract pkgconf >/dev/null 2>&1 || brew install --quiet tesseract pkgconf
fi

# ----------------------------------------------------------------------------------------------------- environment

if ! stamped; then
    say "$venv from $lock ($("$python" -V 2>&1))"
    rm -f "$venv"/.stamp-*
    if ! python_at_least_311 "$venv/bin/python" || [ "$(cat "$venv/.made-in" 2>/dev/null)" != "$root" ]; then
        rm -rf "$venv"
        "$uv" venv --quiet --python "$python" "$venv"
        printf '%s' "$root" >"$venv/.made-in"
    fi
    if [ "$mode" = bench ]; then
        # Through pip: uv would obey exclude-dependencies here, too. torch is not locked, because which build of it is
        # right depends on the machine.
        "$uv" pip install --quiet --python "$venv/bin/python" pip
        # shellcheck disable=SC2086 # TORCH may hold options
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${TORCH:-torch==2.13.0}
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$lock"
    else
        "$uv" pip sync --quiet --require-hashes --python "$venv/bin/python" "$lock"
    fi
    # Without build isolation: the build backend is a locked package, too.
    "$uv" pip install --quiet --no-deps --no-build-isolation --python "$venv/bin/python" --editable .
fi
# Where Pomnit looks beside the system's own folders: sys.prefix/share/tessdata.
if [ -d "$tools/tessdata" ] && [ ! -e "$venv/share/tessdata/rus.traineddata" ]; then
    mkdir -p "$venv/share/tessdata"
    cp "$tools"/tessdata/*.traineddata "$venv/share/tessdata/"
fi
stamp_of "$lock" >"$venv/.stamp-$mode"
# What the tools' lock holds, it has in common with the other one.
[ "$mode" != dev ] || (mode=run && stamp_of requirements.lock >"$venv/.stamp-run")
say "done: $venv/bin/pomnit"
