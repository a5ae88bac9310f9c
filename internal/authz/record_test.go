package authz

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

func TestRecordRoundTrip(t *testing.T) {
	code, _, _ := issued()
	redeemed, _, _ := active(t)
	bare := &Record{Phase: Revoked, Fails: 5, Client: "c", Subject: "s", Gen: 1 << 63, SubjectEpoch: -1}
	long := &Record{Phase: Active, Client: strings.Repeat("c", 256), Subject: strings.Repeat("s", 256), Redirect: strings.Repeat("r", 2048)}
	for name, r := range map[string]*Record{"code": code, "active": redeemed, "bare": bare, "long": long} {
		got, err := Decode(r.Encode())
		if err != nil || !same(got, r) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, r)
		}
	}
}

func TestRecordIsFreshAtEachWrite(t *testing.T) {
	r, _, _ := issued()
	a, b := r.Encode(), r.Encode()
	if bytes.Equal(a, b) {
		t.Error("two writes are alike: a writer whose reply was lost cannot tell its own")
	}
	if bytes.Equal(a[4:12], b[4:12]) || bytes.Equal(a[12:20], b[12:20]) {
		t.Error("fewer than 16 bytes are fresh")
	}
}

func TestRecordDamaged(t *testing.T) {
	r, _, _ := issued()
	good := r.Encode()
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"trailing":        append(bytes.Clone(good), 0),
		"version":         change(0, version+1),
		"phase 0":         change(1, 0),
		"phase 4":         change(1, 4),
		"flags":           change(2, 4),
		"varint too long": append(bytes.Clone(good[:116]), bytes.Repeat([]byte{0xff}, 200)...),
		"without client":  (&Record{Phase: Code, Subject: "s"}).Encode(),
		"without subject": (&Record{Phase: Code, Client: "c"}).Encode(),
	} {
		if _, err := Decode(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While copies are upgraded one by one, an earlier one meets records of a later.
func TestRecordOfALaterVersion(t *testing.T) {
	r, _, _ := issued()
	b := r.Encode()
	b[0]++
	if _, err := Decode(b); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v is not temporary", err)
	}
}

func TestRecordExpires(t *testing.T) {
	code, _, _ := issued()
	redeemed, _, _ := active(t)
	alone := *redeemed
	alone.AbsUntil, alone.Until = time.Time{}, start.Add(time.Hour)
	late := *redeemed
	late.Until = late.AbsUntil.Add(time.Hour)
	for name, c := range map[string]struct {
		r    *Record
		want time.Time
	}{
		"a code":                          {code, code.CodeUntil},
		"refresh tokens":                  {redeemed, start.Add(lives.Absolute)},
		"an access token alone":           {&alone, start.Add(time.Hour)},
		"an access token that lives last": {&late, late.Until},
	} {
		if got := c.r.Expires(); got.Before(c.want.Add(time.Minute)) || got.After(c.want.Add(time.Hour)) {
			t.Errorf("%s: kept until %v, which is %v after its end", name, got, got.Sub(c.want))
		}
	}
}

func TestEncodeAllocatesOnce(t *testing.T) {
	r, _, _ := issued()
	r.Challenge = strings.Repeat("c", 43)
	r.Gen, r.RotatedAt, r.IdleUntil, r.AbsUntil, r.Until = 1<<62, start, start, start, start
	if n := testing.AllocsPerRun(100, func() { r.Encode() }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRecord(f *testing.F) {
	code, _, _ := issued()
	f.Add(code.Encode())
	f.Add((&Record{Phase: Revoked, Client: "c", Subject: "s"}).Encode())
	f.Add([]byte{version, byte(Active), 3, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || r != nil {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		got, err := Decode(r.Encode())
		if err != nil || !same(got, r) {
			t.Fatalf("%v\ngot  %+v\nfrom %+v", err, got, r)
		}
	})
}
