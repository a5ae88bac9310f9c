package checker

import (
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// token judges an access token by what became of it wherever it was shown.
func (c *check) token(t *token) {
	revoking, revoked := forever, (*ledger.Op)(nil)
	for _, r := range t.revokes {
		revoking = min(revoking, r.Begin)
		if granted(r) && (revoked == nil || r.End < revoked.End) {
			revoked = r
		}
	}
	if t.of != nil {
		revoking = min(revoking, t.of.disturbed)
	}
	broken := map[Promise]bool{} // each once for a token
	for _, u := range t.uses {
		p, ok := c.use(t, u, revoking, revoked)
		if p == "" {
			continue
		}
		c.Checked[p]++
		if ok || broken[p] {
			continue
		}
		broken[p] = true
		v := c.violate(p, u.End, "access token %s of %v: %s %s at %v", t.born.Got, t.born.End, u.Kind, u.Outcome, u.End)
		switch p {
		case TokenLost:
			v.Owned = c.lost(u, c.writesOf(t, u.Begin)...)
		case RevocationUndone:
			v.Owned = c.lost(u, revoked)
		}
	}
}

// rounding is how much earlier or later a token may end, since it counts whole
// seconds.
const rounding = time.Second

// use says which promise a use puts to the test, none where there is doubt, and
// whether it was kept. revoking is when something may have ended the token,
// revoked the answer that says so.
func (c *check) use(t *token, u *ledger.Op, revoking time.Duration, revoked *ledger.Op) (p Promise, kept bool) {
	good := granted(u)
	if !good && u.Outcome != ledger.Refused {
		return "", true
	}
	least, most := c.ahead(u, t.born)
	switch {
	case u.Begin+least > t.born.End+t.born.Life+rounding:
		return TokenUndead, !good
	case revoked != nil && u.Begin > revoked.End:
		return RevocationUndone, !good
	case u.End < revoking && u.End+most < t.born.Begin+t.born.Life-rounding:
		return TokenLost, good
	}
	return "", true
}

// writesOf are the writes that the token depends on: none for a JWT of a client's own.
func (c *check) writesOf(t *token, until time.Duration) []*ledger.Op {
	switch {
	case t.of != nil:
		return append(c.writes(t.of, until), t.born)
	case t.born.Writes:
		return []*ledger.Op{t.born}
	}
	return nil
}
