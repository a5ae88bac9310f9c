package response_test

import (
	"encoding/json"
	"fmt"

	"github.com/tokenbooth/tokenbooth/response"
)

// Plain is an envelope of one's own: one type with two methods. Handlers and
// guards add the headers, so it cannot forget them.
type Plain struct{}

type plainToken struct {
	Token   string `json:"token"`
	Seconds int    `json:"seconds"`
}

type plainFailure struct {
	Problem string `json:"problem"`
	Reason  string `json:"reason"`
}

// Token formats a success.
func (Plain) Token(t *response.Token) (response.Reply, error) {
	return plain(200, plainToken{t.AccessToken, t.ExpiresIn})
}

// Failure formats a refusal. It takes the status of the RFCs and sends the
// message; the cause, f.Err, is for the log alone.
func (Plain) Failure(f *response.Failure) (response.Reply, error) {
	return plain(f.Status, plainFailure{f.Code, f.Message})
}

func plain(status int, v any) (response.Reply, error) {
	body, err := json.Marshal(v)
	return response.Reply{Status: status, Body: body}, err
}

// Conventions is optional: this envelope reads JSON requests as well as forms.
func (Plain) Conventions() response.Conventions {
	return response.Conventions{JSON: true}
}

func Example_custom() {
	var f response.Formatter = Plain{}

	ok, _ := f.Token(&response.Token{AccessToken: "2YotnFZFEjr1zCsicMWpAA", Type: "Bearer", ExpiresIn: 3600})
	fmt.Printf("%d %s\n", ok.Status, ok.Body)

	refused, _ := f.Failure(response.Fail(response.SecretWrong))
	fmt.Printf("%d %s\n", refused.Status, refused.Body)
	// Output:
	// 200 {"token":"2YotnFZFEjr1zCsicMWpAA","seconds":3600}
	// 401 {"problem":"invalid_client","reason":"Client authentication failed"}
}
