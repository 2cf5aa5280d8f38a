#!/bin/sh
# Makes .local/venv (installing python3 on Debian as root when it lacks), then runs `python -m toolchain "$@"` in it.
# `bootstrap.sh venv` stops after the venv.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv="$root/.local/venv"
log="$root/.local/logs/venv.log"

say() { printf '[toolchain] %s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# A registry that trickles must not hold us for ever.
limited() {
    if command -v timeout >/dev/null 2>&1; then timeout 900 "$@"; else "$@"; fi
}

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if [ -n "$candidate" ] && usable "$candidate"; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

install_python() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "no Python 3.11 or newer with venv on PATH; install it (Debian or Ubuntu: sudo apt-get install python3 python3-venv; macOS: brew install python), or name one in PYTHON"
    fi
    say "installing Debian packages python3 python3-venv ..."
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install \
        --no-install-recommends python3 python3-venv ca-certificates; } >>"$log" 2>&1 ||
        fail "apt-get install python3 python3-venv failed; its output: $log"
}

# One run at a time: a second one would install into a half-made venv.
lock() {
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$root/.local/venv.lock"
        flock -n 9 || { say "another run makes the Python environment; waiting for it"; flock 9; }
    fi
}

make_venv() {
    python=$(find_python) || { install_python; python=$(find_python); } ||
        fail "the installed Python has no venv or is older than 3.11; name a newer one in PYTHON"
    if ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
        "$python" -m venv --clear "$venv" >>"$log" 2>&1 || fail "making $venv failed; its output: $log"
    fi
    say "installing Python packages into .local/venv (about 1 min) ..."
    limited "$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 --timeout 30 \
        -r "$root/requirements.txt" -r "$root/requirements-dev.txt" >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "installing Python packages failed; check the network, PIP_INDEX_URL and the disk, and run this again (output: $log)"
    }
    printf '%s' "$wanted" >"$venv/.requirements"
    say "Python packages: done"
}

current() { [ "$(cat "$venv/.requirements" 2>/dev/null)" = "$wanted" ] && [ -x "$venv/bin/python" ]; }

mkdir -p "$root/.local/logs"
wanted=$(cat "$root/requirements.txt" "$root/requirements-dev.txt" | cksum)
if ! current; then
    lock
    current || make_venv
    exec 9>&-
fi
[ "${1:-}" = venv ] && exit 0
cd "$root"
exec "$venv/bin/python" -m toolchain "$@"
