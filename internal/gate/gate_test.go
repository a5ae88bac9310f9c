package gate_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tokenbooth/tokenbooth/internal/gate"
)

func TestG8_FourTimesAsManyWaitAndTheRestIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(2)
		entered, release := make(chan bool, 20), make(chan struct{})
		for range 12 {
			go func() {
				ok := g.Enter(context.Background())
				entered <- ok
				if ok {
					<-release
					g.Leave()
				}
			}()
		}
		synctest.Wait()
		in, out := 0, 0
		for range len(entered) {
			if <-entered {
				in++
			} else {
				out++
			}
		}
		if in != 2 || out != 2 {
			t.Fatalf("%d in and %d turned away, want 2 and 2 of 12", in, out)
		}
		close(release)
		synctest.Wait()
		if len(entered) != 8 {
			t.Fatalf("%d of the 8 that waited got in", len(entered))
		}
	})
}

func TestG8_WhoGivesUpLeavesHisPlace(t *testing.T) {
	g := gate.New(1)
	if !g.Enter(t.Context()) {
		t.Fatal("an empty gate is closed")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if g.Enter(gone) {
			t.Fatal("entered a full gate")
		}
	}
	g.Leave()
	if !g.Enter(t.Context()) {
		t.Fatal("a place was lost")
	}
}
