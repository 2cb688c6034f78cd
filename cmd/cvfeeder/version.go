package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of cvfeeder and of the libraries that decode pictures",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "cvfeeder %s (%s, %s %s/%s)\n",
				feeder.Version(), opencv.Engine(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
