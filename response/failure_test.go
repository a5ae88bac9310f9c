package response_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/response"
)

func TestFailUnknownReasonIsInternal(t *testing.T) {
	f := response.Fail("no such reason")
	if f.Reason != response.Internal || f.Status != http.StatusInternalServerError || f.Code != response.ServerError {
		t.Errorf("got %+v", f)
	}
}

func TestFailGivesANewFailureEachTime(t *testing.T) {
	response.Fail(response.Internal).Message = "changed"
	if f := response.Fail(response.Internal); f.Message == "changed" {
		t.Error("a Failure is shared")
	}
}

func TestFailureIsAnError(t *testing.T) {
	cause := errors.New("dial tcp: refused")
	f := response.Missing("code")
	if got, want := f.Error(), "parameter_missing code"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.Err = cause
	if got, want := f.Error(), "parameter_missing code: dial tcp: refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(f, cause) {
		t.Error("the cause is not in the chain")
	}
}

// RFC 6749 §5.2 has %x20-21 / %x23-5B / %x5D-7E for error and error_description.
func TestMessagesKeepToTheCharactersOfRFC6749(t *testing.T) {
	bad := func(c rune) bool { return c < 0x20 || c > 0x7E || c == '"' || c == '\\' }
	for _, at := range places {
		for _, reason := range response.Reasons(at) {
			f := response.Fail(reason)
			if f.Message == "" || f.Code == "" || strings.ContainsFunc(f.Message+f.Code, bad) {
				t.Errorf("%s: %q %q", reason, f.Code, f.Message)
			}
		}
	}
}

func TestReasonsAreDistinct(t *testing.T) {
	for _, at := range places {
		all := response.Reasons(at)
		if slices.Sort(all); len(slices.Compact(all)) != len(response.Reasons(at)) || len(all) == 0 {
			t.Errorf("%s: %v", at, all)
		}
	}
	if n := len(response.Reasons("elsewhere")); n != 0 {
		t.Errorf("%d reasons at an unknown place", n)
	}
}
