package feeder

import "runtime/debug"

// linked is the version that the linker sets: the tag of a release.
var linked string //nolint:gochecknoglobals // there is no other way in for the linker

// Version returns the program's version: what the linker was given, otherwise what Go
// recorded in the binary.
func Version() string { return buildVersion(linked, debug.ReadBuildInfo) }

// buildVersion returns the linked version. Without one, it is the version of the module
// that "go install" built, or the commit.
func buildVersion(linked string, read func() (*debug.BuildInfo, bool)) string {
	if linked != "" {
		return linked
	}
	if info, ok := read(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
