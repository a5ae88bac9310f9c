#!/bin/sh
# usage: ./run.sh [short|full] [RESULTS] [PATTERN]
# Runs the tests, then every benchmark once a round, so that the rounds
# interleave the peers, and prints the medians and the table of targets. full: six
# rounds, under 15 minutes; short: three short ones, under 3. What only explains
# the table (single steps, the guards over loopback) has half as many rounds.
# PATTERN is go test's -bench and leaves out everything else.
set -eu
cd "$(dirname "$0")"
mode=${1:-short} results=${2:-/tmp/bench-${1:-short}.txt} pattern=${3:-}

case $mode in
full) rounds=6 flags="-test.benchtime=100ms" ;;
short) rounds=3 flags="-test.benchtime=15ms -test.short" ;;
*) sed -n 2,7p "$0" >&2; exit 2 ;;
esac

binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" .
"$binary" -test.short >&2

{
	echo "date: $(date -u +%Y-%m-%d)"
	echo "go: $(go env GOVERSION)"
	echo "processors: $(getconf _NPROCESSORS_ONLN)"
	echo "system: $(uname -sr)"
	echo "form: $mode, $rounds rounds"
} >"$results"

measure() { "$binary" $flags -test.run='^$' -test.bench="$1" $2 >>"$results"; }

for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	if [ -n "$pattern" ]; then
		measure "$pattern" ''
		continue
	fi
	measure '^Benchmark(Token|Guard|GuardFirst|TokenLoopback|Limiter)$' ''
	# Each in a process of its own, as a server is: the heap that others leave behind
	# makes collections rarer, and its pages lie scattered.
	measure '^BenchmarkClients$' ''
	measure '^BenchmarkRefresh$' ''
	if [ $((round % 2)) = 1 ]; then
		measure '^Benchmark(GuardLoopback|Sign|Verify|Part)$' ''
	fi
done
if [ -z "$pattern" ]; then
	measure Heap -test.benchtime=1x
fi
go run ./summary "$results"
