//go:build !linux

package main

// program is modelog, under the name modelog.
func program() { paced() }
