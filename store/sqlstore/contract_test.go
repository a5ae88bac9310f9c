package sqlstore

import (
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestS1_State(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		url := e.fresh(t)
		storetest.TestState(t, func(t *testing.T) store.State { return open(t, url) })
	})
}

func TestS1_ClientStore(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		url := e.fresh(t)
		storetest.TestClientStore(t, func(t *testing.T, clients ...*store.Client) store.ClientStore {
			s := open(t, url)
			create(t, s, clients...)
			return s
		})
	})
}

func TestS2_Outage(t *testing.T) {
	for _, e := range []engine{postgresEngine, mysqlEngine} {
		t.Run(e.name, func(t *testing.T) {
			url := e.fresh(t)
			open(t, url)
			storetest.TestOutage(t, parse(t, url).Host, func(t *testing.T, addr string) store.State {
				return unmigrated(t, through(t, url, addr))
			})
		})
	}
}
