package kinesis

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"

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
	// mostNames is how many streams an account may have: the quota is 10,000, and up to
	// 100,000 on request.
	mostNames = 1_000_000
)

// streamName is the pattern of the service's model.
var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)

// List returns the names of the readable streams whose names begin with prefix, from as many
// pages as there are: ctx bounds the time. It needs the permission
// kinesisvideo:ListStreams. Its errors are those of [Stream.Check].
func (c *Client) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	seen := map[[sha256.Size]byte]bool{} // the tokens
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
		token := sha256.Sum256([]byte(aws.ToString(out.NextToken)))
		if empty > maxEmptyLists || seen[token] || len(names) > mostNames {
			return nil, fmt.Errorf("the list does not end: after %d names it repeats itself or has no more", len(names))
		}
		seen[token] = true
		for _, s := range out.StreamInfoList {
			// A name becomes part of subjects, labels and keys.
			if name := aws.ToString(s.StreamName); readable(s.Status) && streamName.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// readable tells whether a stream of that status can be read. A stream is UPDATING while its
// retention is changed, for half a minute or so, and can be read meanwhile.
func readable(s types.Status) bool { return s == types.StatusActive || s == types.StatusUpdating }
