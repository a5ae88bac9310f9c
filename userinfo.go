package tokenbooth

import (
	"encoding/json"
	"net/http"

	"github.com/tokenbooth/tokenbooth/response"
)

// UserInfo returns the userinfo endpoint (OpenID Connect Core §5.3): what the
// host tells about the user of the access token, which must have the scope
// openid. It guards itself.
func (h *Handler) UserInfo() http.Handler {
	return h.guard.AllowReadOnlyWrites().Require("openid")(http.HandlerFunc(h.userInfo))
}

func (h *Handler) userInfo(w http.ResponseWriter, r *http.Request) {
	x := h.newExchange(r)
	p, _ := PrincipalFrom(r.Context())
	if p.IsClient() {
		f := response.Fail(response.ScopeLacking)
		f.Message = "The access token is not of a user"
		h.guard.refuse(w, &access{request: r, now: x.now, said: &claims{clientID: p.ClientID, subject: p.Subject, id: p.TokenID}}, f)
		return
	}
	reply, err := h.describeUser(w, r, p)
	if err != nil {
		h.refuse(w, r, x, err)
		return
	}
	_ = write(w, reply) // who has gone needs no answer
}

func (h *Handler) describeUser(w http.ResponseWriter, r *http.Request, p *Principal) (reply response.Reply, err error) {
	defer recovered(&err)
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return reply, notGetOrPost(w)
	}
	members, err := h.claimsAbout(r.Context(), p.Subject, p.Scopes())
	if err != nil {
		return reply, err
	}
	members["sub"] = p.Subject
	reply.Status = http.StatusOK
	reply.Body, err = json.Marshal(members)
	return reply, err
}
