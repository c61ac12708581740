#!/usr/bin/env bash
# Two masters on one machine: two nodes, each with an agent, that take reads and writes and converge.
#
#   ./examples/two-masters.sh
#
# Nodes listen on 7001 and 7002, agents on 7101 and 7102. Ctrl-C stops all; the data is there at the next start.
set -u
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

build || exit 1
start_node a 7001
start_node b 7002
start_agent a 7101 --peer ws://127.0.0.1:7102
start_agent b 7102 --peer ws://127.0.0.1:7101
await_linked 7001 7002

cat <<'TEXT'

Two masters are linked. In another terminal:

  redis-cli -p 7001 set greeting hello     write at one master ...
  redis-cli -p 7002 get greeting           ... read at the other
  redis-cli -p 7001 incr visits            both add up:
  redis-cli -p 7002 incr visits            2, at both
  redis-cli -p 7001 info replication       links, lag, counters
  target/release/tandem-agent verify --deep --control examples/data/two-masters/a/agent.sock

Ctrl-C stops.
TEXT
run_until_stopped
