package tokenbooth

import (
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// addresses says from which network a request comes. It is safe for concurrent
// use.
type addresses struct {
	trusted []netip.Prefix // proxies whose X-Forwarded-For is believed; none when empty
	warn    func()         // called once when a proxy seems to be missing from trusted; may be nil
	once    sync.Once
}

// newAddresses takes the networks of the proxies to trust, in any form: an
// IPv4-mapped IPv6 network counts as the IPv4 network that it maps.
func newAddresses(trusted []netip.Prefix, warn func()) *addresses {
	a := &addresses{trusted: make([]netip.Prefix, 0, len(trusted)), warn: warn}
	for _, p := range trusted {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		a.trusted = append(a.trusted, p)
	}
	return a
}

// of returns the network of the sender: the address itself for IPv4 (/32), the
// /64 for IPv6, which is what one sender has at least. It is the zero Prefix
// where RemoteAddr is no address, as on a unix socket; whoever comes by it counts
// as one.
//
// X-Forwarded-For is read only where RemoteAddr is trusted, and only back to the
// first address that is not: everything before that could be anyone's invention.
func (a *addresses) of(r *http.Request) netip.Prefix {
	addr, ok := parseHost(r.RemoteAddr)
	if !ok {
		return netip.Prefix{}
	}
	lines := r.Header["X-Forwarded-For"]
	if len(lines) == 0 {
		return network(addr)
	}
	if a.trusts(addr) {
		return network(a.forwarded(addr, lines))
	}
	if len(a.trusted) == 0 && a.warn != nil && isInternal(addr) {
		a.once.Do(a.warn)
	}
	return network(addr)
}

// forwarded walks from the proxy that is connected towards the sender. An entry
// that is no address ends the walk at the proxy that wrote it: nothing before it
// can be attributed.
func (a *addresses) forwarded(addr netip.Addr, lines []string) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		for line, more := lines[i], true; more; {
			var entry string
			line, entry, more = cutLast(line)
			next, ok := parseHost(strings.Trim(entry, " \t"))
			if !ok {
				return addr
			}
			if addr = next; !a.trusts(addr) {
				return addr
			}
		}
	}
	return addr
}

func cutLast(line string) (before, entry string, more bool) {
	if i := strings.LastIndexByte(line, ','); i >= 0 {
		return line[:i], line[i+1:], true
	}
	return "", line, false
}

func (a *addresses) trusts(addr netip.Addr) bool {
	for _, p := range a.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// isInternal reports whether the address is one that a reverse proxy has rather
// than a client of a public service.
func isInternal(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

func network(addr netip.Addr) netip.Prefix {
	if addr.Is4() {
		return netip.PrefixFrom(addr, 32)
	}
	p, _ := addr.Prefix(64) // the only error is of a length above 128
	return p
}

// parseHost reads an address with or without a port, an IPv6 address with or
// without brackets. IPv4-mapped addresses become IPv4, zones are dropped.
func parseHost(s string) (netip.Addr, bool) {
	if addr, ok := parseIPv4(s); ok {
		return addr, true
	}
	host := s
	bracketed := strings.HasPrefix(s, "[")
	if bracketed {
		end := strings.IndexByte(s, ']')
		if end < 0 || !isPort(s[end+1:]) {
			return netip.Addr{}, false
		}
		host = s[1:end]
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 && colon == strings.LastIndexByte(s, ':') {
		if !isPort(s[colon:]) {
			return netip.Addr{}, false
		}
		host = s[:colon]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || bracketed && addr.Is4() {
		return netip.Addr{}, false
	}
	return addr.WithZone("").Unmap(), true
}

// parseIPv4 reads an IPv4 address with a port, which is what most requests come
// from; what else there is it leaves alone.
func parseIPv4(s string) (netip.Addr, bool) {
	var octets [4]byte
	part, number, digits := 0, 0, 0
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			number = 10*number + int(c-'0')
			if digits++; digits > 3 || number > 255 || digits > 1 && number < 10 { // no leading zeros
				return netip.Addr{}, false
			}
			continue
		}
		if digits == 0 {
			return netip.Addr{}, false
		}
		octets[part] = byte(number)
		if part == 3 {
			return netip.AddrFrom4(octets), isPort(s[i:])
		}
		if c != '.' {
			return netip.Addr{}, false
		}
		part, number, digits = part+1, 0, 0
	}
	return netip.Addr{}, false
}

// isPort reports whether s is empty or a colon and a port.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) == 1 {
		return false
	}
	port := 0
	for _, c := range []byte(s[1:]) {
		if port = 10*port + int(c-'0'); c < '0' || c > '9' || port > math.MaxUint16 {
			return false
		}
	}
	return true
}
