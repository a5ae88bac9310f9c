package interop_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The commands that the documents of the systems show, with curl's own ways of
// encoding, and what is read of the answer.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed: its commands are not tried")
	}
	base := startServer(t)
	secret := readSecrets(t)["acme"]
	for _, test := range []struct {
		name, path string
		args       []string
		status     string
		member     string // where the token is
		route      string
	}{
		{
			"000 JSON", "/adminczar/api/v1/oauth2/token",
			[]string{
				"--request", "POST", "--header", "Content-Type: application/json",
				"--data", `{"grant_type":"client_credentials","client_id":"acme","client_secret":"` + secret + `"}`,
			},
			"200", "access_token", "/adminczar/api/v1/whoami",
		},
		{
			"001 form", "/oauth/access_token",
			[]string{
				"-X", "POST", "-d", "grant_type=client_credentials", "-d", "client_id=acme", "-d", "client_secret=" + secret,
			},
			"200", "data.access_token", "/v2/products",
		},
		{
			"001 implicit", "/oauth/access_token",
			[]string{"-X", "POST", "-d", "grant_type=implicit", "-d", "client_id=storefront"},
			"200", "data.access_token", "/v2/products",
		},
		{
			"002 Basic", "/oauth2/tokens",
			[]string{"-u", "acme:" + secret, "-d", "grant_type=client_credentials", "-d", "scope=customers:read"},
			"200", "access_token", "/oauth2/whoami",
		},
		{
			"003 without grant_type", "/v1/auth/token",
			[]string{
				"-X", "POST", "-H", "Content-Type: application/x-www-form-urlencoded", "-d", "client_id=acme", "-d", "client_secret=" + secret,
			},
			"200", "data.access_token", "/v1/whoami",
		},
		{
			"004 form", "/auth/token",
			[]string{"-d", "client_id=acme&client_secret=" + secret + "&grant_type=client_credentials"},
			"201", "content.jwt_token", "/event/whoami",
		},
		{
			"004 JSON", "/auth/token",
			[]string{
				"-H", "Content-Type: application/json",
				"-d", `{"grant_type":"client_credentials","client_id":"acme","client_secret":"` + secret + `"}`,
			},
			"201", "content.jwt_token", "/event/whoami",
		},
		{
			"004 password", "/auth/token",
			[]string{
				"-d", "client_id=acme&client_secret=" + secret + "&grant_type=password&username=admin",
				"--data-urlencode", "password=correct horse battery staple",
			},
			"201", "content.jwt_token", "/event/whoami",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body := runCurl(t, curl, append(test.args, base+test.path)...)
			token := member(t, body, test.member)
			if status != test.status || token == "" {
				t.Fatalf("%s %s, want %s and %s", status, body, test.status, test.member)
			}
			if status, body := runCurl(t, curl, "-H", "Authorization: Bearer "+token, base+test.route); status != "200" {
				t.Errorf("the route answers %s %s", status, body)
			}
		})
	}
}

func runCurl(t *testing.T, curl string, args ...string) (status, body string) {
	t.Helper()
	args = append([]string{"-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "10", "--write-out", "\n%{http_code}"}, args...)
	out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	end := strings.LastIndexByte(string(out), '\n')
	return string(out[end+1:]), string(out[:end])
}

// member returns the string at a path of names, or nothing.
func member(t *testing.T, body, path string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	s, _ := value.(string)
	return s
}
