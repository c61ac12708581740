# What the examples share: build, start, wait, stop. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
data="${TANDEM_EXAMPLE_DATA:-$root/examples/data}/$(basename "$0" .sh)"
node=$root/target/release/tandem-node
agent=$root/target/release/tandem-agent
nodes=()
agents=()

build() {
    echo "Building (the first time takes a few minutes) ..."
    cargo build --release --quiet --manifest-path "$root/Cargo.toml" -p node -p agent
}

# start_node NAME PORT
start_node() {
    mkdir -p "$data/$1"
    "$node" --name "$1" --port "$2" --unix "$data/$1/node.sock" --dir "$data/$1/log" 2>>"$data/$1/node.log" &
    nodes+=($!)
    await "node $1 to answer at port $2 (its log: $data/$1/node.log)" ask "$2" PING
}

# start_agent NAME PORT [flags, such as --peer URL]
start_agent() {
    "$agent" run --node "unix:$data/$1/node.sock" --listen "127.0.0.1:$2" --group example \
        --control "$data/$1/agent.sock" "${@:3}" 2>>"$data/$1/agent.log" &
    agents+=($!)
}

# ask PORT COMMAND: one command without spaces in its arguments, by bash alone; prints the first line of the reply.
ask() {
    local reply
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf '%s\r\n' "${*:2}" >&3
    IFS= read -r -t 5 reply <&3 && [ "${reply:0:1}" = '$' ] && IFS= read -r -t 5 reply <&3
    exec 3>&-
    printf '%s\n' "${reply%$'\r'}"
} 2>/dev/null

# await WHAT COMMAND...: until the command succeeds and prints something.
await() {
    for _ in $(seq 600); do
        [ -n "$("${@:2}")" ] && return
        sleep 0.1
    done
    echo "Waited in vain for $1" >&2
    exit 1
}

# await_linked PORT...: until a write at each node is seen at all.
await_linked() {
    local from to token=$RANDOM$RANDOM
    for from in "$@"; do
        # A node that was started again takes writes as soon as it has met another.
        await "node $from to take writes" takes "$from" "example:linked:$from" "$token"
    done
    for from in "$@"; do
        for to in "$@"; do
            await "the write at $from to reach $to (logs: $data/*/*.log)" sees "$to" "example:linked:$from" "$token"
        done
    done
}

takes() {
    [ "$(ask "$1" SET "$2" "$3")" = "+OK" ] && echo yes
}

sees() {
    [ "$(ask "$1" GET "$2")" = "$3" ] && echo yes
}

stop_all() {
    trap - EXIT INT TERM
    echo
    echo "Stopping. The data stays in $data"
    # Agents first: they say goodbye; then the nodes, which finish their logs.
    [ ${#agents[@]} -gt 0 ] && kill "${agents[@]}" 2>/dev/null && wait "${agents[@]}" 2>/dev/null
    [ ${#nodes[@]} -gt 0 ] && kill "${nodes[@]}" 2>/dev/null && wait "${nodes[@]}" 2>/dev/null
    exit 0
}
trap stop_all EXIT INT TERM

# Runs until Ctrl-C, or until a process ends by itself.
run_until_stopped() {
    wait -n "${nodes[@]}" "${agents[@]}" || true
    echo "A process has ended; its log is beside its data in $data"
}
