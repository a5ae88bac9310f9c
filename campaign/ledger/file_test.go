package ledger_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
)

func TestWrittenIsRead(t *testing.T) {
	run := &ledger.Run{State: "redis", Copies: 2, Seed: 7, Grace: time.Second, Limits: map[string]ledger.Limit{"a": {PerSecond: 0.5, Burst: 3}}}
	op := &ledger.Op{Kind: ledger.Refresh, Copy: 1, Begin: 1, End: 2, Outcome: ledger.OK, Family: "f", Sent: "s", Gen: 3, Got: "g", Life: 4, Next: "n", Writes: true, Entered: 5}
	outage := &ledger.Outage{Fault: ledger.Kill, Target: ledger.Copy, Copy: 1, Begin: 1, Return: 2, Exit: 4}
	var file bytes.Buffer
	seen := 0
	w := ledger.NewWriter(&file, run, func(*ledger.Op) { seen++ })
	w.Op(op)
	w.Outage(outage)
	w.Op(op)
	if err := w.Flush(); err != nil || w.Ops() != 2 || seen != 2 {
		t.Fatalf("%v, %d, %d", err, w.Ops(), seen)
	}
	l, err := ledger.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if want := (&ledger.Ledger{Run: *run, Ops: []*ledger.Op{op, op}, Outages: []*ledger.Outage{outage}}); !reflect.DeepEqual(l, want) {
		t.Errorf("%+v", l)
	}
}

func TestWriterAtOnce(t *testing.T) {
	var file bytes.Buffer
	w := ledger.NewWriter(&file, new(ledger.Run), nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				w.Op(&ledger.Op{Kind: ledger.Mint, Begin: w.Now()})
			}
		})
	}
	all.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if l, err := ledger.Read(&file); err != nil || len(l.Ops) != 800 {
		t.Errorf("%v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":               "",
		"no run":                `{"op":{}}`,
		"two runs":              `{"run":{}}` + "\n" + `{"run":{}}`,
		"half a line":           `{"run":{}}` + "\n" + `{"op":{"kind":"mi`,
		"what it does not know": `{"run":{},"more":1}`,
	} {
		if _, err := ledger.Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestFullDisk(t *testing.T) {
	w := ledger.NewWriter(full{}, new(ledger.Run), nil)
	w.Op(new(ledger.Op))
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func TestHashHides(t *testing.T) {
	if h := ledger.Hash("secret"); len(h) != 16 || strings.Contains(h, "secret") || h == ledger.Hash("secreu") {
		t.Error(h)
	}
}
