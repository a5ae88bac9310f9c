package results

import (
	"math"
	"slices"
	"strings"
)

const (
	cpu = "cpu-ns/op"
	// With the garbage collector's rounds over all that lives, where cpu is too
	// short a time to have one.
	collected = "collected-cpu-ns/op"
	allocs    = "allocs/op"

	uncounted = -1
)

// A target is one row of the table of targets: ours is at most Most times the
// yardstick.
type target struct {
	What string
	Unit string

	Table string // with ours, the limit and the peers
	Ours  string // the row; largest where the numbers differ from form to form

	YardTable string // Table when empty
	Yard      string // the row that ours is compared with; none for an absolute bound
	YardName  string // what the reader calls it

	Limit string // the row of Table that is the physical limit; the yardstick where there is none
	Peer  string // the row of the peer; the best one of Table when empty, none when "-"

	Most    float64
	Inverse bool // the bound is on yardstick / ours, at least Most
	Allocs  int  // at most so many, or uncounted
}

const (
	largest = "(largest)"
	noPeer  = "-"
)

var targets = []target{
	issuance("ES256", 0.95, uncounted),
	issuance("EdDSA", 0.90, uncounted),
	issuance("HS256", 0.60, 12),
	{
		What: "Guard, a token seen before, no limiter and no State", Unit: cpu,
		Table: "Guard/alg=ES256", Ours: "ours-bare", Yard: "limit-maphash", YardName: "limit that remembers", Limit: "limit-maphash", Most: 1.25, Allocs: 3,
	},
	{
		What: "The same with memory State and limiter", Unit: cpu,
		Table: "Guard/alg=ES256", Ours: "ours", Yard: "limit-maphash", YardName: "limit that remembers", Limit: "limit-maphash", Most: 2.2, Allocs: 5,
	},
	firstSight("ES256", "limit", "limit", 1.22),
	firstSight("EdDSA", "jose-alone", "go-jose's verify alone", 1.1),
	firstSight("RS256", "jose-alone", "go-jose's verify alone", 1.1),
	firstSight("HS256", "jose-alone", "go-jose's verify alone", 1.1),
	decision("Limiter, one decision, 10,000 keys", "Limiter/keys=10000"),
	decision("Limiter, one decision, 1,000,000 keys", "Limiter/keys=1000000"),
	{
		What: "Limiter, memory of a key", Unit: "B/key",
		Table: "LimiterHeap/keys=", Ours: "ours", Limit: "limit", Peer: "sethvargo", Most: 130, Allocs: uncounted,
	},
	{
		What: "Opaque token, memory of a live one", Unit: "B/token",
		Table: "StoreHeap/tokens=", Ours: "ours", Limit: "limit", Most: 300, Allocs: uncounted,
	},
	{
		What: "Issuance HS256 over loopback, 64 connections", Unit: cpu,
		Table: "TokenLoopback/conns=64/alg=HS256", Ours: "ours", Yard: "floor", YardName: "floor", Limit: "floor", Most: 0.8, Inverse: true, Allocs: uncounted,
	},
	{
		What: "Issuance HS256, many clients", Unit: cpu,
		Table: "Clients/alg=HS256", Ours: largest, Yard: "10", YardName: "10 clients", Peer: noPeer, Most: 1.6, Allocs: uncounted,
	},
	{
		What: "Refresh HS256, one authorization", Unit: cpu,
		Table: "Refresh/alg=HS256", Ours: "1", YardTable: "Token/alg=HS256", Yard: "ours", YardName: "our issuance", Peer: noPeer, Most: 2, Allocs: uncounted,
	},
	{
		What: "Refresh HS256, many authorizations", Unit: cpu,
		Table: "Refresh/alg=HS256", Ours: largest, Yard: "1", YardName: "one authorization", Peer: noPeer, Most: 1.3, Allocs: uncounted,
	},
}

func issuance(alg string, most float64, allocs int) target {
	return target{
		What: "Issuance " + alg, Unit: cpu,
		Table: "Token/alg=" + alg, Ours: "ours", Yard: "limit", YardName: "limit", Limit: "limit", Most: most, Allocs: allocs,
	}
}

func firstSight(alg, yard, yardName string, most float64) target {
	return target{
		What: "Guard, first sight, " + alg, Unit: cpu,
		Table: "GuardFirst/alg=" + alg, Ours: "ours", Yard: yard, YardName: yardName, Limit: "limit", Most: most, Allocs: uncounted,
	}
}

func decision(what, table string) target {
	return target{
		What: what, Unit: cpu,
		Table: table, Ours: "ours", Yard: "sethvargo", YardName: "sethvargo", Limit: "limit", Peer: "sethvargo", Most: 1.15, Allocs: 0,
	}
}

// An Outcome is what a run says of a target.
type Outcome struct {
	target
	Measured bool

	Value  float64 // the median of ours, in the unit
	Ratio  float64 // to the yardstick, or the yardstick's to ours where the target is Inverse; 0 for an absolute bound
	Allocs int     // of ours
	Met    bool

	CollectedRatio float64 // as Ratio, with the collector's rounds; 0 where it is not measured apart

	// In multiples of the limit, for the plot.
	OursX, PeerX, BoundX float64 // PeerX is 0 where there is no peer
	BestPeer             string
	PeerRatio            float64 // as Ratio; the value itself for an absolute bound
}

// Outcomes are those of all targets, in the order of the table.
func (run *Run) Outcomes() []Outcome {
	all := make([]Outcome, len(targets))
	for i := range targets {
		all[i] = run.judge(&targets[i])
	}
	return all
}

func (run *Run) judge(t *target) Outcome {
	o := Outcome{target: *t}
	table := run.find(t.Table)
	ours, yard, limit := run.rows(t, table)
	if ours == nil || ours == yard || t.Yard != "" && yard == nil || limit == nil {
		return o
	}
	of := func(r *Row) []float64 { return r.Values[t.Unit] }
	o.Measured = true
	o.Value = Median(of(ours))
	o.OursX = Median(Ratios(of(ours), of(limit)))
	if peer := bestPeer(t, table, limit); peer != nil {
		o.BestPeer, o.PeerX = peer.Name, Median(Ratios(of(peer), of(limit)))
		o.PeerRatio = t.ratio(of(peer), yard)
	}
	o.Ratio = t.ratio(of(ours), yard)
	if yard != nil {
		o.CollectedRatio = Median(Ratios(ours.Values[collected], yard.Values[collected]))
	}
	switch {
	case t.Yard == "":
		o.Met, o.BoundX = o.Value <= t.Most, t.Most/Median(of(limit))
	case t.Inverse:
		o.Met, o.BoundX = o.Ratio >= t.Most, 1/t.Most
	default:
		o.Met, o.BoundX = o.Ratio <= t.Most, t.Most*Median(Ratios(of(yard), of(limit)))
	}
	o.Allocs = int(math.Round(Median(ours.Values[allocs])))
	if t.Allocs != uncounted && o.Allocs > t.Allocs {
		o.Met = false
	}
	return o
}

func (run *Run) rows(t *target, table *Table) (ours, yard, limit *Row) {
	if table == nil {
		return nil, nil, nil
	}
	ours = table.Row(t.Ours)
	if t.Ours == largest {
		ours = table.largest()
	}
	yardTable := table
	if t.YardTable != "" {
		yardTable = run.find(t.YardTable)
	}
	if yardTable != nil {
		yard = yardTable.Row(t.Yard)
	}
	limit = yard
	if t.Limit != "" {
		limit = table.Row(t.Limit)
	}
	return ours, yard, limit
}

// ratio is of the medians' rounds; for an absolute bound it is the value.
func (t *target) ratio(of []float64, yard *Row) float64 {
	switch {
	case t.Yard == "":
		return Median(of)
	case t.Inverse:
		return Median(Ratios(yard.Values[t.Unit], of))
	}
	return Median(Ratios(of, yard.Values[t.Unit]))
}

// bestPeer is the cheapest of those that other people made, beside the limit.
func bestPeer(t *target, table *Table, limit *Row) *Row {
	if t.Peer == noPeer {
		return nil
	}
	if t.Peer != "" {
		return table.Row(t.Peer)
	}
	var best *Row
	least := math.Inf(1)
	for _, r := range table.Rows {
		if slices.ContainsFunc([]string{"ours", "limit", "floor", "jose-alone"}, func(p string) bool { return strings.HasPrefix(r.Name, p) }) {
			continue
		}
		if x := Median(Ratios(r.Values[t.Unit], limit.Values[t.Unit])); x < least {
			best, least = r, x
		}
	}
	return best
}
