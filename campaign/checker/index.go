package checker

import (
	"slices"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A family is all that happened to one authorization.
type family struct {
	name      string
	login     *ledger.Op // that got the code
	redeems   []*ledger.Op
	refreshes []*ledger.Op
	ended     []*ledger.Op // revocations of a refresh token
	uses      []*ledger.Op // of its access tokens

	disturbed time.Duration // from when on something else than faults may have ended it
	over      *ledger.Op    // the first answer that says that it has ended; nil for none
}

// A token is all that happened to one access token.
type token struct {
	born    *ledger.Op
	of      *family // nil for a client's own
	uses    []*ledger.Op
	revokes []*ledger.Op
}

// An index finds families and tokens by their names.
type index struct {
	families []*family
	tokens   []*token
	byName   map[string]*family
	byHash   map[string]*token
}

// index sorts the requests, which are in the order of their beginnings, by what
// they are about. Nobody uses a token before the request that got it was over.
func (c *check) index() *index {
	x := &index{byName: map[string]*family{}, byHash: map[string]*token{}}
	for _, op := range c.Ops {
		if op.Got != "" && op.Kind != ledger.Login && x.byHash[op.Got] == nil {
			x.bear(op)
		}
		x.add(op)
	}
	return x
}

func (x *index) bear(op *ledger.Op) {
	t := &token{born: op}
	if op.Family != "" {
		t.of = x.family(op.Family)
	}
	x.byHash[op.Got] = t
	x.tokens = append(x.tokens, t)
}

func (x *index) family(name string) *family {
	f := x.byName[name]
	if f == nil {
		f = &family{name: name, disturbed: forever}
		x.byName[name] = f
		x.families = append(x.families, f)
	}
	return f
}

func (x *index) add(op *ledger.Op) {
	t := x.byHash[op.Sent]
	switch op.Kind {
	case ledger.Login:
		if op.Family != "" {
			x.family(op.Family).login = op
		}
	case ledger.Redeem:
		f := x.family(op.Family)
		f.redeems = append(f.redeems, op)
	case ledger.Refresh:
		f := x.family(op.Family)
		f.refreshes = append(f.refreshes, op)
	case ledger.Revoke:
		if op.Gen > 0 {
			f := x.family(op.Family)
			f.ended = append(f.ended, op)
		} else if t != nil {
			t.revokes = append(t.revokes, op)
		}
	case ledger.Guard, ledger.Introspect:
		if t != nil {
			t.use(op)
		}
	}
}

func (t *token) use(op *ledger.Op) {
	t.uses = append(t.uses, op)
	if t.of != nil {
		t.of.uses = append(t.of.uses, op)
	}
}

// first returns the earliest of the ops that is as wanted; nil for none.
func first(ops []*ledger.Op, want func(*ledger.Op) bool) *ledger.Op {
	if i := slices.IndexFunc(ops, want); i >= 0 {
		return ops[i]
	}
	return nil
}

func granted(op *ledger.Op) bool { return op.Outcome == ledger.OK }
