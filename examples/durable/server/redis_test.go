package server

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Every field that a URL sets reaches the client by the same name, also those
// that a later go-redis may read from the same options.
func TestRedisURLIsKept(t *testing.T) {
	const address = "rediss://booth:secret@redis.test:6380/3?protocol=3&client_name=booth" +
		"&dial_timeout=400ms&read_timeout=300ms&write_timeout=1s&pool_timeout=200ms" +
		"&pool_fifo=true&pool_size=7&min_idle_conns=1&max_idle_conns=2&max_active_conns=9&max_concurrent_dials=4" +
		"&conn_max_idle_time=1m&conn_max_lifetime=1h&conn_max_lifetime_jitter=2m&skip_verify=true"
	want, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	got, err := redisOptions(address)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Addrs) != 1 || got.Addrs[0] != "redis.test:6380" {
		t.Errorf("Addrs is %q", got.Addrs)
	}
	checked := 0
	for field, value := range reflect.ValueOf(*want).Fields() {
		if !field.IsExported() || field.Name == "Network" || field.Name == "Addr" || value.IsZero() {
			continue
		}
		checked++
		same := reflect.ValueOf(*got).FieldByName(field.Name)
		if !same.IsValid() || !reflect.DeepEqual(same.Interface(), value.Interface()) {
			t.Errorf("%s is lost: want %v", field.Name, value)
		}
	}
	if checked != 19 {
		t.Errorf("the URL sets %d fields", checked)
	}
}

func TestRedisURLIsRefused(t *testing.T) {
	for option, want := range map[string]string{
		"max_retries=3":               "max_retries has no effect",
		"min_retry_backoff=1s":        "min_retry_backoff has no effect",
		"max_retry_backoff=1s":        "max_retry_backoff has no effect",
		"pipeline_pool_size=3":        "pipeline_pool_size has no effect",
		"pipeline_read_buffer_size=3": "pipeline_read_buffer_size has no effect",
		"pool_size=-1":                "pool_size is at most 10000",
		"pool_size=99999999999":       "pool_size is at most 10000",
		"dial_timeout=501ms":          "dial_timeout is at most 500ms",
		"read_timeout=2":              "read_timeout is at most 1s",
		"write_timeout=0":             "write_timeout is at most 1s",
		"pool_timeout=-1s":            "pool_timeout is at most 1s",
		"read_timeout=canary":         "nothing but options of go-redis",
		"canary=1":                    "nothing but options of go-redis",
		"skip_verify=true":            "nothing but options of go-redis", // without TLS
	} {
		o, err := redisOptions("redis://booth:canary@redis.test/0?" + option)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v; want %s", option, o, err, want)
		}
	}
}
