// Package redisstore keeps the State and the rate limits of tokenbooth in Redis,
// shared by all copies of an app: codes, refresh tokens, opaque tokens and
// revocations in a [Store], the buckets of clients and users in a [Limiter].
//
// It needs Redis 6.2 or later, or a server that speaks its protocol and runs its
// Lua scripts, as Valkey does: one server, one behind Sentinel, or a cluster.
// Every script touches one key. Keys begin with "tb:"; whatever else is in the
// same database is left alone.
//
// What Redis answers is as durable as its configuration makes it; README.md says
// what each may lose.
package redisstore
