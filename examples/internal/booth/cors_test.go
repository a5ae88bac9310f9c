package booth

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/examples/internal/boothtest"
)

var browserPaths = []string{"/oauth/access_token", "/v2/products", "/catalog/products", "/v2/carts"}

func names(list string) []string {
	all := strings.Split(strings.ToLower(list), ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func TestCORS(t *testing.T) {
	t.Run("preflight", func(t *testing.T) {
		f := newFixture(t, nil)
		for _, path := range browserPaths {
			a := f.Do("OPTIONS", path, map[string]string{
				"Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
				"Access-Control-Request-Headers": "authorization,x-currency",
			}, "")
			if a.Status != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %d %v", path, a.Status, a.Header)
			}
			for _, want := range []string{"authorization", "x-currency"} {
				if !slices.Contains(names(a.Header.Get("Access-Control-Allow-Headers")), want) {
					t.Errorf("%s: %s is not allowed", path, want)
				}
			}
			for _, want := range []string{"get", "post"} {
				if !slices.Contains(names(a.Header.Get("Access-Control-Allow-Methods")), want) {
					t.Errorf("%s: %s is not allowed", path, want)
				}
			}
		}
	})
	t.Run("refusals", func(t *testing.T) {
		f := newFixture(t, nil)
		for _, path := range browserPaths {
			checkReadable(t, path, f.Do("POST", path, map[string]string{"Origin": "https://shop.example"}, ""), 400, 401, 405)
		}
	})
	t.Run("throttled", func(t *testing.T) {
		f := newFixture(t, nil)
		token := f.ClientToken("001", "slow", "")
		var last *boothtest.Answer
		f.Throttle(func() *boothtest.Answer {
			last = f.Get("/v2/products", token)
			return last
		})
		checkReadable(t, "/v2/products", last, http.StatusTooManyRequests)
	})
	t.Run("success", func(t *testing.T) {
		f := newFixture(t, nil)
		checkReadable(t, "/catalog/products", f.Get("/catalog/products", f.ClientToken("001", "acme", "")), http.StatusOK)
	})
	t.Run("other systems have none", func(t *testing.T) {
		f := newFixture(t, nil)
		for system, path := range boothtest.TokenPaths {
			if a := f.Do("POST", path, map[string]string{"Origin": "https://shop.example"}, ""); system != "001" && a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %v", system, a.Header)
			}
		}
	})
}

// checkReadable checks that a script of any origin may read an answer.
func checkReadable(t *testing.T, path string, a *boothtest.Answer, statuses ...int) {
	t.Helper()
	if !slices.Contains(statuses, a.Status) {
		t.Errorf("%s: %d %s, want one of %v", path, a.Status, a.Body, statuses)
	}
	if got := a.Header["Access-Control-Allow-Origin"]; !slices.Equal(got, []string{"*"}) {
		t.Errorf("%s: Access-Control-Allow-Origin %q", path, got)
	}
	for _, want := range []string{"retry-after", "www-authenticate"} {
		if !slices.Contains(names(a.Header.Get("Access-Control-Expose-Headers")), want) {
			t.Errorf("%s: %s is not exposed", path, want)
		}
	}
}
