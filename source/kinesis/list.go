package kinesis

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"

	"github.com/cvfeeder/cvfeeder/source"
)

// maxListPages bounds the pages of a list, each of up to 10,000 names.
const maxListPages = 1000

// List returns the names of the active streams whose names begin with prefix. It
// needs the permission kinesisvideo:ListStreams. Its errors are those of
// [Stream.Check].
func (c *Client) List(ctx context.Context, prefix string) ([]string, error) {
	pages := kinesisvideo.NewListStreamsPaginator(c.service("").control, &kinesisvideo.ListStreamsInput{
		StreamNameCondition: &types.StreamNameCondition{
			ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: &prefix,
		},
	}, func(o *kinesisvideo.ListStreamsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var names []string
	for n := 0; pages.HasMorePages(); n++ {
		if n == maxListPages {
			return nil, fmt.Errorf("streams with prefix %q: the list has still more pages after %d", prefix, n)
		}
		out, err := pages.NextPage(ctx)
		if err != nil {
			switch {
			case expired(err):
				err = c.expiredError(err)
			case refused(err):
				err = fmt.Errorf("%w: the permission kinesisvideo:ListStreams is needed: %w", source.ErrRefused, err)
			}
			return nil, fmt.Errorf("streams with prefix %q: %w", prefix, err)
		}
		for _, s := range out.StreamInfoList {
			if s.Status == types.StatusActive {
				names = append(names, aws.ToString(s.StreamName))
			}
		}
	}
	return names, nil
}
