package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"testing"
)

func TestFileSystemIsThatOfTheDeepestMount(t *testing.T) {
	const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /tmp rw,nosuid - tmpfs tmpfs rw
31 30 0:27 / /tmp/disk rw - xfs /dev/vdb rw
32 22 0:28 / /srv rw - nfs old:/srv rw
33 32 0:29 / /srv rw - btrfs /dev/vdc rw
`
	for dir, want := range map[string]string{
		"/home/me": "ext4 (/dev/vda)", "/": "ext4 (/dev/vda)", "/tmp": "tmpfs (tmpfs)", "/tmpx": "ext4 (/dev/vda)",
		"/tmp/disk/a": "xfs (/dev/vdb)", "/srv/models": "btrfs (/dev/vdc)",
	} {
		if got := fileSystemOf(mountinfo, dir); got != want {
			t.Errorf("%s is on %q, want %q", dir, got, want)
		}
	}
}

// TestAGroupIsWeighedAndKilledAsAWhole: the pipe is closed when the last of them
// has ended.
func TestAGroupIsWeighedAndKilledAsAWhole(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "sleep 300 & echo; wait")
	ownGroup(cmd)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	alone, err := proportionalMemory(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := treeMemory(cmd.Process.Pid); err != nil || all <= alone*1024/1e6 {
		t.Errorf("a process has %v KiB, with its child %v MB, %v", alone, all, err)
	}
	cancel()
	if _, err := io.ReadAll(stdout); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
}
