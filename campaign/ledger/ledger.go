// Package ledger is what a campaign writes down: every request that its clients
// made, and every fault that its servers suffered, on one clock. Secrets stand in
// it as hashes.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// A Kind is what a request was for.
type Kind string

// The kinds of requests.
const (
	Mint       Kind = "mint"       // an access token for a client itself
	Login      Kind = "login"      // a code, through the login form
	Redeem     Kind = "redeem"     // a code for tokens
	Refresh    Kind = "refresh"    // a refresh token for tokens
	Guard      Kind = "guard"      // a guarded route
	Introspect Kind = "introspect" // whether an access token is good
	Revoke     Kind = "revoke"     // the end of a token, or of a refresh token's family
)

// An Outcome is what became of a request, as far as its client can tell.
type Outcome string

// The outcomes.
const (
	OK          Outcome = "ok"          // granted; of an introspection: active
	Refused     Outcome = "refused"     // 400, 401, 403; of an introspection: not active
	Throttled   Outcome = "throttled"   // 429
	Unavailable Outcome = "unavailable" // 503
	Broken      Outcome = "broken"      // not a byte of an answer
	Truncated   Outcome = "truncated"   // an answer began and did not end
	Late        Outcome = "late"        // the client gave up waiting
	Wrong       Outcome = "wrong"       // anything else
)

// An Op is one request. Times count from the beginning of the run: the request
// did what it did, if anything, at some moment from Begin on. An answer bounds it
// by End; a request without one may take effect a little later still.
type Op struct {
	Kind    Kind          `json:"kind"`
	Copy    int           `json:"copy"`
	Client  string        `json:"client,omitempty"`
	Actor   string        `json:"actor,omitempty"` // who acts; for people who read
	Begin   time.Duration `json:"begin"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Status  int           `json:"status,omitempty"`
	Note    string        `json:"note,omitempty"` // what a Broken or a Wrong one met

	Family string        `json:"family,omitempty"` // the public name of the authorization
	Sent   string        `json:"sent,omitempty"`   // hash of the code or token that was presented
	Gen    uint64        `json:"gen,omitempty"`    // of the refresh token that was presented
	Got    string        `json:"got,omitempty"`    // hash of the access token, or of the code, that came
	Life   time.Duration `json:"life,omitempty"`   // of what came
	Next   string        `json:"next,omitempty"`   // hash of the refresh token that came

	Again bool `json:"again,omitempty"` // the transport sent it twice: the first was broken off
	// Writes says that granting it takes a write to the State.
	Writes bool `json:"writes,omitempty"`
	// Entered is a request whose handler had asked for the body, which its
	// client still held: the copy was working on it beyond doubt. The moment is
	// when the handler asked.
	Entered time.Duration `json:"entered,omitempty"`
}

// A Fault is a kind of outage.
type Fault string

// The faults. Clock is none that excuses anything. Stall is none that the campaign
// makes: the machine itself stood still, its disk or its processors.
const (
	Kill     Fault = "kill -9"
	Stop     Fault = "SIGSTOP"
	Term     Fault = "SIGTERM"
	Cut      Fault = "connections cut"
	Hang     Fault = "connections hang"
	Swallow  Fault = "replies swallowed"
	Exhaust  Fault = "pool exhausted"
	ReadOnly Fault = "read-only"
	Clock    Fault = "clock offset"
	Stall    Fault = "stood still"
)

// A Target is what a fault was done to.
type Target string

// The targets.
const (
	Postgres Target = "PostgreSQL"
	Redis    Target = "Redis"
	Copy     Target = "copy"
	Machine  Target = "machine"
)

// An Outage is one fault: Begin is before anything was done, Return after all of
// it was undone and the target was seen to answer again.
type Outage struct {
	Fault  Fault         `json:"fault"`
	Target Target        `json:"target"`
	Copy   int           `json:"copy,omitempty"`
	Begin  time.Duration `json:"begin"`
	Return time.Duration `json:"return"`
	// InFlight are the requests that the target was at work on when the fault came:
	// those that a server had not answered, or a copy.
	InFlight int `json:"in_flight,omitempty"`
	Exit     int `json:"exit,omitempty"` // status of a copy that was asked to end
	// Shared is when after the return of Redis it was seen to decide about a limit; 0
	// when it was not.
	Shared time.Duration `json:"shared,omitempty"`
	// Offset is how far a copy's clock is ahead from then on: of Clock, and of what
	// starts a copy anew.
	Offset time.Duration `json:"offset,omitempty"`
	Detail string        `json:"detail,omitempty"` // what was done in figures
}

// A Limit is what a client may do: Burst at once and PerSecond more.
type Limit struct {
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

// A Run is what holds for the whole of a ledger.
type Run struct {
	State    string           `json:"state"` // "database" or "redis"
	Copies   int              `json:"copies"`
	Seed     uint64           `json:"seed"`
	Grace    time.Duration    `json:"grace"`     // of refresh tokens
	CodeLife time.Duration    `json:"code_life"` // of codes
	Recovery time.Duration    `json:"recovery"`  // within which the first request succeeds again
	Limits   map[string]Limit `json:"limits"`    // of clients that run into theirs
}

// A Ledger is a run, whole.
type Ledger struct {
	Run     Run
	Ops     []*Op
	Outages []*Outage
}

// Hash names a secret in the ledger.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:8])
}
