package sqlstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func count(t testing.TB, s *Store) (n int) {
	t.Helper()
	if err := s.writes.QueryRow(`SELECT COUNT(*) FROM tokenbooth_state`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestS3_PurgeIsBoundedAndNeverEarly(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		ctx, s := t.Context(), e.open(t)
		const expired, alive = 40, 10
		now := time.Now()
		for i := range expired {
			at := now.Add(-time.Duration(i+2) * time.Minute)
			if i == 0 {
				at = time.Time{}
			}
			put(t, s, fmt.Sprint("expired", i), at)
		}
		for i := range alive {
			put(t, s, fmt.Sprint("alive", i), now.Add(time.Minute+time.Duration(i)))
		}
		if n := count(t, s); n != expired+alive {
			t.Fatalf("%d entries", n)
		}
		for _, limit := range []int{-1, 0} {
			if n, err := s.Purge(ctx, limit); n != 0 || err != nil {
				t.Errorf("limit %d: %d, %v", limit, n, err)
			}
		}
		if n, err := s.Purge(ctx, 7); n != 7 || err != nil {
			t.Errorf("got %d, %v; want 7", n, err)
		}
		if n := count(t, s); n != expired+alive-7 {
			t.Errorf("%d are left", n)
		}
		for _, key := range []string{"expired0", fmt.Sprint("expired", expired-1)} {
			if _, ok, _ := s.Get(ctx, key); ok {
				t.Errorf("%s is there, though the oldest go first", key)
			}
		}
		if n, err := s.Purge(ctx, math.MaxInt); n != expired-7 || err != nil {
			t.Errorf("got %d, %v; want %d", n, err, expired-7)
		}
		for i := range alive {
			if _, ok, err := s.Get(ctx, fmt.Sprint("alive", i)); !ok || err != nil {
				t.Errorf("alive%d: %v, %v", i, ok, err)
			}
		}
	})
}

// put writes without removing others in passing.
func put(t testing.TB, s *Store, key string, expires time.Time) {
	t.Helper()
	s.creates.Store(0)
	if ok, err := s.Create(t.Context(), key, []byte("v"), expires); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestPurgeInSeveralStatements(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		const n = 2*purgeBatch + 3
		fill(t, s, n, time.Now().Add(-time.Hour))
		if got, err := s.Purge(t.Context(), n-1); got != n-1 || err != nil {
			t.Errorf("got %d, %v; want %d", got, err, n-1)
		}
		if left := count(t, s); left != 1 {
			t.Errorf("%d are left", left)
		}
	})
}

// fill inserts entries past the Store, many in a statement.
func fill(t testing.TB, s *Store, n int, expires time.Time) {
	t.Helper()
	series := map[string]string{
		"postgres": `INSERT INTO tokenbooth_state SELECT '\x00'::bytea || convert_to('fill' || i, 'UTF8'), repeat('v', 200)::bytea, $2 FROM generate_series(1, $1) i`,
		"mysql": `INSERT INTO tokenbooth_state (name, value, expires) WITH RECURSIVE c (i) AS
(SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT CONCAT(CHAR(0), 'fill', i), REPEAT('v', 200), ? FROM c`,
		"sqlite": `INSERT INTO tokenbooth_state (name, value, expires) WITH RECURSIVE c (i) AS
(SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT CAST(x'00' || 'fill' || i AS BLOB), zeroblob(200), ? FROM c`,
	}[s.dialect.name]
	conn, err := s.writes.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if s.dialect.name == "mysql" {
		set := setting(t, "max_recursive_iterations", "cte_max_recursion_depth", "10000000")
		if _, err := conn.ExecContext(t.Context(), "SET "+set); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.ExecContext(t.Context(), series, n, milliseconds(expires)); err != nil {
		t.Fatal(err)
	}
}

func TestS3_CreatesRemoveInPassing(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		s := e.open(t)
		fill(t, s, 100, time.Now().Add(-time.Minute))
		const creates = passingEach * (100/(passingTwice*passingEach) + 1)
		for i := range creates {
			s.purgeNext = time.Time{} // as if none was slow
			if ok, err := s.Create(t.Context(), fmt.Sprint("new", i), []byte("v"), later); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if n := count(t, s); n != creates {
			t.Errorf("%d entries, want %d", n, creates)
		}
	})
}

// removing returns a Store that does nothing but to purge in passing, so.
func removing(purge func(limit int)) *Store {
	return &Store{dialect: &dialect{
		create: func(context.Context, *pool, []byte, []byte, int64) (bool, error) { return true, nil },
		purge: func(_ context.Context, _ *pool, limit int) (int64, error) {
			purge(limit)
			return 0, nil
		},
	}}
}

func creates(t *testing.T, s *Store, n int) {
	t.Helper()
	for range n {
		if _, err := s.Create(t.Context(), "k", nil, later); err != nil {
			t.Error(err)
		}
	}
}

// As while a backup is made: all connections would be busy removing.
func TestS3_OneRemovesInPassingAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, end := 0, make(chan struct{})
		s := removing(func(int) { n++; <-end })
		go creates(t, s, passingEach)
		synctest.Wait()
		creates(t, s, 100)
		if n != 1 {
			t.Errorf("%d at once", n)
		}
		close(end)
		synctest.Wait()
		creates(t, s, 1)
		if n != 2 {
			t.Errorf("%d in turn, want 2", n)
		}
	})
}

func TestS3_SlowRemovalsInPassingAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits []int
		took := passingSlow
		s := removing(func(limit int) {
			limits = append(limits, limit)
			time.Sleep(took)
		})
		creates(t, s, 2*passingEach) // not slow yet
		took = passingSlow + 1
		creates(t, s, passingEach)
		creates(t, s, 50)
		time.Sleep(passingRest*took - 1)
		creates(t, s, 50)
		time.Sleep(1 * time.Nanosecond)
		creates(t, s, 1)
		time.Sleep(passingRest * took)
		creates(t, s, 1000) // the first of them that may removes for few
		time.Sleep(passingRest * took)
		creates(t, s, 1)
		if want := []int{16, 16, 16, 202, 16, purgeBatch}; !slices.Equal(limits, want) {
			t.Errorf("removed up to %d, want %d", limits, want)
		}
	})
}

func TestExpiryIsRoundedUp(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want int64
	}{
		{time.UnixMilli(5), 5},
		{time.UnixMilli(5).Add(1), 6},
		{time.UnixMilli(6).Add(-1), 6},
		{time.UnixMilli(-5).Add(1), -4},
		{time.Time{}, time.Time{}.UnixMilli()},
		{time.Unix(math.MaxInt64/1000, 0), math.MaxInt64},
		{time.Unix(math.MaxInt64/2, 0), math.MaxInt64},
		{time.Unix(-math.MaxInt64/2, 0), math.MinInt64},
	} {
		if got := milliseconds(c.at); got != c.want {
			t.Errorf("%v: %d, want %d", c.at, got, c.want)
		}
	}
}
