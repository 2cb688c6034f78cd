package usage

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeTime limits what a completion may ask others for: somebody waits at the shell.
const completeTime = 2 * time.Second

// A Lister returns the values that there are, given the arguments that were typed before. Its
// context ends after two seconds.
type Lister func(ctx context.Context, args []string) []string

// Complete has the shell complete the value of a flag with what values returns. A flag that the command does not have is a mistake in the program,
// and panics.
func Complete(cmd *cobra.Command, flag string, values Lister) {
	must(cmd.RegisterFlagCompletionFunc(flag, Values(values)))
}

// CompleteFiles has the shell complete the value of a flag with files of these extensions.
func CompleteFiles(cmd *cobra.Command, flag string, extensions ...string) {
	must(cmd.MarkFlagFilename(flag, extensions...))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Values completes with what values returns, and with no files. What stands before the last
// comma is kept, so that a list can be completed.
func Values(values Lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(contextOf(cmd), completeTime)
		defer cancel()
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var all []cobra.Completion
		for _, value := range values(ctx, args) {
			if value = before + value; strings.HasPrefix(value, typed) {
				all = append(all, value)
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// contextOf returns the context of a command, which has none while a shell completes.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// Files completes an argument with files of these extensions.
func Files(extensions ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// Names is for [Complete]: it returns the same names each time.
func Names(names ...string) Lister {
	return func(context.Context, []string) []string { return names }
}
