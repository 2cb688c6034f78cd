package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cvfeeder/cvfeeder/internal/config"
	"github.com/cvfeeder/cvfeeder/internal/feeder"
)

const (
	defaultHealthURL = "http://" + config.DefaultListen + "/healthz"
	maxHealthBody    = 4 << 10
)

// newHealthCommand returns the command with which a container without a shell asks
// for its own health.
func newHealthCommand() *cobra.Command {
	address, timeout := defaultHealthURL, 3*time.Second
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running cvfeeder whether it works",
		Long: "Health asks /healthz of a running cvfeeder, and fails where it does not answer well.\n" +
			"It is the HEALTHCHECK of the container image. --url with /readyz instead asks whether\n" +
			"frames can flow, and says what is in their way.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return feeder.Usage(fmt.Errorf("--url %q: a URL is like %s", address, defaultHealthURL))
			}
			if timeout <= 0 {
				return feeder.Usage(fmt.Errorf("--timeout %v: it must be above 0", timeout))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			body, err := askHealth(ctx, address)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), body)
			return err
		},
	}
	cmd.Flags().StringVar(&address, "url", address, "`URL` to ask: that of http.listen, with /healthz or /readyz")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the answer")
	return cmd
}

// askHealth returns what url answers with status 200.
func askHealth(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it asks beside itself
	resp, err := client.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%s does not answer in time", url)
	}
	if err != nil {
		return "", fmt.Errorf("%w: does cvfeeder run, with http.listen at this port?", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthBody))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, resp.Status, text)
	}
	return text, nil
}
