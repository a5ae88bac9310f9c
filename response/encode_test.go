package response

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// The answers with a token as encoding/json writes them.

type oauthToken struct {
	AccessToken  string `json:"access_token"`
	Type         string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

type dataToken struct {
	AccessToken string `json:"access_token"`
	Type        string `json:"token_type"`
	Identifier  string `json:"identifier"`
	ExpiresIn   int    `json:"expires_in"`
	Expires     int64  `json:"expires"`
}

type dataWrapped struct {
	Data dataToken `json:"data"`
}

type dataBoth struct {
	dataToken
	Data dataToken `json:"data"`
}

type metaToken struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope,omitempty"`
	Type         string `json:"token_type"`
}

type codedToken struct {
	Data codedMembers `json:"data"`
}

type codedMembers struct {
	AccessToken string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

type contentToken[C any] struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Content C      `json:"content"`
}

type contentClient struct {
	Token       string  `json:"jwt_token"`
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Number      int64   `json:"client_id"`
	ID          string  `json:"identifier"`
	Roles       []int64 `json:"roles"`
}

type contentUser struct {
	Token       string  `json:"jwt_token"`
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Number      int64   `json:"user_id"`
	Username    string  `json:"username"`
	Roles       []int64 `json:"roles"`
}

func contentOf(t *Token) any {
	if u := t.User; u != nil {
		return &contentToken[contentUser]{
			200000, "Token generated for user " + u.Username,
			contentUser{t.AccessToken, u.Name, u.Description, u.Number, u.Username, append([]int64{}, u.Roles...)},
		}
	}
	c := t.Client
	return &contentToken[contentClient]{
		200000, "Token generated for client " + c.ID,
		contentClient{t.AccessToken, c.Name, c.Description, c.Number, c.ID, append([]int64{}, c.Roles...)},
	}
}

// checkEncoding holds what is appended by hand against encoding/json.
func checkEncoding(t *testing.T, tok *Token) {
	t.Helper()
	data := dataToken{tok.AccessToken, tok.Type, tok.GrantType, tok.ExpiresIn, tok.ExpiresAt.Unix()}
	for _, c := range []struct {
		formatter Formatter
		body      any
	}{
		{OAuth{}, &oauthToken{tok.AccessToken, tok.Type, tok.ExpiresIn, tok.RefreshToken, tok.IDToken, tok.Scope}},
		{Data{}, dataWrapped{data}},
		{Data{Shape: Flat}, data},
		{Data{Shape: Both}, dataBoth{data, data}},
		{Data{Shape: 9}, dataWrapped{data}},
		{Meta{}, &metaToken{tok.AccessToken, tok.RefreshToken, tok.IDToken, tok.ExpiresIn, tok.Scope, "bearer"}},
		{Coded{}, &codedToken{codedMembers{tok.AccessToken, tok.Type, tok.ExpiresIn}}},
		{Content{}, contentOf(tok)},
	} {
		want, err := json.Marshal(c.body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.formatter.Token(tok)
		if err != nil || string(got.Body) != string(want) {
			t.Errorf("%T:\ngot  %s\nwant %s (%v)", c.formatter, got.Body, want, err)
		}
	}
}

func FuzzTokenEncoding(f *testing.F) {
	f.Add("eyJh.eyJh.c2ln", "Bearer", "read write", "", "", "client_credentials", "acme", "Acme & Söhne", uint64(0))
	f.Add("\"", "\\", "<>", "&", "\xff", "\u2028", "\x00", "\x7f", uint64(1))
	f.Fuzz(func(t *testing.T, token, typ, scope, refresh, id, grant, name, description string, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		roles := make([]int64, r.IntN(4))
		for i := range roles {
			roles[i] = int64(r.Uint64()) >> r.IntN(64)
		}
		tok := &Token{
			AccessToken: token, Type: typ, ExpiresIn: r.Int() >> r.IntN(63), ExpiresAt: time.Unix(r.Int64N(1<<40), 0),
			Scope: scope, RefreshToken: refresh, IDToken: id, GrantType: grant,
			Client: &Subject{ID: grant, Number: int64(r.Uint64()), Name: name, Description: description, Roles: roles},
		}
		checkEncoding(t, tok)
		tok.User = &Subject{ID: grant, Number: r.Int64(), Name: description, Description: name, Username: scope}
		checkEncoding(t, tok)
	})
}
