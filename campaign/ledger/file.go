package ledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// An entry is one line of a ledger's file.
type entry struct {
	Run    *Run    `json:"run,omitempty"`
	Op     *Op     `json:"op,omitempty"`
	Outage *Outage `json:"outage,omitempty"`
}

// A Writer writes a ledger line by line, so that a run of any length needs no
// memory. It is safe for concurrent use.
type Writer struct {
	began time.Time

	mu   sync.Mutex
	out  *bufio.Writer
	err  error // the first
	ops  int
	seen func(*Op)
}

// NewWriter begins a ledger. Its clock starts now. seen, if not nil, is called
// with each Op, one at a time.
func NewWriter(w io.Writer, run *Run, seen func(*Op)) *Writer {
	l := &Writer{began: time.Now(), out: bufio.NewWriterSize(w, 64<<10), seen: seen}
	l.write(entry{Run: run})
	return l
}

// Now is the ledger's clock, which no fault touches.
func (w *Writer) Now() time.Duration { return time.Since(w.began) }

// Op writes a request that is over.
func (w *Writer) Op(op *Op) { w.write(entry{Op: op}) }

// Outage writes a fault that is over.
func (w *Writer) Outage(o *Outage) { w.write(entry{Outage: o}) }

func (w *Writer) write(e entry) {
	line, err := json.Marshal(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Op != nil {
		w.ops++
		if w.seen != nil {
			w.seen(e.Op)
		}
	}
	if err == nil {
		_, err = w.out.Write(append(line, '\n'))
	}
	if w.err == nil {
		w.err = err
	}
}

// Ops is how many requests were written.
func (w *Writer) Ops() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops
}

// Flush ends the ledger, and returns whatever went wrong on the way.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.out.Flush())
}

var errNoRun = errors.New("ledger: the first line is not that of a run")

// Read reads a ledger.
func Read(r io.Reader) (*Ledger, error) {
	l := new(Ledger)
	d := json.NewDecoder(bufio.NewReaderSize(r, 64<<10))
	d.DisallowUnknownFields()
	for n := 1; ; n++ {
		var e entry
		err := d.Decode(&e)
		switch {
		case errors.Is(err, io.EOF) && n > 1:
			return l, nil
		case errors.Is(err, io.EOF):
			return nil, errNoRun
		case err != nil:
			return nil, fmt.Errorf("ledger: line %d: %w", n, err)
		case (e.Run != nil) != (n == 1):
			return nil, errNoRun
		}
		switch {
		case e.Run != nil:
			l.Run = *e.Run
		case e.Op != nil:
			l.Ops = append(l.Ops, e.Op)
		case e.Outage != nil:
			l.Outages = append(l.Outages, e.Outage)
		}
	}
}
