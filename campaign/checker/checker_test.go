package checker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

const ms = time.Millisecond

// at turns seconds into a time of the ledger.
func at(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// A book is a ledger that a test writes.
type book struct{ ledger.Ledger }

func newBook() *book {
	b := new(book)
	b.Run = ledger.Run{
		State: "database", Copies: 2, Grace: 10 * time.Second, CodeLife: time.Minute,
		Recovery: 2 * time.Second, Limits: map[string]ledger.Limit{"slow": {PerSecond: 1, Burst: 3}},
	}
	return b
}

// op writes a request of 10 ms.
func (b *book) op(kind ledger.Kind, begin float64, change ...func(*ledger.Op)) *ledger.Op {
	op := &ledger.Op{Kind: kind, Client: "app", Begin: at(begin), End: at(begin) + 10*ms, Outcome: ledger.OK, Status: 200}
	switch kind {
	case ledger.Redeem, ledger.Refresh, ledger.Revoke:
		op.Writes = true
	}
	for _, c := range change {
		c(op)
	}
	b.Ops = append(b.Ops, op)
	return op
}

func (b *book) outage(fault ledger.Fault, target ledger.Target, begin, end float64) *ledger.Outage {
	o := &ledger.Outage{Fault: fault, Target: target, Begin: at(begin), Return: at(end)}
	if target == ledger.Redis {
		o.Shared = o.Return + 10*ms
	}
	b.Outages = append(b.Outages, o)
	return o
}

// clock sets the clock of a copy.
func (b *book) clock(n int, begin, ahead float64) {
	o := b.outage(ledger.Clock, ledger.Copy, begin, begin)
	o.Copy, o.Offset = n, at(ahead)
}

func as(outcome ledger.Outcome) func(*ledger.Op) { return func(op *ledger.Op) { op.Outcome = outcome } }
func copyOf(n int) func(*ledger.Op)              { return func(op *ledger.Op) { op.Copy = n } }
func lasting(d time.Duration) func(*ledger.Op)   { return func(op *ledger.Op) { op.End = op.Begin + d } }

func of(family string) func(*ledger.Op)   { return func(op *ledger.Op) { op.Family = family } }
func shows(hash string) func(*ledger.Op)  { return func(op *ledger.Op) { op.Sent = hash } }
func client(name string) func(*ledger.Op) { return func(op *ledger.Op) { op.Client = name } }
func entered(seconds float64) func(*ledger.Op) {
	return func(op *ledger.Op) { op.Entered = at(seconds) }
}

func writes(op *ledger.Op) { op.Writes = true }

func gets(hash string, life int) func(*ledger.Op) {
	return func(op *ledger.Op) { op.Got, op.Life = hash, time.Duration(life)*time.Second }
}

func gen(n uint64) func(*ledger.Op) {
	return func(op *ledger.Op) {
		op.Gen, op.Sent = n, "r"+string(rune('0'+n))
		if op.Next == "" && op.Kind == ledger.Refresh {
			op.Next = "r" + string(rune('1'+n))
		}
	}
}

func next(hash string) func(*ledger.Op) { return func(op *ledger.Op) { op.Next = hash } }

// family writes a login at the time and a redemption a second later.
func (b *book) family(name string, begin float64) {
	b.op(ledger.Login, begin, of(name), gets("code-"+name, 60))
	b.op(ledger.Redeem, begin+1, of(name), shows("code-"+name), gets("at-"+name, 30), next("r1"))
}

func (b *book) refresh(name string, begin float64, n uint64, change ...func(*ledger.Op)) *ledger.Op {
	return b.op(ledger.Refresh, begin, append([]func(*ledger.Op){of(name), gen(n)}, change...)...)
}

// calm writes what a good run has: each thing that is promised, kept, and faults
// that are made up for.
func calm() *book {
	b := newBook()
	// An owner whose answer got lost retries within the grace, and goes on.
	b.family("owner", 1)
	b.outage(ledger.Kill, ledger.Postgres, 5, 6)
	b.refresh("owner", 4.9, 1, as(ledger.Unavailable), lasting(200*ms))
	b.refresh("owner", 5.5, 1, as(ledger.Unavailable))
	b.refresh("owner", 6.1, 1, copyOf(1))
	b.refresh("owner", 9, 2)
	b.op(ledger.Guard, 9.5, of("owner"), shows("at-owner"))
	// A thief with the second to last token: all ends, the access token too.
	b.family("stolen", 20)
	b.refresh("stolen", 22, 1)
	b.refresh("stolen", 23, 2)
	b.refresh("stolen", 24, 1, as(ledger.Refused))
	b.refresh("stolen", 25, 3, as(ledger.Refused))
	b.op(ledger.Guard, 26, of("stolen"), shows("at-stolen"), as(ledger.Refused))
	// Another tab, within the grace, has the same successor; later it is reuse.
	b.family("tabs", 30)
	b.refresh("tabs", 32, 1)
	b.refresh("tabs", 33, 1)
	b.refresh("tabs", 50, 1, as(ledger.Refused))
	b.refresh("tabs", 51, 2, as(ledger.Refused))
	// A code twice at once: one wins, and the other may end it.
	b.op(ledger.Login, 35, of("twice"), gets("code-twice", 60))
	b.op(ledger.Redeem, 36, of("twice"), shows("code-twice"), gets("at-twice", 30), next("r1"))
	b.op(ledger.Redeem, 36, of("twice"), shows("code-twice"), as(ledger.Refused), copyOf(1))
	b.op(ledger.Guard, 36.1, of("twice"), shows("at-twice"), as(ledger.Refused))
	// Tokens that end, by revocation and by themselves.
	b.op(ledger.Mint, 40, gets("jwt", 30))
	b.op(ledger.Guard, 41, shows("jwt"))
	b.op(ledger.Revoke, 42, shows("jwt"))
	b.op(ledger.Guard, 43, shows("jwt"), as(ledger.Refused))
	b.op(ledger.Mint, 44, gets("opaque", 30))
	b.op(ledger.Introspect, 45, shows("opaque"))
	b.op(ledger.Guard, 81, shows("opaque"), as(ledger.Refused))
	b.family("left", 46)
	b.op(ledger.Revoke, 48, of("left"), gen(1))
	b.refresh("left", 49, 1, as(ledger.Refused))
	b.op(ledger.Guard, 49.5, of("left"), shows("at-left"), as(ledger.Refused))
	// A copy is killed, another drains.
	b.outage(ledger.Kill, ledger.Copy, 60, 61)
	b.op(ledger.Mint, 59.99, as(ledger.Broken), lasting(20*ms))
	b.op(ledger.Mint, 61.5)
	b.outage(ledger.Term, ledger.Copy, 65, 66).Copy = 1
	b.op(ledger.Mint, 64.9, copyOf(1), entered(64.95), lasting(300*ms))
	b.op(ledger.Mint, 65.5, copyOf(1), as(ledger.Broken))
	b.op(ledger.Mint, 66.5, copyOf(1))
	// A client at its limit; without Redis it has more for a while.
	for i := range 4 {
		b.op(ledger.Mint, 70+0.4*float64(i), client("slow"))
	}
	b.op(ledger.Mint, 71.3, client("slow"), as(ledger.Throttled))
	b.outage(ledger.Stop, ledger.Redis, 72, 73)
	for i := range 9 {
		b.op(ledger.Mint, 72.5+0.01*float64(i), client("slow"), copyOf(i%2))
	}
	b.op(ledger.Mint, 74, copyOf(1))
	b.op(ledger.Mint, 90)
	b.op(ledger.Mint, 90, copyOf(1))
	return b
}

func TestCleanLedger(t *testing.T) {
	r := checker.Check(&calm().Ledger)
	for _, v := range r.Violations {
		t.Errorf("%+v", v)
	}
	for _, p := range checker.Promises {
		if r.Checked[p] == 0 {
			t.Errorf("nothing puts to the test that %s", p)
		}
	}
	if r.Retried != 1 {
		t.Errorf("%d retries of lost answers", r.Retried)
	}
}

// planted are violations that something adds to a clean ledger.
var planted = []struct {
	name  string
	want  checker.Promise
	plant func(b *book)
}{
	{"a code redeemed twice", checker.CodeTwice, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Redeem, 102, of("x"), shows("code-x"), gets("other", 30), next("s1"))
	}},
	{"a code redeemed twice at once", checker.CodeTwice, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Redeem, 101, of("x"), shows("code-x"), gets("other", 30), next("s1"), copyOf(1))
	}},
	{"an old token, two generations on", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 103, 2)
		b.refresh("x", 104, 1)
	}},
	{"the token before, after the grace", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 117.1, 1)
	}},
	{"the token before, again and again: the grace slides", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		for i := range 10 {
			b.refresh("x", 102+2*float64(i), 1)
		}
	}},
	{"two successors", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 102.5, 1, next("fork"))
	}},
	{"a code refused", checker.TokenLost, func(b *book) {
		b.op(ledger.Login, 100, of("x"), gets("code-x", 60))
		b.op(ledger.Redeem, 150, of("x"), shows("code-x"), as(ledger.Refused))
	}},
	{"an access token refused", checker.TokenLost, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Guard, 123, shows("x"), as(ledger.Refused))
	}},
	{"an access token not active", checker.TokenLost, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Introspect, 101, shows("x"), as(ledger.Refused))
	}},
	{"an access token refused before it was revoked", checker.TokenLost, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Guard, 101, shows("x"), as(ledger.Refused))
		b.op(ledger.Revoke, 102, shows("x"))
	}},
	{"an access token of a family refused", checker.TokenLost, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Guard, 102, of("x"), shows("at-x"), as(ledger.Refused))
	}},
	{"a token of the database lost with a kill of Redis", checker.TokenLost, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.outage(ledger.Kill, ledger.Redis, 100.5, 101)
		b.op(ledger.Guard, 103, shows("x"), as(ledger.Refused))
		b.op(ledger.Guard, 103, copyOf(1), shows("y"))
	}},
	{"an access token good after its end", checker.TokenUndead, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Guard, 136.1, shows("x"))
	}},
	{"an access token good after its revocation", checker.RevocationUndone, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Revoke, 101, shows("x"))
		b.op(ledger.Guard, 101.1, shows("x"))
	}},
	{"an access token good after its family was revoked", checker.RevocationUndone, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Revoke, 102, of("x"), gen(1))
		b.op(ledger.Guard, 103, of("x"), shows("at-x"))
	}},
	{"a refresh token good after it was revoked", checker.RevocationUndone, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Revoke, 102, of("x"), gen(1))
		b.refresh("x", 103, 1)
	}},
	{"a refresh token good after reuse was answered", checker.RevocationUndone, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 103, 2)
		b.refresh("x", 104, 1, as(ledger.Refused))
		b.refresh("x", 105, 3)
	}},
	{"an access token good after its code came again", checker.RevocationUndone, func(b *book) {
		b.family("x", 100)
		b.op(ledger.Redeem, 102, of("x"), shows("code-x"), as(ledger.Refused))
		b.op(ledger.Guard, 103, of("x"), shows("at-x"))
	}},
	{"a family ended by nobody", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1, as(ledger.Refused))
	}},
	{"a family ended by a retry within the grace", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.outage(ledger.Swallow, ledger.Postgres, 102, 103)
		b.refresh("x", 102, 1, as(ledger.Unavailable))
		b.refresh("x", 106.9, 1, as(ledger.Refused), copyOf(1))
		b.op(ledger.Mint, 104)
		b.op(ledger.Mint, 104, copyOf(1))
	}},
	{"a family ended by a retry after 429", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1, as(ledger.Throttled))
		b.refresh("x", 110, 1, as(ledger.Refused))
	}},
	{"a family ended by two tabs", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 104, 1, as(ledger.Refused))
	}},
	{"a status that is none", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Wrong)) }},
	{"500 in an outage", checker.OnlyUnavailable, func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Wrong))
		b.op(ledger.Mint, 101.5)
		b.op(ledger.Mint, 101.5, copyOf(1))
	}},
	{"no answer in time", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Late), lasting(10*time.Second)) }},
	{"429 for nothing", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Throttled)) }},
	{"a client unknown", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Refused)) }},
	{"a login form that another copy sealed", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Login, 100, as(ledger.Refused)) }},
	{"a revocation refused", checker.OnlyUnavailable, func(b *book) { b.op(ledger.Revoke, 100, as(ledger.Refused), shows("x")) }},
	{"503 without an outage", checker.NeedlessRefusal, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Unavailable)) }},
	{"503 after the recovery", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 101.5)
		b.op(ledger.Mint, 101.5, copyOf(1))
		b.op(ledger.Mint, 103.1, as(ledger.Unavailable))
	}},
	{"503 long after the machine stood still", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Stall, ledger.Machine, 100, 101)
		b.op(ledger.Mint, 103.5, as(ledger.Unavailable))
	}},
	{"a broken connection when the machine stood still", checker.NeedlessBreak, func(b *book) {
		b.outage(ledger.Stall, ledger.Machine, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Broken))
	}},
	{"503 for want of Redis with the State in the database", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Kill, ledger.Redis, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Unavailable))
		b.op(ledger.Mint, 101.5)
		b.op(ledger.Mint, 101.5, copyOf(1))
	}},
	{"503 for clocks", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Clock, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Unavailable))
	}},
	{"503 for the kill of another copy", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Stop, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Unavailable), copyOf(1))
		b.op(ledger.Mint, 101.5)
	}},
	{"503 of a copy that was killed", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.Kill, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 101.1, as(ledger.Unavailable))
		b.op(ledger.Mint, 101.5)
	}},
	{"a broken connection", checker.NeedlessBreak, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Broken)) }},
	{"a connection to another copy than the killed one", checker.NeedlessBreak, func(b *book) {
		b.outage(ledger.Kill, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Broken), copyOf(1))
		b.op(ledger.Mint, 101.5)
	}},
	{"a connection broken by a dead database", checker.NeedlessBreak, func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 100.5, as(ledger.Broken))
		b.op(ledger.Mint, 101.5)
		b.op(ledger.Mint, 101.5, copyOf(1))
	}},
	{"half an answer", checker.NeedlessBreak, func(b *book) { b.op(ledger.Mint, 100, as(ledger.Truncated)) }},
	{"half an answer from a copy that drains", checker.NeedlessBreak, func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 99.9, as(ledger.Truncated), lasting(300*ms))
		b.op(ledger.Mint, 101.5)
	}},
	{"nothing granted in time", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 101.1, copyOf(1))
		b.op(ledger.Mint, 101.1, as(ledger.Unavailable))
		b.op(ledger.Mint, 102.9, as(ledger.Unavailable))
		b.op(ledger.Mint, 103.5)
	}},
	{"an answer that waits longer than the recovery may take", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.Hang, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 101.1, copyOf(1))
		b.op(ledger.Mint, 101.1, lasting(2*time.Second))
	}},
	{"only guards, which know the clients, after a database of clients", checker.SlowRecovery, func(b *book) {
		b.Run.State = "redis"
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		for n := range 2 {
			b.op(ledger.Guard, 101.1, copyOf(n))
			b.op(ledger.Mint, 101.1, copyOf(n), as(ledger.Unavailable))
		}
		b.op(ledger.Mint, 104)
	}},
	{"only reads after a database that only reads", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.ReadOnly, ledger.Postgres, 100, 101)
		for n := range 2 {
			b.op(ledger.Guard, 101.1, copyOf(n))
		}
		b.op(ledger.Mint, 101.1, as(ledger.Unavailable), func(op *ledger.Op) { op.Writes = true })
		b.op(ledger.Mint, 101.1, copyOf(1), func(op *ledger.Op) { op.Writes = true })
		b.op(ledger.Mint, 104)
	}},
	{"a request dropped by SIGTERM", checker.DrainTruncates, func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 99.9, as(ledger.Broken), entered(99.95), lasting(200*ms))
		b.op(ledger.Mint, 101.5)
	}},
	{"a copy that does not end well", checker.DrainTruncates, func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101).Exit = 1
		b.op(ledger.Mint, 101.5)
	}},
	{"more than the limit at once", checker.OverLimit, func(b *book) {
		for i := range 4 {
			b.op(ledger.Mint, 100+0.02*float64(i), client("slow"))
		}
	}},
	{"more than the limit soon after an outage of Redis", checker.OverLimit, func(b *book) {
		b.outage(ledger.Kill, ledger.Redis, 100, 101)
		for i := range 4 {
			b.op(ledger.Mint, 103.1+0.02*float64(i), client("slow"))
		}
		b.op(ledger.Mint, 101.5, copyOf(1))
		b.op(ledger.Mint, 101.5)
	}},
	{"more than the limit in time", checker.OverLimit, func(b *book) {
		for i := range 10 {
			b.op(ledger.Mint, 100+0.7*float64(i), client("slow"), copyOf(i%2))
		}
	}},
	{"Redis: an old token good long after a kill that it survived", checker.TwoLeaves, func(b *book) {
		b.Run.State = "redis"
		b.family("x", 98.9)
		b.refresh("x", 100, 1)
		b.outage(ledger.Kill, ledger.Redis, 100.5, 101)
		for n := range 2 {
			b.op(ledger.Mint, 101.5, copyOf(n))
		}
		b.refresh("x", 102, 2) // nothing was lost
		b.refresh("x", 104, 3)
		b.refresh("x", 120, 2) // two generations old, and good
	}},
	{"Redis: a family ended long after a kill that it survived", checker.FamilyEnded, func(b *book) {
		b.Run.State = "redis"
		b.family("x", 98.9)
		b.refresh("x", 100, 1)
		b.outage(ledger.Kill, ledger.Redis, 100.5, 101)
		for n := range 2 {
			b.op(ledger.Mint, 101.5, copyOf(n))
		}
		b.refresh("x", 102, 2)
		b.refresh("x", 104, 3)
		b.refresh("x", 150, 4, as(ledger.Refused))
	}},
	{"Redis: two successors long after a kill", checker.TwoLeaves, func(b *book) {
		b.Run.State = "redis"
		b.family("x", 98.9)
		b.refresh("x", 100, 1)
		b.outage(ledger.Kill, ledger.Redis, 100.5, 101)
		for n := range 2 {
			b.op(ledger.Mint, 101.5, copyOf(n))
		}
		b.refresh("x", 110, 2)
		b.refresh("x", 110.5, 2, next("fork"))
	}},
	{"Redis: a JWT, which is nowhere in Redis, refused", checker.TokenLost, func(b *book) {
		b.Run.State = "redis"
		b.op(ledger.Mint, 100, gets("jwt2", 30))
		b.outage(ledger.Kill, ledger.Redis, 100.5, 101)
		for n := range 2 {
			b.op(ledger.Mint, 101.5, copyOf(n))
		}
		b.op(ledger.Guard, 110, shows("jwt2"), as(ledger.Refused))
	}},
	{"a family that lives after a late retry is ended by nobody", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.outage(ledger.Swallow, ledger.Postgres, 102, 103)
		b.refresh("x", 102, 1, as(ledger.Unavailable), writes)
		b.refresh("x", 108, 1) // late, and granted
		b.refresh("x", 112, 2)
		b.refresh("x", 116, 3, as(ledger.Refused))
		b.op(ledger.Mint, 104)
		b.op(ledger.Mint, 104, copyOf(1))
	}},
	{"an access token refused of a family that lives after a late retry", checker.TokenLost, func(b *book) {
		b.family("x", 100)
		b.outage(ledger.Swallow, ledger.Postgres, 102, 103)
		b.refresh("x", 102, 1, as(ledger.Unavailable), writes)
		b.refresh("x", 108, 1, gets("at2", 30)) // late, and granted
		b.op(ledger.Guard, 110, of("x"), shows("at2"), as(ledger.Refused))
		b.op(ledger.Mint, 104)
		b.op(ledger.Mint, 104, copyOf(1))
	}},
	{"a recovery that is late, when an unrelated copy is killed 1.9 s later", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 101.1, copyOf(1))
		b.op(ledger.Mint, 101.1, as(ledger.Unavailable))
		b.op(ledger.Mint, 102.9, as(ledger.Unavailable))
		b.op(ledger.Mint, 103.5)
		b.outage(ledger.Kill, ledger.Copy, 102.9, 103.2).Copy = 1
		b.op(ledger.Mint, 103.6, copyOf(1))
	}},
	{"guards are 503 while the database only reads", checker.NeedlessRefusal, func(b *book) {
		b.outage(ledger.ReadOnly, ledger.Postgres, 100, 101)
		b.op(ledger.Guard, 100.5, as(ledger.Unavailable), shows("jwt"))
		for n := range 2 {
			b.op(ledger.Redeem, 101.5, copyOf(n), writes, of("zz"))
		}
	}},
	{"503 that takes long in an outage", checker.OnlyUnavailable, func(b *book) {
		b.outage(ledger.Stop, ledger.Postgres, 100, 111)
		b.op(ledger.Mint, 100, as(ledger.Unavailable), lasting(11*time.Second))
		for n := range 2 {
			b.op(ledger.Mint, 111.5, copyOf(n))
		}
	}},
	{"a family ended by a retry at the same copy, 7 s after", checker.FamilyEnded, func(b *book) {
		b.family("x", 100)
		b.outage(ledger.Swallow, ledger.Postgres, 102, 103)
		b.refresh("x", 102, 1, as(ledger.Unavailable), writes)
		b.refresh("x", 109, 1, as(ledger.Refused))
		b.op(ledger.Mint, 104)
		b.op(ledger.Mint, 104, copyOf(1))
	}},
	{"the token before, 4 s after the grace at the same copy", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 116.9, 1)
	}},
	{"an access token refused 5 s before its end where it was minted", checker.TokenLost, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		b.op(ledger.Guard, 125, shows("x"), as(ledger.Refused))
	}},
	{"the token before, by a clock that is known to be ahead", checker.TwoLeaves, func(b *book) {
		b.family("x", 100)
		b.clock(1, 105, 4)
		b.refresh("x", 102, 1)
		b.refresh("x", 109, 1, copyOf(1))
	}},
	{"an access token good after its end, by a clock that a restart set", checker.TokenUndead, func(b *book) {
		b.op(ledger.Mint, 100, gets("x", 30))
		o := b.outage(ledger.Kill, ledger.Copy, 105, 106)
		o.Copy, o.Offset = 1, 4*time.Second
		b.op(ledger.Mint, 106.5, copyOf(1))
		b.op(ledger.Guard, 128, shows("x"), copyOf(1))
	}},
	{"a request at work 300 ms before SIGTERM is dropped", checker.DrainTruncates, func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101)
		b.op(ledger.Refresh, 99.7, of("y"), gen(1), as(ledger.Broken), lasting(500*ms))
		b.op(ledger.Mint, 101.5)
	}},
	{"more than the limit at one copy, when another is slow to answer somebody else", checker.OverLimit, func(b *book) {
		for s := range 20 { // one slow answer a second, of another client at another copy
			b.op(ledger.Guard, 100+float64(s), copyOf(1), lasting(80*ms))
			for i := range 5 {
				b.op(ledger.Mint, 100.1+float64(s)+0.1*float64(i), client("slow"))
			}
		}
	}},
	{"copies that limit alone for ever, though Redis is back", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.Kill, ledger.Redis, 100, 101).Shared = 0
		for i := range 60 { // each copy its half, for a minute
			b.op(ledger.Mint, 101.1+float64(i), client("slow"), copyOf(i%2))
		}
	}},
	{"a request that the transport had to send twice", checker.NeedlessBreak, func(b *book) {
		b.op(ledger.Guard, 100, func(op *ledger.Op) { op.Again = true })
	}},
	{"a request that a draining copy dropped and the transport sent again", checker.DrainTruncates, func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101)
		b.op(ledger.Guard, 99.8, lasting(1500*ms), func(op *ledger.Op) { op.Again = true })
		b.op(ledger.Mint, 101.5)
	}},
	{"a limit shared too late after Redis is back", checker.SlowRecovery, func(b *book) {
		b.outage(ledger.Kill, ledger.Redis, 100, 101).Shared = at(103.1)
	}},
}

func TestPlantedViolations(t *testing.T) {
	plants := map[checker.Promise]int{}
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			b := calm()
			p.plant(b)
			b.op(ledger.Mint, 200)
			r := checker.Check(&b.Ledger)
			if !slices.ContainsFunc(r.Failures(), func(v checker.Violation) bool { return v.Promise == p.want }) {
				t.Errorf("not found among %+v", r.Violations)
			}
			for _, v := range r.Violations {
				if v.At < at(99) {
					t.Errorf("found where nothing was planted: %+v", v)
				}
			}
		})
		plants[p.want]++
	}
	for _, p := range checker.Promises {
		if plants[p] == 0 {
			t.Errorf("nothing planted against %q", p)
		}
	}
}

// harmless is what looks like a violation and is none, since the ledger leaves room
// for what may have happened.
var harmless = map[string]func(b *book){
	"a retry after the grace may have": func(b *book) {
		b.family("x", 100)
		b.clock(0, 104.5, 5)
		b.outage(ledger.Swallow, ledger.Postgres, 102, 107)
		b.refresh("x", 102, 1, as(ledger.Unavailable))
		b.refresh("x", 107.5, 1, as(ledger.Refused))
		b.op(ledger.Guard, 108, of("x"), shows("at-x"), as(ledger.Refused))
		b.op(ledger.Mint, 108)
		b.op(ledger.Mint, 108, copyOf(1))
	},
	"the token before, when the grace may be over or not": func(b *book) {
		for i, outcome := range []ledger.Outcome{ledger.OK, ledger.Refused} {
			name := string(rune('x' + i))
			b.family(name, 100)
			b.refresh(name, 102, 1)
			b.refresh(name, 114, 1, as(outcome), copyOf(1))
		}
		b.clock(1, 113.5, -5)
	},
	"the token before, beside the use of its successor": func(b *book) {
		b.family("x", 100)
		b.refresh("x", 102, 1)
		b.refresh("x", 103, 2, lasting(100*ms))
		b.refresh("x", 103, 1, as(ledger.Refused))
		b.refresh("x", 104, 3, as(ledger.Refused))
	},
	"a code tried again after 503": func(b *book) {
		b.family("x", 100)
		b.Ops = b.Ops[:len(b.Ops)-1]
		b.outage(ledger.Kill, ledger.Postgres, 101, 102)
		b.op(ledger.Redeem, 101.5, of("x"), shows("code-x"), as(ledger.Unavailable))
		b.op(ledger.Redeem, 102.5, of("x"), shows("code-x"), as(ledger.Refused))
		b.op(ledger.Mint, 102.5)
		b.op(ledger.Mint, 102.5, copyOf(1))
	},
	"a code twice at once, refused to who asked first": func(b *book) {
		b.op(ledger.Login, 100, of("x"), gets("code-x", 60))
		b.op(ledger.Redeem, 101, of("x"), shows("code-x"), as(ledger.Refused), lasting(50*ms))
		b.op(ledger.Redeem, 101.01, of("x"), shows("code-x"), gets("at-x", 30), next("r1"), copyOf(1))
	},
	"a code that is a minute old": func(b *book) {
		b.op(ledger.Login, 100, of("x"), gets("code-x", 60))
		b.op(ledger.Redeem, 156, of("x"), shows("code-x"), as(ledger.Refused), copyOf(1))
		b.clock(1, 120, 5)
	},
	"an access token near its end": func(b *book) {
		for i, outcome := range []ledger.Outcome{ledger.OK, ledger.Refused} {
			hash := string(rune('x' + i))
			b.op(ledger.Mint, 100, gets(hash, 30))
			b.op(ledger.Guard, 126, shows(hash), as(outcome), copyOf(1))
			b.op(ledger.Guard, 134, shows(hash), as(outcome), copyOf(1))
		}
		b.clock(1, 125.9, 5)
		b.clock(1, 133.9, -5)
	},
	"a revocation whose answer got lost": func(b *book) {
		b.outage(ledger.Swallow, ledger.Postgres, 100, 102)
		for i, outcome := range []ledger.Outcome{ledger.OK, ledger.Refused} {
			hash := string(rune('x' + i))
			b.op(ledger.Mint, 100, gets(hash, 30))
			b.op(ledger.Revoke, 101, shows(hash), as(ledger.Unavailable))
			b.op(ledger.Guard, 103, shows(hash), as(outcome))
			b.op(ledger.Guard, 103, shows(hash), as(outcome), copyOf(1))
		}
	},
	"more than the limit at a copy that is slow to answer and shares nothing": func(b *book) {
		b.op(ledger.Guard, 100, copyOf(1), lasting(80*ms))
		for i := range 5 {
			b.op(ledger.Mint, 100.1+0.02*float64(i), client("slow"), copyOf(i/3))
		}
	},
	"a guarded request sent again when its copy was killed": func(b *book) {
		b.outage(ledger.Kill, ledger.Copy, 100, 101)
		b.op(ledger.Guard, 99.9, lasting(1200*ms), func(op *ledger.Op) { op.Again = true })
		b.op(ledger.Mint, 101.5)
	},
	"a request beside a revocation": func(b *book) {
		for i, outcome := range []ledger.Outcome{ledger.OK, ledger.Refused} {
			hash := string(rune('x' + i))
			b.op(ledger.Mint, 100, gets(hash, 30))
			b.op(ledger.Revoke, 101, shows(hash), lasting(100*ms))
			b.op(ledger.Guard, 101.05, shows(hash), as(outcome))
		}
	},
	"503 when the machine stood still": func(b *book) {
		b.outage(ledger.Stall, ledger.Machine, 100, 103)
		b.op(ledger.Mint, 100.5, as(ledger.Unavailable), lasting(2*time.Second))
		b.op(ledger.Mint, 104.5, as(ledger.Unavailable), copyOf(1))
	},
	"503 of a copy that was frozen": func(b *book) {
		b.outage(ledger.Stop, ledger.Copy, 100, 103)
		b.op(ledger.Mint, 99.99, as(ledger.Unavailable), lasting(3100*ms))
		b.op(ledger.Mint, 104)
	},
	"more than the limit, before the copies share it again": func(b *book) {
		b.outage(ledger.Stop, ledger.Redis, 100, 101)
		for i := range 9 {
			b.op(ledger.Mint, 102.5+0.01*float64(i), client("slow"), copyOf(i%2))
		}
	},
	"more than the limit, while a copy waited for Redis": func(b *book) {
		b.op(ledger.Mint, 100, lasting(100*ms))
		for i := range 6 {
			b.op(ledger.Mint, 100.2+0.02*float64(i), client("slow"))
		}
	},
	"a recovery that another outage prolongs": func(b *book) {
		b.outage(ledger.Kill, ledger.Postgres, 100, 101)
		b.op(ledger.Mint, 101.1, as(ledger.Unavailable))
		b.outage(ledger.Cut, ledger.Postgres, 102, 104)
		b.op(ledger.Mint, 105)
		b.op(ledger.Mint, 105, copyOf(1))
	},
	"a connection that a draining copy had not read from": func(b *book) {
		b.outage(ledger.Term, ledger.Copy, 100, 101)
		b.op(ledger.Mint, 99.99, as(ledger.Broken), lasting(20*ms))
		b.op(ledger.Mint, 101.5)
	},
}

func TestHarmless(t *testing.T) {
	for name, write := range harmless {
		t.Run(name, func(t *testing.T) {
			b := calm()
			write(b)
			b.op(ledger.Mint, 200)
			b.op(ledger.Mint, 200, copyOf(1))
			for _, v := range checker.Check(&b.Ledger).Violations {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestRedisOwnsUp: what Redis lost with a kill soon after is counted apart; what it
// lost without one is a failure.
func TestRedisOwnsUp(t *testing.T) {
	plants := map[string]func(b *book){
		"a code redeemed twice": func(b *book) {
			b.family("x", 100)
			b.op(ledger.Redeem, 104, of("x"), shows("code-x"), gets("other", 30), next("s1"))
		},
		"a token": func(b *book) {
			b.op(ledger.Mint, 101, gets("x", 30), writes)
			b.op(ledger.Guard, 104, shows("x"), as(ledger.Refused))
		},
		"an old one": func(b *book) {
			b.family("x", 99)
			b.refresh("x", 101, 1)
			b.refresh("x", 101.2, 2)
			b.refresh("x", 104, 1)
		},
		"a revocation": func(b *book) {
			b.op(ledger.Mint, 99, gets("x", 30))
			b.op(ledger.Revoke, 101, shows("x"))
			b.op(ledger.Guard, 104, shows("x"))
		},
		"a family": func(b *book) {
			b.family("x", 100)
			b.refresh("x", 104, 1, as(ledger.Refused))
		},
	}
	for name, plant := range plants {
		for kill, owned := range map[float64]bool{102: true, 103.5: false, 106: false} { // at which second
			b := calm()
			b.Run.State = "redis"
			plant(b)
			b.outage(ledger.Kill, ledger.Redis, kill, kill+0.5)
			for n := range 2 {
				b.op(ledger.Mint, kill+1, copyOf(n))
			}
			b.op(ledger.Mint, 200)
			r := checker.Check(&b.Ledger)
			if len(r.Violations) != 1 || (len(r.Failures()) == 0) != owned {
				t.Errorf("%s, with a kill at %v s: %+v", name, kill, r.Violations)
			}
		}
	}
}

// TestLate: a request whose client gave up is a violation, and what it may do later
// is none.
func TestLate(t *testing.T) {
	b := calm()
	b.family("x", 100)
	b.refresh("x", 102, 1, as(ledger.Late), lasting(time.Second))
	b.refresh("x", 103.5, 1)
	b.refresh("x", 104, 2)
	b.refresh("x", 105, 3, as(ledger.Refused)) // the first one came to it at last
	b.op(ledger.Mint, 200)
	r := checker.Check(&b.Ledger)
	if len(r.Violations) != 1 || r.Violations[0].Promise != checker.OnlyUnavailable {
		t.Errorf("%+v", r.Violations)
	}
}

func TestFaultCounts(t *testing.T) {
	b := calm()
	b.Outages[0].InFlight = 3
	b.outage(ledger.Kill, ledger.Copy, 100, 101)
	b.op(ledger.Mint, 100.5, as(ledger.Wrong))
	b.op(ledger.Mint, 101.5)
	got := map[ledger.Target]checker.FaultCount{}
	for _, f := range checker.Check(&b.Ledger).Faults {
		if f.Fault == ledger.Kill {
			got[f.Target] = f
		}
	}
	if f := got[ledger.Postgres]; f.Counted() != 1 || f.InFlight != 3 || f.Requests != 3 || f.Unavailable != 2 || f.Broken+f.Failed+f.Violations != 0 || f.Recovery != 110*ms {
		t.Errorf("%+v", f)
	}
	if f := got[ledger.Copy]; f.Times != 2 || f.Idle != 2 || f.Requests != 4 || f.Broken != 1 || f.Failed != 1 || f.Violations != 1 || f.Recovery != 510*ms {
		t.Errorf("%+v", f)
	}
}
