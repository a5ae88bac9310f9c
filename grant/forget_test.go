package grant

import (
	"reflect"
	"testing"

	"github.com/tokenbooth/tokenbooth/internal/authz"
	"github.com/tokenbooth/tokenbooth/store"
)

// Of what was issued, or read and then refused, the next request finds nothing.
func TestForgottenRequestIsEmpty(t *testing.T) {
	client := &store.Client{ID: "acme", Scopes: []string{"read"}}
	for name, use := range map[string]func(*Request){
		"for itself": func(r *Request) { r.newGranted().issue = Issue{Scopes: []string{"read"}, ReadOnly: true} },
		"for a user": func(r *Request) {
			rec := &authz.Record{Subject: "somebody", Client: "acme"}
			issueOf(r, rec, "key", "read").commits(r, []byte("old"), rec)
		},
		"refused": func(r *Request) {
			rec := &authz.Record{Phase: authz.Code, Subject: "somebody", Client: "acme", Realm: [8]byte{1}}
			state, _ := store.NewMemory()
			family := authz.NewFamily()
			if err := authz.Create(t.Context(), state, family, rec); err != nil {
				t.Fatal(err)
			}
			r.State = state
			if _, err := load(t.Context(), r, authz.Key(family), rec); err == nil || r.room.found[0] == 0 {
				t.Fatalf("read %v, %v", r.room.found, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(Request)
			r.Forget()
			r.Client = client
			use(r)
			r.Forget()
			room := *r.room
			room.commit = nil
			if !reflect.ValueOf(room).IsZero() {
				t.Errorf("the room holds %+v", room)
			}
			if r.room = nil; !reflect.ValueOf(*r).IsZero() {
				t.Errorf("the request holds %+v", *r)
			}
		})
	}
}
