package store

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseClientsFile(t *testing.T) {
	data, err := os.ReadFile("testdata/clients.json")
	if err != nil {
		t.Fatal(err)
	}
	clients, err := ParseClients(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMemory(clients...); err != nil {
		t.Error(err)
	}
	if len(clients) != 7 || clients[6].ID != "od+d id:é" || !clients[6].CheckSecret("p+l%u s:é&=secret-0123456789", testNow) {
		t.Fatalf("got %+v", clients)
	}
	if c := clients[5]; c.Rate == nil || *c.Rate != (Rate{PerSecond: 0.1, Burst: 3}) {
		t.Errorf("rate: %+v", c.Rate)
	}
}

func TestParseClientsEveryMember(t *testing.T) {
	hash := HashSecret("older").Hash
	clients, err := ParseClients([]byte(` [ {
		"id": "a\u00e9", "secrets": [{"secret": "newer"}, {"hash": "` + hash + `", "expires": "2030-01-31T01:02:03.5+02:00"}],
		"public": false, "number": -9223372036854775808, "name": "n", "description": "d", "roles": [1, 9223372036854775807],
		"grants": ["g"], "scopes": ["s", "t"], "redirect_uris": ["http://a/"], "auth_method": "client_secret_post",
		"rate": {"per_second": 1e-1, "burst": 2}, "disabled": true, "long_lived": true
	}, {"id": "p", "public": true} ] `))
	if err != nil {
		t.Fatal(err)
	}
	want := []*Client{{
		ID:      "aé",
		Secrets: []Secret{HashSecret("newer"), {Hash: hash, Expires: time.Date(2030, 1, 30, 23, 2, 3, 5e8, time.UTC)}},
		Number:  -1 << 63, Name: "n", Description: "d", Roles: []int64{1, 1<<63 - 1},
		Grants: []string{"g"}, Scopes: []string{"s", "t"}, RedirectURIs: []string{"http://a/"}, AuthMethod: AuthPost,
		Rate: &Rate{PerSecond: 0.1, Burst: 2}, Disabled: true, LongLived: true,
	}, {ID: "p", Public: true}}
	if got, w := show(t, clients), show(t, want); got != w {
		t.Errorf("got %s\nwant %s", got, w)
	}
}

// show prints clients with what their own methods hide.
func show(t *testing.T, clients []*Client) string {
	t.Helper()
	var b strings.Builder
	for _, c := range clients {
		j, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(j)
		for _, s := range c.Secrets {
			b.WriteString(" " + s.Hash + " " + s.Expires.UTC().String())
		}
	}
	return b.String()
}

func TestParseClientsEmpty(t *testing.T) {
	if got, err := ParseClients([]byte("[]")); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

const canary = "CANARY-9f8e7d6c5b4a"

func TestParseClientsMistakes(t *testing.T) {
	const id = `"id": "a"`
	secret := `"secret": "` + canary + `"`
	long := strings.Repeat("x", 513)
	for _, tt := range []struct{ name, data, want string }{
		{"empty", ``, "line 1, column 1: is not JSON"},
		{"not JSON", "[\n  {" + secret + ",\n}]", "line 3, column 1: is not JSON"},
		{"cut off", `[{` + secret, "is not JSON"},
		{"trailing", `[] []`, "line 1, column 4: is not JSON"},
		{"trailing comma", `[{` + id + `,"public":true},]`, "is not JSON"},
		{"BOM", "\ufeff[]", "line 1, column 1: is not JSON"},
		{"not UTF-8", "[{" + secret + ",\n\"id\": \"\xff\"}]", "line 2, column 8: is not UTF-8"},
		{"object", `{"clients": [{` + secret + `}]}`, "clients: an object: give an array"},
		{"null", `null`, "clients: null: give an array"},
		{"client null", `[null]`, "clients[0]: null: give an object"},
		{"client array", `[[{` + secret + `}]]`, "clients[0]: an array: give an object"},
		{"unknown", `[{` + id + `,` + secret + `,"colour":{"a":[1]}}]`, `clients[0]: unknown member "colour": remove it; the members are audiences, auth_method, `},
		{"case", `[{` + id + `,` + secret + `,"Scopes":["x"]}]`, `clients[0]: unknown member "Scopes"`},
		{"case of secret", `[{` + id + `,"public":true,"Secret":"` + canary + `"}]`, `clients[0]: unknown member "Secret"`},
		{"twice", `[{` + id + `,` + secret + `,` + secret + `}]`, "clients[0].secret: given twice"},
		{"twice by escape", `[{` + id + `,"\u0069d":"b",` + secret + `}]`, "clients[0].id: given twice"},
		{"id number", `[{"id":1,` + secret + `}]`, "clients[0].id: a number: give a string"},
		{"secret number", `[{` + id + `,"secret":1234567}]`, "clients[0].secret: a number: give a string"},
		{"secret null", `[{` + id + `,"secret":null}]`, "clients[0].secret: null: give a string"},
		{"secret array", `[{` + id + `,"secret":["` + canary + `"]}]`, "clients[0].secret: an array: give a string"},
		{"secret empty", `[{` + id + `,"secret":""}]`, `clients[0].secret: "": give a secret`},
		{"secret long", `[{` + id + `,"secret":"` + canary + long + `"}]`, "clients[0].secret: REDACTED: has more than 512"},
		{"secret with line break", `[{` + id + `,"secret":"` + canary + `\n"}]`, "clients[0].secret: REDACTED: has a control"},
		{"secret and secrets", `[{` + id + `,` + secret + `,"secrets":[]}]`, "clients[0].secrets: given beside secret:"},
		{"secrets and secret", `[{` + id + `,"secrets":[],` + secret + `}]`, "clients[0].secret: given beside secrets:"},
		{"secrets of strings", `[{` + id + `,"secrets":["` + canary + `"]}]`, "clients[0].secrets[0]: a string: give an object"},
		{"secret and hash", `[{` + id + `,"secrets":[{` + secret + `,"hash":"x"}]}]`, "clients[0].secrets[0]: REDACTED: give either"},
		{"neither", `[{` + id + `,"secrets":[{` + secret + `},{}]}]`, "clients[0].secrets[1]: REDACTED: give either"},
		{"plain as hash", `[{` + id + `,"secrets":[{"hash":"` + canary + `"}]}]`, "clients[0].secrets[0].hash: REDACTED: is not sha256$"},
		{"expires", `[{` + id + `,"secrets":[{` + secret + `,"expires":"` + canary + `"}]}]`, "clients[0].secrets[0].expires: REDACTED: give a time"},
		{"expires zero", `[{` + id + `,"secrets":[{` + secret + `,"expires":"0001-01-01T00:00:00Z"}]}]`, "secrets[0].expires: REDACTED: give a time"},
		{"expires number", `[{` + id + `,"secrets":[{` + secret + `,"expires":1}]}]`, "secrets[0].expires: a number: give a string"},
		{"no secret", `[{` + id + `}]`, "clients[0].secrets: none"},
		{"public string", `[{` + id + `,"public":"true",` + secret + `}]`, "clients[0].public: a string: give true or false"},
		{"number fraction", `[{` + id + `,` + secret + `,"number":1.0}]`, `clients[0].number: "1.0": give an integer`},
		{"number large", `[{` + id + `,` + secret + `,"number":9223372036854775808}]`, "clients[0].number: "},
		{"number string", `[{` + id + `,` + secret + `,"number":"1"}]`, "clients[0].number: a string: give an integer"},
		{"roles", `[{` + id + `,` + secret + `,"roles":[1,"2"]}]`, "clients[0].roles[1]: a string: give an integer"},
		{"scopes", `[{` + id + `,` + secret + `,"scopes":"a b"}]`, "clients[0].scopes: a string: give an array"},
		{"scope", `[{` + id + `,` + secret + `,"scopes":["a","a b"]}]`, `clients[0].scopes[1]: "a b": `},
		{"grant", `[{` + id + `,` + secret + `,"grants":["a","a"]}]`, `clients[0].grants[1]: "a": `},
		{"redirect", `[{` + id + `,` + secret + `,"redirect_uris":["x"]}]`, `clients[0].redirect_uris[0]: "x": `},
		{"auth method", `[{` + id + `,` + secret + `,"auth_method":"none"}]`, `clients[0].auth_method: "none": `},
		{"rate", `[{` + id + `,` + secret + `,"rate":{"per_second":1,"burst":0}}]`, "clients[0].rate.burst: 0: give at least 1"},
		{"rate empty", `[{` + id + `,` + secret + `,"rate":{"burst":1}}]`, "clients[0].rate.per_second: 0: give"},
		{"rate infinite", `[{` + id + `,` + secret + `,"rate":{"per_second":1e999,"burst":1}}]`, `clients[0].rate.per_second: "1e999": give`},
		{"rate null", `[{` + id + `,` + secret + `,"rate":null}]`, "clients[0].rate: null: give an object"},
		{"rate unknown", `[{` + id + `,` + secret + `,"rate":{"per_second":1,"burst":1,"x":1}}]`, `clients[0].rate: unknown member "x"`},
		{"id twice", `[{` + id + `,` + secret + `},{` + id + `,` + secret + `}]`, `clients[1].id: "a": is the id of clients[0] already`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clients, err := ParseClients([]byte(tt.data))
			if clients != nil {
				t.Error("clients beside an error")
			}
			checkOneMistake(t, err, tt.want)
			if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "1234567")) {
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
}

func TestParseClientsReportsAllAtOnce(t *testing.T) {
	_, err := ParseClients([]byte(`[
		{"id": "a", "secret": "s", "rate": {"burst": "x"}, "scopes": ["a b"]},
		{"id": "b", "secret": "s"},
		{"public": true, "x": [{}], "grants": [""]},
		[[]],
		{"id": "b", "secrets": [{"secret": "x", "x": 1}, 2]}
	]`))
	if err == nil {
		t.Fatal("no error")
	}
	var fields []string
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "store: ")) {
		fields = append(fields, line[:strings.Index(line, ": ")])
	}
	const want = "clients[0].rate.burst clients[0].scopes[0] clients[2] clients[2].id clients[2].grants[0] " +
		"clients[3] clients[4].secrets[0] clients[4].secrets[1] clients[4].id"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("got  %s\nwant %s\n%v", got, want, err)
	}
}

func TestParseClientsDeep(t *testing.T) {
	const n = 1 << 20
	for _, data := range []string{strings.Repeat("[", n), `[{"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}]`} {
		if _, err := ParseClients([]byte(data)); err == nil {
			t.Error("no error")
		}
	}
}

func FuzzParseClients(f *testing.F) {
	f.Add([]byte(`[{"id":"a","secret":"s"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		clients, err := ParseClients(data)
		if err != nil {
			if clients != nil {
				t.Error("clients beside an error")
			}
			return
		}
		if _, err := NewMemory(clients...); err != nil {
			t.Errorf("accepted, but not by NewMemory: %v", err)
		}
		var peer []map[string]any
		if err := json.Unmarshal(data, &peer); err != nil || len(peer) != len(clients) {
			t.Fatalf("%d clients, but encoding/json reads %d, %v", len(clients), len(peer), err)
		}
		for i, c := range clients {
			if c.ID != peer[i]["id"] {
				t.Errorf("clients[%d]: id %q, but encoding/json reads %q", i, c.ID, peer[i]["id"])
			}
			if s, ok := peer[i]["secret"].(string); ok && !c.CheckSecret(s, testNow) {
				t.Errorf("clients[%d]: its secret does not match", i)
			}
		}
	})
}
