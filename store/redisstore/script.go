package redisstore

import (
	"context"
	"crypto/sha1" // #nosec G505 -- the name of a script
	_ "embed"
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

//go:embed create.lua
var createSource string

//go:embed swap.lua
var swapSource string

//go:embed take.lua
var takeSource string

var (
	createScript = newScript(createSource)
	swapScript   = newScript(swapSource)
	takeScript   = newScript(takeSource)
	// A script because go-redis sends a DEL for clusters in its own way.
	deleteScript = newScript("return redis.call('DEL', KEYS[1])")
)

// A script is run by its hash. Both are kept as arguments of commands.
type script struct{ source, hash any }

func newScript(source string) script {
	sum := sha1.Sum([]byte(source)) // #nosec G401
	return script{source, hex.EncodeToString(sum[:])}
}

// run runs the script by its hash, and by its source where the server does not
// know it: then it was not executed.
func (s script) run(ctx context.Context, c redis.UniversalClient, key string, args ...any) (*redis.Cmd, error) {
	all := append(make([]any, 0, 4+len(args)), "evalsha", s.hash, 1, key)
	all = append(all, args...)
	cmd := redis.NewCmd(ctx, all...)
	err := c.Process(ctx, once{cmd})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		all[0], all[1] = "eval", s.source
		cmd = redis.NewCmd(ctx, all...)
		err = c.Process(ctx, once{cmd})
	}
	return cmd, err
}

// A once is a command that go-redis does not send again; in a cluster it would,
// whatever MaxRetries says. Redirects are followed: what was redirected was not
// executed.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }
