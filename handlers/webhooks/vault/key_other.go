//go:build !unix

package vault

import "io/fs"

// othersMayRead can't be told by a file's mode here.
func othersMayRead(fs.FileInfo) bool { return false }
