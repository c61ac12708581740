#!/usr/bin/env bash
# Two linked masters, and clients that others wrote: redis-cli, redis-benchmark, redis-py, ioredis and
# node-redis.
#
#   ./tests/interop/run.sh NODE AGENT
#
# NODE and AGENT are the programs. PYTHON names a Python that has what requirements.txt lists; by default python3. NODE_PATH names a directory of
# modules that has what package.json lists.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
node_program=$1
agent=$2
python=${PYTHON:-python3}

work=$(mktemp -d)
processes=()
finish() {
    status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then tail -n 20 "$work"/*.log >&2; fi
    if [ ${#processes[@]} -gt 0 ]; then
        kill "${processes[@]}" 2>/dev/null || true
        wait "${processes[@]}" 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

fail() {
    echo "failed: $*" >&2
    exit 1
}

# until_true WHAT COMMAND...: until the command succeeds.
until_true() {
    for _ in $(seq 600); do
        if "${@:2}"; then return; fi
        sleep 0.05
    done
    fail "waited in vain for $1"
}

# expect EXPECTED COMMAND...: what the command prints, to the byte but for the last line end.
expect() {
    local printed
    printed=$("${@:2}") || fail "${*:2} ends with $?: $printed"
    [ "$printed" = "$1" ] || fail "${*:2} prints '$printed', and not '$1'"
}

prints() {
    [ "$("${@:2}" 2>/dev/null)" = "$1" ]
}

mapfile -t ports < <("$python" - <<'PYTHON'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(socket.getsockname()[1] for socket in sockets), sep="\n")
PYTHON
)
a=${ports[0]} b=${ports[1]} agent_a=${ports[2]} agent_b=${ports[3]}

start() {
    "$node_program" --name "$1" --port "$2" --unix "$work/$1.sock" --dir "$work/$1" >"$work/node-$1.log" 2>&1 &
    processes+=($!)
    "$agent" run --node "unix:$work/$1.sock" --listen "127.0.0.1:$3" --peer "ws://127.0.0.1:$4" --group interop \
        >"$work/agent-$1.log" 2>&1 &
    processes+=($!)
}
start a "$a" "$agent_a" "$agent_b"
start b "$b" "$agent_b" "$agent_a"
for port in "$a" "$b"; do until_true "the node at $port" prints PONG redis-cli -p "$port" ping; done
for port in "$a" "$b"; do redis-cli -p "$port" set "linked:$port" yes >/dev/null; done
until_true "the link" prints yes redis-cli -p "$b" get "linked:$a"
until_true "the link" prints yes redis-cli -p "$a" get "linked:$b"

cli() {
    redis-cli -p "$a" "$@"
}

echo "redis-cli: one command after the other"
expect OK cli set greeting 'hello there'
until_true "a SET" prints 'hello there' redis-cli -p "$b" get greeting
expect 'hello there' redis-cli -s "$work/a.sock" get greeting
expect '"hello there"' cli --no-raw get greeting
expect OK redis-cli -3 -p "$a" set greeting hello
expect '"hello"' redis-cli -3 -p "$a" --json get greeting
expect '{"maxmemory":"0"}' redis-cli -3 -p "$a" --json config get maxmemory
expect '"maxmemory","0"' cli --csv config get maxmemory
printf 'a\0b' | expect OK cli -x set binary
expect 3 cli strlen binary
expect OK cli -n 1 set apart 1
expect '' cli get apart
expect "ERR unknown command 'nosuch', with args beginning with: 'a' " cli nosuch a
expect "$(printf 'OK\nQUEUED\nQUEUED\n1\n2')" cli <<<"$(printf 'multi\nincr count\nincr count\nexec')"
until_true "a transaction" prints 2 redis-cli -p "$b" get count
cli info replication | tr -d '\r' | grep -qx 'role:active-replica' || fail "INFO replication tells another role"
cli role >/dev/null
cli command docs get | grep -q summary || fail "COMMAND DOCS has no summary of GET"

echo "redis-cli: --pipe, --scan, --bigkeys, --stat"
for number in $(seq 1000); do printf 'SET scan:%d %d\r\n' "$number" "$number"; done >"$work/commands"
piped=$(cli --pipe <"$work/commands")
[[ $piped == *"errors: 0, replies: 1000"* ]] || fail "--pipe prints $piped"
until_true "what was piped" prints 1000 redis-cli -p "$b" get scan:1000
expect 1000 bash -c "redis-cli -p $b --scan --pattern 'scan:*' | sort -u | wc -l"
big=$(redis-cli -p "$b" --bigkeys)
[[ $big == *"Biggest string found"* ]] || fail "--bigkeys prints $big"
: >"$work/stat"
redis-cli -p "$a" --stat -i 0.1 >"$work/stat" &
stat=$!
until_true "lines of --stat" bash -c "[ \$(wc -l <'$work/stat') -ge 5 ]"
kill "$stat"
wait "$stat" 2>/dev/null || true
grep -Eq '^[0-9]{4} ' "$work/stat" || fail "--stat prints $(cat "$work/stat")"

echo "redis-benchmark"
benchmark() {
    local complaint
    complaint=$(redis-benchmark -p "$a" -q "$@" 2>&1 >"$work/benchmark") || fail "redis-benchmark $*: $complaint"
    [ -z "$complaint" ] || fail "redis-benchmark $*: $complaint"
    if grep -iq error "$work/benchmark"; then fail "redis-benchmark $*: $(cat "$work/benchmark")"; fi
}
benchmark -n 5000 -r 1000 -t ping,set,get,incr,mset
benchmark -n 5000 -r 1000 -t ping,set,get,incr,mset -P 16 --threads 2
benchmark -n 1000 -3 -t set,get
benchmark -n 1000 -r 100 append key:__rand_int__ x

echo "redis-py"
"$python" "$here/check.py" "$a" "$b"

echo "ioredis, node-redis"
node "$here/check.cjs" "$a" "$b"
