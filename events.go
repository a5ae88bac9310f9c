package tokenbooth

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// An Event tells what the handler or the guard did. It holds no secret and no
// token. Kind is one of:
//
//	token_issued     the endpoint issued a token
//	request_refused  the endpoint refused a request that is not well-formed or asks for what there is not
//	client_refused   the endpoint refused a client: authentication, disabled, not entitled
//	grant_refused    the endpoint refused what was to be exchanged, as a user's password
//	code_replayed    a code was redeemed again by who had all it takes: its tokens were revoked
//	refresh_reused   a refresh token was used after its successor: its family was revoked
//	state_behind     the State had lost writes: a token was newer than its record
//	revoked          a token, or everything of a subject or a client, was revoked
//	access_refused   the guard refused a request
//	throttled        a limit was reached
//	failed           a dependency failed, or the answer could not be made
type Event struct {
	Kind   string
	Time   time.Time
	Place  response.Place
	Reason response.Reason // empty for token_issued
	Status int             // of the HTTP answer; after [Guard.Check], the one that the RFCs give

	// ClientID is a registered client's; empty where the client is unknown,
	// since what was sent in its place may be anything, a secret too.
	ClientID string
	Subject  string // of the token
	TokenID  string // the token's jti, or an opaque token's identifier
	Grant    string // the grant type, when the handler has it
	Scope    string // of the token that was issued, or that is lacking
	Address  netip.Prefix
	Err      error // the cause of a failure
}

type reporter struct {
	logger *slog.Logger
	events func(context.Context, Event)
}

// report tells those who watch. They must not be able to stop what they watch,
// nor each other.
func (r *reporter) report(ctx context.Context, e *Event) {
	if r.events != nil {
		defer r.tell(ctx, e)
	}
	r.log(ctx, e)
}

func (r *reporter) tell(ctx context.Context, e *Event) {
	defer func() { _ = recover() }()
	r.events(ctx, *e)
}

func (r *reporter) log(ctx context.Context, e *Event) {
	defer func() { _ = recover() }()
	if level := levelOf(e.Kind); r.logger.Enabled(ctx, level) {
		r.writeLine(ctx, level, e)
	}
}

func levelOf(kind string) slog.Level {
	switch kind {
	case "token_issued":
		return slog.LevelDebug
	case "failed":
		return slog.LevelError
	case "code_replayed", "refresh_reused", "state_behind":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (r *reporter) writeLine(ctx context.Context, level slog.Level, e *Event) {
	attrs := make([]slog.Attr, 0, 10)
	for _, a := range []struct{ key, value string }{
		{"place", string(e.Place)},
		{"reason", string(e.Reason)},
		{"client_id", e.ClientID},
		{"subject", e.Subject},
		{"token_id", e.TokenID},
		{"grant", e.Grant},
		{"scope", e.Scope},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	attrs = append(attrs, slog.Int("status", e.Status))
	if e.Address.IsValid() {
		attrs = append(attrs, slog.String("address", e.Address.String()))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	r.logger.LogAttrs(ctx, level, "tokenbooth: "+e.Kind, attrs...)
}

// kindOf says what kind of event a refusal is.
func kindOf(f *response.Failure) string {
	switch f.Reason {
	case response.Throttled:
		return "throttled"
	case response.Internal, response.Unavailable, response.Overloaded:
		return "failed"
	case response.CodeReplayed, response.RefreshReused:
		return string(f.Reason)
	}
	if f.Place == response.Guard {
		return "access_refused"
	}
	switch f.Code {
	case response.InvalidClient, response.UnauthorizedClient:
		return "client_refused"
	case response.InvalidGrant:
		if f.Reason == response.ClientDisabled || f.Reason == response.ClientLongLived {
			return "client_refused"
		}
		return "grant_refused"
	}
	return "request_refused"
}
