// Package results reads what the benchmarks print and compares it.
package results

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Run is one run of run.sh.
type Run struct {
	Config map[string]string // "date", "cpu" and the other lines of the form key: value
	Tables []*Table
}

// A Table is one benchmark in one setting (algorithm, connections, keys).
type Table struct {
	Name string // as Token/alg=ES256
	Rows []*Row
}

// A Row is one peer in a table.
type Row struct {
	Name   string
	Values map[string][]float64 // by unit, one for each round
}

// Read takes the names apart at their last key, which is the peer, the step or the
// part.
func Read(r io.Reader) (*Run, error) {
	run := &Run{Config: map[string]string{}}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 4 && strings.HasPrefix(fields[0], "Benchmark"):
			setting, name := split(fields[0])
			run.table(setting).add(name, fields[2:])
		case len(fields) >= 2 && strings.HasSuffix(fields[0], ":"):
			run.Config[strings.TrimSuffix(fields[0], ":")] = strings.Join(fields[1:], " ")
		}
	}
	return run, lines.Err()
}

func split(name string) (setting, row string) {
	name = strings.TrimPrefix(name, "Benchmark")
	if at := strings.LastIndexByte(name, '-'); at >= 0 { // the number of processors
		name = name[:at]
	}
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return name, ""
	}
	_, row, _ = strings.Cut(name[at+1:], "=")
	return name[:at], row
}

func (run *Run) table(name string) *Table {
	for _, t := range run.Tables {
		if t.Name == name {
			return t
		}
	}
	t := &Table{Name: name}
	run.Tables = append(run.Tables, t)
	return t
}

// find returns the table of that name; one that ends in "=" stands for whichever
// number comes there.
func (run *Run) find(name string) *Table {
	for _, t := range run.Tables {
		if t.Name == name || strings.HasSuffix(name, "=") && strings.HasPrefix(t.Name, name) {
			return t
		}
	}
	return nil
}

func (t *Table) add(name string, measured []string) {
	r := t.Row(name)
	if r == nil {
		r = &Row{name, map[string][]float64{}}
		t.Rows = append(t.Rows, r)
	}
	for pair := range slices.Chunk(measured, 2) {
		if v, err := strconv.ParseFloat(pair[0], 64); err == nil && len(pair) == 2 {
			r.Values[pair[1]] = append(r.Values[pair[1]], v)
		}
	}
}

// Row returns nil where there is none of that name.
func (t *Table) Row(name string) *Row {
	for _, r := range t.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// largest returns the row whose name is the largest number.
func (t *Table) largest() *Row {
	return slices.MaxFunc(t.Rows, func(a, b *Row) int { return cmp.Compare(a.number(), b.number()) })
}

func (r *Row) number() int {
	n, _ := strconv.Atoi(r.Name)
	return n
}

// Ratios are the rounds' own: what slows the machine for a while slows both.
func Ratios(of, to []float64) []float64 {
	var all []float64
	for i := range min(len(of), len(to)) {
		all = append(all, of[i]/to[i])
	}
	return all
}

// Median returns 0 for no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
