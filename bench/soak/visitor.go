package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// A visitor sends requests from a made-up address.
type visitor struct {
	client *http.Client
	base   string
}

func newVisitor(base string) *visitor {
	return &visitor{
		client: &http.Client{
			Timeout:       10 * time.Second,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: base,
	}
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// member returns a text of a JSON answer.
func (a *answer) member(name string) string {
	var members map[string]any
	_ = json.Unmarshal([]byte(a.body), &members) // none, then
	s, _ := members[name].(string)
	return s
}

// get sends a bearer token, unless it is empty.
func (v *visitor) get(path, token string) (*answer, error) {
	return v.send(http.MethodGet, path, token, "", nil)
}

func (v *visitor) send(method, path, token, body string, header http.Header) (*answer, error) {
	r, err := http.NewRequest(method, v.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", address())
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	reply, err := v.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return &answer{reply.StatusCode, reply.Header, string(text)}, err
}

// breakOff sends a part of a request and goes away.
func (v *visitor) breakOff() error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(v.base, "http://"))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "POST /jwt/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant_type="); err != nil {
		return err
	}
	return conn.Close()
}

// address is one of 4,096, as whoever is known has a bucket for each.
func address() string {
	n := rand.IntN(1 << 12)
	return fmt.Sprintf("203.0.%d.%d", n>>8, n&255)
}
