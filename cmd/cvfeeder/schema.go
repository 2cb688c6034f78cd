package main

import (
	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the config file",
		Long: "Schema prints the JSON schema of the config file. Editors use it to check and\n" +
			"complete the file, and to show what its keys mean.",
		Example: "  cvfeeder schema > cvfeeder.schema.json\n\n" +
			"Then make this the first line of cvfeeder.yaml in the same directory:\n\n" +
			"  # yaml-language-server: $schema=cvfeeder.schema.json",
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
