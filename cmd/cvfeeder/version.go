package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/feeder"
	"github.com/cvfeeder/cvfeeder/internal/usage"
	"github.com/cvfeeder/cvfeeder/transform/opencv"
)

// versions are what "version --json" prints.
type versions struct {
	Version string `json:"version"`
	Engine  string `json:"engine"` // the libraries that decode pictures
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of cvfeeder and of the libraries that decode pictures",
		Example: "  cvfeeder version\n  cvfeeder version --json",
		Args:    usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(versions{
					feeder.Version(), opencv.Engine(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
				})
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return cmd
}

// versionLine is what "version" and --version print.
func versionLine() string {
	return fmt.Sprintf("cvfeeder %s (%s, %s %s/%s)\n",
		feeder.Version(), opencv.Engine(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
