package response_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/response"
)

// guesses are the pairs whose difference tells who exists.
var guesses = [][2]response.Reason{
	{response.ClientUnknown, response.SecretWrong},
	{response.UserUnknown, response.PasswordWrong},
}

func TestC4_UnknownAnswersLikeWrong(t *testing.T) {
	for _, e := range envelopes {
		for _, pair := range guesses {
			r, err := e.Failure(failure(pair[0], response.Endpoint))
			unknown := must(t, r, err)
			r, err = e.Failure(failure(pair[1], response.Endpoint))
			wrong := must(t, r, err)
			same := reflect.DeepEqual(unknown, wrong)
			if tells := e.Formatter == (response.Content{}); same == tells {
				t.Errorf("%s: %s and %s: alike is %t\n%s%s", e.name, pair[0], pair[1], same, render(unknown), render(wrong))
			}
		}
	}
}

func TestC4_DisabledAndLongLived(t *testing.T) {
	tests := []struct {
		response.Formatter
		disabled, longLived int
	}{
		{response.OAuth{}, 400, 400},
		{response.Data{}, 401, 401},
		{response.Meta{}, 403, 403},
		{response.Coded{}, 403, 403},
		{response.Content{}, 401, 401},
	}
	for _, tt := range tests {
		d, err := tt.Failure(failure(response.ClientDisabled, response.Endpoint))
		disabled := must(t, d, err)
		l, err := tt.Failure(failure(response.ClientLongLived, response.Endpoint))
		longLived := must(t, l, err)
		if disabled.Status != tt.disabled || longLived.Status != tt.longLived {
			t.Errorf("%T: got %d and %d, want %d and %d", tt.Formatter, disabled.Status, longLived.Status, tt.disabled, tt.longLived)
		}
	}
}

func TestG8_LockedAnswersLikeWrongPassword(t *testing.T) {
	for _, e := range envelopes {
		locked, err1 := e.Failure(failure(response.UserLocked, response.Endpoint))
		wrong, err2 := e.Failure(failure(response.PasswordWrong, response.Endpoint))
		if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(locked, wrong) {
			t.Errorf("%s: %v\n%s%s", e.name, err, render(locked), render(wrong))
		}
	}
}

func TestH3_CauseIsNeverSent(t *testing.T) {
	for _, e := range envelopes {
		for _, at := range places {
			for _, reason := range response.Reasons(at) {
				f := failure(reason, at)
				f.Err = errors.New("canary")
				r, err := e.Failure(f)
				if err != nil || bytes.Contains(render(r), []byte("canary")) {
					t.Errorf("%s/%s/%s: %v\n%s", e.name, at, reason, err, render(r))
				}
			}
		}
	}
}

func TestZeroPlaceIsTheEndpoint(t *testing.T) {
	for _, e := range envelopes {
		for _, reason := range response.Reasons(response.Endpoint) {
			zero, err1 := e.Failure(failure(reason, ""))
			want, err2 := e.Failure(failure(reason, response.Endpoint))
			if err := errors.Join(err1, err2); err != nil || !reflect.DeepEqual(zero, want) {
				t.Errorf("%s/%s: %v\n%s%s", e.name, reason, err, render(zero), render(want))
			}
		}
	}
}

func TestContentMissingParameterWithoutName(t *testing.T) {
	r, err := response.Content{}.Failure(response.Fail(response.ParameterMissing))
	if got, want := string(must(t, r, err).Body), `{"code":400000,"message":"A required parameter is missing"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Formatters are called concurrently and may not change what they are given;
// the race detector sees a write.
func TestFormattersOnlyRead(t *testing.T) {
	token, want := tokens()["token_user_no_roles"], tokens()["token_user_no_roles"]
	f := failure(response.ClientUnknown, response.Endpoint)
	var wg sync.WaitGroup
	for _, e := range envelopes {
		for range 4 {
			wg.Go(func() {
				if _, err := e.Token(token); err != nil {
					t.Error(err)
				}
				if _, err := e.Failure(f); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if !reflect.DeepEqual(token, want) || !reflect.DeepEqual(f, failure(response.ClientUnknown, response.Endpoint)) {
		t.Errorf("changed to %+v and %+v", token, f)
	}
}

func TestConventions(t *testing.T) {
	tests := []struct {
		response.Formatter
		want response.Conventions
		rate bool
	}{
		{Formatter: response.OAuth{}, want: response.Conventions{JSON: true}},
		{Formatter: response.Data{}, want: response.Conventions{FormLabelledJSON: true}},
		{Formatter: response.Meta{}, want: response.Conventions{ChallengeProves: true}},
		{Formatter: response.Coded{}, want: response.Conventions{DefaultGrant: "client_credentials"}, rate: true},
		{Formatter: response.Content{}, want: response.Conventions{JSON: true}},
		{Formatter: response.Content{QueryTokens: true}, want: response.Conventions{JSON: true, QueryToken: true}},
	}
	for _, tt := range tests {
		got := response.ConventionsOf(tt.Formatter)
		rate := got.RateHeader != nil
		got.RateHeader = nil // functions cannot be compared
		if !reflect.DeepEqual(got, tt.want) || rate != tt.rate {
			t.Errorf("%#v: got %+v, rate header %t", tt.Formatter, got, rate)
		}
	}
}

func TestCodedRateHeader(t *testing.T) {
	for reset, want := range map[time.Time]string{
		time.Unix(1524486008, 0): "1524486008",
		time.Unix(1524486008, 1): "1524486009",
	} {
		h := http.Header{}
		response.ConventionsOf(response.Coded{}).RateHeader(h, 20, 0, reset)
		if h.Get("X-RateLimit-Limit") != "20" || h.Get("X-RateLimit-Remaining") != "0" || h.Get("X-RateLimit-Reset") != want {
			t.Errorf("%v: got %v", reset, h)
		}
	}
}

func FuzzFormatters(f *testing.F) {
	f.Add("acme", "Nightly\tsync", "admin", "Param", "Message", string(response.ParameterMissing), int64(1), true)
	f.Fuzz(func(t *testing.T, id, text, username, param, message, reason string, number int64, atGuard bool) {
		s := &response.Subject{ID: id, Number: number, Name: text, Description: message, Username: username}
		token := &response.Token{
			AccessToken: text, Type: param, ExpiresIn: int(number), ExpiresAt: time.Unix(number, 0),
			Scope: message, RefreshToken: id, IDToken: username, GrantType: reason, Client: s,
		}
		ofUser := *token
		ofUser.User = s
		fail := response.Fail(response.Reason(reason))
		fail.Param, fail.Scope, fail.Message, fail.Code = param, text, message, id
		if atGuard {
			fail.Place = response.Guard
		}
		for _, e := range envelopes {
			r, err := e.Token(token)
			checkReply(t, r, err)
			r, err = e.Token(&ofUser)
			checkReply(t, r, err)
			r, err = e.Failure(fail)
			checkReply(t, r, err)
		}
	})
}

func checkReply(t *testing.T, r response.Reply, err error) {
	t.Helper()
	switch {
	case err != nil:
		t.Error(err)
	case r.Status < 200 || r.Status > 599:
		t.Errorf("status %d", r.Status)
	case !json.Valid(r.Body):
		t.Errorf("not JSON: %q", r.Body)
	case bytes.ContainsFunc(r.Body, func(c rune) bool { return c < ' ' || c == '<' || c == '>' || c == '&' }):
		t.Errorf("raw control or markup bytes: %q", r.Body)
	}
}

func BenchmarkFormatters(b *testing.B) {
	token := tokens()["token_full"]
	f := failure(response.TokenExpired, response.Guard)
	for _, e := range envelopes {
		b.Run(e.name+"/token", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Token(token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(e.name+"/failure", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Failure(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
