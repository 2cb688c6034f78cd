package kinesis_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cvfeeder/cvfeeder/source/kinesis"
	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest"
)

// TestListAsksForLargePages: without MaxResults, the service answers with 10 names a page.
func TestListAsksForLargePages(t *testing.T) {
	s := serve(t, kinesistest.Options{Streams: kinesistest.Cameras(1200)}, kinesis.Options{})
	names, err := s.client.List(t.Context(), "cam-")
	if err != nil || len(names) != 1200 {
		t.Errorf("%d names, %v", len(names), err)
	}
	if n := s.count("ListStreams"); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestListFollowsEveryPage reads lists of many small pages, and gives up those that do not
// end.
func TestListFollowsEveryPage(t *testing.T) {
	const named = `{"StreamInfoList":[{"StreamName":"cam-%[1]d","Status":"ACTIVE"}],"NextToken":"%[1]d"}`
	for name, tc := range map[string]struct {
		answer func(n int) string
		want   int
		fails  bool
	}{
		"3000 pages": {want: 3000, answer: func(n int) string {
			if n == 3000 {
				return `{"StreamInfoList":[{"StreamName":"last","Status":"ACTIVE"}]}`
			}
			return fmt.Sprintf(named, n)
		}},
		"empty pages between": {want: 1, answer: func(n int) string {
			if n == 50 {
				return `{"StreamInfoList":[{"StreamName":"last","Status":"ACTIVE"}]}`
			}
			return fmt.Sprintf(`{"NextToken":"%d"}`, n)
		}},
		"tokens that repeat": {fails: true, answer: func(n int) string { return fmt.Sprintf(named, n%7) }},
		"nothing but tokens": {fails: true, answer: func(n int) string { return fmt.Sprintf(`{"NextToken":"%d"}`, n) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				s := serve(t, kinesistest.Options{Intercept: func(kinesistest.Request) *kinesistest.ErrorResponse {
					n++
					return &kinesistest.ErrorResponse{Status: http.StatusOK, Body: tc.answer(n)}
				}}, kinesis.Options{})
				names, err := s.client.List(t.Context(), "")
				if (err != nil) != tc.fails || len(names) != tc.want || err != nil && !strings.Contains(err.Error(), "does not end") {
					t.Errorf("%d names, %v", len(names), err)
				}
			})
		})
	}
}
