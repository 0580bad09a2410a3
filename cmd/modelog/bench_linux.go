package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawServerSyncs says whether the bare server's JetStream must sync each event.
const rawServerSyncs = false

// openSync gives what makes everything durable that was written to the file
// system of a directory.
func openSync(dir string) (sync func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return func() error { return unix.Syncfs(int(f.Fd())) }, nil
}

// syncOnce makes durable what was written to the file system of a directory.
func syncOnce(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written to it
	return unix.Syncfs(int(f.Fd()))
}

// dieWithParent has the kernel kill a process when the thread that started it
// ends. Threads of a Go program last as long as it does.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// peakMemory gives the most memory that a process had resident, in megabytes.
func peakMemory(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib * 1024 / 1e6, nil
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(data) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}

// fileSystem names the type of the file system that an absolute path is on.
func fileSystem(dir string) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return fileSystemOf(string(data), dir)
}

// fileSystemOf looks a directory up in a mountinfo (proc_pid_mountinfo(5)). Of
// two mounts at one place the later one is seen.
func fileSystemOf(mountinfo, dir string) string {
	kind, longest := "", 0
	for line := range strings.Lines(mountinfo) {
		mount, rest, ok := strings.Cut(line, " - ")
		fields, about := strings.Fields(mount), strings.Fields(rest)
		if !ok || len(fields) < 5 || len(about) < 2 {
			continue
		}
		point := strings.TrimSuffix(fields[4], "/") + "/"
		if len(point) >= longest && strings.HasPrefix(dir+"/", point) {
			kind, longest = fmt.Sprintf("%s (%s)", about[0], about[1]), len(point)
		}
	}
	return kind
}
