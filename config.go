package tokenbooth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/response"
	"github.com/tokenbooth/tokenbooth/store"
)

// ClientStore says who the clients are; see [store.ClientStore].
type ClientStore = store.ClientStore

// ResponseFormatter writes answers in one envelope; see [response.Formatter].
type ResponseFormatter = response.Formatter

// HandlerConfig configures a [Handler]. Issuer and Clients are required; every
// other zero value is the safe default.
type HandlerConfig struct {
	// Issuer names this authorization server in its tokens: an absolute http or
	// https URL without query and fragment (RFC 8414 §2). Required.
	Issuer string
	// Clients says who the clients are. Required.
	Clients ClientStore
	// Formatter is the envelope of all answers; [response.OAuth] when nil.
	Formatter ResponseFormatter
	// Grants are the ways to get a token; [grant.ClientCredentials] when empty.
	Grants []grant.Grant
	// State keeps authorizations, opaque tokens and what was revoked; a [store.Memory] of its own when nil, which
	// other processes do not see and which a restart forgets.
	State store.State
	// Keys sign JWTs; one ES256 key made at start when nil, with a warning,
	// since its tokens end with the process. Clients can verify an id_token of
	// every kind but HS256, whose key makes access tokens too.
	Keys *KeyRing
	// Tokens is the form of access tokens; [JWT] when nil.
	Tokens TokenFormat
	// Audience names the resource that tokens are for (RFC 9068 §3); Issuer
	// when empty.
	Audience string
	// AccessTokenTTL is the life of access tokens, at least 1 s; 1 h when 0.
	AccessTokenTTL time.Duration
	// RefreshIdle ends a refresh token that is not used; 14 days when 0.
	RefreshIdle time.Duration
	// RefreshAbsolute ends all refresh tokens of an authorization, however much
	// they are used; 30 days when 0.
	RefreshAbsolute time.Duration
	// RefreshGrace is how long after its replacement a refresh token still gets
	// the same successor, so that a lost answer logs nobody out: at most 1 min;
	// 10 s when 0, none when negative, and then a lost answer counts as theft.
	RefreshGrace time.Duration
	// AlwaysRefresh issues refresh tokens without the scope offline_access too.
	AlwaysRefresh bool
	// TicketKey seals authorization requests on their way through the login
	// page: one as for HS256, of at least 32 bytes, the same for all copies
	// behind one address. One made at start when zero.
	TicketKey Key
	// UserClaims tells about a user in an id_token and at userinfo (OpenID
	// Connect Core §5.1), as the scopes allow: "name", "email" and the like. Its
	// members never replace the ones that the protocol needs. Nothing is told
	// when nil.
	UserClaims func(ctx context.Context, subject string, scopes []string) (map[string]any, error)
	// DefaultScopes are given where none are asked for, as far as the client
	// may have them (RFC 6749 §3.3); none when empty.
	DefaultScopes []string

	// SlowSecrets accepts client secrets in a slow form as well: PBKDF2, as
	// [store.HashHumanSecret] makes, and what SecretVerifier knows. Then every
	// failed authentication costs a slow hash, so that time does not tell which
	// clients exist, behind a bounded queue and FailureLimit. When false such
	// secrets match nothing.
	SlowSecrets bool
	// SecretVerifier checks hashes of other systems; needs SlowSecrets.
	SecretVerifier store.SecretVerifier

	// Limiter keeps the rate limits; a [MemoryLimiter] of its own when nil. To
	// have none, [Unlimited] must be spelled out.
	Limiter Limiter
	// Limit is for clients whose record has none, and for all requests of one
	// address that come without credentials; 50 a second and 100 at once when
	// zero.
	Limit Limit
	// FailureLimit is for failed authentications of one client ID from one
	// address, and for logins with a password, good or bad, of one user and of
	// one address; 1 a second and 20 at once when zero.
	FailureLimit Limit
	// TrustedProxies are the networks whose X-Forwarded-For is believed; none
	// when empty, and then limits by address see the connection's own.
	TrustedProxies []netip.Prefix

	// Logger gets every event, without secrets; slog.Default() when nil.
	Logger *slog.Logger
	// Events gets every event too, for metrics; nothing when nil. It is called
	// concurrently and must not block.
	Events func(context.Context, Event)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// GuardConfig configures a [Guard] that stands in another process than the
// [Handler]; in the same one use [Handler.Guard]. Issuer is required, and Keys or
// JWKSURL for [JWT], or State for [Opaque].
type GuardConfig struct {
	// Issuer of the tokens, compared byte by byte. Required.
	Issuer string
	// Audience that tokens must be for; Issuer when empty.
	Audience string
	// Tokens is the form of the access tokens; [JWT] when nil.
	Tokens TokenFormat
	// Keys verify JWTs; only their public halves are used. For [JWT] either Keys
	// or JWKSURL is required.
	Keys *KeyRing
	// JWKSURL is where the issuer publishes its keys (RFC 7517 §5), an https URL,
	// or http on a loopback address. They are fetched when first needed, kept
	// for their max-age, between a minute and a day, and served on while no
	// newer ones can be had. A token signed with an unknown key asks again, at
	// most every 10 s.
	JWKSURL string
	// HTTPClient fetches them; one with a timeout of 5 s when nil.
	HTTPClient *http.Client
	// State is the one of the handler. Required for [Opaque]; for [JWT] the guard
	// sees with it at once what was revoked, and without it when the token ends.
	State store.State
	// Formatter is the envelope of refusals; [response.OAuth] when nil.
	Formatter ResponseFormatter
	// Leeway is how far clocks may be apart, at most 1 min; 30 s when 0, none when
	// negative.
	Leeway time.Duration

	// Clients tells each client's own limit, and whether it is still there and
	// not disabled, read at most once a minute; when nil all have Limit.
	Clients ClientStore
	// Limiter keeps the rate limits; a [MemoryLimiter] of its own when nil. To
	// have none, [Unlimited] must be spelled out.
	Limiter Limiter
	// Limit is for clients whose record has none; 50 a second and 100 at once
	// when zero.
	Limit Limit
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// Logger gets every event, without secrets; slog.Default() when nil.
	Logger *slog.Logger
	// Events gets every event too, for metrics; nothing when nil.
	Events func(context.Context, Event)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A ConfigError is one mistake in a configuration. [NewHandler] and [NewGuard]
// report all of them at once, joined.
type ConfigError struct {
	Field string // as in "HandlerConfig.Issuer"
	Value string // what it was; never a secret
	Mend  string // what it should be
}

// Error names the field, the value and the mend.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("tokenbooth: %s is %s: %s", e.Field, e.Value, e.Mend)
}

const (
	defaultTTL      = time.Hour
	defaultIdle     = 14 * 24 * time.Hour
	defaultAbsolute = 30 * 24 * time.Hour
	defaultGrace    = 10 * time.Second
	maxGrace        = time.Minute
	defaultLeeway   = 30 * time.Second
	storeTimeout    = 2 * time.Second
)

var (
	defaultLimit        = Limit{PerSecond: 50, Burst: 100}
	defaultFailureLimit = Limit{PerSecond: 1, Burst: 20}
)

// mistakes collects what is wrong with one configuration.
type mistakes struct {
	of  string
	all []error
}

func (m *mistakes) add(field, value, mend string) {
	m.all = append(m.all, &ConfigError{m.of + "." + field, value, mend})
}

func (m *mistakes) err() error { return errors.Join(m.all...) }

func (m *mistakes) issuer(issuer string) {
	const mend = `set the absolute URL of this server, as "https://auth.example.com"`
	if issuer == "" {
		m.add("Issuer", "empty", mend)
		return
	}
	u, err := url.Parse(issuer)
	if err != nil {
		m.add("Issuer", "not a URL", mend)
		return
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(issuer, "?#") {
		// Without what may hold a secret.
		shown := url.URL{Scheme: u.Scheme, Opaque: u.Opaque, Host: u.Host, Path: u.Path}
		m.add("Issuer", fmt.Sprintf("%q", shown.String()), mend+", without user, query and fragment")
	}
}

func (m *mistakes) limit(field string, l Limit) {
	if l == (Limit{}) {
		return
	}
	if !(l.PerSecond > 0) || math.IsInf(l.PerSecond, 0) || l.Burst < 1 {
		m.add(field, fmt.Sprintf("%+v", l), "PerSecond must be above 0 and Burst at least 1; to have no limit, set Limiter to Unlimited{}")
	}
}

// notNil refuses an interface that holds a nil pointer: it is not nil, so that no
// default takes its place, and it is of no use.
func (m *mistakes) notNil(field string, v any) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		if r.IsNil() {
			m.add(field, fmt.Sprintf("a nil %T", v), "set one that was made, or leave the field out")
			return false
		}
	}
	return true
}

func (m *mistakes) tokens(t TokenFormat) {
	if !m.notNil("Tokens", t) {
		return
	}
	if err := t.validate(); err != nil {
		m.add("Tokens", fmt.Sprintf("%T", t), err.Error())
	}
}

func (m *mistakes) scopes(field string, scopes []string) {
	for i, s := range scopes {
		if !isScopeToken(s) {
			m.add(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%q", s), `want visible ASCII without space, " and \ (RFC 6749 §3.3)`)
		}
	}
}

func (m *mistakes) jwksURL(c *GuardConfig) {
	if c.JWKSURL == "" {
		return
	}
	if c.Keys != nil {
		m.add("JWKSURL", "set beside Keys", "set one of them")
	}
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		m.add("JWKSURL", "not an https URL without user", `set one as "https://auth.example.com/jwks.json": over plain http anybody on the way makes tokens`)
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (m *mistakes) grants(grants []grant.Grant) {
	seen := map[string]bool{}
	for i, g := range grants {
		field := fmt.Sprintf("Grants[%d]", i)
		if g == nil {
			m.add(field, "nil", "remove it, or name a grant")
			continue
		}
		if !m.notNil(field, g) {
			continue
		}
		if g.Type() == "" || seen[g.Type()] {
			m.add(field, fmt.Sprintf("%q", g.Type()), "each grant type once, and not empty")
		}
		seen[g.Type()] = true
		if v, ok := g.(grant.Validator); ok {
			if err := v.Validate(); err != nil {
				m.add(field, fmt.Sprintf("%T", g), err.Error())
			}
		}
	}
}

// keyLife: a directory that drops a key while its tokens live refuses good ones.
func (m *mistakes) keyLife(k *KeyRing, ttl time.Duration) {
	if k != nil && k.dir != nil && k.dir.keep < ttl+dirSkew {
		m.add("Keys", "a directory whose tokenLife is shorter than AccessTokenTTL", "give OpenKeyDir a tokenLife of at least "+ttl.String())
	}
}

func (m *mistakes) keys(k *KeyRing, needed, signs bool) {
	switch {
	case k == nil && needed:
		m.add("Keys", "nil", "set the KeyRing, or its public half, that the tokens are signed with")
	case k != nil && len(k.set().verifiers) == 0:
		m.add("Keys", "an empty KeyRing", "make it with NewKeyRing")
	case k != nil && needed && signs && !k.canSign():
		m.add("Keys", "a KeyRing that cannot sign", "its first key must be a private one")
	}
}

// validate fills in the defaults of c, or says everything that is wrong.
func (c *HandlerConfig) validate() error {
	m := &mistakes{of: "HandlerConfig"}
	c.setDefaults()
	m.issuer(c.Issuer)
	if c.Clients == nil {
		m.add("Clients", "nil", "set a ClientStore, as one from store.NewMemory")
	}
	m.grants(c.Grants)
	m.tokens(c.Tokens)
	m.keys(c.Keys, c.Keys != nil && (needsKeys(c.Tokens) || signsIDTokens(c.Grants)), true)
	m.keyLife(c.Keys, c.AccessTokenTTL)
	m.notNil("Clients", c.Clients)
	m.notNil("Formatter", c.Formatter)
	m.notNil("State", c.State)
	m.notNil("Limiter", c.Limiter)
	m.notNil("SecretVerifier", c.SecretVerifier)
	if c.SecretVerifier != nil && !c.SlowSecrets {
		m.add("SecretVerifier", "set without SlowSecrets", "set SlowSecrets too, which makes every failed authentication cost a slow hash")
	}
	m.limit("Limit", c.Limit)
	m.limit("FailureLimit", c.FailureLimit)
	m.scopes("DefaultScopes", c.DefaultScopes)
	if c.AccessTokenTTL < time.Second {
		m.add("AccessTokenTTL", c.AccessTokenTTL.String(), "want at least 1s, or 0 for 1h")
	}
	m.lifetimes(c)
	if c.TicketKey.Material != nil {
		if secret, ok := c.TicketKey.Material.([]byte); !ok || len(secret) < 32 {
			m.add("TicketKey", fmt.Sprintf("a %T", c.TicketKey.Material), "want Material of at least 32 random bytes, as GenerateKey(\"HS256\") makes")
		}
	}
	m.proxies(c.TrustedProxies)
	return m.err()
}

func (m *mistakes) lifetimes(c *HandlerConfig) {
	if c.RefreshIdle < time.Second {
		m.add("RefreshIdle", c.RefreshIdle.String(), "want at least 1s, or 0 for 14 days")
	}
	if c.RefreshAbsolute < c.RefreshIdle {
		m.add("RefreshAbsolute", c.RefreshAbsolute.String(), "want at least RefreshIdle, or 0 for 30 days")
	}
	if c.RefreshGrace > maxGrace {
		m.add("RefreshGrace", c.RefreshGrace.String(), "want at most "+maxGrace.String()+": a thief has as long")
	}
}

func lifetimesOf(c *HandlerConfig) grant.Lifetimes {
	return grant.Lifetimes{
		Access: c.AccessTokenTTL, Idle: c.RefreshIdle, Absolute: c.RefreshAbsolute, Grace: c.RefreshGrace,
	}
}

func (m *mistakes) proxies(trusted []netip.Prefix) {
	for i, p := range trusted {
		if !p.IsValid() {
			m.add(fmt.Sprintf("TrustedProxies[%d]", i), "not a network", `make it with netip.MustParsePrefix("10.0.0.0/8")`)
		}
	}
}

func (c *HandlerConfig) setDefaults() {
	if c.Formatter == nil {
		c.Formatter = response.OAuth{}
	}
	if len(c.Grants) == 0 {
		c.Grants = []grant.Grant{grant.ClientCredentials{}}
	}
	if c.State == nil {
		c.State = &store.Memory{Now: c.Now} // one clock: an entry that another calls old is collected
	}
	if c.Tokens == nil {
		c.Tokens = JWT{}
	}
	if c.Audience == "" {
		c.Audience = c.Issuer
	}
	if c.AccessTokenTTL == 0 {
		c.AccessTokenTTL = defaultTTL
	}
	if c.RefreshIdle == 0 {
		c.RefreshIdle = defaultIdle
	}
	if c.RefreshAbsolute == 0 {
		c.RefreshAbsolute = max(defaultAbsolute, c.RefreshIdle)
	}
	if c.RefreshGrace == 0 {
		c.RefreshGrace = defaultGrace
	}
	if c.FailureLimit == (Limit{}) {
		c.FailureLimit = defaultFailureLimit
	}
	setCommonDefaults(&c.Limiter, &c.Limit, &c.Logger, &c.Now)
}

func (c *GuardConfig) validate() error {
	m := &mistakes{of: "GuardConfig"}
	c.setDefaults()
	m.issuer(c.Issuer)
	m.tokens(c.Tokens)
	m.keys(c.Keys, needsKeys(c.Tokens) && c.JWKSURL == "", false)
	m.jwksURL(c)
	m.notNil("Clients", c.Clients)
	m.notNil("Formatter", c.Formatter)
	m.notNil("State", c.State)
	m.notNil("Limiter", c.Limiter)
	if !needsKeys(c.Tokens) && c.State == nil {
		m.add("State", "nil", "set the State that the handler keeps its opaque tokens in")
	}
	if c.Leeway > tokenSkew {
		m.add("Leeway", c.Leeway.String(), "want at most "+tokenSkew.String())
	}
	m.limit("Limit", c.Limit)
	m.proxies(c.TrustedProxies)
	return m.err()
}

func (c *GuardConfig) setDefaults() {
	if c.Formatter == nil {
		c.Formatter = response.OAuth{}
	}
	if c.Tokens == nil {
		c.Tokens = JWT{}
	}
	if c.Audience == "" {
		c.Audience = c.Issuer
	}
	if c.Keys != nil {
		c.Keys = c.Keys.Public()
	}
	switch {
	case c.Leeway == 0:
		c.Leeway = defaultLeeway
	case c.Leeway < 0:
		c.Leeway = 0
	}
	setCommonDefaults(&c.Limiter, &c.Limit, &c.Logger, &c.Now)
}

func setCommonDefaults(limiter *Limiter, limit *Limit, logger **slog.Logger, now *func() time.Time) {
	if *now == nil {
		*now = time.Now
	}
	if *limiter == nil {
		*limiter = &MemoryLimiter{Now: *now}
	}
	if *limit == (Limit{}) {
		*limit = defaultLimit
	}
	if *logger == nil {
		*logger = slog.Default()
	}
}
