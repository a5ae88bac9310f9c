package tokenbooth

import "sync/atomic"

// A slotIndex finds the slots of a hash: open addressing with linear probing, at
// most three quarters full. A cell holds the low half of the hash above the
// slot number plus one, so that a lookup touches the slots of no other key and
// growing touches none. A map would need more memory and allocate as keys come
// and go. One may write at a time; whoever reads beside it may miss a hash.
type slotIndex struct {
	cells atomic.Pointer[[]atomic.Uint64]
}

func slotCell(h uint64, n int) uint64 { return h<<32 | uint64(n+1) }

func (x *slotIndex) all() []atomic.Uint64 {
	if cells := x.cells.Load(); cells != nil {
		return *cells
	}
	return nil
}

// slots returns a way through the slots that may be of the hash.
func (x *slotIndex) slots(h uint64) slotProbe {
	cells := x.all()
	return slotProbe{cells, uint32(h), int(h) & (len(cells) - 1)} //nolint:gosec // cut on purpose
}

// A slotProbe goes through the slots that may be of a hash.
type slotProbe struct {
	cells []atomic.Uint64
	hash  uint32
	i     int
}

// next returns a slot, or -1.
func (p *slotProbe) next() int {
	if len(p.cells) == 0 {
		return -1
	}
	for {
		cell := p.cells[p.i].Load()
		if cell == 0 {
			return -1
		}
		p.i = (p.i + 1) & (len(p.cells) - 1)
		if uint32(cell>>32) == p.hash {
			return int(uint32(cell)) - 1 //nolint:gosec // cut on purpose
		}
	}
}

// add enters a slot; total is the number of cells that there will be.
func (x *slotIndex) add(h uint64, n, total int) {
	cells := x.all()
	if total*4 > len(cells)*3 {
		cells = x.grow(cells)
	}
	put(cells, slotCell(h, n))
}

func (x *slotIndex) grow(old []atomic.Uint64) []atomic.Uint64 {
	cells := make([]atomic.Uint64, max(32, 2*len(old)))
	for i := range old {
		if cell := old[i].Load(); cell != 0 {
			put(cells, cell)
		}
	}
	x.cells.Store(&cells)
	return cells
}

func put(cells []atomic.Uint64, cell uint64) {
	i := homeOf(cell, cells)
	for cells[i].Load() != 0 {
		i = (i + 1) & (len(cells) - 1)
	}
	cells[i].Store(cell)
}

func homeOf(cell uint64, cells []atomic.Uint64) int { return int(cell >> 32 & uint64(len(cells)-1)) }

// remove drops a slot that is there and moves up those behind it that the gap
// would hide.
func (x *slotIndex) remove(h uint64, n int) {
	cells, gone := x.all(), slotCell(h, n)
	mask := len(cells) - 1
	gap := homeOf(gone, cells)
	for cells[gap].Load() != gone {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; ; i = (i + 1) & mask {
		cell := cells[i].Load()
		if cell == 0 {
			break
		}
		if (i-homeOf(cell, cells))&mask >= (i-gap)&mask {
			cells[gap].Store(cell)
			gap = i
		}
	}
	cells[gap].Store(0)
}
