#!/usr/bin/env bash
# Three masters in a ring: each agent dials the one before it, so every master has two neighbours, and any one
# link may break.
#
#   ./examples/three-masters-ring.sh
#
# Nodes listen on 7001 to 7003, agents on 7101 to 7103. Ctrl-C stops all; the data is there at the next start.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

build || exit 1
start_node a 7001
start_node b 7002
start_node c 7003
start_agent a 7101 --peer ws://127.0.0.1:7103
start_agent b 7102 --peer ws://127.0.0.1:7101
start_agent c 7103 --peer ws://127.0.0.1:7102
await_linked 7001 7002 7003

cat <<'TEXT'

Three masters are linked in a ring. In another terminal:

  redis-cli -p 7001 set greeting hello
  redis-cli -p 7003 get greeting
  redis-cli -p 7002 info replication       where each origin is pulled from

Ctrl-C stops.
TEXT
run_until_stopped
