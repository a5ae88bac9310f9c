package storetest

import (
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokenbooth/tokenbooth"
	"github.com/tokenbooth/tokenbooth/store"
)

// faultVariable names a fault that the right stores of these tests then have.
const faultVariable = "STORETEST_FAULT"

// A fault is one thing that a store does wrong.
type fault string

func given() fault { return fault(os.Getenv(faultVariable)) }

func (f fault) is(name string) bool { return string(f) == name }

func TestOnState(t *testing.T) {
	t.Parallel()
	if given() != "" {
		afterwards = time.Second
	}
	TestState(t, func(*testing.T) store.State { return &mapState{fault: given(), entries: make(map[string]item)} })
}

func TestOnClients(t *testing.T) {
	t.Parallel()
	TestClientStore(t, func(t *testing.T, clients ...*store.Client) store.ClientStore {
		m, err := store.NewMemory(clients...)
		if err != nil {
			t.Fatal(err)
		}
		return &clientsState{fault: given(), ClientStore: m}
	})
}

func TestOnLimiter(t *testing.T) {
	t.Parallel()
	TestLimiter(t, func(*testing.T) tokenbooth.Limiter { return &limiter{fault: given()} })
}

func TestOnServer(t *testing.T) {
	t.Parallel()
	TestOutage(t, serve(t), func(t *testing.T, addr string) store.State { return dialState(t, given(), addr) })
}

func TestOnClientServer(t *testing.T) {
	t.Parallel()
	TestClientOutage(t, serve(t), func(t *testing.T, addr string, clients ...*store.Client) store.ClientStore {
		return dialClients(t, given(), addr, clients)
	})
}

func TestOnLimiterServer(t *testing.T) {
	t.Parallel()
	TestLimiterOutage(t, serve(t), func(t *testing.T, addr string) tokenbooth.Limiter {
		return &netLimiter{netState: dialState(t, given(), addr)}
	})
}

// A bite says which part of which suite has to notice a fault.
type bite struct{ suite, fault, part string }

var bites = []bite{
	{"State", "Create overwrites", "Basics"},
	{"State", "Swap ignores old", "Basics"},
	{"State", "Swap ignores old", "Grants"},
	{"State", "Swap compares the first bytes", "Basics"},
	{"State", "Swap creates", "Basics"},
	{"State", "Swap reports the opposite", "Basics"},
	{"State", "Delete reports true always", "Basics"},
	{"State", "Delete keeps", "Basics"},
	{"State", "Create is not idempotent", "Idempotent"},
	{"State", "Swap is not idempotent", "Idempotent"},
	{"State", "Swap reports changed rows", "Idempotent"},
	{"State", "keeps what it was given", "Aliasing"},
	{"State", "writes over what it gave", "Aliasing"},
	{"State", "keys end at NUL", "Keys"},
	{"State", "keys without case", "Keys"},
	{"State", "keys without spaces at their end", "Keys"},
	{"State", "keys end after 255 bytes", "Keys"},
	{"State", "keys are UTF-8", "Keys"},
	{"State", "keys are patterns", "Keys"},
	{"State", "no empty key", "Keys"},
	{"State", "no long keys", "Keys"},
	{"State", "empty is absent", "Values"},
	{"State", "values are UTF-8", "Values"},
	{"State", "values without spaces at their end", "Values"},
	{"State", "values end at NUL", "Values"},
	{"State", "values compared without spaces at their end", "Values"},
	{"State", "values end after 65,535 bytes", "Values"},
	{"State", "Create looks, then writes", "ParallelCreate"},
	{"State", "Create is not idempotent", "ParallelCreateOfOneValue"},
	{"State", "Swap looks, then writes", "ParallelSwap"},
	{"State", "Swap looks, then writes", "ParallelCount"},
	{"State", "Delete looks, then deletes", "ParallelDelete"},
	{"State", "Delete looks, then deletes", "ParallelAll"},
	{"State", "Swap deletes, then creates", "ParallelRead"},
	{"State", "cancelled is done", "Context"},
	{"State", "cancelled is something else", "Context"},
	{"State", "closed is something else", "Closed"},
	{"State", "GetMany of closed is something else", "Closed"},
	{"State", "GetMany in the order of keys", "GetMany"},
	{"State", "GetMany of each key once", "GetMany"},
	{"State", "GetMany without the absent", "GetMany"},
	{"State", "GetMany of absent is empty", "GetMany"},
	{"State", "GetMany of empty is nil", "GetMany"},
	{"State", "GetMany of 64 keys", "GetMany"},
	{"State", "GetMany of none fails", "GetMany"},
	{"State", "Swap deletes, then creates", "ParallelGetMany"},
	{"State", "expires too early", "Expiry"},
	{"State", "expires by the second", "Expiry"},
	{"State", "expires by nanoseconds of 64 bits", "Expiry"},
	{"State", "expires never", "Expiry"},
	{"State", "expires never with the zero time", "Expiry"},
	{"State", "fails with the zero time", "Expiry"},
	{"State", "same value, the last expiry", "Expiry"},
	{"State", "same value, the first expiry", "Expiry"},
	{"State", "Swap keeps the expiry", "Expiry"},
	{"State", "a refused Create extends", "Expiry"},
	{"State", "a refused Swap extends", "Expiry"},
	{"Clients", "ids without case", "IDs"},
	{"Clients", "ids without case", "NotFound"},
	{"Clients", "ids without spaces at their end", "NotFound"},
	{"Clients", "ids end at NUL", "NotFound"},
	{"Clients", "ids are patterns", "NotFound"},
	{"Clients", "odd ids fail", "NotFound"},
	{"Clients", "absent is nil", "NotFound"},
	{"Clients", "absent is unavailable", "NotFound"},
	{"Clients", "cancelled is absent", "Context"},
	{"Clients", "cancelled is done", "Context"},
	{"Clients", "a failure is not found", "Closed"},
	{"Clients", "closed is something else", "Closed"},
	{"Clients", "expiry by the second", "Fields"},
	{"Clients", "zero expiry is 1970", "Fields"},
	{"Clients", "always a rate", "Fields"},
	{"Clients", "rates of 32 bits", "Fields"},
	{"Clients", "numbers of 53 bits", "Fields"},
	{"Clients", "sorted scopes", "Fields"},
	{"Clients", "lists joined by commas", "Fields"},
	{"Clients", "texts of 255 bytes", "Fields"},
	{"Limiter", "one more", "Burst"},
	{"Limiter", "one less", "Burst"},
	{"Limiter", "Remaining before the request", "Burst"},
	{"Limiter", "Reset is the next request", "Burst"},
	{"Limiter", "no Reset", "Burst"},
	{"Limiter", "looks, then takes", "ParallelBurst"},
	{"Limiter", "RetryAfter of milliseconds", "Refused"},
	{"Limiter", "RetryAfter of 0", "Refused"},
	{"Limiter", "RetryAfter of days", "Refused"},
	{"Limiter", "refused costs", "Wait"},
	{"Limiter", "twice the rate", "Rate"},
	{"Limiter", "a third of the rate", "Rate"},
	{"Limiter", "keys end at NUL", "LimiterKeys"},
	{"Limiter", "keys without case", "LimiterKeys"},
	{"Limiter", "keys end after 255 bytes", "LimiterKeys"},
	{"Limiter", "the first limit holds", "ChangedLimit"},
	{"Limiter", "an invalid limit passes", "InvalidLimit"},
	{"Limiter", "large limits fail", "ExtremeLimit"},
	{"Limiter", "cancelled costs all", "LimiterContext"},
	{"Server", "another error", "Cut"},
	{"Server", "another error", "Refuse"},
	{"Server", "no deadline", "Hang"},
	{"Server", "calls wait for their turn", "HangManyCalls"},
	{"Server", "no deadline", "Cancel"},
	{"Server", "never dials again", "Cut"},
	{"Server", "unknown is false", "SwallowedCreate"},
	{"Server", "unknown is false", "SwallowedSwap"},
	{"Server", "unknown is true", "SwallowedSwap"},
	{"ClientServer", "a failure is not found", "Cut"},
	{"ClientServer", "a failure is not found", "Refuse"},
	{"ClientServer", "a failure is not found", "Hang"},
	{"ClientServer", "a failure is not found", "HangManyCalls"},
	{"ClientServer", "another error", "Refuse"},
	{"ClientServer", "no deadline", "Hang"},
	{"ClientServer", "calls wait for their turn", "HangManyCalls"},
	{"ClientServer", "never dials again", "Cut"},
	{"LimiterServer", "a failure is a refusal", "Refuse"},
	{"LimiterServer", "a failure is a refusal", "Hang"},
	{"LimiterServer", "another error", "Refuse"},
	{"LimiterServer", "no deadline", "Hang"},
	{"LimiterServer", "calls wait for their turn", "Hang"},
	{"LimiterServer", "never dials again", "Cut"},
	{"LimiterServer", "a half each", "Refuse"},
	{"LimiterServer", "a half each for ever", "Refuse"},
}

// TestSuitesBite runs each wrong store in a process of its own, which must fail
// in the part that is about the fault.
func TestSuitesBite(t *testing.T) {
	t.Parallel()
	if given() != "" {
		t.Fatalf("%s is set", faultVariable)
	}
	all := bites
	for field := range reflect.TypeFor[store.Client]().Fields() {
		all = append(all, bite{"Clients", "forgets " + field.Name, "Fields"})
	}
	// They wait more than they work.
	outputs := make([]chan string, len(all))
	atOnce := make(chan struct{}, 16)
	for i, b := range all {
		outputs[i] = make(chan string, 1)
		go func() {
			atOnce <- struct{}{}
			outputs[i] <- b.run()
			<-atOnce
		}()
	}
	for i, b := range all {
		t.Run(b.suite+"/"+b.part+"/"+b.fault, func(t *testing.T) {
			out := <-outputs[i]
			if !strings.Contains(out, "--- FAIL: TestOn"+b.suite+"/"+b.part+" ") {
				t.Errorf("a store with this fault passes: %s", out)
			}
		})
	}
}

func (b *bite) run() string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestOn"+b.suite+"$/^"+b.part+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), faultVariable+"="+b.fault)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "no failure"
	}
	return string(out)
}
