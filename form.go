package tokenbooth

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tokenbooth/tokenbooth/grant"
	"github.com/tokenbooth/tokenbooth/internal/jsontext"
	"github.com/tokenbooth/tokenbooth/response"
)

// What a token request may cost, in bytes unless the name says otherwise.
const (
	maxFormBytes      = 32 << 10
	maxFormParams     = 64 // parameters, known or not
	maxClientID       = 256
	maxClientSecret   = 512
	maxScope          = 2048
	maxScopeTokens    = 64
	maxExtraParameter = 8192
	formReadTimeout   = 5 * time.Second
)

const (
	formMediaType = "application/x-www-form-urlencoded"
	jsonMediaType = "application/json"
)

var (
	errBodyDrained = errors.New("the request body was read before the token endpoint")
	errBodyUnread  = errors.New("the request body could not be read")
)

// formBuffers holds buffers that the usual body fits into.
var formBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// A formField is a parameter that the endpoint knows.
type formField struct {
	name   string
	max    int             // bytes; 0 leaves it to the limit of the body
	reason response.Reason // of the failure when it is longer
}

// The parameters of RFC 6749 and RFC 7636. An over-long username or password is
// answered by the grant, exactly like a wrong one.
var formFields = []formField{
	{"grant_type", 0, ""},
	{"client_id", maxClientID, response.ParameterInvalid},
	{"client_secret", maxClientSecret, response.ParameterInvalid},
	{"scope", maxScope, response.ScopeInvalid},
	{"code", 512, response.ParameterInvalid},
	{"redirect_uri", 2048, response.ParameterInvalid},
	{"code_verifier", 512, response.ParameterInvalid},
	{"code_challenge", 512, response.ParameterInvalid},
	{"refresh_token", 512, response.ParameterInvalid},
	{"username", 0, ""},
	{"password", 0, ""},
}

// A formParser reads token requests (RFC 6749 §3.2, §4). It is safe for
// concurrent use.
type formParser struct {
	conv   response.Conventions
	fields []formField
	times  bodyTimes
}

// newFormParser returns a parser that also knows the parameters named in extra.
func newFormParser(conv response.Conventions, extra []string) *formParser {
	p := &formParser{conv: conv, fields: slices.Clone(formFields)}
	for _, name := range extra {
		if p.field(name) == nil {
			p.fields = append(p.fields, formField{name, maxExtraParameter, response.ParameterInvalid})
		}
	}
	return p
}

func (p *formParser) field(name string) *formField {
	for i := range p.fields {
		if p.fields[i].name == name {
			return &p.fields[i]
		}
	}
	return nil
}

// A form is a token request that was understood as a whole.
type form struct {
	params []grant.Param     // known parameters that are not empty, each once
	scopes []string          // tokens of scope in their order, each once; nil when omitted
	basic  *basicCredentials // nil when there is no Authorization header

	// They spare params and scopes an allocation of their own.
	paramRoom [6]grant.Param
	scopeRoom [4]string

	time bodyTime
}

// get returns the value of a known parameter, or the empty string. Inlined, it would
// be there five times on the way of a request, and fetched as often.
//
//go:noinline
func (f *form) get(name string) string {
	for i := range f.params {
		if f.params[i].Name == name {
			return f.params[i].Value
		}
	}
	return ""
}

// parse reads the request. The error is always a [*response.Failure]; it says
// nothing of what the request holds.
//
// A slow body is ended after 5 s, or earlier by the ReadTimeout of the server,
// also where the server has none. That needs a ResponseWriter with
// SetReadDeadline, or one whose Unwrap leads there; behind any other the body is
// as slow as the server lets it be.
func (p *formParser) parse(w http.ResponseWriter, r *http.Request) (*form, error) {
	f := &form{time: bodyTime{lane: anyLane()}}
	if err := p.parseTo(f, w, r); err != nil {
		return nil, err
	}
	return f, nil
}

// parseTo is parse with the form in a place of the caller's; after an error it
// is not to be looked at.
func (p *formParser) parseTo(f *form, w http.ResponseWriter, r *http.Request) error {
	body, labelledJSON, fail := p.receive(&f.time, w, r)
	if fail != nil {
		return closing(w, r, fail)
	}
	f.params = f.paramRoom[:0]
	if fail = p.fill(f, r, body, labelledJSON); fail != nil {
		return fail
	}
	if fail = p.finish(f); fail != nil {
		return fail
	}
	if fail = f.authorize(r.Header["Authorization"]); fail != nil {
		return fail
	}
	return nil
}

// receive reads the body, if what precedes it is good.
func (p *formParser) receive(t *bodyTime, w http.ResponseWriter, r *http.Request) (body string, labelledJSON bool, fail *response.Failure) {
	p.times.begin(t, w, r)
	defer t.lift() // a Read of the host's may panic
	if labelledJSON, fail = p.admit(r); fail != nil {
		t.stay(r)
		return "", false, fail
	}
	body, err := readBody(r, !labelledJSON)
	if err != nil {
		t.stay(r)
		return "", false, bodyFailure(err)
	}
	if !t.lift() {
		return "", false, bodyFailure(os.ErrDeadlineExceeded)
	}
	return body, labelledJSON, nil
}

// admit looks at what precedes the body, and says whether the body is labelled
// as JSON.
func (p *formParser) admit(r *http.Request) (labelledJSON bool, fail *response.Failure) {
	if r.Method != http.MethodPost {
		return false, response.Fail(response.MethodNotAllowed)
	}
	if !identityEncoded(r.Header["Content-Encoding"]) {
		return false, response.Fail(response.ContentEncoding)
	}
	switch mediaType(r.Header["Content-Type"]) {
	case formMediaType:
	case jsonMediaType:
		labelledJSON = true
		if !p.conv.JSON && !p.conv.FormLabelledJSON {
			return false, response.Fail(response.ContentType)
		}
	default:
		return false, response.Fail(response.ContentType)
	}
	if r.ContentLength > maxFormBytes {
		return false, response.Fail(response.BodyTooLarge)
	}
	return labelledJSON, nil
}

func identityEncoded(values []string) bool {
	for _, v := range values {
		for coding := range strings.SplitSeq(v, ",") {
			coding = strings.TrimSpace(coding)
			if coding != "" && !strings.EqualFold(coding, "identity") {
				return false
			}
		}
	}
	return true
}

// mediaType returns the media type in lower case, or nothing where it is absent,
// doubtful or in a charset other than UTF-8.
func mediaType(values []string) string {
	if len(values) != 1 {
		return ""
	}
	if values[0] == formMediaType || values[0] == jsonMediaType {
		return values[0]
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return media
}

// fill takes the parameters from the body, or from where a middleware has put
// them.
func (p *formParser) fill(f *form, r *http.Request, body string, labelledJSON bool) *response.Failure {
	if body == "" {
		// ParseForm leaves an empty PostForm beside a JSON body that it did not
		// read, so emptiness says nothing there.
		if len(r.PostForm) > 0 || r.PostForm != nil && !labelledJSON {
			return p.readValues(f, r.PostForm)
		}
		if r.ContentLength > 0 {
			fail := response.Fail(response.Internal)
			fail.Err = errBodyDrained
			return fail
		}
	}
	if labelledJSON && p.conv.JSON && (!p.conv.FormLabelledJSON || looksLikeJSON(body)) {
		return p.readJSON(f, body)
	}
	if labelledJSON {
		body = strings.ReplaceAll(body, "+", " ")
	}
	return p.readForm(f, body)
}

// readForm reads application/x-www-form-urlencoded, with spaces where the plus
// signs were. A bare semicolon is refused,
// which some parsers take for a separator. Escapes are checked in unknown
// parameters too: who skips what it cannot read may skip what an intermediary
// read.
func (p *formParser) readForm(f *form, body string) *response.Failure {
	if strings.IndexByte(body, ';') >= 0 {
		return response.Fail(response.BodyMalformed)
	}
	for count := 0; body != ""; {
		var pair string
		pair, body, _ = cut(body, '&')
		if pair == "" {
			continue
		}
		if count++; count > maxFormParams {
			return response.Fail(response.TooManyParameters)
		}
		name, value, ok := unescapePair(pair)
		if !ok {
			return response.Fail(response.BodyMalformed)
		}
		if fail := p.add(f, name, value); fail != nil {
			return fail
		}
	}
	return nil
}

func unescapePair(pair string) (name, value string, ok bool) {
	name, value, _ = cut(pair, '=')
	if strings.IndexByte(pair, '%') < 0 {
		return name, value, true
	}
	// The error quotes the request; it must reach neither an answer nor a log.
	name, err := url.PathUnescape(name) // leaves the plus sign of a %2B
	if err != nil {
		return "", "", false
	}
	value, err = url.PathUnescape(value)
	return name, value, err == nil
}

// readValues takes a form that a middleware parsed. It walks the known names,
// not the map, so that the same request always gets the same answer.
func (p *formParser) readValues(f *form, values url.Values) *response.Failure {
	count, size := 0, 0
	for name, all := range values {
		count += len(all)
		for _, v := range all {
			size += len(name) + len(v)
		}
	}
	switch {
	case size > maxFormBytes:
		return response.Fail(response.BodyTooLarge)
	case count > maxFormParams:
		return response.Fail(response.TooManyParameters)
	}
	for i := range p.fields {
		for _, v := range values[p.fields[i].name] {
			if fail := p.add(f, p.fields[i].name, v); fail != nil {
				return fail
			}
		}
	}
	return nil
}

// add keeps a known parameter, empty or not: emptiness must not hide that it was
// repeated.
func (p *formParser) add(f *form, name, value string) *response.Failure {
	field := p.field(name)
	if field == nil {
		return nil
	}
	for i := range f.params {
		if f.params[i].Name == field.name {
			return failParam(response.ParameterRepeated, field.name)
		}
	}
	f.params = append(f.params, grant.Param{Name: field.name, Value: value})
	return nil
}

// finish drops empty parameters, which count as omitted (RFC 6749 §3.2), and
// holds the others to their limits.
func (p *formParser) finish(f *form) *response.Failure {
	empty := false
	for i := range f.params {
		if len(f.params[i].Value) > maxClientID { // the least of all limits
			if fail := p.checkLength(&f.params[i]); fail != nil {
				return fail
			}
		}
		empty = empty || f.params[i].Value == ""
	}
	if empty {
		f.params = slices.DeleteFunc(f.params, func(prm grant.Param) bool { return prm.Value == "" })
	}
	scope := f.get("scope")
	if scope == "" {
		return nil
	}
	var ok bool
	if f.scopes, ok = splitScope(f.scopeRoom[:0], scope); !ok {
		return failParam(response.ScopeInvalid, "scope")
	}
	return nil
}

func (p *formParser) checkLength(prm *grant.Param) *response.Failure {
	field := p.field(prm.Name)
	if field.max > 0 && len(prm.Value) > field.max {
		return failParam(field.reason, field.name)
	}
	return nil
}

// splitScope appends the tokens to room. It follows RFC 6749 §3.3 to the letter:
// exactly one space between them.
func splitScope(room []string, scope string) ([]string, bool) {
	scopes, rest := room, scope
	for range maxScopeTokens {
		token, after, more := cut(rest, ' ')
		if !isScopeToken(token) {
			return nil, false
		}
		if !slices.Contains(scopes, token) {
			scopes = append(scopes, token)
		}
		if !more {
			return slices.Clip(scopes), true
		}
		rest = after
	}
	return nil, false
}

// cut is strings.Cut around one byte.
func cut(s string, separator byte) (before, after string, found bool) {
	if i := strings.IndexByte(s, separator); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7E || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// clean reports whether s can be an id or a credential at all: valid UTF-8
// without control characters (C0, DEL, C1). What is not clean is answered like
// what is unknown and never shown to a store, since stores disagree about it.
func clean(s string) bool {
	return jsontext.IsPlain(s) && strings.IndexByte(s, 0x7F) < 0 || cleanText(s)
}

func cleanText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if c < 0x20 || c >= 0x7F && c <= 0x9F {
			return false
		}
	}
	return true
}

func failParam(reason response.Reason, name string) *response.Failure {
	fail := response.Fail(reason)
	fail.Param = name
	return fail
}

// readBody returns the body, that of a form with spaces in place of plus signs. It
// allocates nothing before the first 4 KiB have arrived, and at most 32 KiB in all.
func readBody(r *http.Request, form bool) (string, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return "", nil
	}
	room := formBuffers.Get().(*[4 << 10]byte)
	// What is never lent to the reader need not be cleared. One byte more than the
	// body shows its end.
	buf := room[:min(len(room), expectedSize(r.ContentLength)+1)]
	defer func() {
		clear(buf) // no secret outlives its request
		formBuffers.Put(room)
	}()
	n, err := readPiece(r.Body, buf, form)
	if err == io.EOF { //nolint:errorlint // a Reader must not wrap it
		return string(buf[:n]), nil
	}
	return readLong(r, buf, n, err, form)
}

// readLong reads on behind the first piece, which is in buf.
func readLong(r *http.Request, buf []byte, n int, err error, form bool) (string, error) {
	var long strings.Builder
	for {
		switch {
		case long.Len()+n > maxFormBytes:
			return "", &http.MaxBytesError{Limit: maxFormBytes}
		case n == 0 && errors.Is(err, http.ErrBodyReadAfterClose):
			return long.String(), nil
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		}
		if long.Len() == 0 {
			long.Grow(expectedSize(r.ContentLength))
		}
		long.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return long.String(), nil
		}
		n, err = readPiece(r.Body, buf[:min(len(buf), maxFormBytes+1-long.Len())], form)
	}
}

func readPiece(body io.ReadCloser, buf []byte, form bool) (int, error) {
	n, err := readFull(body, buf)
	if form {
		spacePluses(buf[:n])
	}
	return n, err
}

// spacePluses does for a whole form what would allocate for each value: before
// escapes are read there is no other plus sign.
func spacePluses(b []byte) {
	for i := bytes.IndexByte(b, '+'); i >= 0; i = bytes.IndexByte(b, '+') {
		b[i] = ' '
		b = b[i+1:]
	}
}

func expectedSize(contentLength int64) int {
	if contentLength > 0 && contentLength <= maxFormBytes {
		return int(contentLength)
	}
	return maxFormBytes
}

// readFull fills p as far as r goes. Unlike io.ReadFull it returns the errors of
// r as they are, so that a truncated body is told from a short one.
// (An io.Reader would have to be made of a body each time.)
func readFull(r io.ReadCloser, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; {
		var m int
		m, err = r.Read(p[n:])
		n += m
		if idle++; m > 0 {
			idle = 0
		} else if err == nil && idle == 100 {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func bodyFailure(err error) *response.Failure {
	reason := response.BodyMalformed
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &tooLarge):
		reason = response.BodyTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		reason = response.BodyTimeout
	}
	fail := response.Fail(reason)
	// Not err itself: net/http quotes a bad trailer.
	fail.Err = errBodyUnread
	return fail
}

// closing gives up the connection where its body is not worth waiting for.
// Without it net/http reads on before it sends the answer. In HTTP/2 a body
// ends with its stream, and the header would end the streams of others.
func closing(w http.ResponseWriter, r *http.Request, fail *response.Failure) *response.Failure {
	hopeless := fail.Reason == response.BodyTooLarge || fail.Reason == response.BodyTimeout
	if hopeless && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	return fail
}
