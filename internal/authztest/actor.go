package authztest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/response"
)

// An act is what a request asks for.
type act string

const (
	redeems act = "redeem"
	renews  act = "refresh"
	checks  act = "check"
	revokes act = "revoke"
	raises  act = "raise epoch"
)

// An actor is one request on its way. It goes on only when it is chosen, and
// then alone, up to its next call of the State.
type actor struct {
	play   *play
	number int
	act    act
	on     *server
	now    time.Time // by the clock of its handler, when it came

	token   string // refresh or access
	gen     uint64
	secret  [32]byte  // as the record has it
	expires time.Time // of the access token
	garbage bool
	wrong   url.Values // in place of what is right, for a redemption
	calm    bool       // meets no faults

	next  func() (struct{}, bool)
	stop  func()
	yield func() bool

	dead      bool   // the family had ended when it came
	undone    int    // how many writes had got lost when it came
	unsure    string // the key of a write without an answer
	loaded    bool
	seen      model // when it last read the record
	endedThen bool  // when it last read the subject's epoch
	lost      bool
	conflicts int
	faulted   bool
	crashed   bool // nobody gets its answer
	writes    int  // of any key
	made      outcome
	madeModel model
	behind    bool

	status int
	answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	events []string
}

func (a *actor) String() string {
	return fmt.Sprintf("#%d %s gen %d skew %v", a.number, a.act, a.gen, a.on.skew)
}

// begin brings the request to its first call of the State.
func (p *play) begin(a *actor) *actor {
	p.number++
	a.play, a.number = p, p.number
	if a.on == nil {
		a.on = p.servers[p.rng.IntN(2)]
	}
	a.now = p.rig.now.Add(a.on.skew)
	a.dead, a.undone = p.model.phase == authz.Revoked || p.ended, p.undone
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = func() bool { return yield(struct{}{}) }
		a.serve(context.WithValue(context.Background(), actorKey{}, a))
	})
	p.note("%v begins", a)
	p.active = append(p.active, a)
	p.goOn(a)
	return a
}

// goOn lets the request make its next call of the State.
func (p *play) goOn(a *actor) {
	if _, more := a.next(); more {
		return
	}
	p.active = slices.DeleteFunc(p.active, func(other *actor) bool { return other == a })
	p.note("%v: %d, %s, crashed %v, seen %d/%d", a, a.status, a.made, a.crashed, a.seen.phase, a.seen.gen)
	if !a.crashed {
		p.rig.counts.Answers++
		a.judge()
	}
}

func (a *actor) serve(ctx context.Context) {
	switch a.act {
	case redeems:
		form := url.Values{
			"grant_type": {"authorization_code"}, "code": {a.play.code},
			"redirect_uri": {redirect}, "code_verifier": {a.play.verifier},
		}
		for name, value := range a.wrong {
			form[name] = value
		}
		a.post(ctx, form)
	case renews:
		a.post(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.token}})
	case checks:
		a.check(ctx)
	case revokes:
		a.status = statusOf(authz.Revoke(ctx, state{a.play.rig.state}, a.play.family))
	case raises:
		a.status = statusOf(a.on.RevokeSubject(ctx, a.play.subject))
	}
}

func statusOf(err error) int {
	if err != nil {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (a *actor) post(ctx context.Context, form url.Values) {
	form.Set("client_id", clientID)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	a.on.ServeHTTP(w, r)
	a.status = w.Code
	if err := json.Unmarshal(w.Body.Bytes(), &a.answer); err != nil {
		a.play.fail("%v: %s: %v", a, w.Body, err)
	}
}

func (a *actor) check(ctx context.Context) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+a.token)
	a.status = http.StatusOK
	if _, err := a.on.Guard().Check(r); err != nil {
		a.status = http.StatusInternalServerError
		if f, ok := err.(*response.Failure); ok { //nolint:errorlint // Check returns no other
			a.status = f.Status
		}
	}
}

// looked is told of each Get.
func (a *actor) looked(key string, answered bool) {
	if a.unsure == key { // this one is to find out about the write before
		a.unsure = ""
		if answered && a.made != "" {
			a.play.rig.counts.FoundOut++
		}
		return
	}
	switch {
	case !answered:
	case key == a.play.key:
		a.loaded, a.seen = true, a.play.model
	case key == authz.SubjectEpochKey(a.play.subject):
		a.endedThen = a.play.ended
	}
}

// wrote is told of each write that was done, and holds it against the model.
func (a *actor) wrote(key string, old, val []byte, done bool) {
	p := a.play
	if done {
		a.writes++
		p.ended = p.ended || key == authz.SubjectEpochKey(p.subject)
	}
	if key != p.key {
		return
	}
	if !done {
		_, should := a.decide(a.seen)
		a.lost = a.lost || should == granted
		a.conflicts++
		p.rig.counts.Conflicts++
		p.note("%v loses a race", a)
		return
	}
	next, should := a.decide(p.model)
	rec, err := authz.Decode(val)
	if err != nil || a.made != "" || !next.is(rec) || should == refused || should == again {
		p.fail("%v wrote %+v (%v) over %+v; should be %q, %+v; before %q", a, rec, err, p.model, should, next, a.made)
		return
	}
	a.behind = a.act == renews && should == granted && a.gen > p.model.gen
	next.secret = rec.SecretHash
	p.history = append(p.history, past{p.model, old})
	a.made, a.madeModel, p.model = should, next, next
	p.note("%v writes: %s, gen %d", a, should, next.gen)
	p.counted(a)
}

// decide says what should follow from the request on this record.
func (a *actor) decide(m model) (model, outcome) {
	switch a.act {
	case redeems:
		return m.redeem(a.wrong == nil, a.lost, a.now)
	case renews:
		if a.garbage || a.secret != m.secret {
			return m, refused
		}
		return m.refresh(a.gen, a.lost, a.now, a.on.grace)
	case revokes:
		if m.phase != authz.Revoked {
			m.phase = authz.Revoked
			return m, killed
		}
	}
	return m, refused
}

func (p *play) counted(a *actor) {
	c := &p.rig.counts
	switch {
	case a.made == killed && a.act == renews:
		c.Reuses++
	case a.made == killed && a.act == redeems:
		c.CodeReplays++
	case a.behind:
		c.RolledBack++
	}
	if p.honest && p.model.phase == authz.Revoked {
		p.fail("%v ended the authorization of somebody honest", a)
	}
}
