package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The physical limit of bearer validation: "limit" verifies every time,
// "limit-sha256" remembers verified tokens by their SHA-256, "limit-maphash" by
// a keyed hash and the token itself. All hand the claims on in the context, as
// the peers do; "floor" does only that.
func init() {
	bearerGuards = append(bearerGuards,
		bearerGuard{"floor", []string{"ES256"}, newFloorGuard},
		bearerGuard{"limit", algs, newLimitGuard},
		bearerGuard{"limit-sha256", algs, newSHA256Guard},
		bearerGuard{"limit-maphash", algs, newMaphashGuard},
	)
}

type limitClaims struct {
	Exp int64 `json:"exp"`
}

type claimsKey struct{}

func withClaims(r *http.Request, c *limitClaims) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), claimsKey{}, c))
}

func bearerToken(r *http.Request) (string, bool) {
	v := r.Header["Authorization"]
	if len(v) != 1 || len(v[0]) < 7 || !strings.EqualFold(v[0][:7], "bearer ") {
		return "", false
	}
	return v[0][7:], true
}

// newVerify returns what turns a token into its claims, or nil.
func newVerify(alg string) func(token string) *limitClaims {
	header, verify := encodedHeader(alg), rawVerifier(alg)
	buffers := sync.Pool{New: func() any { return new([4096]byte) }}
	return func(token string) *limitClaims {
		buffer := buffers.Get().(*[4096]byte)
		defer buffers.Put(buffer)
		input := append(buffer[:0:1500], token...)
		dot := bytes.LastIndexByte(input, '.')
		if dot < len(header) || !bytes.HasPrefix(input, header) {
			return nil
		}
		signature, err := base64.RawURLEncoding.AppendDecode(buffer[1500:1500:2000], input[dot+1:])
		if err != nil || !verify(input[:dot], signature) {
			return nil
		}
		claims, err := base64.RawURLEncoding.AppendDecode(buffer[2000:2000], input[len(header):dot])
		if err != nil {
			return nil
		}
		c := new(limitClaims)
		if json.Unmarshal(claims, c) != nil || time.Now().Unix() >= c.Exp {
			return nil
		}
		return c
	}
}

// guardWith is a guard around what turns a token into its claims.
func guardWith(claimsOf func(token string) *limitClaims) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, ok := bearerToken(r)
			if !ok {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			c := claimsOf(token)
			if c == nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, withClaims(r, c))
		})
	}
}

func newLimitGuard(alg string) func(http.Handler) http.Handler { return guardWith(newVerify(alg)) }

// newFloorGuard compares the token with the one valid one.
func newFloorGuard(alg string) func(http.Handler) http.Handler {
	valid, c := bearer[alg], &limitClaims{}
	return guardWith(func(token string) *limitClaims {
		if token != valid {
			return nil
		}
		return c
	})
}

func newSHA256Guard(alg string) func(http.Handler) http.Handler {
	type shard struct {
		sync.RWMutex
		m map[[sha256.Size]byte]*limitClaims
		_ [32]byte // one cache line each
	}
	var shards [64]shard
	for i := range shards {
		shards[i].m = map[[sha256.Size]byte]*limitClaims{}
	}
	verify := newVerify(alg)
	return guardWith(func(token string) *limitClaims {
		var scratch [2048]byte
		sum := sha256.Sum256(append(scratch[:0], token...))
		s := &shards[sum[0]%64]
		s.RLock()
		c := s.m[sum]
		s.RUnlock()
		if c == nil {
			if c = verify(token); c != nil {
				s.Lock()
				s.m[sum] = c
				s.Unlock()
			}
			return c
		}
		if time.Now().Unix() >= c.Exp {
			return nil
		}
		return c
	})
}

func newMaphashGuard(alg string) func(http.Handler) http.Handler {
	type shard struct {
		sync.RWMutex
		m map[string]*limitClaims // the map's own keyed hash and full comparison
		_ [32]byte
	}
	var shards [64]shard
	for i := range shards {
		shards[i].m = map[string]*limitClaims{}
	}
	seed, verify := maphash.MakeSeed(), newVerify(alg)
	return guardWith(func(token string) *limitClaims {
		// A signature's last characters differ from token to token: enough to
		// choose a shard with, while the map hashes the whole.
		s := &shards[maphash.String(seed, token[max(0, len(token)-16):])%64]
		s.RLock()
		c := s.m[token]
		s.RUnlock()
		if c == nil {
			if c = verify(token); c != nil {
				s.Lock()
				s.m[token] = c
				s.Unlock()
			}
			return c
		}
		if time.Now().Unix() >= c.Exp {
			return nil
		}
		return c
	})
}
