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

// index sorts the requests, which are in the order of their beginnings, by what
// they are about.
func (c *check) index() (families []*family, tokens []*token) {
	byName, byHash := map[string]*family{}, map[string]*token{}
	of := func(name string) *family {
		f := byName[name]
		if f == nil {
			f = &family{name: name, disturbed: forever}
			byName[name] = f
			families = append(families, f)
		}
		return f
	}
	for _, op := range c.Ops {
		if op.Got != "" && op.Kind != ledger.Login && byHash[op.Got] == nil {
			t := &token{born: op}
			if op.Family != "" {
				t.of = of(op.Family)
			}
			byHash[op.Got] = t
			tokens = append(tokens, t)
		}
	}
	for _, op := range c.Ops {
		switch op.Kind {
		case ledger.Login:
			if op.Family != "" {
				of(op.Family).login = op
			}
		case ledger.Redeem:
			f := of(op.Family)
			f.redeems = append(f.redeems, op)
		case ledger.Refresh:
			f := of(op.Family)
			f.refreshes = append(f.refreshes, op)
		case ledger.Revoke:
			if op.Gen > 0 {
				f := of(op.Family)
				f.ended = append(f.ended, op)
			} else if t := byHash[op.Sent]; t != nil {
				t.revokes = append(t.revokes, op)
			}
		case ledger.Guard, ledger.Introspect:
			if t := byHash[op.Sent]; t != nil {
				t.uses = append(t.uses, op)
				if t.of != nil {
					t.of.uses = append(t.of.uses, op)
				}
			}
		}
	}
	return families, tokens
}

// first returns the earliest of the ops that is as wanted; nil for none.
func first(ops []*ledger.Op, want func(*ledger.Op) bool) *ledger.Op {
	if i := slices.IndexFunc(ops, want); i >= 0 {
		return ops[i]
	}
	return nil
}

func granted(op *ledger.Op) bool { return op.Outcome == ledger.OK }
