package sqlstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// A document is what the database keeps of a client, by the names of
// [store.ParseClients]. Its bytes are what a change compares, so that one client
// has only one.
type document struct {
	ID           string           `json:"id"`
	Secrets      []secretDocument `json:"secrets"`
	Public       bool             `json:"public"`
	Disabled     bool             `json:"disabled"`
	LongLived    bool             `json:"long_lived"`
	Grants       []string         `json:"grants"`
	Scopes       []string         `json:"scopes"`
	RedirectURIs []string         `json:"redirect_uris"`
	AuthMethod   string           `json:"auth_method"`
	WithoutPKCE  bool             `json:"without_pkce"`
	Audiences    []string         `json:"audiences"`
	Rate         *rateDocument    `json:"rate"`
	Number       int64            `json:"number"`
	Name         string           `json:"name"`
	Description  string           `json:"description"`
	Roles        []int64          `json:"roles"`
}

type secretDocument struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires,omitzero"`
}

type rateDocument struct {
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

// encode validates the client and returns its document. What JSON cannot hold
// exactly, which is text that is not UTF-8, is refused.
func encode(c *store.Client) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := document{
		ID: c.ID, Public: c.Public, Disabled: c.Disabled, LongLived: c.LongLived,
		Grants: c.Grants, Scopes: c.Scopes, RedirectURIs: c.RedirectURIs,
		AuthMethod: c.AuthMethod, WithoutPKCE: c.WithoutPKCE, Audiences: c.Audiences,
		Number: c.Number, Name: c.Name, Description: c.Description, Roles: c.Roles,
	}
	if c.Rate != nil {
		d.Rate = &rateDocument{c.Rate.PerSecond, c.Rate.Burst}
	}
	if c.Secrets != nil {
		d.Secrets = make([]secretDocument, len(c.Secrets))
	}
	for i, s := range c.Secrets {
		d.Secrets[i] = secretDocument{Hash: s.Hash}
		if !s.Expires.IsZero() {
			d.Secrets[i].Expires = s.Expires.Round(0).UTC()
		}
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, errors.New("the client does not fit into JSON; give times before the year 10000")
	}
	var back document
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(d, back) {
		return nil, errors.New("the client has text that is not UTF-8; encode it so")
	}
	return text, nil
}

var errDamaged = errors.New("the document of a client is damaged, or of a newer version of this package")

// decode refuses members that it does not know: they may be what forbids the
// client something.
func decode(text []byte) (*store.Client, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var d document
	if err := dec.Decode(&d); err != nil {
		return nil, errDamaged // what is wrong with it may be a hash
	}
	if _, err := dec.Token(); err != io.EOF { //nolint:errorlint // as it is documented
		return nil, errDamaged
	}
	c := &store.Client{
		ID: d.ID, Public: d.Public, Disabled: d.Disabled, LongLived: d.LongLived,
		Grants: d.Grants, Scopes: d.Scopes, RedirectURIs: d.RedirectURIs,
		AuthMethod: d.AuthMethod, WithoutPKCE: d.WithoutPKCE, Audiences: d.Audiences,
		Number: d.Number, Name: d.Name, Description: d.Description, Roles: d.Roles,
	}
	if d.Rate != nil {
		c.Rate = &store.Rate{PerSecond: d.Rate.PerSecond, Burst: d.Rate.Burst}
	}
	if d.Secrets != nil {
		c.Secrets = make([]store.Secret, len(d.Secrets))
	}
	for i, s := range d.Secrets {
		c.Secrets[i] = store.Secret{Hash: s.Hash, Expires: s.Expires}
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return c, nil
}
