package sqlstore

import (
	"context"
	"time"
)

const (
	passingEach  = 8  // of so many Creates one removes
	passingTwice = 2  // so many entries for each of them
	passingTidy  = 64 // of so many removals one tidies up
	passingTime  = 250 * time.Millisecond
	// A removal that takes so long, as while a backup keeps the engine from
	// forgetting what was removed before, is followed by a rest of so many times
	// as long.
	passingSlow = 50 * time.Millisecond
	passingRest = 10

	purgeBatch = 512 // in one statement
)

// Purge removes up to limit entries whose expiry has come by the clock of the
// database, those that expired first at first, and returns how many. It is not
// needed where there are Creates, which remove up to two for each of them; it is
// for what is left after a great many entries have expired together.
//
// It works in short statements of 512 entries at most, and leaves out those that
// another holds. After an error n says how many are gone for certain.
func (s *Store) Purge(ctx context.Context, limit int) (n int, err error) {
	for n < limit {
		batch := min(limit-n, purgeBatch)
		var gone int64
		err := s.write(ctx, "purge", func() (err error) {
			gone, err = s.dialect.purge(ctx, s.writes, batch)
			return err
		})
		n += int(gone)
		if err != nil || int(gone) < batch {
			return n, err
		}
	}
	return n, nil
}

// purgeInPassing fails silently: the write that it follows was made, and whoever
// comes next tries again. There is one at a time, so that slow ones do not take
// all connections; the next removes for those that went by.
func (s *Store) purgeInPassing(ctx context.Context) {
	if s.creates.Add(1) < passingEach || !s.purging.TryLock() {
		return
	}
	defer s.purging.Unlock()
	began := time.Now()
	if began.Before(s.purgeNext) {
		return
	}
	limit := min(passingTwice*s.creates.Swap(0), purgeBatch)
	ctx, cancel := context.WithTimeout(ctx, passingTime)
	defer cancel()
	_, _ = s.dialect.purge(ctx, s.writes, int(limit)) //nolint:gosec // at most purgeBatch
	if s.purges++; s.purges%passingTidy == 0 && s.dialect.tidy != nil {
		_ = s.dialect.tidy(ctx, s.writes)
	}
	if took := time.Since(began); took > passingSlow {
		s.purgeNext = time.Now().Add(passingRest * took)
	}
}
