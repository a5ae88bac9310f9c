//go:build !unix

package testservers

import (
	"errors"
	"syscall"
)

const (
	sigPause  = syscall.Signal(-1)
	sigResume = syscall.Signal(-1)
)

var errNotUnix = errors.ErrUnsupported

func apart() *syscall.SysProcAttr { return nil }

func (*account) attributes() *syscall.SysProcAttr { return nil }

func send(syscall.Signal, ...int) {}

func descendants(int) ([]int, error) { return nil, errNotUnix }

func alive([]int) ([]int, error) { return nil, errNotUnix }
