package results

import (
	"fmt"
	"io"
	"strconv"
)

// WriteTargets prints the table of targets in Markdown.
func (run *Run) WriteTargets(w io.Writer) error {
	_, err := fmt.Fprint(w, "| | ours | compared | target | best of the others | |\n|---|---:|---:|---:|---:|---|\n")
	for _, o := range run.Outcomes() {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", o.What, o.cost(), o.compared(), o.bound(), o.peer(), o.verdict())
		}
	}
	return err
}

func (o *Outcome) cost() string {
	if !o.Measured {
		return ""
	}
	if o.Unit != cpu {
		return bytes(o.Value)
	}
	s := nanoseconds(o.Value)
	if o.target.Allocs != uncounted {
		s += fmt.Sprintf(", %d allocs", o.Allocs)
	}
	return s
}

func (o *Outcome) compared() string {
	switch {
	case !o.Measured || o.Yard == "":
		return ""
	case o.Inverse:
		return fmt.Sprintf("%s / ours %s", o.YardName, Number(o.Ratio))
	}
	s := fmt.Sprintf("%s × %s", Number(o.Ratio), o.YardName)
	if o.CollectedRatio > 0 {
		s += fmt.Sprintf(" (%s with collections)", Number(o.CollectedRatio))
	}
	return s
}

func (o *Outcome) bound() string {
	var s string
	switch {
	case o.Yard == "":
		return "≤ " + bytes(o.Most)
	case o.Inverse:
		s = "≥ " + Number(o.Most)
	default:
		s = "≤ " + Number(o.Most)
	}
	if o.target.Allocs != uncounted {
		s += fmt.Sprintf(", ≤ %d allocs", o.target.Allocs)
	}
	return s
}

func (o *Outcome) peer() string {
	switch {
	case o.BestPeer == "":
		return ""
	case o.Yard == "":
		return o.BestPeer + " " + bytes(o.PeerRatio)
	}
	return o.BestPeer + " " + Number(o.PeerRatio)
}

func (o *Outcome) verdict() string {
	switch {
	case !o.Measured:
		return "not measured"
	case o.Met:
		return "met"
	}
	return "**not met**"
}

func nanoseconds(v float64) string {
	if v < 1000 {
		return Number(v) + " ns"
	}
	return Number(v/1000) + " µs"
}

func bytes(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + " B" }

// Number has three digits, or all before the point.
func Number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
