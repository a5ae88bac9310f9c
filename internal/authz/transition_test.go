package authz

import (
	"testing"
	"time"
)

func TestG4_Redeem(t *testing.T) {
	code, _, hash := issued()
	redeemed, _, _ := active(t)
	redeemed.CodeHash = hash
	four := *code
	four.Fails = 4
	dead := code.revoked()
	late := code.CodeUntil
	for _, c := range []struct {
		name    string
		r       *Record
		garbage bool
		wrong   bool
		lost    bool
		now     time.Time
		v       Verdict
		writes  bool
		phase   Phase
		fails   uint8
	}{
		{name: "good", r: code, v: Grant, writes: true, phase: Active},
		{name: "good at last", r: code, now: late.Add(-1), v: Grant, writes: true, phase: Active},
		{name: "good after four failures", r: &four, v: Grant, writes: true, phase: Active, fails: 4},
		{name: "good after a lost race with a failure", r: code, lost: true, v: Grant, writes: true, phase: Active},
		{name: "too late", r: code, now: late, v: Refuse},
		{name: "wrong", r: code, wrong: true, v: Refuse, writes: true, phase: Code, fails: 1},
		{name: "wrong for the fifth time", r: &four, wrong: true, v: Refuse, writes: true, phase: Revoked, fails: 5},
		{name: "wrong and too late", r: code, wrong: true, now: late, v: Refuse},
		{name: "garbage", r: code, garbage: true, v: Refuse},
		{name: "garbage and wrong", r: &four, garbage: true, wrong: true, v: Refuse},
		{name: "replayed", r: redeemed, v: Replayed, writes: true, phase: Revoked},
		{name: "replayed a year later", r: redeemed, now: start.AddDate(1, 0, 0), v: Replayed, writes: true, phase: Revoked},
		{name: "replayed wrongly", r: redeemed, wrong: true, v: Refuse},
		{name: "replayed garbage", r: redeemed, garbage: true, v: Refuse},
		{name: "lost the race", r: redeemed, lost: true, v: Refuse},
		{name: "revoked", r: dead, v: Refuse},
		{name: "revoked, wrong", r: dead, wrong: true, v: Refuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, presented := *c.r, hash
			if c.garbage {
				presented[31] ^= 1
			}
			if c.now.IsZero() {
				c.now = start
			}
			next, _, v := c.r.Redeem(presented, !c.wrong, c.lost, c.now, lives)
			if v != c.v || (next != nil) != c.writes {
				t.Fatalf("verdict %d, want %d; writes %+v", v, c.v, next)
			}
			if next != nil && (next.Phase != c.phase || next.Fails != c.fails) {
				t.Errorf("phase %d, fails %d; want %d, %d", next.Phase, next.Fails, c.phase, c.fails)
			}
			if !same(c.r, &before) {
				t.Error("the record itself was changed")
			}
		})
	}
}

func TestG6_RedeemSetsLifetimes(t *testing.T) {
	r, _, secret := active(t)
	if r.Gen != 1 || r.SecretHash != HashSecret(secret) || r.MACNonce == [32]byte{} {
		t.Errorf("no first generation: %+v", r)
	}
	if !r.AbsUntil.Equal(start.Add(lives.Absolute)) || !r.IdleUntil.Equal(start.Add(lives.Idle)) || !r.Until.Equal(start.Add(time.Hour)) {
		t.Errorf("idle %v, absolute %v, access %v", r.IdleUntil.Sub(start), r.AbsUntil.Sub(start), r.Until.Sub(start))
	}
	code, _, hash := issued()
	code.Offline = false
	next, _, v := code.Redeem(hash, true, false, start, lives)
	if v != Grant || !next.AbsUntil.IsZero() || !next.IdleUntil.IsZero() {
		t.Errorf("without offline access: %d, %+v", v, next)
	}
	short := lives
	short.Absolute = time.Hour
	code.Offline = true
	if next, _, _ = code.Redeem(hash, true, false, start, short); !next.IdleUntil.Equal(next.AbsUntil) {
		t.Error("idle beyond absolute")
	}
}

func TestG6_Good(t *testing.T) {
	rec, f, secret := active(t)
	rec.Gen = 9
	for _, c := range []struct {
		name   string
		change func(*Record)
		gen    uint64
		client string
		now    time.Time
		want   bool
	}{
		{name: "live", gen: 9, want: true},
		{name: "old", gen: 1, want: true},
		{name: "newer than the record", gen: 12, want: true},
		{name: "another client", gen: 9, client: "probe"},
		{name: "not yet idle", gen: 9, now: rec.IdleUntil.Add(-1), want: true},
		{name: "idle", gen: 9, now: rec.IdleUntil},
		{name: "absolute", gen: 9, now: rec.AbsUntil, change: func(r *Record) { r.IdleUntil = rec.AbsUntil.Add(time.Hour) }},
		{name: "revoked", gen: 9, change: func(r *Record) { r.Phase = Revoked }},
		{name: "not redeemed", gen: 9, change: func(r *Record) { r.Phase = Code }},
		{name: "not offline", gen: 9, change: func(r *Record) { r.Offline = false }},
		{name: "another redemption", gen: 9, change: func(r *Record) { r.SecretHash[0] ^= 1 }},
		{name: "another nonce", gen: 9, change: func(r *Record) { r.MACNonce[31] ^= 1 }},
	} {
		token, _ := ParseRefresh(Token(f, secret, rec.MACNonce, c.gen))
		r := *rec
		if c.change != nil {
			c.change(&r)
		}
		if c.client == "" {
			c.client = r.Client
		}
		if c.now.IsZero() {
			c.now = start
		}
		if got := r.Good(&token, c.client, c.now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestG7_Rotate(t *testing.T) {
	rec, _, _ := active(t)
	rec.Gen = 5
	none, minute := lives, lives
	none.Grace, minute.Grace = 0, time.Minute
	for _, c := range []struct {
		name  string
		gen   uint64
		lost  bool
		after time.Duration
		l     Lifetimes
		v     Verdict
		to    uint64 // 0 where nothing is to be written
		phase Phase
	}{
		{"live", 5, false, time.Hour, lives, Grant, 6, Active},
		{"live, lost to a store that forgot", 5, true, 0, lives, Grant, 6, Active},
		{"before, at once", 4, false, 0, lives, Again, 0, 0},
		{"before, at last", 4, false, 10 * time.Second, lives, Again, 0, 0},
		{"before, by a clock behind", 4, false, -10 * time.Second, lives, Again, 0, 0},
		{"before, too late", 4, false, 10*time.Second + 1, lives, Reused, 5, Revoked},
		{"before, by a clock far behind", 4, false, -11 * time.Second, lives, Reused, 5, Revoked},
		{"before, a longer grace", 4, false, time.Minute, minute, Again, 0, 0},
		{"before, no grace", 4, false, 0, none, Reused, 5, Revoked},
		{"before, lost the race", 4, true, time.Minute, lives, Again, 0, 0},
		{"before, lost the race, no grace", 4, true, 0, none, Reused, 5, Revoked},
		{"two before", 3, false, 0, lives, Reused, 5, Revoked},
		{"two before, lost the race", 3, true, 0, lives, Refuse, 0, 0},
		{"two before, lost the race, no grace", 3, true, 0, none, Reused, 5, Revoked},
		{"the first, a week later", 1, false, 7 * 24 * time.Hour, lives, Reused, 5, Revoked},
		{"newer", 6, false, 0, lives, RolledBack, 7, Active},
		{"far newer", 60, false, 0, none, RolledBack, 61, Active},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := rec.RotatedAt.Add(c.after)
			var next Record
			v := rec.Rotate(&next, c.gen, c.lost, now, c.l)
			if v != c.v || (next == Record{}) != (c.to == 0) {
				t.Fatalf("verdict %d, want %d; writes %+v", v, c.v, next)
			}
			if c.to == 0 {
				return
			}
			if next.Gen != c.to || next.Phase != c.phase || !next.AbsUntil.Equal(rec.AbsUntil) {
				t.Errorf("phase %d, gen %d, absolute %v", next.Phase, next.Gen, next.AbsUntil)
			}
			if next.Phase == Active && (!next.RotatedAt.Equal(now) || !next.IdleUntil.Equal(now.Add(c.l.Idle)) || next.Until.Before(rec.Until)) {
				t.Errorf("rotated %v, idle %v, access %v", next.RotatedAt, next.IdleUntil, next.Until)
			}
		})
	}
	var next Record
	if rec.Rotate(&next, 5, false, rec.AbsUntil.Add(-time.Minute), lives); !next.IdleUntil.Equal(rec.AbsUntil) || !next.Until.After(rec.AbsUntil) {
		t.Errorf("near the end: idle %v, absolute %v, access %v", next.IdleUntil, next.AbsUntil, next.Until)
	}
}

func TestRevokeOnce(t *testing.T) {
	r, _, _ := active(t)
	next := r.Revoke()
	if next == nil || next.Phase != Revoked || r.Phase != Active {
		t.Fatalf("%+v", next)
	}
	if next.Revoke() != nil {
		t.Error("what has ended is written again")
	}
}
