# Shared by run, test and the other scripts: source it, it does nothing by itself.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

# A Node.js put there by scripts/setup, where the system's own is missing or too old.
node_tools=$root/build/tools/node
[ -x "$node_tools/bin/node" ] && PATH=$node_tools/bin:$PATH
[ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin

say() { printf '%s\n' "$*"; }
note() { printf '      %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo > /dev/null; then sudo "$@"
    else die "this needs root, and sudo is not installed; run as root: $*"
    fi
}

# quietly LOG COMMAND…: output goes to LOG, whose end is shown if the command fails.
quietly() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    "$@" > "$log" 2>&1 < /dev/null && return
    tail -n 40 "$log" >&2
    die "failed: $* (all of its output: $log)"
}

# free_port FIRST: the first port from FIRST on that nobody holds on 127.0.0.1, for UDP and TCP alike.
free_port() {
    python3 - "$1" << 'PYTHON'
import socket, sys

def free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True

first = int(sys.argv[1])
print(next(port for port in range(first, first + 400) if free(port)))
PYTHON
}

# port_taken PORT: whether somebody holds it. The kernel's tables are read: trying to bind it would for a moment take
# it from a program that is just starting.
port_taken() {
    local hex
    printf -v hex '%04X' "$1"
    grep -qE "^ *[0-9]+: [0-9A-F]+:$hex " /proc/net/udp /proc/net/tcp
}

# fetch URL [JSON]: GET, or POST with JSON; prints the body, fails on anything but 2xx. curl may not be installed.
fetch() {
    python3 - "$@" << 'PYTHON'
import sys, urllib.request

request = urllib.request.Request(sys.argv[1])
if len(sys.argv) > 2:
    request.data = sys.argv[2].encode()
    request.add_header("content-type", "application/json")
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as response:
    sys.stdout.write(response.read().decode())
PYTHON
}

# wait_for SECONDS WHAT COMMAND…: polls until COMMAND succeeds.
wait_for() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || die "$what: not there after the time given to it"
        sleep 0.1
    done
}

# stop PID…: asks each to end, waits for it, and kills it if it does not.
stop() {
    local pid patience
    for pid in "$@"; do
        kill -TERM "$pid" 2> /dev/null || continue
        patience=100
        while kill -0 "$pid" 2> /dev/null && [ "$patience" -gt 0 ]; do
            sleep 0.1
            patience=$((patience - 1))
        done
        kill -KILL "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
}
