#!/usr/bin/env bash
# Drives other people's routers and clients against tokenbooth, from any
# directory, with Go, Node.js 20 or later, and npm. Ends with the exit status of
# what failed first.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
servers=()

finish() {
	local status=$? pid
	for pid in "${servers[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" || true
	done
	if ((status)); then tail -n 50 "$work"/*.err >&2 || true; fi
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start runs the example server and sets url to where it listens.
start() {
	local out=$work/${#servers[@]} i pid
	: >"$out.out" # the server may not have made it before it is read
	"$work/server" -addr 127.0.0.1:0 -fixtures node/fixtures.json "$@" >"$out.out" 2>"$out.err" &
	pid=$!
	servers+=("$pid")
	for ((i = 0; i < 200; i++)); do
		url=$(sed -n 's/^listening on //p' "$out.out")
		if [[ $url ]]; then return 0; fi
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	echo "the server does not listen: $(cat "$out.err")" >&2
	return 1
}

go vet ./...
# Go does not know that the tests run the example server too: its cache would not
# see a change of that.
go test -count=1 ./...

npm --prefix node ci --ignore-scripts --no-audit --no-fund
go build -o "$work/server" github.com/tokenbooth/tokenbooth/examples/server
start -data-shape both
export TOKENBOOTH_BOTH=$url
start
export TOKENBOOTH_DOCUMENTED=$url
# A login page lets one person in 20 times at once, which a test file needs more
# often than that.
logins=()
for _ in 1 2 3 4; do
	start
	logins+=("$url")
done
export TOKENBOOTH_LOGINS="${logins[*]}"
# Names of files, since Node.js 20 would look for tests in node_modules too.
(cd node && node --test *.test.js)
