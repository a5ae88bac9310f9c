// Package load is the clients of a campaign: they use every copy as if a balancer
// stood before it, do what good clients and thieves do, and write down each
// request and what became of it.
package load

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	xrate "golang.org/x/time/rate"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

// A Config is what a Load works on. All fields are required.
type Config struct {
	Copies    []string // URLs, as http://127.0.0.1:8080
	Book      *ledger.Writer
	Rate      float64 // requests a second, at most
	Seed      uint64
	TokenLife time.Duration // of access tokens
	CodeLife  time.Duration
}

const (
	// patience is how long a client waits for an answer: longer than any fault
	// lasts, and than the deadlines of a copy together.
	patience = 12 * time.Second
	// persistence is how long a client goes on with what was not answered.
	persistence = 20 * time.Second
	// poolSize holds the tokens of about 45 s.
	poolSize = 2048
	// shunned is how long the balancer sends nothing to a copy that did not answer.
	shunned = 100 * time.Millisecond
)

// A Load is the clients of one run.
type Load struct {
	Config
	pace  *xrate.Limiter
	turn  atomic.Uint64
	sites []*site // the copies
	pool  *pool
}

// A site is a copy as its clients see it.
type site struct {
	url      string
	inFlight atomic.Int64
	shunned  atomic.Int64 // until then, on the ledger's clock
}

// New returns clients that have not begun.
func New(c Config) *Load {
	l := &Load{Config: c, pace: xrate.NewLimiter(xrate.Limit(c.Rate), 1+int(c.Rate/10)), pool: newPool(poolSize)}
	for _, url := range c.Copies {
		l.sites = append(l.sites, &site{url: url})
	}
	return l
}

// InFlight is how many requests a copy has, all copies together where it is -1.
func (l *Load) InFlight(copyNumber int) (n int) {
	for i, s := range l.sites {
		if copyNumber == -1 || copyNumber == i {
			n += int(s.inFlight.Load())
		}
	}
	return n
}

// pick chooses a copy by turns, but for those that did not answer just now.
func (l *Load) pick() int {
	now := int64(l.Book.Now())
	first := l.turn.Add(1)
	for i := range uint64(len(l.sites)) {
		n := int((first + i) % uint64(len(l.sites)))
		if l.sites[n].shunned.Load() <= now {
			return n
		}
	}
	return int(first % uint64(len(l.sites)))
}

// An actor is one who acts again and again. Each has an address and connections of
// its own, so that what is limited by address is not the campaign's limit.
type actor struct {
	*Load
	name   string
	random *rand.Rand
	http   *http.Client
	number int     // tells actors of one name apart
	who    *person // nil for machines
}

func (l *Load) actor(name string, n int, address net.IP) *actor {
	dialer := &net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: address}}
	return &actor{
		Load: l, name: name,
		random: rand.New(rand.NewPCG(l.Seed, uint64(n))), //nolint:gosec // no secret
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4, DisableCompression: true,
				ExpectContinueTimeout: patience,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// cast is who acts, and how many of each.
var cast = []struct {
	name  string
	many  int
	act   func(*actor, context.Context)
	login bool
}{
	{"machine", 8, (*actor).machine, false},
	{"visitor", 12, (*actor).visitor, false},
	{"revoker", 4, (*actor).revoker, false},
	{"hasty", 10, (*actor).hasty, false},
	{"owner", 20, (*actor).owner, true},
	{"victim", 16, (*actor).victim, true},
	{"double", 6, (*actor).double, true},
}

// Run lets all act until the context ends. Requests that have begun by then are
// finished.
func (l *Load) Run(ctx context.Context) {
	var all sync.WaitGroup
	n, logins := 0, 0
	for _, c := range cast {
		for i := range c.many {
			a := l.actor(c.name, n, net.IPv4(127, 0, 1, byte(n+1)))
			a.number = i
			if c.login {
				a.who = personOf(logins)
				logins++
			}
			n++
			all.Go(func() {
				defer a.http.CloseIdleConnections()
				for ctx.Err() == nil {
					c.act(a, ctx)
				}
			})
		}
	}
	all.Wait()
}

// wait returns after a time drawn between the two, or when the run ends: then it
// is false.
func (a *actor) wait(ctx context.Context, low, high time.Duration) bool {
	timer := time.NewTimer(low + time.Duration(a.random.Int64N(int64(high-low))))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// chance is true in so many of a hundred cases.
func (a *actor) chance(percent int) bool { return a.random.IntN(100) < percent }
