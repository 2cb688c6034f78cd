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
	"github.com/cvfeeder/cvfeeder/internal/usage"
)

const (
	defaultHealthURL = "http://" + config.DefaultListen + "/healthz"
	maxHealthBody    = 4 << 10
)

// newHealthCommand returns the health check of the container image, which has no other
// program that could make a request.
func newHealthCommand() *cobra.Command {
	address, timeout := defaultHealthURL, 3*time.Second
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check whether a running cvfeeder works",
		Long: "Health requests /healthz from a running cvfeeder, and fails unless the answer is\n" +
			"200 OK. The HEALTHCHECK of the container image runs it. With --url and a path of\n" +
			"/readyz it checks whether frames can flow, and says what prevents it.",
		Example: "  cvfeeder health\n" +
			"  cvfeeder health --url http://127.0.0.1:9177/readyz --timeout 1s",
		Args: usage.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return feeder.Usage(fmt.Errorf("--url %q: give a URL such as %s", address, defaultHealthURL))
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
	cmd.Flags().StringVar(&address, "url", address, "`URL` to request: the address of http.listen, with /healthz or /readyz")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the answer")
	return cmd
}

// askHealth requests url, and returns the body of an answer with status 200.
func askHealth(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: cvfeeder is on the same machine
	resp, err := client.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%s did not answer in time", url)
	}
	if err != nil {
		return "", fmt.Errorf("%w: is cvfeeder running, with http.listen on this port?", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthBody))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s: %s", url, resp.Status, text)
	}
	return text, nil
}
