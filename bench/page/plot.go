package main

import (
	"bytes"
	"fmt"
	"html"
	"math"

	"github.com/tokenbooth/tokenbooth/bench/internal/results"
)

// The plot: a group of bars for each target, in multiples of the limit on a
// logarithmic axis.
const (
	width     = 960
	labels    = 330 // to the left of the axis
	right     = 90  // for the figure of the longest bar
	top       = 96
	barHeight = 10
	barGap    = 2
	groupGap  = 13
	group     = 3*barHeight + 2*barGap + groupGap
	foot      = 52

	least      = 0.25 // where the axis begins
	figureRoom = 36
)

// Both schemes have a ground of their own, so that the plot can be read on any
// page.
const style = `<style>
  text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .small { font-size: 10px; fill: #59636e; }
  .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; } .halo { stroke: #ffffff; stroke-width: 5; }
  .ground { fill: #ffffff; } .grid { stroke: #d1d9e0; } .one { stroke: #59636e; stroke-width: 1.5; }
  .ours { fill: #0969da; } .peer { fill: #d4772c; } .limit { fill: #8c959f; } .bound { stroke: #1a7f37; stroke-width: 2.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .small { fill: #9198a1; } .figure, .halo { stroke: #0d1117; }
    .ground { fill: #0d1117; } .grid { stroke: #3d444d; } .one { stroke: #9198a1; }
    .ours { fill: #4493f8; } .peer { fill: #e09b4f; } .limit { fill: #6e7681; } .bound { stroke: #3fb950; }
  }
</style>
`

// An axis says where a ratio is.
type axis struct{ most float64 }

func newAxis(all []results.Outcome) axis {
	most := 2.0
	for _, o := range all {
		most = max(most, o.OursX, o.PeerX, o.BoundX)
	}
	return axis{most * 1.1}
}

func (a axis) x(ratio float64) float64 {
	share := math.Log(max(ratio, least)/least) / math.Log(a.most/least)
	return labels + share*(width-labels-right)
}

func plot(run *results.Run) []byte {
	all := run.Outcomes()
	a := newAxis(all)
	bottom := top + len(all)*group
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="Ours, the best of the others and the physical limit, for each target">`+"\n",
		width, bottom+foot)
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, bottom+foot)
	legend(&b, run)
	grid(&b, a, bottom)
	for i := range all {
		bars(&b, a, &all[i], top+i*group)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func legend(b *bytes.Buffer, run *results.Run) {
	text(b, 16, 28, "title", "Cost, in multiples of the physical limit: shorter is better")
	text(b, 16, 46, "small", fmt.Sprintf("%s, %s, %s processors, %s", run.Config["date"], run.Config["cpu"], run.Config["processors"], run.Config["go"]))
	x := 16
	for _, l := range []struct {
		class, name string
		width       int
	}{
		{"ours", "ours", 70},
		{"peer", "best of the others", 150},
		{"limit", "the limit, or what the row compares with (1)", 300},
	} {
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="61" width="14" height="10"/>`, l.class, x)
		text(b, float64(x+20), 70, "", l.name)
		x += l.width
	}
	fmt.Fprintf(b, `<line class="bound" x1="%[1]d" x2="%[1]d" y1="59" y2="73"/>`, x+4)
	text(b, float64(x+12), 70, "", "target")
}

func grid(b *bytes.Buffer, a axis, bottom int) {
	for _, tick := range []float64{0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		if tick > a.most {
			break
		}
		class := "grid"
		if tick == 1 {
			class = "one"
		}
		x := a.x(tick)
		fmt.Fprintf(b, `<line class="%s" x1="%.1[2]f" x2="%.1[2]f" y1="%d" y2="%d"/>`+"\n", class, x, top-10, bottom)
		fmt.Fprintf(b, `<text class="small" x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x, bottom+15, tick)
	}
	fmt.Fprintf(b, `<text class="small" x="%.1f" y="%d" text-anchor="middle">times the limit (logarithmic): processor time, or bytes where the row is about memory</text>`+"\n",
		float64(labels+width-right)/2, bottom+36)
}

func bars(b *bytes.Buffer, a axis, o *results.Outcome, y int) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-12, y+barHeight+barGap+barHeight, html.EscapeString(o.What))
	if !o.Measured {
		text(b, labels+8, float64(y+barHeight+barGap+barHeight), "small figure", "not measured in this form")
		return
	}
	x := a.x(o.OursX)
	bar(b, "ours", x, y)
	bound := a.x(o.BoundX)
	for _, class := range []string{"halo", "bound"} {
		fmt.Fprintf(b, `<line class="%s" x1="%.1[2]f" x2="%.1[2]f" y1="%d" y2="%d"/>`+"\n", class, bound, y-3, y+barHeight+2)
	}
	if x < bound && bound < x+figureRoom {
		x = bound
	}
	figure(b, x, y, results.Number(o.OursX))
	y += barHeight + barGap
	if o.PeerX > 0 {
		bar(b, "peer", a.x(o.PeerX), y)
		figure(b, a.x(o.PeerX), y, results.Number(o.PeerX)+" "+o.BestPeer)
	}
	bar(b, "limit", a.x(1), y+barHeight+barGap)
}

func bar(b *bytes.Buffer, class string, x float64, y int) {
	fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`+"\n", class, labels, y, x-labels, barHeight)
}

// figure stands behind its bar, and behind the mark of the target where that would
// go through it.
func figure(b *bytes.Buffer, x float64, y int, s string) {
	text(b, x+6, float64(y+barHeight-1), "small figure", s)
}

func text(b *bytes.Buffer, x, y float64, class, s string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, x, y, html.EscapeString(s))
}
