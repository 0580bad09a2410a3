package main

import "testing"

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
