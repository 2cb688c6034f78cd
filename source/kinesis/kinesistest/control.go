package kinesistest

import (
	"encoding/json"
	"slices"
	"time"
)

const (
	maxListed = 10_000 // the most that may be asked for
	// listedUnasked and mostListed are the names of a page as users measured them: without
	// MaxResults, and whatever it says. The documents promise 10,000.
	listedUnasked = 10
	mostListed    = 1000
)

// streamInfo is what the service says about a stream.
type streamInfo struct {
	StreamName           string
	StreamARN            string
	MediaType            string
	Version              string
	Status               string
	CreationTime         json.Number
	DataRetentionInHours int
}

func (st *stream) info() streamInfo {
	status, ok := st.status.Load().(string)
	if !ok {
		status = "ACTIVE"
	}
	return streamInfo{
		StreamName:           st.Name,
		StreamARN:            st.arn,
		MediaType:            "video/h264",
		Version:              st.version,
		Status:               status,
		CreationTime:         seconds(st.created),
		DataRetentionInHours: int((st.Retention + time.Hour - 1) / time.Hour),
	}
}

func (s *Server) listStreams(c *call) (answer, error) {
	limit, ok := field[int64](c.fields, "MaxResults")
	if !ok {
		limit = listedUnasked
	}
	token := c.fields.text("NextToken")
	condition, _ := field[struct{ ComparisonOperator, ComparisonValue string }](c.fields, "StreamNameCondition")
	switch {
	case c.fields.err != nil:
		return nil, c.fields.err
	case limit < 1 || limit > maxListed:
		return nil, invalidValue("maxResults", limit, "Member must have value between 1 and 10000")
	case condition.ComparisonOperator != "" && condition.ComparisonOperator != "BEGINS_WITH":
		return nil, invalidValue("streamNameCondition.comparisonOperator", condition.ComparisonOperator,
			"Member must satisfy enum value set: [BEGINS_WITH]")
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	request, after := "list "+condition.ComparisonValue, ""
	if token != "" {
		var err error
		if after, err = s.tokens.where(request, token); err != nil {
			return nil, err
		}
	}
	// A token names the last stream, so that none is skipped when others come or go.
	found, more := s.streams.withPrefix(condition.ComparisonValue, after, int(min(limit, mostListed)))
	out := struct {
		StreamInfoList []streamInfo
		NextToken      string `json:",omitempty"`
	}{StreamInfoList: make([]streamInfo, 0, len(found))}
	for _, st := range found {
		out.StreamInfoList = append(out.StreamInfoList, st.info())
	}
	if more {
		out.NextToken = s.tokens.issue(request, found[len(found)-1].Name)
	}
	return answerJSON(out), nil
}

func (s *Server) describeStream(c *call) (answer, error) {
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	return answerJSON(map[string]streamInfo{"StreamInfo": st.info()}), nil
}

// apiNames are those of GetDataEndpoint.
var apiNames = []string{
	"PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS", "GET_MEDIA_FOR_FRAGMENT_LIST",
	"GET_HLS_STREAMING_SESSION_URL", "GET_DASH_STREAMING_SESSION_URL", "GET_CLIP", "GET_IMAGES",
}

// getDataEndpoint answers with the address at which the client has reached the server, so
// that it works through any port forwarding. If endpoints rotate, it adds a path.
func (s *Server) getDataEndpoint(c *call) (answer, error) {
	api := c.fields.text("APIName")
	switch {
	case c.fields.err != nil:
		return nil, c.fields.err
	case !slices.Contains(apiNames, api):
		return nil, invalidValue("aPIName", api, "Member must be one of the API names, such as GET_IMAGES")
	}
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if api != "GET_IMAGES" && api != "LIST_FRAGMENTS" {
		return nil, invalidArgument("This fake service serves GET_IMAGES and LIST_FRAGMENTS only, not %s.", api)
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	scheme := "http://"
	if c.TLS != nil {
		scheme = "https://"
	}
	return answerJSON(map[string]string{"DataEndpoint": scheme + c.Host + st.endpoint(c.record.Time)}), nil
}
