#!/bin/sh
# A PostgreSQL server for tests: postgres.sh BIN PORT. It runs until standard input ends and leaves
# nothing behind. Prints `ready`, then obeys lines of standard input, each with one line in answer:
# `stop` (as pg_ctl's immediate: as after a crash), `restart` (after a clean shutdown), `start`.
# PostgreSQL does not run as root: then this is to be run as somebody else.
set -eu
bin=$1 port=$2
dir=$(mktemp -d /tmp/auric-postgres-XXXXXX)
pid=
trap 'rm -rf "$dir"' EXIT

create() {
    "$bin/initdb" -D "$dir/data" -U auric --auth=trust -E UTF8 --no-sync "$@" > "$dir/log" 2>&1
}

start() {
    "$bin/postgres" -D "$dir/data" -p "$port" -h 127.0.0.1 -k "$dir" -c max_connections=400 \
        -c shared_buffers=16MB -c fsync=off >> "$dir/log" 2>&1 < /dev/null &
    pid=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" -U auric -d postgres; do
        kill -0 "$pid" 2> /dev/null || { cat "$dir/log" >&2; exit 1; }
        sleep 0.05
    done
}

stop() { # with this signal
    [ -z "$pid" ] && return
    kill -"$1" "$pid" 2> /dev/null || true
    wait "$pid" || true
    pid=
}

# An order of letters that is not that of bytes, where there is one.
create --locale-provider=icu --icu-locale=en-US --locale=C.UTF-8 || { rm -rf "$dir/data"; create --locale=C; } ||
    { cat "$dir/log" >&2; exit 1; }
start
echo ready
while read -r line; do
    case $line in
        stop) stop QUIT ;;
        start) start ;;
        restart) stop INT; start ;;
        *) echo "unknown: $line" >&2 ;;
    esac
    echo "$line"
done
stop INT
