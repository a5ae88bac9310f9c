package booth

import (
	"os"
	"strings"
	"testing"
)

// TestUsersPage holds docs/users.md to the code that it quotes.
func TestUsersPage(t *testing.T) {
	read := func(file string) string {
		t.Helper()
		b, err := os.ReadFile("../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, code, begun := strings.Cut(read("login_example_test.go"), "// login:begin\n")
	code, _, ended := strings.Cut(code, "\n// login:end")
	if !begun || !ended || strings.Count(code, "\n") > 30 {
		t.Fatalf("no login of at most 30 lines: %s", code)
	}
	if !strings.Contains(read("docs/users.md"), "```go\n"+code+"\n```") {
		t.Error("docs/users.md does not quote login_example_test.go")
	}
}
