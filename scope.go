package tokenbooth

import (
	"slices"
	"strings"

	"github.com/tokenbooth/tokenbooth/response"
)

// checkScopes refuses scopes that the client may not have (RFC 6749 §3.3).
func (h *Handler) checkScopes(x *exchange) error {
	for _, s := range x.form.scopes {
		if !slices.Contains(x.client.Scopes, s) {
			return response.Fail(response.ScopeInvalid)
		}
	}
	x.scopes = x.form.scopes
	return nil
}

// joined joins scopes; where that makes text, as the request had it, it is text
// itself.
func joined(scopes []string, text string) string {
	rest, same := text, len(scopes) > 0
	for i, s := range scopes {
		if i > 0 {
			rest, same = strings.CutPrefix(rest, " ")
		}
		if same {
			rest, same = strings.CutPrefix(rest, s)
		}
		if !same {
			break
		}
	}
	if same && rest == "" {
		return text
	}
	return strings.Join(scopes, " ")
}

// lacking returns those of the scopes wanted that are not held, joined.
func lacking(held string, wanted []string) string {
	var missing []string
	for _, s := range wanted {
		if !holds(held, s) {
			missing = append(missing, s)
		}
	}
	return strings.Join(missing, " ")
}

// holds says whether a space-delimited list holds a scope.
func holds(held, scope string) bool {
	for rest := held; rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, " ")
		if one == scope {
			return true
		}
	}
	return false
}
