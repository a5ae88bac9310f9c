package redisstore

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed create.lua
var createSource string

//go:embed swap.lua
var swapSource string

//go:embed take.lua
var takeSource string

var (
	createScript = redis.NewScript(createSource)
	swapScript   = redis.NewScript(swapSource)
	takeScript   = redis.NewScript(takeSource)
	// A script because go-redis sends a DEL for clusters in its own way.
	deleteSource = "return redis.call('DEL', KEYS[1])"
	deleteScript = redis.NewScript(deleteSource)
)

// A once is a command that go-redis does not send again; in a cluster it would,
// whatever MaxRetries says. Redirects are followed: what was redirected was not
// executed.
type once struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (once) NoRetry() bool { return true }

// run runs a script by its hash, and by its source where the server does not know
// it: then it was not executed.
func (s *Store) run(ctx context.Context, script *redis.Script, source, key string, args ...any) (*redis.Cmd, error) {
	cmd := s.eval(ctx, "evalsha", script.Hash(), key, args)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = s.eval(ctx, "eval", source, key, args)
	}
	return cmd, cmd.Err()
}

func (s *Store) eval(ctx context.Context, name, script, key string, args []any) *redis.Cmd {
	all := make([]any, 0, 7)
	all = append(all, name, script, 1, key)
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	_ = s.client.Process(ctx, once{cmd})
	return cmd
}
