package load_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/checker"
	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/campaign/load"
	"github.com/tokenbooth/tokenbooth/store"
)

// play lets the clients use two copies for a while and returns what they saw.
func play(t *testing.T, state store.State, howLong time.Duration) *ledger.Ledger {
	t.Helper()
	b := newBooth(t, state)
	var file bytes.Buffer
	book := ledger.NewWriter(&file, &ledger.Run{
		State: "database", Copies: 2, Grace: 10 * time.Second, CodeLife: time.Minute, Recovery: 2 * time.Second, Limits: load.Limits(),
	}, nil)
	l := load.New(load.Config{
		Copies: []string{b.open(), b.open()}, Book: book, Rate: 400, Seed: 1, TokenLife: tokenLife, CodeLife: time.Minute,
	})
	ctx, cancel := context.WithTimeout(t.Context(), howLong)
	defer cancel()
	go func() {
		release := l.Hold(1, 3)
		if l.InFlight(1) < 3 {
			t.Errorf("%d in flight", l.InFlight(1))
		}
		release()
	}()
	l.Run(ctx)
	if err := book.Flush(); err != nil {
		t.Fatal(err)
	}
	if secret := "secret"; strings.Contains(file.String(), secret) || strings.Contains(file.String(), "sk-") || strings.Contains(file.String(), "eyJ") {
		t.Error("the ledger has secrets")
	}
	book2, err := ledger.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	return book2
}

func TestNothingToFind(t *testing.T) {
	l := play(t, new(store.Memory), 6*time.Second)
	r := checker.Check(l)
	for _, v := range r.Violations {
		t.Errorf("%+v", v)
	}
	for _, p := range []checker.Promise{
		checker.CodeTwice, checker.TwoLeaves, checker.TokenLost, checker.TokenUndead,
		checker.RevocationUndone, checker.FamilyEnded, checker.OverLimit,
	} {
		t.Logf("%d times: %s", r.Checked[p], p)
		if r.Checked[p] == 0 {
			t.Errorf("nothing puts to the test that %s", p)
		}
	}
	kinds, entered := map[ledger.Kind]int{}, 0
	for _, op := range l.Ops {
		kinds[op.Kind]++
		if op.Entered > 0 {
			entered++
		}
	}
	if len(kinds) != 7 || entered < 3 {
		t.Errorf("%v, %d held", kinds, entered)
	}
}

// TestBrokenStates has States whose faults the ledger of the same clients shows.
func TestBrokenStates(t *testing.T) {
	for name, c := range map[string]struct {
		state forgetful
		want  checker.Promise
	}{
		"swaps whatever is there": {forgetful{deaf: true}, checker.CodeTwice},
		"forgets revocations":     {forgetful{blind: func(key string) bool { return strings.HasPrefix(key, "denied:") }}, checker.RevocationUndone},
		"forgets opaque tokens":   {forgetful{blind: func(key string) bool { return strings.HasPrefix(key, "token:") && key[6] < 128 }}, checker.TokenLost},
		"forgets families":        {forgetful{blind: func(key string) bool { return strings.HasPrefix(key, "authz:") && key[6] < 128 }}, checker.TokenLost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.state.State = new(store.Memory)
			if broken, _ := checker.Check(play(t, &c.state, 5*time.Second)).Count(c.want); broken == 0 {
				t.Errorf("not found: %s", c.want)
			}
		})
	}
}
