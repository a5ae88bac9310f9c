package tokenbooth

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// revoke revokes as a client and expects {} (RFC 7009 §2.2).
func (b *usBooth) revoke(t testing.TB, client, token string) {
	t.Helper()
	w := b.at(b.Revoke, usAs(client, token))
	epHeaders(t, w)
	if w.Code != http.StatusOK || w.Body.String() != "{}" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A usWatcher is a guard, and whether it can know of revocation.
type usWatcher struct {
	name  string
	guard *Guard
	knows bool
}

func (b *usBooth) watchers(t testing.TB) []usWatcher {
	t.Helper()
	format := TokenFormat(JWT{})
	if _, opaque := b.codec.(*opaqueCodec); opaque {
		format = Opaque{}
	}
	elsewhere := GuardConfig{Keys: epKeys(), State: b.state, Tokens: format, Now: b.clock.Now, Limiter: Unlimited{}}
	all := []usWatcher{{"the handler's", b.Guard(), true}, {"one with the State", gkGuard(t, elsewhere), true}}
	if elsewhere.State = nil; needsKeys(format) {
		all = append(all, usWatcher{"one without", gkGuard(t, elsewhere), false})
	}
	return all
}

// live checks what the guards think of an access token; one without the State
// cannot see that it was revoked.
func (b *usBooth) live(t testing.TB, token string, want bool) {
	t.Helper()
	for _, g := range b.watchers(t) {
		if live := gkStatus(t, g.guard, token) == http.StatusNoContent; live != (want || !g.knows) {
			t.Errorf("at the guard, %s: live %v", g.name, live)
		}
	}
	if active := b.introspected(t, "api", token).Active; active != want {
		t.Errorf("active %v", active)
	}
}

func TestRevoke_AccessToken(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		other := b.flow(t)
		b.live(t, all.AccessToken, true)
		b.revoke(t, "web", all.AccessToken)
		b.live(t, all.AccessToken, false)
		b.revoke(t, "web", all.AccessToken)
		b.live(t, other.AccessToken, true)
		b.live(t, b.tokens(t, usRefresh(all.RefreshToken)).AccessToken, true) // it ends alone
		b.clock.move(2 * time.Hour)
		b.revoke(t, "web", other.AccessToken)
	})
}

// TestRevoke_RefreshToken: it ends the family, and its access tokens at once.
func TestRevoke_RefreshToken(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		first := b.flow(t)
		other := b.flow(t)
		second := b.tokens(t, usRefresh(first.RefreshToken))
		b.revoke(t, "web", first.RefreshToken) // an old one tells the family as well
		for _, all := range []usTokens{first, second} {
			b.live(t, all.AccessToken, false)
			b.refused(t, usRefresh(all.RefreshToken), "invalid_grant")
			b.revoke(t, "web", all.RefreshToken)
		}
		b.live(t, other.AccessToken, true)
		b.tokens(t, usRefresh(other.RefreshToken))
	})
}

func TestRevoke_ClientToken(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		token := b.tokens(t, "grant_type=client_credentials"+usWeb).AccessToken
		b.live(t, token, true)
		b.revoke(t, "web", token)
		b.live(t, token, false)
	})
}

// TestRevoke_Unknown: what is no token, or has ended, is answered like a success,
// writes nothing and is no event (RFC 7009 §2.2).
func TestRevoke_Unknown(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		elsewhere := usNew(t).flow(t)
		writes, events := b.state.wrote, len(b.all())
		for _, token := range append(usGarbage(all), elsewhere.RefreshToken) {
			b.revoke(t, "web", token)
		}
		if b.state.wrote != writes || len(b.all()) != events {
			t.Errorf("%d writes, %d events", b.state.wrote-writes, len(b.all())-events)
		}
		b.live(t, all.AccessToken, true)
		b.tokens(t, usRefresh(all.RefreshToken))
	})
}

// TestRevoke_OfAnother: the request is refused, and the client told (RFC 7009
// §2.1); the token stays.
func TestRevoke_OfAnother(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		writes := b.state.wrote
		for _, token := range []string{all.AccessToken, all.RefreshToken} {
			for _, body := range []string{usAs("old", token), usAs("api", token), "client_id=app&token=" + token} {
				w := b.at(b.Revoke, body)
				b.want(t, w, http.StatusBadRequest, response.GrantRefused)
				if !strings.Contains(w.Body.String(), `"error":"invalid_grant"`) {
					t.Errorf("%s", w.Body)
				}
			}
		}
		if b.state.wrote != writes {
			t.Errorf("%d writes", b.state.wrote-writes)
		}
		b.live(t, all.AccessToken, true)
	})
}

// TestRevoke_PublicClient: it needs no secret to end its own.
func TestRevoke_PublicClient(t *testing.T) {
	b := usNew(t)
	const uri = "http://127.0.0.1:5000/cb"
	u := b.browser()
	code := usLocation(t, u.approve(u.ticket(t, usQuery("client_id", "app", "redirect_uri", uri))), uri).Get("code")
	all := b.tokens(t, "grant_type=authorization_code&client_id=app&code="+code+"&redirect_uri="+uri+"&code_verifier="+usVerifier)
	for _, token := range []string{all.AccessToken, all.RefreshToken} {
		if w := b.at(b.Revoke, "client_id=app&token="+token); w.Code != http.StatusOK || w.Body.String() != "{}" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		b.live(t, all.AccessToken, false)
	}
	b.refused(t, "grant_type=refresh_token&client_id=app&refresh_token="+all.RefreshToken, "invalid_grant")
}

// TestRevoke_ReplyLost: the denial was written although the store did not say so.
func TestRevoke_ReplyLost(t *testing.T) {
	b := usNew(t)
	all := b.flow(t)
	b.Handler.state = bounded(&usLostReplies{State: b.state})
	b.revoke(t, "web", all.AccessToken)
	b.live(t, all.AccessToken, false)
}

func TestRevoke_Events(t *testing.T) {
	usFormats(t, func(t *testing.T, b *usBooth) {
		all := b.flow(t)
		p, err := b.Guard().Check(gkRequest(all.AccessToken))
		if err != nil {
			t.Fatal(err)
		}
		b.revoke(t, "web", all.AccessToken)
		want := Event{
			Kind: "revoked", Time: b.clock.Now(), Place: response.Endpoint, Status: http.StatusOK, ClientID: "web", Subject: "user-7",
			TokenID: p.TokenID, Address: gkPrefix("192.0.2.1/32"),
		}
		if e := b.last(t); e != want {
			t.Errorf("%+v\nwant %+v", e, want)
		}
		b.revoke(t, "web", all.RefreshToken)
		if want.TokenID = ""; b.last(t) != want {
			t.Errorf("%+v\nwant %+v", b.last(t), want)
		}
		if err := b.RevokeSubject(t.Context(), "user-7"); err != nil || b.last(t) != (Event{Kind: "revoked", Time: b.clock.Now(), Subject: "user-7"}) {
			t.Errorf("%v: %+v", err, b.last(t))
		}
		if err := b.RevokeClient(t.Context(), "web"); err != nil || b.last(t) != (Event{Kind: "revoked", Time: b.clock.Now(), ClientID: "web"}) {
			t.Errorf("%v: %+v", err, b.last(t))
		}
		kinds := gkCatalogue(t)
		for _, e := range b.all() {
			if !slices.Contains(kinds, e.Kind) {
				t.Errorf("the kind %q is not in the catalogue", e.Kind)
			}
		}
		for _, token := range []string{all.AccessToken, all.RefreshToken} {
			if strings.Contains(b.logged(), token) {
				t.Error("a token is in the log")
			}
		}
	})
}
