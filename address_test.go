package tokenbooth

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func from(remote string, forwarded ...string) *http.Request {
	r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
	for _, line := range forwarded {
		r.Header.Add("X-Forwarded-For", line)
	}
	return r
}

func networks(s ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range s {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func TestL5_RemoteAddr(t *testing.T) {
	tests := []struct{ name, remote, want string }{
		{"IPv4", "192.0.2.7:1234", "192.0.2.7/32"},
		{"IPv4 without a port", "192.0.2.7", "192.0.2.7/32"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::/64"},
		{"IPv6 without a port", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"IPv6 in brackets", "[2001:db8::1]", "2001:db8::/64"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.7]:1234", "192.0.2.7/32"},
		{"zone", "[fe80::1%eth0]:1234", "fe80::/64"},
		{"unix socket", "@", ""},
		{"empty", "", ""},
		{"a name", "example.com:80", ""},
		{"IPv4 in brackets", "[192.0.2.7]:80", ""},
		{"no port after the colon", "192.0.2.7:", ""},
		{"port too large", "192.0.2.7:65536", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := newAddresses(nil, nil).of(from(test.remote, "203.0.113.9"))
			if want := prefixOrZero(test.want); got != want {
				t.Errorf("of %q is %v, want %v", test.remote, got, want)
			}
		})
	}
}

func prefixOrZero(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

func TestL5_ForwardedFor(t *testing.T) {
	trusted := networks("10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:172.16.0.0/108")
	const proxy = "10.0.0.1:80"
	tests := []struct {
		name, remote string
		lines        []string
		want         string
	}{
		{"one", proxy, []string{"203.0.113.9"}, "203.0.113.9/32"},
		{"untrusted peer", "192.0.2.7:80", []string{"203.0.113.9"}, "192.0.2.7/32"},
		{"trusted peer, no header", proxy, nil, "10.0.0.1/32"},
		{"the rightmost counts", proxy, []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9/32"},
		{"trusted ones are skipped", proxy, []string{"198.51.100.1, 203.0.113.9, 10.1.1.1,10.2.2.2"}, "203.0.113.9/32"},
		{"the last line comes last", proxy, []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9/32"},
		{"over several lines", proxy, []string{"198.51.100.1, 203.0.113.9", "10.1.1.1", "10.2.2.2, 10.3.3.3"}, "203.0.113.9/32"},
		{"all trusted", proxy, []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1/32"},
		{"with port", proxy, []string{"203.0.113.9:4711"}, "203.0.113.9/32"},
		{"IPv6", proxy, []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"IPv6 in brackets", proxy, []string{"[2001:db8:1:2:3::4]"}, "2001:db8:1:2::/64"},
		{"IPv6 with port", proxy, []string{"[2001:db8:1:2:3::4]:443"}, "2001:db8:1:2::/64"},
		{"IPv6 proxy", "[2001:db8:ffff::1]:80", []string{"203.0.113.9, 2001:db8:ffff:1::2"}, "203.0.113.9/32"},
		{"IPv4 in IPv6", proxy, []string{"::ffff:203.0.113.9"}, "203.0.113.9/32"},
		{"trusted IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"203.0.113.9, ::ffff:10.2.2.2"}, "203.0.113.9/32"},
		{"trusted by an IPv4 network in IPv6", "172.16.0.1:80", []string{"203.0.113.9"}, "203.0.113.9/32"},
		{"spaces and tabs", proxy, []string{" \t203.0.113.9\t , 10.1.1.1 "}, "203.0.113.9/32"},
		{"garbage stops at the proxy", proxy, []string{"203.0.113.9, unknown, 10.1.1.1"}, "10.1.1.1/32"},
		{"garbage at the end", proxy, []string{"203.0.113.9, _hidden"}, "10.0.0.1/32"},
		{"garbage before the sender", proxy, []string{"<script>, 203.0.113.9"}, "203.0.113.9/32"},
		{"empty entry", proxy, []string{"203.0.113.9, , 10.1.1.1"}, "10.1.1.1/32"},
		{"empty line", proxy, []string{""}, "10.0.0.1/32"},
		{"bad port", proxy, []string{"203.0.113.9:http"}, "10.0.0.1/32"},
		{"bracket left open", proxy, []string{"[2001:db8::1"}, "10.0.0.1/32"},
		{"text after the bracket", proxy, []string{"[2001:db8::1]x"}, "10.0.0.1/32"},
		{"unix socket", "@", []string{"203.0.113.9"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := newAddresses(trusted, nil).of(from(test.remote, test.lines...))
			if want := prefixOrZero(test.want); got != want {
				t.Errorf("of %q, %q is %v, want %v", test.remote, test.lines, got, want)
			}
		})
	}
}

func TestL5_OtherForwardedHeadersAreNotRead(t *testing.T) {
	a := newAddresses(networks("10.0.0.0/8"), nil)
	r := from("10.0.0.1:80")
	for _, name := range []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip"} {
		r.Header.Set(name, "203.0.113.9")
	}
	if got := a.of(r).String(); got != "10.0.0.1/32" {
		t.Errorf("of is %v", got)
	}
}

func TestL1_WarnsOnceOfAProxyThatIsNotTrusted(t *testing.T) {
	tests := []struct {
		name    string
		trusted []netip.Prefix
		request *http.Request
		want    int64
	}{
		{"private", nil, from("10.0.0.1:80", "203.0.113.9"), 1},
		{"loopback", nil, from("127.0.0.1:80", "203.0.113.9"), 1},
		{"IPv6 loopback", nil, from("[::1]:80", "203.0.113.9"), 1},
		{"private IPv4 in IPv6", nil, from("[::ffff:192.168.0.1]:80", "203.0.113.9"), 1},
		{"unique local", nil, from("[fd00::1]:80", "203.0.113.9"), 1},
		{"public", nil, from("192.0.2.7:80", "203.0.113.9"), 0},
		{"no header", nil, from("10.0.0.1:80"), 0},
		{"trusted networks given", networks("10.0.0.1/32"), from("10.9.9.9:80", "203.0.113.9"), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var warned atomic.Int64
			a := newAddresses(test.trusted, func() { warned.Add(1) })
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { a.of(test.request) })
			}
			wg.Wait()
			if n := warned.Load(); n != test.want {
				t.Errorf("warned %d times, want %d", n, test.want)
			}
		})
	}
}

func TestL5_NoAllocation(t *testing.T) {
	a := newAddresses(networks("10.0.0.0/8"), nil)
	for _, r := range []*http.Request{
		from("192.0.2.7:1234"),
		from("[2001:db8::1]:1234"),
		from("10.0.0.1:80", "198.51.100.1, [2001:db8::1]:443, 10.1.1.1"),
	} {
		if n := testing.AllocsPerRun(100, func() { a.of(r) }); n != 0 {
			t.Errorf("%v allocations for %q", n, r.RemoteAddr)
		}
	}
}

// FuzzL5_ForwardedFor holds the walk to what must be true of any header: the
// same answer as splitting it plainly, nothing from an untrusted peer, and no
// way to hide an address that a trusted proxy wrote.
func FuzzL5_ForwardedFor(f *testing.F) {
	f.Add("203.0.113.9", "10.1.1.1, 10.2.2.2")
	f.Add("198.51.100.1, [2001:db8::1]:443", "unknown")
	f.Add("", "::ffff:10.0.0.1, fe80::1%eth0, 1.2.3.4:80")
	trusted := networks("10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, first, second string) {
		a := newAddresses(trusted, nil)
		got := a.of(from("10.0.0.1:80", first, second))
		if want := plainWalk(trusted, first+","+second); got != want {
			t.Errorf("of %q, %q is %v, want %v", first, second, got, want)
		}
		if got := a.of(from("192.0.2.7:80", first, second)); got.String() != "192.0.2.7/32" {
			t.Errorf("an untrusted peer became %v", got)
		}
		if got := a.of(from("10.0.0.1:80", first, second+", 203.0.113.99")); got.String() != "203.0.113.99/32" {
			t.Errorf("the address that the proxy wrote became %v", got)
		}
	})
}

func plainWalk(trusted []netip.Prefix, header string) netip.Prefix {
	last := netip.MustParseAddr("10.0.0.1")
	entries := strings.Split(header, ",")
	for i := len(entries) - 1; i >= 0; i-- {
		addr, ok := plainAddr(strings.Trim(entries[i], " \t"))
		if !ok {
			break
		}
		last = addr
		if !trusted[0].Contains(addr) && !trusted[1].Contains(addr) {
			break
		}
	}
	if last.Is4() {
		return netip.PrefixFrom(last, 32)
	}
	p, _ := last.Prefix(64)
	return p
}

func plainAddr(s string) (netip.Addr, bool) {
	if strings.HasPrefix(s, "[") && strings.Count(s, "]") > 1 {
		return netip.Addr{}, false // package netip would take one for a part of the zone
	}
	addr, err := netip.ParseAddr(s)
	if err != nil && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		addr, err = netip.ParseAddr(s[1 : len(s)-1])
		if err == nil && addr.Is4() {
			return netip.Addr{}, false
		}
	}
	if err != nil {
		var pair netip.AddrPort
		if pair, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, false
		}
		addr = pair.Addr()
	}
	return addr.Unmap().WithZone(""), true
}
