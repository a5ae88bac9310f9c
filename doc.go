// Package tokenbooth is an OAuth 2 token endpoint and a guard for the web app
// that you already have.
//
// A [Handler] is an http.Handler that issues access tokens (RFC 6749), and
// [Handler.Guard] is the middleware that protects routes with them (RFC 6750).
// A [ClientStore] says who the clients are; a [ResponseFormatter] says in which
// envelope everything is answered; every client has its own rate limit. Access
// tokens are JWTs (RFC 9068) or opaque.
//
//	acme, secret := store.NewClient("acme", "read")
//	clients, err := store.NewMemory(acme)
//	booth, err := tokenbooth.NewHandler(tokenbooth.HandlerConfig{
//		Issuer:  "https://auth.example.com",
//		Clients: clients,
//	})
//	read := booth.Guard().Require("read")
//	http.Handle("/token", booth)
//	http.Handle("/reports", read(reports))
//
// The whole program is Example in example_test.go. Grants are in package grant,
// stores in package store, envelopes in package response.
package tokenbooth
