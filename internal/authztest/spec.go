package authztest

import (
	"time"

	"github.com/tokenbooth/tokenbooth/internal/authz"
)

// A model is what the record of the authorization should say.
type model struct {
	phase   authz.Phase
	gen     uint64
	fails   uint8
	rotated time.Time
	idle    time.Time
	abs     time.Time
	code    time.Time // the code ends
	secret  [32]byte  // what the record has of it; another one after each redemption
}

// An outcome is what should follow from a request.
type outcome string

const (
	refused outcome = "refused" // and nothing written
	counted outcome = "counted" // a failed redemption: refused, and that written
	granted outcome = "granted" // the record goes on
	again   outcome = "again"   // the same successor, and nothing written
	killed  outcome = "killed"  // the family ends
)

// redeem: lost says that this request tried to redeem before and was too late.
func (m model) redeem(right, lost bool, now time.Time) (model, outcome) {
	switch {
	case m.phase == authz.Active && right && !lost:
		m.phase = authz.Revoked
		return m, killed
	case m.phase != authz.Code || !now.Before(m.code):
		return m, refused
	case !right:
		if m.fails++; m.fails == 5 {
			m.phase = authz.Revoked
		}
		return m, counted
	}
	m.phase, m.gen, m.rotated, m.abs = authz.Active, 1, now, now.Add(absolute)
	m.idle = now.Add(idle)
	return m, granted
}

// refresh: lost says that this request tried to rotate before and was too late.
func (m model) refresh(gen uint64, lost bool, now time.Time, grace time.Duration) (model, outcome) {
	if m.phase != authz.Active || !now.Before(m.idle) || !now.Before(m.abs) {
		return m, refused
	}
	if gen >= m.gen {
		m.gen, m.rotated, m.idle = gen+1, now, now.Add(idle)
		if m.abs.Before(m.idle) {
			m.idle = m.abs
		}
		return m, granted
	}
	near := lost || now.Sub(m.rotated) <= grace && m.rotated.Sub(now) <= grace
	switch {
	case grace > 0 && gen == m.gen-1 && near:
		return m, again
	case grace > 0 && lost:
		return m, refused
	}
	m.phase = authz.Revoked
	return m, killed
}

// is says whether a stored record is what the model says.
func (m model) is(r *authz.Record) bool {
	if r.Phase != m.phase || r.Fails != m.fails || r.Gen != m.gen {
		return false
	}
	return m.gen == 0 || r.RotatedAt.Equal(m.rotated) && r.IdleUntil.Equal(m.idle) && r.AbsUntil.Equal(m.abs)
}
