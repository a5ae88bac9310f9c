package tokenbooth

// A slotIndex finds the slots of a hash: open addressing with linear probing, at
// most three quarters full. An entry holds the low half of the hash above the
// slot number plus one, so that a lookup touches the slots of no other key and
// growing touches none. A map would need more memory and allocate as keys come
// and go.
type slotIndex []uint64

func slotEntry(h uint64, n int) uint64 { return h<<32 | uint64(n+1) }

// first returns the first slot that may be of the hash, or -1, and the place
// from which next goes on.
func (x slotIndex) first(h uint64) (n, probe int) {
	if len(x) == 0 {
		return -1, 0
	}
	return x.scan(h, int(h&uint64(len(x)-1)))
}

func (x slotIndex) next(h uint64, probe int) (n, after int) {
	return x.scan(h, (probe+1)&(len(x)-1))
}

func (x slotIndex) scan(h uint64, i int) (n, probe int) {
	for ; x[i] != 0; i = (i + 1) & (len(x) - 1) {
		if uint32(x[i]>>32) == uint32(h) {
			return int(uint32(x[i])) - 1, i
		}
	}
	return -1, i
}

// add enters a slot; total is the number of entries that there will be.
func (x *slotIndex) add(h uint64, n, total int) {
	if total*4 > len(*x)*3 {
		x.grow()
	}
	x.put(slotEntry(h, n))
}

func (x *slotIndex) grow() {
	old := *x
	*x = make(slotIndex, max(32, 2*len(old)))
	for _, e := range old {
		if e != 0 {
			x.put(e)
		}
	}
}

func (x slotIndex) put(e uint64) {
	i := x.home(e)
	for x[i] != 0 {
		i = (i + 1) & (len(x) - 1)
	}
	x[i] = e
}

func (x slotIndex) home(e uint64) int { return int(e >> 32 & uint64(len(x)-1)) }

// remove drops an entry that is there and moves up those behind it that the gap
// would hide.
func (x slotIndex) remove(h uint64, n int) {
	mask := len(x) - 1
	e := slotEntry(h, n)
	gap := x.home(e)
	for x[gap] != e {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; x[i] != 0; i = (i + 1) & mask {
		if (i-x.home(x[i]))&mask >= (i-gap)&mask {
			x[gap] = x[i]
			gap = i
		}
	}
	x[gap] = 0
}
