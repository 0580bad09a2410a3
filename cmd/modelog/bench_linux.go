package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// ownGroup makes a process the first of a group of its own, which is killed when
// its context ends. When this process dies the first one is asked to end in order,
// as it would otherwise leave the rest behind.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// treeMemory gives the memory of a process and of all that it has started, in
// megabytes; what they share counts once, and who has ended meanwhile not at all.
func treeMemory(pid int) (megabytes float64, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	children := map[int][]int{}
	for _, name := range stats {
		data, _ := os.ReadFile(name) // it may have ended
		var state string
		var child, parent int
		_, rest, _ := strings.Cut(string(data), ") ") // after the program's name
		_, _ = fmt.Sscan(string(data), &child)
		if n, _ := fmt.Sscan(rest, &state, &parent); n == 2 {
			children[parent] = append(children[parent], child)
		}
	}
	for tree := []int{pid}; len(tree) > 0; tree = append(tree[1:], children[tree[0]]...) {
		kib, err := proportionalMemory(tree[0])
		if err != nil && tree[0] == pid {
			return 0, err
		}
		megabytes += kib * 1024 / 1e6
	}
	return megabytes, nil
}

// proportionalMemory gives the KiB of a process, its share of what it shares.
func proportionalMemory(pid int) (kib float64, err error) {
	name := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kib); n == 1 {
			return kib, nil
		}
	}
	return 0, fmt.Errorf("%s has no Pss", name)
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
