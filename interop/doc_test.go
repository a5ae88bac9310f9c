// Package interop drives other people's code against tokenbooth: routers and
// frameworks that mount it, and clients that ask it for tokens. It is a module of
// its own, so that nothing of theirs is required by whoever uses tokenbooth.
package interop_test
