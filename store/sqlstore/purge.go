package sqlstore

import (
	"context"
	"time"
)

const (
	passingEach  = 8  // of so many Creates one removes
	passingLimit = 16 // so many entries
	passingTime  = 250 * time.Millisecond

	purgeBatch = 512 // in one statement
)

// Purge removes up to limit entries whose expiry has come by the clock of the
// database, those that expired first at first, and returns how many. It is not
// needed where there are Creates, each eighth of which removes up to 16; it is
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
// comes next tries again.
func (s *Store) purgeInPassing(ctx context.Context) {
	if s.creates.Add(1)%passingEach != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, passingTime)
	defer cancel()
	_, _ = s.dialect.purge(ctx, s.writes, passingLimit)
}
