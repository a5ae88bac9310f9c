package authz

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tokenbooth/tokenbooth/store"
)

// Load reads the record of a family. It returns nil where there is none.
func Load(ctx context.Context, s store.State, f Family) (rec *Record, raw []byte, err error) {
	rec = new(Record)
	raw, ok, err := LoadTo(ctx, s, Key(f), rec, nil)
	if err != nil || !ok {
		return nil, nil, err
	}
	return rec, raw, nil
}

// LoadTo is Load from the [Key] of a family into a record of the caller's, which
// says false where there is none. Where the State is an [Appender] and there is
// room, raw is there.
func LoadTo(ctx context.Context, s store.State, key string, rec *Record, room []byte) (raw []byte, ok bool, err error) {
	if a, can := s.(Appender); can && room != nil {
		raw, ok, err = a.AppendValue(ctx, key, room)
	} else {
		raw, ok, err = s.Get(ctx, key)
	}
	if err != nil || !ok {
		return nil, false, err
	}
	err = rec.decode(raw)
	return raw, err == nil, err
}

// An Appender is a State that copies a value into memory of the caller's, as
// [store.Memory] does.
type Appender interface {
	AppendValue(ctx context.Context, key string, b []byte) (val []byte, ok bool, err error)
}

// Swap replaces the record. Where the store's reply is lost it finds out whether
// the write was made: no other writes these bytes.
func Swap(ctx context.Context, s store.State, f Family, old []byte, next *Record) (bool, error) {
	return SwapEncoded(ctx, s, Key(f), old, next.Encode(), next.Expires())
}

// SwapEncoded is Swap at the [Key] of a family with what Encode and Expires of the
// next record returned.
func SwapEncoded(ctx context.Context, s store.State, key string, old, val []byte, expires time.Time) (bool, error) {
	swapped, err := s.Swap(ctx, key, old, val, expires)
	if err == nil {
		return swapped, nil
	}
	if now, ok, again := s.Get(ctx, key); again == nil && ok && bytes.Equal(now, val) {
		return true, nil
	}
	return false, err
}

// Create stores a new record.
func Create(ctx context.Context, s store.State, f Family, rec *Record) error {
	val := rec.Encode()
	created, err := s.Create(ctx, Key(f), val, rec.Expires())
	if err != nil {
		now, ok, again := s.Get(ctx, Key(f))
		created = again == nil && ok && bytes.Equal(now, val)
		if created {
			err = nil
		}
	}
	if err == nil && !created {
		err = errDrawnTwice
	}
	return err
}

// maxRounds bounds how often a lost race starts over.
const maxRounds = 8

// Revoke ends a family; that there is none, or that it has ended, is a success.
func Revoke(ctx context.Context, s store.State, f Family) error {
	for range maxRounds {
		rec, raw, err := Load(ctx, s, f)
		if err != nil || rec == nil {
			return err
		}
		next := rec.Revoke()
		if next == nil {
			return nil
		}
		if swapped, err := Swap(ctx, s, f, raw, next); err != nil || swapped {
			return err
		}
	}
	return store.ErrUnavailable
}

// An epoch is a moment before which everything of a subject or a client is
// revoked. Codes, families and tokens carry the number that they saw; a lower
// one than the stored is revoked.
const epochLife = 31 * 24 * time.Hour

// EpochLife is how long an epoch has to be kept: longer than whatever it revokes.
func EpochLife(l Lifetimes) time.Duration { return max(epochLife, l.Absolute, l.Access) + keepLonger }

const (
	subjectEpoch = "epoch:sub"
	clientEpoch  = "epoch:client"
	maxPlainName = 64
	epochKeyRoom = len(clientEpoch) + len("=") + maxPlainName
)

// SubjectEpochKey and ClientEpochKey are where epochs are.
func SubjectEpochKey(subject string) string {
	var room [epochKeyRoom]byte
	return string(appendEpochKey(room[:0], subjectEpoch, subject))
}

// ClientEpochKey is where a client's epoch is.
func ClientEpochKey(client string) string {
	var room [epochKeyRoom]byte
	return string(AppendClientEpochKey(room[:0], client))
}

// AppendClientEpochKey appends what [ClientEpochKey] returns.
func AppendClientEpochKey(b []byte, client string) []byte {
	return appendEpochKey(b, clientEpoch, client)
}

// appendEpochKey leaves a short name as it is: its hash would take longer than
// finding it in memory. What follows the kind tells the two forms apart, whatever a
// name looks like.
func appendEpochKey(b []byte, kind, name string) []byte {
	b = append(b, kind...)
	if len(name) <= maxPlainName {
		return append(append(b, '='), name...)
	}
	sum := sha256.Sum256([]byte(name))
	return append(append(b, ':'), sum[:]...)
}

// Epochs reads both epochs of an authorization, in one round trip where the State
// can do that; 0 where nothing was ever revoked.
func Epochs(ctx context.Context, s store.State, subject, client string) (ofSubject, ofClient int64, err error) {
	var room [2 * epochKeyRoom]byte
	b := appendEpochKey(room[:0], subjectEpoch, subject)
	n := len(b)
	keys := string(AppendClientEpochKey(b, client))
	if many, ok := s.(store.MultiGetter); ok {
		return manyEpochs(ctx, many, []string{keys[:n], keys[n:]})
	}
	if ofSubject, err = epochAt(ctx, s, keys[:n]); err == nil {
		ofClient, err = epochAt(ctx, s, keys[n:])
	}
	return ofSubject, ofClient, err
}

func manyEpochs(ctx context.Context, s store.MultiGetter, keys []string) (first, second int64, err error) {
	vals, err := s.GetMany(ctx, keys)
	if err != nil {
		return 0, 0, err
	}
	if len(vals) != len(keys) {
		return 0, 0, ErrDamaged
	}
	if first, err = DecodeEpoch(vals[0]); err == nil {
		second, err = DecodeEpoch(vals[1])
	}
	return first, second, err
}

func epochAt(ctx context.Context, s store.State, key string) (int64, error) {
	raw, ok, err := s.Get(ctx, key)
	if err != nil || !ok {
		return 0, err
	}
	if raw == nil {
		return 0, ErrDamaged // it is there
	}
	return DecodeEpoch(raw)
}

// DecodeEpoch reads the stored form of an epoch; 0 where there is none.
func DecodeEpoch(raw []byte) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	if len(raw) != 8+16 {
		return 0, ErrDamaged
	}
	return int64(binary.BigEndian.Uint64(raw)), nil //nolint:gosec // as it was written
}

// RaiseEpoch revokes everything that carries an earlier number.
func RaiseEpoch(ctx context.Context, s store.State, key string, now time.Time, life time.Duration) error {
	for range maxRounds {
		raw, ok, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		epoch := now.UnixMilli()
		if ok {
			old, err := DecodeEpoch(raw)
			if err != nil {
				return err
			}
			epoch = max(epoch, old+1)
		}
		done, err := writeEpoch(ctx, s, key, raw, ok, epoch, now.Add(life))
		if err != nil || done {
			return err
		}
	}
	return store.ErrUnavailable
}

func writeEpoch(ctx context.Context, s store.State, key string, old []byte, exists bool, epoch int64, expires time.Time) (done bool, err error) {
	val := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(epoch)) //nolint:gosec // read back the same way
	val = val[:24]
	_, _ = rand.Read(val[8:])
	if exists {
		done, err = s.Swap(ctx, key, old, val, expires)
	} else {
		done, err = s.Create(ctx, key, val, expires)
	}
	if err != nil {
		if now, ok, again := s.Get(ctx, key); again == nil && ok && bytes.Equal(now, val) {
			return true, nil
		}
	}
	return done, err
}
