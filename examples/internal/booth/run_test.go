package booth

import "testing"

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"":             "''",
		"client_id=a":  "client_id=a",
		"a b":          "'a b'",
		"it's":         `'it'\''s'`,
		"$HOME`id`\\!": "'$HOME`id`\\!'",
		"é":            "'é'",
		"~":            "'~'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
