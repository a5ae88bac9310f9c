package booth

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tokenbooth/tokenbooth/grant"
)

func TestFixturesAreRefusedByField(t *testing.T) {
	const user = `"number": 7, "username": "admin", "password": "hunter2hunter2"`
	for _, test := range []struct{ name, json, want string }{
		{"empty", ``, "line 1"},
		{"not JSON", "{\n\"clients\": [,]}", "line 2"},
		{"trailing data", `{"clients": []} x`, "line 1"},
		{"not UTF-8", "{\"clients\": [], \"\xff\": 1}", "not UTF-8"},
		{"not an object", `[]`, "fixtures: want an object"},
		{"no clients", `{}`, "clients: missing"},
		{"clients null", `{"clients": null}`, "clients: want"},
		{"clients of a wrong type", `{"clients": {}}`, "clients"},
		{"clients twice", `{"clients": [], "clients": []}`, "clients: given twice"},
		{"unknown member", `{"clients": [], "extra": 1}`, `"extra"`},
		{"another case", `{"clients": [], "Users": []}`, `"Users"`},
		{"client: unknown member", `{"clients": [{"id": "a", "secert": "x"}]}`, "secert"},
		{"client: wrong type", `{"clients": [{"id": "a", "rate": {"burst": "3"}}]}`, "clients[0].rate.burst"},
		{"client: id twice", `{"clients": [{"id": "a"}, {"id": "a"}]}`, "clients[1].id"},
		{"users of a wrong type", `{"clients": [], "users": {}}`, "users: want an array"},
		{"user is no object", `{"clients": [], "users": [7]}`, "users[0]: want an object"},
		{"user: unknown member", `{"clients": [], "users": [{` + user + `, "nmae": "x"}]}`, `users[0]: unknown member "nmae"`},
		{"user: another case", `{"clients": [], "users": [{` + user + `, "Name": "x"}]}`, `users[0]: unknown member "Name"`},
		{"user: member twice", `{"clients": [], "users": [{` + user + `, "number": 7}]}`, "users[0].number: given twice"},
		{"user: no number", `{"clients": [], "users": [{"username": "a", "password": "hunter2"}]}`, "users[0].number: missing"},
		{"user: no username", `{"clients": [], "users": [{"number": 1, "password": "hunter2"}]}`, "users[0].username: missing"},
		{"user: no password", `{"clients": [], "users": [{"number": 1, "username": "a"}]}`, "users[0].password: missing"},
		{"user: number as text", `{"clients": [], "users": [{"number": "1", "username": "a", "password": "hunter2"}]}`, "users[0].number: want an integer"},
		{"user: number with a fraction", `{"clients": [], "users": [{"number": 1.5, "username": "a", "password": "hunter2"}]}`, "users[0].number: want an integer"},
		{"user: number zero", `{"clients": [], "users": [{"number": 0, "username": "a", "password": "hunter2"}]}`, "users[0].number: want at least 1"},
		{"user: password as number", `{"clients": [], "users": [{"number": 1, "username": "a", "password": 5}]}`, "users[0].password: want a string"},
		{"user: empty password", `{"clients": [], "users": [{"number": 1, "username": "a", "password": ""}]}`, "users[0].password: want 1 to"},
		{"user: line break", `{"clients": [], "users": [{"number": 1, "username": "a\n", "password": "hunter2"}]}`, "users[0].username: want 1 to"},
		{"user: null", `{"clients": [], "users": [{` + user + `, "name": null}]}`, "users[0].name: want a string"},
		{"user: null role", `{"clients": [], "users": [{` + user + `, "roles": [1, null]}]}`, "users[0].roles[1]: want an integer"},
		{"user: scope of a wrong type", `{"clients": [], "users": [{` + user + `, "scopes": [3]}]}`, "users[0].scopes[0]: want a string"},
		{"user: two scopes in one", `{"clients": [], "users": [{` + user + `, "scopes": ["a b"]}]}`, "users[0].scopes[0]: want visible"},
		{"username twice", `{"clients": [], "users": [{` + user + `}, {"number": 8, "username": "admin", "password": "hunter2"}]}`, "users[1].username: is another"},
		{"number twice", `{"clients": [], "users": [{` + user + `}, {"number": 7, "username": "b", "password": "hunter2"}]}`, "users[1].number: is another"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseFixtures([]byte(test.json))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows a password: %v", err)
			}
		})
	}
}

func TestFixturesReportEveryMistake(t *testing.T) {
	_, err := parseFixtures([]byte(`{"clients": [{"id": 1}], "users": [{"number": "x"}], "more": 1}`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"clients[0].id", "users[0].number", "users[0].username", "users[0].password", `"more"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in: %v", want, err)
		}
	}
}

func TestUsersMayBeLeftOut(t *testing.T) {
	f, err := parseFixtures([]byte(`{"clients": []}`))
	if err != nil || len(f.users) != 0 || f.caller != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAuthenticate(t *testing.T) {
	f, err := parseFixtures([]byte(`{"clients": [], "users": [
		{"number": 7, "username": "admin", "password": "correct horse", "name": "Ada", "description": "Office", "roles": [1, 2], "scopes": ["read"]},
		{"number": 8, "username": "bare", "password": "correct horse"}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	u, err := f.users.authenticate(t.Context(), "admin", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if u.ID != "user:7" || u.Username != "admin" || u.Number != 7 || u.Name != "Ada" || u.Description != "Office" ||
		!slices.Equal(u.Roles, []int64{1, 2}) || !slices.Equal(u.Scopes, []string{"read"}) {
		t.Errorf("%+v", u)
	}
	if u, err := f.users.authenticate(t.Context(), "bare", "correct horse"); err != nil || u.Scopes == nil {
		t.Errorf("a user without scopes has all: %+v, %v", u, err)
	}
	if slices.Equal(f.users["admin"].hash, f.users["bare"].hash) {
		t.Error("equal passwords have equal hashes")
	}
	for _, test := range []struct {
		username, password string
		want               error
	}{
		{"nobody", "correct horse", grant.ErrUserUnknown},
		{"Admin", "correct horse", grant.ErrUserUnknown},
		{"admin", "correct horse ", grant.ErrWrongPassword},
		{"admin", "", grant.ErrWrongPassword},
	} {
		if _, err := f.users.authenticate(t.Context(), test.username, test.password); !errors.Is(err, test.want) {
			t.Errorf("%q, %q: %v, want %v", test.username, test.password, err, test.want)
		}
	}
}

func TestCallerIsTheFirstThatCan(t *testing.T) {
	f, err := parseFixtures([]byte(`{"clients": [
		{"id": "public", "public": true, "grants": ["implicit"]},
		{"id": "disabled", "secret": "a-secret", "grants": ["client_credentials"], "disabled": true},
		{"id": "longlived", "secret": "a-secret", "grants": ["client_credentials"], "long_lived": true},
		{"id": "other", "secret": "a-secret", "grants": ["password"]},
		{"id": "hashed", "secrets": [{"hash": "sha256$iNQmb9TmM40TuEX88olXnQCciXgj1qT28YQvtEhVqoE"}], "grants": ["client_credentials"]},
		{"id": "expired", "secrets": [{"secret": "a-secret", "expires": "2020-01-01T00:00:00Z"}], "grants": ["client_credentials"]},
		{"id": "right", "secrets": [{"secret": "old-secret", "expires": "2020-01-01T00:00:00Z"}, {"secret": "new-secret"}], "grants": ["client_credentials"]},
		{"id": "late", "secret": "a-secret", "grants": ["client_credentials"]}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	if f.caller == nil || f.caller.ID != "right" || f.caller.secret != "new-secret" {
		t.Errorf("%+v", f.caller)
	}
}
