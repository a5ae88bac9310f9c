#!/bin/sh
# usage: ./run.sh [short|full] [RESULTS] [PATTERN]
# Runs the tests, then every benchmark once a round, so that the rounds
# interleave the peers, and prints the medians. full: under 15 minutes; short:
# under 3. PATTERN is go test's -bench and leaves out the heap measurements.
set -eu
cd "$(dirname "$0")"
mode=${1:-short} results=${2:-/tmp/bench-$mode.txt} pattern=${3:-}

case $mode in
full) rounds=6 flags="-test.benchtime=100ms" ;;
short) rounds=3 flags="-test.benchtime=20ms -test.short" ;;
*) sed -n 2,5p "$0" >&2; exit 2 ;;
esac

binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" .
"$binary" -test.short
: >"$results"
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	"$binary" $flags -test.run='^$' \
		-test.bench="${pattern:-^Benchmark(Token|Guard|TokenLoopback|GuardLoopback|Limiter|Sign|Verify|Part)$}" >>"$results"
done
if [ -z "$pattern" ]; then
	"$binary" $flags -test.run='^$' -test.benchtime=1x -test.bench=Heap >>"$results"
fi
go run ./summary "$results"
