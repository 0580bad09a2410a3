//go:build !linux

package natslog

// serverSyncs says whether the server must sync every message itself, because
// there is no way to sync everything that it wrote at once.
const serverSyncs = true

// dirSync has nothing to do where the server syncs.
type dirSync struct{}

func openDirSync(string) (*dirSync, error) { return &dirSync{}, nil }
func (*dirSync) sync() error               { return nil }
func (*dirSync) Close() error              { return nil }
