package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// linked is the version that the linker sets: the tag of a release.
var linked string //nolint:gochecknoglobals // there is no other way in for the linker

// version is the program's.
var version = buildVersion(linked, debug.ReadBuildInfo)

// buildVersion returns the linked version, or without one what Go knows: the version
// of the module that "go install" took, or the commit.
func buildVersion(linked string, read func() (*debug.BuildInfo, bool)) string {
	if linked != "" {
		return linked
	}
	if info, ok := read(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of cvfeeder and of what decodes the pictures",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "cvfeeder %s (%s, %s %s/%s)\n",
				version, opencv.Engine(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
