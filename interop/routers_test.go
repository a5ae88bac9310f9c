package interop_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v4"

	"github.com/tokenbooth/tokenbooth"
)

// What a middleware before ours does with the body.
type outer string

const (
	leaves outer = ""
	parses outer = "parses"
	drains outer = "drains"
)

func (o outer) touch(r *http.Request) {
	switch o {
	case parses:
		_ = r.ParseForm()
	case drains:
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func (o outer) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.touch(r)
		next.ServeHTTP(w, r)
	})
}

// A mounting is POST /token and the guarded GET /reports below the prefix.
type mounting struct {
	*booth
	prefix string
	outer  outer
}

// A router has one way to be built.
type router struct {
	name  string
	build func(*mounting) http.Handler
	fiber func(*mounting) *fiber.App
}

var routers = []router{
	{name: "net/http", build: serveMux},
	{name: "chi", build: chiRouter},
	{name: "gorilla/mux", build: gorillaRouter},
	{name: "echo", build: func(m *mounting) http.Handler { return echoRouter(m, requireEcho(m.guard, scope)) }},
	{name: "echo by WrapMiddleware", build: func(m *mounting) http.Handler {
		return echoRouter(m, echo.WrapMiddleware(m.guard.Require(scope)))
	}},
	{name: "gin", build: func(m *mounting) http.Handler { return ginRouter(m, requireGin(m.guard, scope)) }},
	{name: "fiber", fiber: func(m *mounting) *fiber.App { return fiberRouter(m, requireFiber(m.guard, scope)) }},
	{name: "fiber by HTTPMiddleware", fiber: func(m *mounting) *fiber.App {
		return fiberRouter(m, adaptor.HTTPMiddleware(m.guard.Require(scope)))
	}},
}

func serveMux(m *mounting) http.Handler {
	inner := http.NewServeMux()
	inner.Handle("/token", m.handler)
	inner.Handle("GET /reports", m.guard.Require(scope)(http.HandlerFunc(m.reports)))
	outermost := http.NewServeMux()
	outermost.Handle(m.prefix+"/", http.StripPrefix(m.prefix, inner))
	return m.outer.middleware(outermost)
}

func chiRouter(m *mounting) http.Handler {
	routes := func(r chi.Router) {
		r.Handle("/token", m.handler)
		r.With(m.guard.Require(scope)).Get("/reports", m.reports)
	}
	r := chi.NewRouter()
	r.Use(m.outer.middleware)
	if m.prefix == "" {
		routes(r)
	} else {
		r.Route(m.prefix, routes)
	}
	return r
}

func gorillaRouter(m *mounting) http.Handler {
	r := mux.NewRouter()
	r.Use(m.outer.middleware)
	sub := r
	if m.prefix != "" {
		sub = r.PathPrefix(m.prefix).Subrouter()
	}
	sub.Handle("/token", m.handler)
	guarded := sub.NewRoute().Subrouter()
	guarded.Use(m.guard.Require(scope))
	guarded.HandleFunc("/reports", m.reports).Methods("GET")
	return r
}

func echoRouter(m *mounting, guard echo.MiddlewareFunc) http.Handler {
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if m.outer == parses {
				c.FormValue("grant_type")
			}
			m.outer.touch(c.Request())
			return next(c)
		}
	})
	group := e.Group(m.prefix)
	group.Any("/token", echo.WrapHandler(m.handler))
	group.GET("/reports", func(c echo.Context) error {
		return c.String(http.StatusOK, m.report(c.Request().Context()))
	}, guard)
	return e
}

func ginRouter(m *mounting, guard gin.HandlerFunc) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(func(c *gin.Context) {
		if m.outer == parses {
			c.PostForm("grant_type")
		}
		m.outer.touch(c.Request)
	})
	group := e.Group(m.prefix)
	group.Any("/token", gin.WrapH(m.handler))
	group.GET("/reports", guard, func(c *gin.Context) {
		c.String(http.StatusOK, m.report(c.Request.Context()))
	})
	return e
}

func fiberRouter(m *mounting, guard fiber.Handler) *fiber.App {
	app := fiber.New()
	app.Use(func(c fiber.Ctx) error {
		switch m.outer {
		case parses:
			c.FormValue("grant_type")
		case drains:
			c.Body()
		}
		return c.Next()
	})
	group := app.Group(m.prefix)
	group.All("/token", adaptor.HTTPHandler(m.handler))
	group.Get("/reports*", guard, func(c fiber.Ctx) error {
		// The recipe sets Context; the adaptor's own middleware reaches no further
		// than RequestCtx.
		if _, ok := tokenbooth.PrincipalFrom(c.Context()); ok {
			return c.SendString(m.report(c.Context()))
		}
		return c.SendString(m.report(c.RequestCtx()))
	})
	return app
}

// serve returns the URL below which the mounting answers.
func serve(t *testing.T, handler http.Handler, app *fiber.App, prefix string) string {
	t.Helper()
	if app == nil {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL + prefix
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		// Not app.Shutdown: fasthttp writes there what a context that somebody
		// derived from one of its requests may still read.
		http.DefaultClient.CloseIdleConnections()
		_ = listener.Close()
		<-done
	})
	return "http://" + listener.Addr().String() + prefix
}

func TestRouters(t *testing.T) {
	for _, r := range routers {
		for _, prefix := range []string{"", "/api"} {
			t.Run(r.name+prefix, func(t *testing.T) {
				t.Run("refusals", func(t *testing.T) { m, base := r.start(t, prefix, leaves); refusals(t, m, base) })
				t.Run("token and route", func(t *testing.T) { m, base := r.start(t, prefix, leaves); tokenAndRoute(t, m, base) })
				t.Run("body parsed before", func(t *testing.T) { m, base := r.start(t, prefix, parses); tokenAndRoute(t, m, base) })
				t.Run("body drained before", func(t *testing.T) {
					m, base := r.start(t, prefix, drains)
					if r.fiber != nil {
						tokenAndRoute(t, m, base) // a body of fiber can be read again
						return
					}
					drained(t, m, base)
				})
			})
		}
	}
}

// start serves the mounting on a router of its own.
func (r *router) start(t *testing.T, prefix string, o outer) (*mounting, string) {
	t.Helper()
	m := &mounting{newBooth(t), prefix, o}
	if r.fiber != nil {
		return m, serve(t, nil, r.fiber(m), prefix)
	}
	return m, serve(t, r.build(m), nil, prefix)
}

// raw sends a request that net/http would not, and returns all of the answer.
func raw(t *testing.T, base, head string) string {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, head+"Host: test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// Two tokens are refused, whichever is good. Fiber's adaptor hands on the last
// header of a name, so that nobody behind it can tell.
func TestTwoAuthorizationHeaders(t *testing.T) {
	for _, r := range routers {
		t.Run(r.name, func(t *testing.T) {
			m, base := r.start(t, "", leaves)
			good := "Authorization: Bearer " + m.token(t, base, "acme", scope) + "\r\n"
			const bad = "Authorization: Bearer a-guess\r\n"
			want := [2]string{"400", "400"}
			if r.fiber != nil {
				want = [2]string{"401", "200"}
			}
			for i, headers := range []string{good + bad, bad + good} {
				got := raw(t, base, "GET /reports HTTP/1.1\r\n"+headers)
				if !strings.HasPrefix(got, "HTTP/1.1 "+want[i]) {
					t.Errorf("want %s, got %s", want[i], got)
				}
			}
		})
	}
}

func (b *booth) token(t *testing.T, base, client, scope string) string {
	t.Helper()
	a := send(t, "POST", base+"/token", formHeader, url.Values{
		"grant_type": {"client_credentials"}, "scope": {scope},
		"client_id": {client}, "client_secret": {b.secrets[client]},
	}.Encode())
	var token struct {
		AccessToken string `json:"access_token"`
		Scope       string `json:"scope"`
	}
	if err := json.Unmarshal([]byte(a.body), &token); err != nil || a.status != http.StatusOK || token.AccessToken == "" || token.Scope != scope {
		t.Fatalf("no token: %d %s", a.status, a.body)
	}
	a.wantOurs(t)
	return token.AccessToken
}

var formHeader = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func refusals(t *testing.T, m *mounting, base string) {
	const challenge = `Bearer realm="` + issuer + `"`
	for _, test := range []struct {
		name      string
		header    map[string]string
		status    int
		challenge string
		body      string
	}{
		{"no token", nil, 401, challenge, `{"error":"invalid_token","error_description":"The access token is missing"}`},
		{
			"bad token", bearer("a-guess"), 401, challenge + `, error="invalid_token", error_description="The access token is invalid"`,
			`{"error":"invalid_token","error_description":"The access token is invalid"}`,
		},
		{
			"bad scope", bearer(m.token(t, base, "acme", "users:read")), 403,
			challenge + `, error="insufficient_scope", error_description="The access token lacks a scope", scope="` + scope + `"`,
			`{"error":"insufficient_scope","error_description":"The access token lacks a scope"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := send(t, "GET", base+"/reports", test.header, "")
			a.want(t, test.status, test.body)
			a.wantOurs(t)
			a.wantHeader(t, "WWW-Authenticate", test.challenge)
			if n := m.ran.Load(); n != 0 {
				t.Errorf("the guarded handler ran %d times", n)
			}
		})
	}
	t.Run("method", func(t *testing.T) {
		a := send(t, "GET", base+"/token", nil, "")
		a.want(t, 405, `{"error":"invalid_request","error_description":"The request method must be POST"}`)
		a.wantHeader(t, "Allow", "POST")
	})
	t.Run("wrong secret", func(t *testing.T) {
		header := map[string]string{"Authorization": "Basic YWNtZTp3cm9uZw==", "Content-Type": formHeader["Content-Type"]}
		a := send(t, "POST", base+"/token", header, "grant_type=client_credentials")
		a.want(t, 401, `{"error":"invalid_client","error_description":"Client authentication failed"}`)
		a.wantOurs(t)
		a.wantHeader(t, "WWW-Authenticate", `Basic realm="`+issuer+`", charset="UTF-8"`)
	})
}

func tokenAndRoute(t *testing.T, m *mounting, base string) {
	tokens := map[string]string{"acme": m.token(t, base, "acme", scope), "ecma": m.token(t, base, "ecma", scope)}
	// In turns, since some frameworks use the memory of a request again.
	for range 20 {
		for client, token := range tokens {
			a := send(t, "GET", base+"/reports", bearer(token), "")
			a.want(t, 200, "reports for "+client)
			a.wantHeader(t, "WWW-Authenticate")
		}
	}
	if n := m.ran.Load(); n != 40 {
		t.Errorf("the guarded handler ran %d times, want 40", n)
	}
}

func drained(t *testing.T, m *mounting, base string) {
	a := send(t, "POST", base+"/token", formHeader, "grant_type=client_credentials&client_id=acme&client_secret="+m.secrets["acme"])
	a.want(t, 500, `{"error":"server_error","error_description":"The request could not be processed"}`)
	a.wantOurs(t)
	const want = "the request body was read before the token endpoint"
	if log := m.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, want) {
		t.Errorf("the log does not say %q: %s", want, log)
	}
}

// WRONG: what is pasted most often. The caller gets a flawless refusal, since its
// length was announced; but gin goes on to the next handler unless somebody
// aborts, and whatever that one does is done.
func TestGinWithoutAbortRunsTheHandler(t *testing.T) {
	m := &mounting{booth: newBooth(t)}
	naive := func(c *gin.Context) {
		if _, err := m.guard.Check(c.Request); err != nil {
			m.guard.Refuse(c.Writer, err)
			return
		}
		c.Next()
	}
	base := serve(t, ginRouter(m, naive), nil, "")
	a := send(t, "GET", base+"/reports", nil, "")
	a.want(t, 401, `{"error":"invalid_token","error_description":"The access token is missing"}`)
	a.wantOurs(t)
	if n := m.ran.Load(); n != 1 {
		t.Errorf("the handler ran %d times: does gin no longer need Abort?", n)
	}
}

// Where the adaptor cannot make a request for net/http, it answers itself and
// returns no error: who takes that for a pass lets anybody in.
func TestFiberFailsClosed(t *testing.T) {
	for _, r := range routers {
		if r.fiber == nil {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			m, base := r.start(t, "", leaves)
			got := raw(t, base, "GET /reports%zz HTTP/1.1\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 500") || m.ran.Load() != 0 {
				t.Errorf("%s\nthe handler ran %d times", got, m.ran.Load())
			}
		})
	}
}
