package kinesis

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
)

const (
	// namesPage is how many names are asked for at a time: without it, the service has been
	// seen to answer with 10, and with it, with 1000.
	namesPage = 10_000
	// maxEmptyLists bounds the pages without a name that follow one another.
	maxEmptyLists = 100
)

// List returns the names of the readable streams whose names begin with prefix, from as many
// pages as there are: ctx bounds the time. It needs the permission
// kinesisvideo:ListStreams. Its errors are those of [Stream.Check].
func (c *Client) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	seen := map[string]bool{} // the tokens
	in := &kinesisvideo.ListStreamsInput{MaxResults: aws.Int32(namesPage)}
	if prefix != "" { // which the service would refuse
		in.StreamNameCondition = &types.StreamNameCondition{
			ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: &prefix,
		}
	}
	pages := kinesisvideo.NewListStreamsPaginator(c.service("").control, in)
	for empty := 0; pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, c.refused(err)
		}
		if empty++; len(out.StreamInfoList) > 0 {
			empty = 0
		}
		token := aws.ToString(out.NextToken)
		if empty > maxEmptyLists || token != "" && seen[token] {
			return nil, fmt.Errorf("the list does not end: after %d names it repeats itself or has no more", len(names))
		}
		seen[token] = true
		for _, s := range out.StreamInfoList {
			if readable(s.Status) {
				names = append(names, aws.ToString(s.StreamName))
			}
		}
	}
	return names, nil
}

// readable tells whether a stream of that status can be read. A stream is UPDATING while its
// retention is changed, for half a minute or so, and can be read meanwhile.
func readable(s types.Status) bool { return s == types.StatusActive || s == types.StatusUpdating }
