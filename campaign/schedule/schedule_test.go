package schedule_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth/campaign/ledger"
	"github.com/tokenbooth/tokenbooth/campaign/schedule"
)

func TestSameSeedSameSchedule(t *testing.T) {
	a, b, c := schedule.New(1, 2, 5*time.Second), schedule.New(1, 2, 5*time.Second), schedule.New(2, 2, 5*time.Second)
	differs := false
	for range 100 {
		step := a.Next()
		if other := b.Next(); !reflect.DeepEqual(step, other) {
			t.Fatalf("%+v, %+v", step, other)
		}
		differs = differs || !reflect.DeepEqual(step, c.Next())
	}
	if !differs {
		t.Error("another seed draws the same")
	}
}

// TestTenMinutes counts what a run has as it is meant, at the lengths that its
// steps have beside the time that servers take to start.
func TestTenMinutes(t *testing.T) {
	const start = 700 * time.Millisecond
	for seed := range uint64(20) {
		s := schedule.New(seed, 2, 5*time.Second)
		kills, kinds, pairs := map[ledger.Target]int{}, map[[2]string]int{}, 0
		offsets := [2]time.Duration{}
		for took := time.Duration(0); took < 10*time.Minute; {
			step := s.Next()
			longest := time.Duration(0)
			for _, f := range step.Faults {
				longest = max(longest, f.After+f.Hold)
				kinds[[2]string{string(f.Kind), string(f.Target)}]++
				if f.Kind == ledger.Kill {
					kills[f.Target]++
				}
				if f.Copy < 0 || f.Copy > 1 || f.Hold < 0 || f.Offset.Abs() > 2500*time.Millisecond {
					t.Fatalf("seed %d: %+v", seed, f)
				}
				offsets[f.Copy] = f.Offset
				if (offsets[0] - offsets[1]).Abs() > 5*time.Second {
					t.Fatalf("seed %d: clocks %v", seed, offsets)
				}
			}
			if len(step.Faults) == 2 {
				pairs++
				if step.Faults[0].Target == step.Faults[1].Target {
					t.Fatalf("seed %d: %+v", seed, step)
				}
			}
			took += longest + start + step.Calm
		}
		for _, target := range []ledger.Target{ledger.Postgres, ledger.Redis, ledger.Copy} {
			if kills[target] < 20 {
				t.Errorf("seed %d: %d kills of %s", seed, kills[target], target)
			}
		}
		if len(kinds) != 16 || pairs == 0 {
			t.Errorf("seed %d: %d kinds of faults, %d pairs", seed, len(kinds), pairs)
		}
	}
}
