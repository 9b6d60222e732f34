#!/bin/sh
# Install Debian's user-mode Linux, on which the contract of real netem is tested (tests/uml). Needs root and apt.
set -eu

if command -v linux.uml >/dev/null && command -v modprobe >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "user-mode Linux: not installed (needs apt-get and root): tests/uml will be skipped" >&2
    exit 0
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends user-mode-linux kmod iproute2 iptables
