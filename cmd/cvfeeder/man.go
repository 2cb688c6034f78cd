package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
)

// newManCommand returns the command that writes a release's manual pages. It is hidden,
// because users get the pages with the release.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write the manual pages of all commands",
		Long:    "Man writes a manual page for each command. $SOURCE_DATE_EPOCH, if set, is their date.",
		Example: "  cvfeeder man dist/man",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o750); err != nil {
				return err
			}
			cmd.Root().DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "cvfeeder " + feeder.Version(), Manual: "cvfeeder"}
			if err := doc.GenManTree(cmd.Root(), header, args[0]); err != nil {
				return fmt.Errorf("manual pages: %w", err)
			}
			return nil
		},
	}
}
