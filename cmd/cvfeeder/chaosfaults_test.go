package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"syscall"
	"time"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
)

// calmTime is how long the streams go on after the last blow.
const calmTime = 20 * time.Second

// What the servers' config says of users.
const (
	allAllowed = `authorization: {users: [{user: reader, password: pw}, {user: feeder, password: pw}]}
`
	feederDenied = `authorization: {users: [{user: reader, password: pw}, {user: feeder, password: pw, permissions: {publish: {deny: ["cvf.>", "$JS.>", "$KV.>"]}}}]}
`
)

// busy is a blow by which a process runs for a fiftieth of the time only.
func busy(name string, p *process) blow {
	done, ended := make(chan struct{}), make(chan struct{})
	return blow{"little CPU for " + name, func() {
		go func() {
			defer close(ended)
			for {
				p.signal(syscall.SIGSTOP)
				pause(490 * time.Millisecond)
				p.signal(syscall.SIGCONT)
				select {
				case <-done:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
	}, func() { close(done); <-ended }}
}

// clockOff is a blow by which a feeder's clock jumps, and jumps back.
func (w *town) clockOff(name string, i int, rng *rand.Rand) blow {
	by := []time.Duration{time.Minute, time.Hour, 24 * time.Hour}[rng.IntN(3)]
	if rng.IntN(2) == 0 {
		by = -by
	}
	set := func(d time.Duration) func() {
		return func() {
			if len(w.clocks) > 0 {
				w.write(w.clocks[i], fmt.Sprint(int(d.Seconds())))
			}
		}
	}
	return blow{fmt.Sprintf("the clock of %s jumps by %v", name, by), set(by), set(0)}
}

// toTheUser is a blow by which the feeders' permissions are taken away for a while.
func (w *town) toTheUser(*rand.Rand) blow {
	set := func(access string) func() {
		return func() {
			w.write(w.access, access)
			for _, s := range w.servers {
				s.signal(syscall.SIGHUP) // one that is down reads the file when it starts
			}
		}
	}
	return blow{"the permissions are taken away", set(feederDenied), set(allAllowed)}
}

// revive starts a feeder again, as a service would be, if it has ended because it was started
// while its permissions were missing. It tells whether it has.
func (w *town) revive(f *process) bool {
	select {
	case <-f.done:
	default:
		return false
	}
	var exit *exec.ExitError
	if !errors.As(f.err, &exit) || exit.ExitCode() != feeder.ExitRefused {
		return false
	}
	f.start()
	return true
}
