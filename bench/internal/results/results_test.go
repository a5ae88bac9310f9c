package results

import (
	"strings"
	"testing"
)

const sample = `date: 2026-01-02
cpu: A Processor (R)
BenchmarkToken/alg=ES256/peer=limit-2       	 100	 1000 ns/op	 100 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=golang-jwt-2  	 100	 1000 ns/op	 130 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=fosite-2      	 100	 1000 ns/op	 170 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=ours-2        	 100	 1000 ns/op	 90 cpu-ns/op	 10 allocs/op
BenchmarkToken/alg=ES256/peer=limit-2       	 100	 1000 ns/op	 200 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=golang-jwt-2  	 100	 1000 ns/op	 260 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=ours-2        	 100	 1000 ns/op	 180 cpu-ns/op	 10 allocs/op
BenchmarkToken/alg=ES256/peer=limit-2       	 100	 1000 ns/op	 100 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=ES256/peer=ours-2        	 100	 1000 ns/op	 300 cpu-ns/op	 10 allocs/op
BenchmarkToken/alg=HS256/peer=limit-2       	 100	 1000 ns/op	 100 cpu-ns/op	 20 allocs/op
BenchmarkToken/alg=HS256/peer=ours-2        	 100	 1000 ns/op	 50 cpu-ns/op	 13 allocs/op
BenchmarkTokenLoopback/conns=64/alg=HS256/peer=floor-2  	 100	 1000 ns/op	 90 cpu-ns/op
BenchmarkTokenLoopback/conns=64/alg=HS256/peer=ours-2   	 100	 1000 ns/op	 100 cpu-ns/op
BenchmarkTokenLoopback/conns=64/alg=HS256/peer=go-oauth2-2	 100	 1000 ns/op	 180 cpu-ns/op
BenchmarkStoreHeap/tokens=50000/peer=limit-2 	 1	 1 ns/op	 75 B/token
BenchmarkStoreHeap/tokens=50000/peer=ours-2  	 1	 1 ns/op	 301 B/token
BenchmarkClients/alg=HS256/clients=10-2      	 1	 1 ns/op	 100 cpu-ns/op	 100 collected-cpu-ns/op
BenchmarkClients/alg=HS256/clients=100000-2  	 1	 1 ns/op	 150 cpu-ns/op	 300 collected-cpu-ns/op
BenchmarkRefresh/alg=HS256/families=1-2      	 1	 1 ns/op	 101 cpu-ns/op
PASS
`

func TestOutcomes(t *testing.T) {
	run, err := Read(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	if got := run.Config["cpu"]; got != "A Processor (R)" {
		t.Errorf("cpu %q", got)
	}
	outcomes := map[string]Outcome{}
	for _, o := range run.Outcomes() {
		outcomes[o.What] = o
	}
	for _, test := range []struct {
		what     string
		measured bool
		ratio    float64
		met      bool
		peer     string
	}{
		{"Issuance ES256", true, 0.9, true, "golang-jwt"}, // the rounds' ratios are 0.9, 0.9 and 3
		{"Issuance EdDSA", false, 0, false, ""},
		{"Issuance HS256", true, 0.5, false, ""}, // fast enough, with an allocation too many
		{"Issuance HS256 over loopback, 64 connections", true, 0.9, true, "go-oauth2"},
		{"Opaque token, memory of a live one", true, 301, false, ""},
		{"Issuance HS256, many clients", true, 1.5, true, ""},
		{"Refresh HS256, one authorization", true, 101.0 / 50, false, ""},
	} {
		o, ok := outcomes[test.what]
		if !ok || o.Measured != test.measured || o.Ratio != test.ratio || o.Met != test.met || o.BestPeer != test.peer {
			t.Errorf("%s: %+v", test.what, o)
		}
	}
	if got := outcomes["Issuance HS256, many clients"].CollectedRatio; got != 3 {
		t.Errorf("with collections %v", got)
	}

	var b strings.Builder
	if err := run.WriteTargets(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| Issuance ES256 | 180 ns | 0.90 × limit | ≤ 0.95 | golang-jwt 1.30 | met |",
		"| Issuance HS256 | 50.0 ns, 13 allocs | 0.50 × limit | ≤ 0.60, ≤ 12 allocs |  | **not met** |",
		"| Issuance HS256 over loopback, 64 connections | 100 ns | floor / ours 0.90 | ≥ 0.80 | go-oauth2 0.50 | met |",
		"| Opaque token, memory of a live one | 301 B |  | ≤ 300 B |  | **not met** |",
		"| Issuance HS256, many clients | 150 ns | 1.50 × 10 clients (3.00 with collections) | ≤ 1.60 |  | met |",
		"| Issuance EdDSA |  |  | ≤ 0.90 |  | not measured |",
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("want %s in\n%s", line, b.String())
		}
	}
}
