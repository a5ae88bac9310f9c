package main

import "strings"

// A mutant is a fault in one line and the test that must notice it.
type mutant struct {
	// Demand is the number of the rule, which the test carries in its name, or
	// the name of a package where the rule has no number.
	Demand  string
	File    string // from the root of the repository
	Old     string // stands exactly once in the file
	New     string
	Why     string // what the fault does
	Package string
	Run     string // one test at the top of the package
}

func (m *mutant) key() string { return m.Package + " " + m.Run }

// named says whether the test is of the rule.
func (m *mutant) named() bool {
	numbered := m.Demand[0] >= 'A' && m.Demand[0] <= 'Z'
	return strings.HasPrefix(m.Run, "Test"+m.Demand+"_") || !numbered && m.Package == "./"+m.Demand
}

var mutants = []mutant{
	// Requests.
	{
		"P1", "form.go", `return name, value, err == nil`, `return name, value, true`,
		"takes an escape that cannot be read", ".", "TestP1_WholeBodyOrNothing",
	},
	{
		"P2", "form.go", `return p.readForm(f, body)`, `return p.readForm(f, body+"&"+r.URL.RawQuery)`,
		"reads parameters from the query", ".", "TestP2_OnlyTheBody",
	},
	{
		"P3", "form.go", `if f.params[i].Name == field.name {`, `if f.params[i].Name == field.name && false {`,
		"skips the check for repeated parameters", ".", "TestP3_DuplicateParameter",
	},
	{
		"P3", "form.go", `if f.params[i].Name == field.name {`, `if f.params[i].Name == field.name && f.params[i].Value != "" {`,
		"drops empty parameters before it counts them", ".", "TestP3_DuplicateParameterInEveryEnvelope",
	},
	{
		"P4", "handler.go", `name = h.conventions.DefaultGrant`, `name = "client_credentials"`,
		"has a default grant in every envelope", ".", "TestP4_GrantType",
	},
	{
		"P4", "form.go", `return prm.Value == ""`, `return false`,
		"takes an empty parameter for a given one", ".", "TestP4_EmptyIsOmitted",
	},
	{
		"P5", "form.go", `ok && !strings.EqualFold(charset, "utf-8")`, `ok && charset == ""`,
		"takes every charset", ".", "TestP5_ContentType",
	},
	{
		"P5", "form.go", `if coding != "" && !strings.EqualFold(coding, "identity") {`, `if coding == "gzip" {`,
		"refuses one content encoding only", ".", "TestP5_ContentEncoding",
	},
	{
		"P6", "form.go", `maxClientSecret   = 512`, `maxClientSecret   = 513`,
		"takes a secret that is a byte too long", ".", "TestP6_FieldCaps",
	},
	{
		"P6", "form.go", `if count++; count > maxFormParams {`, `if count++; count > maxFormParams+1 {`,
		"takes a parameter too many", ".", "TestP6_ParameterCount",
	},
	{
		"P7", "form.go", `c > 0x7E || c == '"' || c == '\\'`, `c > 0x7E || c == '"'`,
		"takes a backslash in a scope", ".", "TestP7_EveryByte",
	},
	{
		"P8", "client.go", `if !clean(id) {`, `if id == "" {`,
		"asks the store for ids that no client can have", ".", "TestP8_UncleanIsUnknown",
	},
	{
		"P9", "form_json.go", `known != name && strings.EqualFold(known, name)`, `known != name && false`,
		"takes a member in another case", ".", "TestP9_JSONRefused",
	},
	{
		"P9", "form_json.go", `if _, err := dec.Token(); err != io.EOF {`, `if _, err := dec.Token(); err != nil && err != io.EOF {`,
		"takes what follows the object", ".", "TestP9_JSONRefused",
	},
	{
		"P10", "bodytime.go", `timeout = min(timeout, srv.ReadTimeout)`, `timeout = max(timeout, srv.ReadTimeout)`,
		"lengthens the read deadline of the server", ".", "TestP10_SlowBody",
	},

	{
		"P10", "bodytime.go", `l.looks = l.first.until`, `l.looks = l.last.until`,
		"ends all slow bodies with the last", ".", "TestP10_EachBodyHasItsOwnTime",
	},
	{
		"P10", "bodytime.go", `	<-t.ended // the writer`, `	// the writer`,
		"leaves the writer to a goroutine when the handler has returned", ".", "TestP10_AStuckWriterStopsNoOther",
	},

	// Clients.
	{
		"C1", "client.go", `!b.decoded || raw != all[0] {`, `!b.decoded || raw == all[0] {`,
		"never tries the raw reading of Basic", ".", "TestC1_BasicInEveryEnvelope",
	},
	{
		"C2", "basic.go", `if f.get("client_secret") != "" {`, `if f.get("client_secret") == "x" {`,
		"takes credentials in two ways at once", ".", "TestC2_TwoMechanisms",
	},
	{
		"C2", "basic.go", `if len(lines) > 1 {`, `if len(lines) > 2 {`,
		"takes the first of two Authorization lines", ".", "TestC2_OneMechanism",
	},
	{
		"C3", "client.go", `if c.method == store.AuthNone {`, `if c.method == store.AuthNone || x.grant.public {`,
		"does not verify a secret that the grant does not need", ".", "TestC3_SentCredentialsAreVerified",
	},
	{
		"C4", "client.go", `case !matches || client.Public`, `case !matches && !client.Disabled || client.Public`,
		"tells anybody that a client is disabled", ".", "TestC4_UnknownAndWrongAreAlike",
	},
	{
		"C4", "response/failure.go", `{ClientUnknown, InvalidClient, http.StatusUnauthorized, "Client authentication failed",`,
		`{ClientUnknown, InvalidClient, http.StatusUnauthorized, "Client not found",`,
		"tells unknown clients from wrong secrets", "./response", "TestC4_UnknownAnswersLikeWrong",
	},
	{
		"C5", "handler.go", `x.form != nil && x.form.basic != nil`, `x.form != nil`,
		"challenges whoever fails, not only who used Basic", ".", "TestC5_ChallengeOnlyToBasic",
	},
	{
		"C6", "client.go", `c != nil && c.Public && len(c.Secrets) == 0`, `c != nil && len(c.Secrets) == 0`,
		"lets a confidential client in by its name", ".", "TestC6_WithoutSecretNeverIn",
	},
	{
		"C6", "store/secret.go", `if !ok || s.expired(now) {`, `if s.Hash == "" { return 1 }; if !ok || s.expired(now) {`,
		"matches an empty hash with every secret", "./store", "TestC6_UnusableHashMatchesNothing",
	},
	{
		"C7", "client.go", `client.AuthMethod != "" && client.AuthMethod != c.method:`, `client.AuthMethod == store.AuthNone:`,
		"takes any way to authenticate", ".", "TestC7_RegisteredMethod",
	},
	{
		"C7", "store/secret.go", `return !s.Expires.IsZero() && !now.Before(s.Expires)`, `return false`,
		"takes a secret after its end", "./store", "TestC7_CheckSecret",
	},
	{
		"C8", "client.go", `case errors.Is(err, store.ErrNotFound) && !isTemporary(err):`, `case err != nil && client == nil && !isTemporary(err):`,
		"answers 401 when the store fails", ".", "TestC8_UnexpectedIs500",
	},
	{
		"C8", "client.go", `case err == nil && client != nil && client.ID == id:`, `case err == nil && client != nil:`,
		"takes another client than was asked for", ".", "TestC8_UnexpectedIs500",
	},
	{
		"P8", "client.go", `case strings.EqualFold(`, `case false && strings.EqualFold(`,
		"fails for an id in other letters", ".", "TestP8_AnotherSpellingIsUnknown",
	},
	{
		"C8", "errors.go", `case place == response.Guard || isTemporary(err):`, `case place == response.Guard:`,
		"answers 500 when the store is away", ".", "TestC8_TemporaryIs503",
	},
	{
		"C9", "client.go", `if slices.Contains(client.Grants, grantType) {`, `if slices.Contains(client.Grants, grantType) || grantType != "" {`,
		"lets every client use every grant", ".", "TestC9_GrantNotAllowed",
	},

	// Grants.
	{
		"G1", "handler.go", `if !x.authenticated && !x.grant.public {`, `if !x.authenticated && x.grant.Grant == nil {`,
		"lets a public client use client_credentials", ".", "TestG1_ClientCredentials",
	},
	{
		"G1", "scope.go", `if !slices.Contains(x.client.Scopes, s) {`, `if !slices.Contains(x.form.scopes, s) {`,
		"gives scopes that the client may not have", ".", "TestG1_ClientCredentials",
	},
	{
		"G1", "limit.go", `b = append(append(b, clientSubjectPrefix...), id...)`, `b = append(b, id...)`,
		"gives a client the subject of a user", ".", "TestG1_SubjectIsNoUser",
	},
	{
		"G2", "grant/implicit.go", `ReadOnly: true`, `ReadOnly: false`,
		"issues implicit tokens that may write", ".", "TestG2_ReadOnly",
	},
	{
		"G2", "client.go", `if all[0].method == store.AuthNone {`, `if all[0].method == "" {`,
		"does not limit anonymous requests by address", ".", "TestG2_LimitedByAddressFirst",
	},
	{
		"G5", "handler.go", `reply, err := h.formatter.Token(`, `if x.issue.Commit != nil { _ = x.issue.Commit(context.Background()) }
	reply, err := h.formatter.Token(`,
		"commits before the answer is ready", ".", "TestG5_NothingIsConsumedBeforeTheAnswer",
	},
	{
		"G5", "handler.go", `!errors.Is(err, grant.ErrConflict) {`, `err == nil || err != grant.ErrConflict || true {`,
		"does not start over when it lost a race", ".", "TestG5_ConflictEndsAfterEightRounds",
	},
	{
		"G8", "grant/password.go", `"address|" + r.Address.String(),`, `"address|" + r.Param("username"),`,
		"does not limit passwords by address", ".", "TestG8_LimitedByUserAndAddress",
	},
	{
		"G8", "grant/password.go", `{ErrUserLocked, response.UserLocked},`, `{ErrUserLocked, response.GrantRefused},`,
		"tells that a user is locked", ".", "TestG8_RefusalsAreAlike",
	},
	{
		"G8", "internal/gate/gate.go", `slots: make(chan struct{}, n)`, `slots: make(chan struct{}, n+1)`,
		"hashes one password too many at once", ".", "TestG8_ConcurrencyIsBounded",
	},

	// Tokens and keys.
	{
		"T1", "jwtmint.go", "b = jsontext.AppendText(b, `,\"jti\":`, c.id)", ``,
		"leaves out the jti", ".", "TestT1_Claims",
	},
	{
		"T2", "jws.go", `if !known || key.algorithm != header.algorithm {`, `if key.algorithm = header.algorithm; !known {`,
		"takes the algorithm from the token", ".", "TestT2_AlgorithmOfTheKey",
	},
	{
		"T2", "jwt.go", `r.issued.IsZero() || r.expires.IsZero()`, `r.issued.IsZero()`,
		"takes a token without exp", ".", "TestT2_Claims",
	},
	{
		"T2", "jwt.go", `|| !r.names(j.audience) ||`, `||`,
		"ignores aud", ".", "TestT2_Claims",
	},
	{
		"T2", "jwt.go", `if r.issuer != j.issuer ||`, `if`,
		"ignores iss", ".", "TestT2_Claims",
	},
	{
		"T2", "jws.go", `h.JKU != nil || `, ``,
		"takes a token that names a key set", ".", "TestT2_Headers",
	},
	{
		"T2", "jwt.go", `if len(token) > maxToken {`, `if len(token) < 0 {`,
		"parses tokens of any length", ".", "TestT2_Serializations",
	},
	{
		"T3", "middleware.go", `c.expires.Add(g.leeway)`, `c.expires.Add(g.leeway + time.Minute)`,
		"allows a minute more than the leeway", ".", "TestT3_Leeway",
	},
	{
		"T4", "jws.go", ` || !isType(h.Type, j.typ) {`, ` || isType(h.Type, "") {`,
		"takes every typ", ".", "TestT4_OtherTokensOfTheSameKey",
	},
	{
		"T5", "opaque.go", `return "token:" + string(sum[:]),`, `return "token:" + token,`,
		"stores tokens as they are", ".", "TestT5_DumpHoldsNothingUsable",
	},
	{
		"T5", "opaque.go", `if realm != o.realm {`, `if realm == [8]byte{} {`,
		"takes the token of another issuer", ".", "TestT5_Realms",
	},
	{
		"T6", "keys.go", `if len(k) < 32 {`, `if len(k) < 31 {`,
		"takes a secret that is too short", ".", "TestT6_KeysChecked",
	},
	{
		"T6", "keys.go", `if algorithm != "HS256" {`, `if algorithm != "" {`,
		"publishes secrets", ".", "TestT6_JWKSHasNoPrivateMember",
	},
	{
		"T6", "keys.go", `if signs && private != nil {`, `if private != nil {`,
		"signs with the last key", ".", "TestT6_Rotation",
	},
	{
		"T8", "keys.go", `func (k Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }`,
		`func (k Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.Material) }`,
		"prints keys", ".", "TestT8_KeysHide",
	},
	{
		"T8", "store/secret.go", `func (Secret) MarshalJSON() ([]byte, error) { return []byte(`, `func (s Secret) MarshalJSON() ([]byte, error) { return []byte("\"" + s.Hash + "\""), nil }; func (Secret) marshal() ([]byte, error) { return []byte(`,
		"writes hashes in JSON", "./store", "TestT8_Redacted",
	},

	// The guard.
	{
		"B1", "middleware.go", `if missing := lacks(a.said.scope); missing != "" {`, `if missing := lacks(a.said.scope); missing == "*" {`,
		"drops the scope check", ".", "TestB1_Require",
	},
	{
		"B1", "write.go", `if f.Reason == response.TokenMissing {`, `if f.Reason == "" {`,
		"names an error where no token was sent", ".", "TestB1_AnswersOfEveryEnvelope",
	},
	{
		"B1", "bearer.go", `if len(lines) > 1 {`, `if len(lines) > 2 {`,
		"takes the first of two Authorization lines", ".", "TestB1_AuthorizationHeaders",
	},
	{
		"B2", "bearer.go", `	if query {`, `	if query || r != nil {`,
		"takes tokens from every query", ".", "TestB2_QueryTokensOff",
	},
	{
		"B3", "middleware.go", `return because(response.Unavailable, fmt.Errorf("tokenbooth: verifying: %w", err))`,
		`return because(response.TokenInvalid, fmt.Errorf("tokenbooth: verifying: %w", err))`,
		"answers 401 when the state fails", ".", "TestB3_StateIsDown",
	},
	{
		"B3", "clientcache.go", `return fresh, err`, `return fresh, nil`,
		"passes when the client store fails", ".", "TestB3_ClientStoreIsDown",
	},
	{
		"B3", "state.go", `if len(got) != len(keys) {`, `if len(got) < 0 {`,
		"passes when the state leaves out what it was asked for", ".", "TestB3_ManyUnknown",
	},
	{
		"B4", "middleware.go", `next.ServeHTTP(w, r.WithContext(newPrincipalContext(r.Context(), a.said)))`, `next.ServeHTTP(w, r)`,
		"keeps the identity to itself", ".", "TestB4_Context",
	},
	{
		"B5", "middleware.go", `case errors.Is(err, errToken):`, `case errors.Is(err, errToken): f := response.Fail(response.TokenInvalid); f.Message = token; return f; case false:`,
		"repeats the token that it refuses", ".", "TestB5_NothingIsReflected",
	},
	{
		"B6", "clientcache.go", `if len(c.known) >= cacheLimit {`, `if len(c.known) < 0 {`,
		"caches without a bound", ".", "TestB6_ClientCacheIsBounded",
	},

	{
		"B6", "middleware.go", `case !a.now.Before(c.expires.Add(g.leeway)):`, `case !a.now.Before(c.expires.Add(g.leeway)) && c.watching == nil:`,
		"lets a remembered token outlive its end", ".", "TestB6_SeenTokenExpires",
	},
	{
		"B6", "jwt.go", `if known && key.is(&seen.key) {`, `if _, _ = known, key; true {`,
		"remembers a token longer than its key", ".", "TestB6_KeyOfSeenToken",
	},
	{
		"B6", "jwt.go", `if known && key.is(&seen.key) {`, `if _ = key; known {`,
		"takes a key for another one of the same name", ".", "TestB6_KeyOfSeenToken",
	},
	{
		"B6", "middleware.go", `if g.state != nil {`, `if g.state != nil && c.watching == nil {`,
		"lets a remembered token outlive its revocation", ".", "TestB6_SeenTokenRevoked",
	},
	{
		"B6", "tokencache.go", `for s.bytes > cacheShardBytes {`, `for s.bytes < 0 {`,
		"remembers any number of bytes", ".", "TestB6_TokenCacheIsBounded",
	},
	{
		"B6", "tokencache.go", `!seen.used.Swap(false) {`, `!false {`,
		"lets a flood push out who comes all the time", ".", "TestB6_FloodLeavesWhoComesAgain",
	},
	{
		"B6", "tokencache.go", `seen.hash == hash && seen.text == token {`, `seen.hash != 0 {`,
		"takes one token for another", ".", "TestB6_OneTokenForAnother",
	},
	{
		"B6", "jwt.go", `strings.Clone(token)`, `strings.TrimSpace(token)`,
		"keeps memory that is the caller's", ".", "TestB6_MemoryOfTheCaller",
	},
	{
		"T2", "jws.go", `if len(s.seen) >= maxSeenHeaders {`, `if len(s.seen) < 0 {`,
		"remembers any number of headers", ".", "TestT2_SeenHeadersAreBounded",
	},
	{
		"T2", "jws.go", `base64.RawURLEncoding.Strict()`, `base64.RawURLEncoding`,
		"takes a token in more than one spelling", ".", "TestT2_SeenHeader",
	},
	{
		"T2", "jws.go", `if jws.DetachedVerify(payload, key.public) != nil {`, `if jws.DetachedVerify(payload, key.public) == nil && len(signature) == 0 {`,
		"takes any signature under a header that was good before", ".", "TestT2_SeenHeader",
	},

	// Limits.
	{
		"L1", "client.go", `var refusal *response.Failure`,
		`if err := h.chargeFailure(ctx, x, all[0].id); err != nil { return err }; var refusal *response.Failure`,
		"charges before it verifies", ".", "TestL1_FloodLocksNobodyOut",
	},
	{
		"L1", "throttle.go", `if client.Rate == nil {`, `if client.Rate == nil || otherwise.Burst > 0 {`,
		"gives every client the default limit", ".", "TestL1_RecordElseDefault",
	},
	{
		"L1", "clientcache.go", `const guardBucket = "guard"`, `const guardBucket = "token"`,
		"lets the guard take from the endpoint's bucket", ".", "TestL1_GuardBucketApart",
	},
	{
		"L1", "clientcache.go", `if ok && !now.Before(known.read) && now.Before(known.until) {`, `if ok {`,
		"caches without expiry", ".", "TestL1_ClientRateThroughTheCache",
	},
	{
		"L2", "memorylimiter.go", `d.Allowed = b.AllowN(at.steady, 1)`, `d.Allowed = b.ReserveN(at.steady, 1).DelayFrom(at.steady) == 0`,
		"charges for refused requests", ".", "TestL2_RefusalsCostNothing",
	},
	{
		"L2", "write.go", `if f.RetryAfter > 0 {`, `if f.RetryAfter > time.Hour {`,
		"forgets Retry-After", ".", "TestL2_ThrottledInEveryEnvelope",
	},
	{
		"L3", "memorylimiter.go", `slot.full <= now {`, `slot.full != now {`,
		"evicts a bucket that is not full", ".", "TestL3_OnlyFullBucketsMakeRoom",
	},
	{
		"L4", "steadyclock.go", `at.steady, at.nanos = c.steady, c.steady.UnixNano()`, `at.steady, at.nanos = now, now.UnixNano()`,
		"lets a clock that steps back lock clients out", ".", "TestL4_ClockSteps",
	},
	{
		"L5", "address.go", `if a.trusts(addr) {`, `if a.trusts(addr) || len(a.trusted) == 0 {`,
		"believes X-Forwarded-For from anybody", ".", "TestL5_RemoteAddr",
	},
	{
		"L5", "address.go", `for i := len(lines) - 1; i >= 0; i-- {`, `for i := range lines {`,
		"believes what the sender wrote before the proxy", ".", "TestL5_ForwardedFor",
	},
	{
		"L6", "throttle.go", `if err == nil && d.Allowed {`, `if err != nil || d.Allowed {`,
		"lets everybody pass when the limiter is away", ".", "TestL6_LimiterFails",
	},

	// Time, HTTP and lifecycle.
	{
		"S2", "handler.go", `context.WithTimeout(ctx, exchangeTimeout)`, `context.WithCancel(ctx)`,
		"waits for a grant without end", ".", "TestS2_ExchangeAndCommitAreBounded",
	},
	{
		"S2", "client.go", `context.WithTimeout(ctx, storeTimeout)`, `context.WithCancel(ctx)`,
		"waits for the client store without end", ".", "TestS2_StoreCallsAreBounded",
	},
	{
		"S2", "state.go", `return context.WithTimeout(ctx, storeTimeout)`, `return context.WithCancel(ctx)`,
		"waits for the state without end", ".", "TestS2_StoreCallsAreBounded",
	},
	{
		"H1", "write.go", `"no-store", "no-cache",`, `"private", "no-cache",`,
		"forgets no-store", ".", "TestH1_EnvelopeCannotForgetHeaders",
	},
	{
		"H1", "form.go", `if r.Method != http.MethodPost {`, `if r.Method == http.MethodGet {`,
		"answers other methods than POST", ".", "TestH1_EveryOtherMethod",
	},
	{
		"H2", "handler.go", `defer recovered(&err)`, `defer func() {}()`,
		"does not recover from a grant", ".", "TestH2_PanicInGrant",
	},
	{
		"H2", "errors.go", `if v == http.ErrAbortHandler {`, `if v == nil {`,
		"swallows http.ErrAbortHandler", ".", "TestH2_ErrAbortHandlerPasses",
	},
	{
		"H3", "form.go", `fail.Err = errBodyUnread`, `fail.Err = err`,
		"logs what a request holds", ".", "TestH3_CanaryInTrailer",
	},
	{
		"H2", "handler.go", `if write(w, reply) == nil {`, `if write(w, reply); true {`,
		"uses a body again that may still be read", ".", "TestH2_BodyOfAFailedWriteIsNotUsedAgain",
	},
	{
		"H3", "form.go", `clear(buf)`, `_ = buf`,
		"keeps a secret beyond its request", ".", "TestH3_BufferIsCleared",
	},
	{
		"H4", "handler.go", `h.guard = h.newGuard()`, `h.guard = h.newGuard(); go func() { select {} }()`,
		"starts a goroutine that nothing ends", ".", "TestH4_StartStopLeaksNoGoroutine",
	},

	// Packages whose rules have no number.
	{
		"response", "response/meta.go", `status == http.StatusUnauthorized:`, `status == http.StatusTeapot:`,
		"answers 401 where Meta has 403", "./response", "TestGolden",
	},
	{
		"response", "response/content.go", `if i > 0 {`, `if i > 1 {`,
		"runs two roles together", "./response", "TestGolden",
	},
	{
		"response", "response/data.go", `if f.Place != Guard {`, `if f.Place != "" {`,
		"writes the status of the guard as a string", "./response", "TestGolden",
	},
	{
		"store", "store/memory.go", `case !bytes.Equal(e.value(), old):`, `case bytes.Equal(old, nil):`,
		"swaps whatever is there", "./store", "TestMemoryIsState",
	},
	{
		"store", "store/memory.go", `if e.about&isOwn != 0 {`, `if false {`,
		"returns a value that the next Swap writes over", "./store", "TestMemoryValuesDoNotChange",
	},
	{
		"store", "store/table.go", `t.kinds[kindOf(e.key())].Add(-1)`, `t.kinds[kindOf(e.key())].Add(-2)`,
		"counts a removed entry twice", "./store", "TestMemoryAgainstModel",
	},
	{
		"G5", "handler.go", `x.issue.Commit != nil && !x.grant.local`, `false`,
		"writes over what a State was given", ".", "TestG5_WhatAStateWasGivenIsNotUsedAgain",
	},
	{
		"grant", "grant/grant.go", `r.lent, r.room = r.room, nil`, `r.lent = r.room`,
		"has two issues in one place", "./grant", "TestForgottenRequestLendsOnce",
	},
	{
		"store", "store/table.go", `free < 0 || free > maxFree`, `free < 0`,
		"keeps the room of a long value for a short one", "./store", "TestMemoryKeepsNoRoomOfALongValue",
	},
	{
		"H1", "write.go", `_ = send(w, reply, true)`, `_ = send(w, reply, false)`,
		"lets others write behind a refusal", ".", "TestH1_EveryBodyIsCounted",
	},
	{
		"grant", "grant/grant.go", `	if room.used {`, `	if false {`,
		"leaves an authorization for the next request", "./grant", "TestForgottenRequestIsEmpty",
	},
	{
		"C1", "limit.go", `&& n.bucket[len(tokenBucket)+1:] == id`, ``,
		"makes a token for the client of another reading", ".", "TestC1_TheReadingThatMatchesHasTheToken",
	},
	{
		"store", "store/clientmap.go", `if t.count*2 >= len(old) {`, `if true {`,
		"makes room for those who are gone", "./store", "TestClientMapForgetsTheRemoved",
	},
	{
		"H1", "write.go", `h["Content-Length"] = []string`, `h["Content-Size"] = []string`,
		"leaves the length of another answer", ".", "TestH1_OuterLengthIsForgotten",
	},
	{
		"store", "store/memory.go", `created := e.keep(val, fresh.expires)`, `created := e.keep(val, fresh.expires) || true`,
		"creates what is there already", "./store", "TestMemoryIsState",
	},
	{
		"store", "store/json.go", `case seen[name]:`, `case seen[""]:`,
		"takes a member that is given twice", "./store", "TestParseClientsMistakes",
	},

	// Authorizations.
	{
		"G3", "grant/authorization_code.go", `rec.Redirect == r.Param("redirect_uri") &&`, `true &&`,
		"redeems a code for another redirect URI", "./grant", "TestG3_Redemption",
	},
	{
		"G3", "grant/authorization_code.go", `return isVerifier(verifier) &&`, `return true &&`,
		"takes a verifier of any form", "./grant", "TestG3_VerifierSyntax",
	},
	{
		"G3", "grant/authorization.go", `if !ok || rec.Realm != r.Realm {`, `if !ok {`,
		"takes what another issuer on the same State issued", ".", "TestG3_AnotherIssuersAuthorization",
	},
	{
		"G4", "internal/authz/transition.go", `if n.Fails >= maxFails {`, `if n.Fails > maxFails {`,
		"forgives the fifth failure", "./internal/authz", "TestG4_Redeem",
	},
	{
		"G4", "internal/authz/transition.go", `if !right || lost {`, `if !right {`,
		"revokes what the winner of a race got", "./internal/authz", "TestG4_Redeem",
	},
	{
		"G6", "internal/authz/transition.go", `now.Before(r.IdleUntil) &&`, ``,
		"forgets that an unused refresh token ends", "./internal/authz", "TestG6_Good",
	},
	{
		"G7", "internal/authz/state.go", `return max(epochLife, l.Absolute, l.Access) + keepLonger`, `return max(epochLife, 0*l.Access)`,
		"forgets a revocation before what it revoked has ended", ".", "TestG7_EpochsOutliveWhatTheyRevoke",
	},
	{
		"T4", "keys.go", `set.idSigner, err = newSigner(algorithm, private, id, "JWT")`, `set.idSigner, err = newSigner(algorithm, private, id, "at+jwt")`,
		"labels an id_token as an access token", ".", "TestT4_IDTokensHaveATypeOfTheirOwn",
	},

	// Keys elsewhere, and slow secrets.
	{
		"B3", "remotekeys.go", `if isSecret(one) {`, `if false {`,
		"takes a key set that gives a private key away", ".", "TestB3_NoKeySetAtFirstUse",
	},
	{
		"T6", "remotekeys.go", `return max(age, minKeyAge)`, `return age`,
		"fetches as often as it is told", ".", "TestT6_MaxAge",
	},
	{
		"T6", "keydir.go", `if f.change.Sub(oldest) > dirPause &&`, `if`,
		"signs with a retired key after a copy of the files", ".", "TestT6_KeyDirAfterACopy",
	},
	{
		"T6", "keydir.go", `published := f.change.Add(publishAhead)`, `published := f.change`,
		"signs with a key before it was published", ".", "TestT6_KeyDirRotates",
	},
	{
		"C4", "slowsecret.go", `slow = []store.Secret{store.NoSecret}`, `return nil`,
		"answers faster where there is no client", ".", "TestC4_EveryFailureCostsOneSlowHash",
	},
}
