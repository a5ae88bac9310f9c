package stage

import (
	"bufio"
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// A Clock is that of a copy: the machine's, off by what the lines of its standard
// input say, in nanoseconds.
type Clock struct{ offset atomic.Int64 }

// Follow reads offsets until the end of the input, which is that of the campaign.
func (c *Clock) Follow(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if n, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
			c.offset.Store(n)
		}
	}
}

// Now is the time by this clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }
