package sqlstore

import (
	"testing"

	"github.com/tokenbooth/tokenbooth/store"
	"github.com/tokenbooth/tokenbooth/store/storetest"
)

func TestS2_ClientOutage(t *testing.T) {
	for _, e := range []engine{postgresEngine, mysqlEngine} {
		t.Run(e.name, func(t *testing.T) {
			url := e.fresh(t)
			direct := open(t, url)
			storetest.TestClientOutage(t, parse(t, url).Host, func(t *testing.T, addr string, clients ...*store.Client) store.ClientStore {
				create(t, direct, clients...)
				return unmigrated(t, through(t, url, addr))
			})
		})
	}
}
