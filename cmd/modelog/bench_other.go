//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// rawServerSyncs says whether the bare server's JetStream must sync each event:
// there is no way to sync everything that it wrote at once.
const rawServerSyncs = true

func openSync(string) (sync func() error, err error) { return func() error { return nil }, nil }

func syncOnce(string) error { return nil }

func dieWithParent() *syscall.SysProcAttr { return nil }

func ownGroup(*exec.Cmd) {}

func treeMemory(pid int) (float64, error) { return peakMemory(pid) }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }

func fileSystem(string) string { return "" }

func peakMemory(int) (float64, error) {
	return 0, errors.New("the memory of a process can be measured on Linux only")
}
